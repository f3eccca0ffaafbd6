"""What all teachers share: the `Teacher` interface, progress events, and fingerprints.

A fingerprint is the sha256 of a canonical JSON description. Three of them, and a sample number, address an answer in the
ledger: who was asked (teacher: model, parameters, temperature, seed), what was asked (prompt: template, label scheme,
form of the answer) and about which text. Change any of them and the answer is another one; nothing is ever mixed.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import pyarrow as pa

from tutelage.data.labels import LabelScheme
from tutelage.data.tables import as_strings
from tutelage.data.text import truncate_words
from tutelage.errors import InputError

if TYPE_CHECKING:
    from tutelage.teachers.ledger import Ledger


@dataclass(frozen=True)
class ProgressEvent:
    """How far an annotation is: texts with an answer, all texts, failed answers, and the cost so far.

    `done` counts failed answers too; `cost` is in `currency`, which is None while no price is known.
    """

    done: int
    total: int
    failed: int = 0
    cost: float = 0.0
    currency: str | None = None


Progress = Callable[[ProgressEvent], None]


@runtime_checkable
class Teacher(Protocol):
    """Anything that can say which label of a scheme a text has."""

    @property
    def name(self) -> str:
        """What a person calls it: "zero-shot:minilm", "openai:MODEL"."""
        ...

    @property
    def fingerprint(self) -> str:
        """sha256 of model, parameters, temperature and seed."""
        ...

    def prompt_fingerprint(self, scheme: LabelScheme) -> str:
        """sha256 of everything that is said to the teacher besides the text."""
        ...

    def annotate(
        self,
        table: pa.Table,
        scheme: LabelScheme,
        *,
        ledger: Ledger | None = None,
        sample: int = 0,
        progress: Progress | None = None,
    ) -> pa.Table:
        """Annotation rows in the order of `table` (columns id, text).

        What the ledger holds is not asked again. Answers are in the ledger under this teacher's own fingerprint.

        Raises: Paused: the endpoint is down or the budget is spent; all answers so far are in the ledger, and `answered`
            gives them.
        """
        ...

    def answered(self, table: pa.Table, scheme: LabelScheme, ledger: Ledger, *, sample: int = 0) -> pa.Table:
        """The annotations that the ledger holds for these texts, in their order; asks nothing."""
        ...


def fingerprint(description: Mapping[str, object]) -> str:
    """sha256 of a JSON-able description; the order of its keys does not matter.

    >>> fingerprint({"a": 1, "b": 2}) == fingerprint({"b": 2, "a": 1})
    True
    """
    canonical = json.dumps(description, sort_keys=True, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(canonical.encode("utf-8", "surrogatepass")).hexdigest()


def text_fingerprint(text: str) -> str:
    """sha256 of a text exactly as the teacher saw it, that is, after truncation.

    >>> text_fingerprint("a") == text_fingerprint("a ")
    False
    """
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()


@dataclass(frozen=True)
class Pool:
    """The texts of a table as a teacher sees them: N ids, texts after truncation, their fingerprints, and what was cut."""

    ids: Sequence[str]
    texts: Sequence[str]
    fingerprints: Sequence[str]
    truncated: Sequence[bool]

    @classmethod
    def of(cls, table: pa.Table, max_words: int | None = None) -> Pool:
        """Read the columns id and text of a table, of any type; keep the first `max_words` words of each text.

        >>> Pool.of(pa.table({"id": [7], "text": [b"one two"]}), max_words=1).texts
        ['one']

        Raises: InputError: a column is missing, or a row has no id or no text.
        """
        for name in ("id", "text"):
            if name not in table.column_names:
                raise InputError(f"the table has no column {name!r}; it has {', '.join(table.column_names)}")
            if table[name].null_count:
                row = table[name].to_pylist().index(None)
                raise InputError(f"row {row} of the table has no {name}")
        ids, texts = (_strings(table[name]) for name in ("id", "text"))
        cut = [truncate_words(text, max_words) if max_words else (text, False) for text in texts]
        return cls(
            ids,
            [text for text, _ in cut],
            [text_fingerprint(text) for text, _ in cut],
            [was_cut for _, was_cut in cut],
        )


def _strings(column: pa.ChunkedArray) -> list[str]:
    return [value for chunk in column.chunks for value in as_strings(chunk).to_pylist()]
