"""How a text becomes features, in plain Python: the definition that the kernels are held to, and what `explain` uses.

**Tokens.** A text's characters are folded by the table of `tutelage.students.unicode`; maximal runs of WORD characters are
tokens, and so is each SOLO character. Bytes that are not UTF-8 separate.

**Hash.** The UTF-8 bytes of the folded token, padded with zeros to 16 bytes or the next multiple of 8 above, are read as
little-endian 64-bit numbers c_0 c_1 … c_n. All arithmetic is modulo 2^64:

    h := mix(c_0 * P1);   h := mix((h ^ c_1) * P2);   h := mix((h ^ c_i) * P1)  for i >= 2;     mix(x) = x ^ (x >> 32)

**Features.** Token t gives the number h_t; the pair of t - 1 and t gives (h_{t-1} + rotl(h_t, 23)) * P3, where h_{-1} = 0
stands for the start of the text; characters i … i + n - 1 of a token that is longer than n give the hash of their bytes times
P4, plus START if i = 0 or END if they end the token. The lowest bit is then set for tokens; for all others it is cleared, and
the next bit set for characters and cleared for pairs. A feature's row in a table of 2^b rows is its number's highest b bits.

This hash is ours and not MurmurHash3, which ONNX Runtime has: with it a word pair cannot be hashed from two word hashes, and
the runtime's tokenizer could not be exact in any case (its lower-casing follows the machine's locale).
"""

from __future__ import annotations

from typing import NamedTuple

from tutelage.students.unicode import SEPARATOR, SOLO, table

P1 = 0x9E3779B97F4A7C15
P2 = 0xD6E8FEB86659FD93
P3 = 0xC2B2AE3D27D4EB4F
P4 = 0x8EBC6AF09C88C6E3
START = 0x589965CC75374CC3
END = 0x1D8E4E27C47D124F
_MASK = (1 << 64) - 1


class Token(NamedTuple):
    """Characters [start, end) of the text, and what they fold to."""

    start: int
    end: int
    folded: str


class Feature(NamedTuple):
    """A feature's 64-bit number, and the characters [start, end) of the text that it stands for."""

    number: int
    start: int
    end: int


def tokenise(text: str) -> list[Token]:
    """The tokens of a text, in order.

    >>> [t.folded for t in tokenise("Ärger im ICE-Zug: 7:1!")]
    ['ärger', 'im', 'ice', 'zug', '7', '1']
    >>> [t.folded for t in tokenise("東京の news")]
    ['東', '京', 'の', 'news']
    """
    chars = table()
    tokens: list[Token] = []
    word: list[str] = []
    for i, character in enumerate([*text, " "]):
        kind, fold = chars.look_up(character)
        if kind in (SEPARATOR, SOLO) and word:
            tokens.append(Token(i - len(word), i, "".join(word)))
            word = []
        if kind == SOLO:
            tokens.append(Token(i, i + 1, chr(fold)))
        elif kind != SEPARATOR:
            word.append(chr(fold))
    return tokens


def hash_bytes(token: bytes) -> int:
    """The 64-bit number of a token's UTF-8 bytes.

    >>> hex(hash_bytes(b"news"))
    '0x...'
    >>> hash_bytes(b"news") == hash_bytes(b"news" + bytes(4))
    True
    """
    padded = token.ljust(max(16, -(-len(token) // 8) * 8), b"\0")
    h = 0
    for i in range(0, len(padded), 8):
        h = ((h ^ int.from_bytes(padded[i : i + 8], "little")) * (P2 if i == 8 else P1)) & _MASK
        h ^= h >> 32
    return h


def features(text: str, *, pairs: bool = True, chars: tuple[int, int] | None = None) -> list[Feature]:
    """The features of a text: token, pair, token, pair …, each token followed by its character n-grams.

    Args:
        pairs: give each token's pair with the token before it.
        chars: shortest and longest character n-gram, or None.

    >>> [text[f.start : f.end] for text in ["Stocks fell"] for f in features(text)]
    ['Stocks', 'Stocks', 'fell', 'Stocks fell']
    """
    found: list[Feature] = []
    previous, begin = 0, None
    for token in tokenise(text):
        h = hash_bytes(token.folded.encode())
        found.append(Feature(h | 1, token.start, token.end))
        if pairs:
            rotated = (h << 23 | h >> 41) & _MASK
            number = (previous + rotated) * P3 & _MASK & ~3
            found.append(Feature(number, token.start if begin is None else begin, token.end))
        if chars is not None:
            found += _character_grams(token, *chars)
        previous, begin = h, token.start
    return found


def _character_grams(token: Token, shortest: int, longest: int) -> list[Feature]:
    grams = []
    for n in range(shortest, min(longest, len(token.folded) - 1) + 1):
        for i in range(len(token.folded) - n + 1):
            number = hash_bytes(token.folded[i : i + n].encode()) * P4
            number += START * (i == 0) + END * (i + n == len(token.folded))
            grams.append(Feature(number & _MASK & ~1 | 2, token.start + i, token.start + i + n))
    return grams
