"""Which characters make words, and their lower case: Unicode 14, frozen, so that a saved student reads the same everywhere.

Every code point c has an entry `(fold - c) mod 2^30 | kind << 30`, where `fold` is the code point that stands for it and
`kind` one of

| kind | characters | meaning |
|---|---|---|
| SEPARATOR = 0 | everything else | ends a word |
| WORD = 1 | letters, marks and numbers (categories L, M, N) | part of a word |
| SOLO = 2 | Han, kana, bopomofo, Thai, Lao, Myanmar, Khmer; emoji | a token by itself: pairs are of characters |

Scripts with case fold by the simple lower-case mapping, one character to one; the two characters where that differs from
`str.lower` (final sigma, dotted capital I) go to σ and i. The file unicode.npz holds the entries as two levels, 256 code
points a page; `python -m tutelage.students.unicode FILE` writes it anew from the running Python's `unicodedata`.
"""

from __future__ import annotations

import sys
import unicodedata
from functools import cache
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np

SEPARATOR, WORD, SOLO = 0, 1, 2
DELTA = (1 << 30) - 1
"""The bits of an entry that hold the distance to the folded code point."""
VERSION = "14.0.0"
"""The Unicode version of the table."""

_SOLO_RANGES = (
    (0x0E00, 0x0EFF), (0x1000, 0x109F), (0x1780, 0x17FF), (0x3005, 0x3007), (0x3040, 0x30FF), (0x3100, 0x312F),
    (0x31F0, 0x31FF), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF), (0xFF66, 0xFF9F), (0x20000, 0x3FFFF),
)  # fmt: skip
_EMOJI_RANGES = ((0x2600, 0x27BF), (0x1F300, 0x1FAFF))
_FOLDS = {0x130: ord("i"), 0x3C2: 0x3C3}
_VARIATION_SELECTORS = range(0xFE00, 0xFE10)


class CharTable(NamedTuple):
    """Two levels: the entry of code point c is `pages[page[c >> 8], c & 255]`; page (4352,) uint16, pages (P, 256) uint32."""

    page: np.ndarray
    pages: np.ndarray

    def look_up(self, character: str) -> tuple[int, int]:
        """(kind, code point it folds to) of one character.

        >>> table().look_up("Ä") == (WORD, ord("ä")), table().look_up("中")[0] == SOLO, table().look_up("-")[0] == SEPARATOR
        (True, True, True)
        """
        code = ord(character)
        entry = int(self.pages[self.page[code >> 8], code & 255])
        return entry >> 30, (code + entry) & DELTA


@cache
def table() -> CharTable:
    """The table that ships with the package."""
    with (resources.files("tutelage.students") / "unicode.npz").open("rb") as file:
        arrays = np.load(file, allow_pickle=False)
        return CharTable(arrays["page"], arrays["pages"])


def entry(code: int) -> int:
    """The entry of a code point by the rules above, from the running Python's `unicodedata`."""
    character = chr(code)
    category = unicodedata.category(character)
    if any(low <= code <= high for low, high in _SOLO_RANGES):
        kind = SOLO if category[0] in "LMN" else SEPARATOR
    elif any(low <= code <= high for low, high in _EMOJI_RANGES):
        kind = SOLO if category == "So" else SEPARATOR
    else:
        kind = WORD if category[0] in "LMN" and code not in _VARIATION_SELECTORS else SEPARATOR
    lower = character.lower()
    fold = _FOLDS.get(code, ord(lower) if len(lower) == 1 else code)
    return (fold - code) & DELTA | kind << 30 if kind else 0


def build() -> CharTable:
    """The table of the running Python's Unicode version."""
    entries = np.array([entry(code) for code in range(sys.maxunicode + 1)], np.uint32).reshape(-1, 256)
    pages, page = np.unique(entries, axis=0, return_inverse=True)
    return CharTable(page.astype(np.uint16), pages)


if __name__ == "__main__":
    if unicodedata.unidata_version != VERSION:
        sys.exit(f"this Python has Unicode {unicodedata.unidata_version}; the table is of {VERSION}")
    with Path(sys.argv[1]).open("wb") as out:
        np.savez_compressed(out, **build()._asdict())
