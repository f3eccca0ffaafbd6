"""The ledger's rows and tables: one answer, its digest, the SQL that holds it, and the table that it is exported as.

Kept apart from `ledger.py` so that the format can be read without the code that writes it. Any SQLite tool opens the file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
import pyarrow as pa

from tutelage.errors import InputError

SCHEMA_VERSION = 1

TABLES = """
CREATE TABLE IF NOT EXISTS answers (
    teacher TEXT NOT NULL, prompt TEXT NOT NULL, text TEXT NOT NULL, sample INTEGER NOT NULL,
    status TEXT NOT NULL, label TEXT NOT NULL, probs BLOB, raw TEXT, evidence TEXT,
    tokens_in INTEGER NOT NULL, tokens_out INTEGER NOT NULL, cost REAL, currency TEXT,
    latency REAL, attempts INTEGER NOT NULL, error TEXT, created TEXT NOT NULL, digest TEXT NOT NULL,
    PRIMARY KEY (teacher, prompt, text, sample)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS requests (
    id INTEGER PRIMARY KEY, teacher TEXT NOT NULL, prompt TEXT NOT NULL, text TEXT NOT NULL, sample INTEGER NOT NULL,
    started TEXT NOT NULL, finished TEXT, outcome TEXT, tokens_in INTEGER NOT NULL, tokens_out INTEGER NOT NULL,
    cost REAL, currency TEXT, latency REAL, request_hash TEXT, batch TEXT
);
CREATE INDEX IF NOT EXISTS open_requests ON requests (batch, text) WHERE finished IS NULL;
CREATE TABLE IF NOT EXISTS sources (fingerprint TEXT PRIMARY KEY, kind TEXT NOT NULL, description TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS texts (
    id TEXT NOT NULL, text TEXT NOT NULL, truncated INTEGER NOT NULL, PRIMARY KEY (id, text)
) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS ids_of_text ON texts (text);
CREATE TABLE IF NOT EXISTS batches (
    key TEXT PRIMARY KEY, remote TEXT, state TEXT NOT NULL, teacher TEXT NOT NULL, prompt TEXT NOT NULL, created TEXT NOT NULL
) WITHOUT ROWID;
"""
"""answers: one row a (teacher, prompt, text, sample). requests: one row for every request that was sent, written before it
is sent and closed when it ends; the budget counts these. sources: what a fingerprint stands for (never a key). texts:
which ids a text fingerprint belongs to. batches: jobs handed to a provider's batch interface."""


@dataclass(frozen=True)
class Answer:
    """What a teacher said about one text, or why its answer cannot be used.

    Args:
        teacher, prompt, text: fingerprints. sample: number of the rerun, vote or annotator.
        status: "ok" or a reason such as "invalid_json"; label: the names given, empty unless "ok".
        probs: K probabilities in scheme order, or None. raw: the reply as it came. evidence: a literal quote, or None.
        cost: in `currency`, or None where no price is known; latency: seconds; attempts: requests that it took.
    """

    teacher: str
    prompt: str
    text: str
    sample: int = 0
    status: str = "ok"
    label: tuple[str, ...] = ()
    probs: tuple[float, ...] | None = None
    raw: str | None = None
    evidence: str | None = None
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float | None = None
    currency: str | None = None
    latency: float | None = None
    attempts: int = 0
    error: str | None = None
    created: str = ""

    @property
    def key(self) -> tuple[str, str, str, int]:
        """What addresses the answer in the ledger."""
        return self.teacher, self.prompt, self.text, self.sample

    def to_row(self) -> tuple[object, ...]:
        """The values of the `answers` table, digest last."""
        values = [getattr(self, name) for name in COLUMNS]
        values[_LABEL] = json.dumps(list(self.label), ensure_ascii=False)
        values[_PROBS] = None if self.probs is None else np.asarray(self.probs, "<f4").tobytes()
        for place in _TEXTS:  # SQLite stores UTF-8; a lone surrogate in a reply must not lose the answer
            if isinstance(values[place], str):
                values[place] = values[place].encode("utf-8", "replace").decode()
        return (*values, digest(values))

    @classmethod
    def from_row(cls, row: tuple) -> Answer:
        """The inverse of `to_row`."""
        values = list(row[: len(COLUMNS)])
        values[_LABEL] = tuple(json.loads(values[_LABEL]))
        if values[_PROBS] is not None:
            values[_PROBS] = tuple(np.frombuffer(values[_PROBS], "<f4").tolist())
        return cls(*values)


COLUMNS = tuple(field.name for field in fields(Answer))
_LABEL, _PROBS = COLUMNS.index("label"), COLUMNS.index("probs")
_TEXTS = tuple(COLUMNS.index(name) for name in ("raw", "evidence", "error", "label"))


def digest(values: list[object] | tuple[object, ...]) -> str:
    """sha256 over the stored values of a row, in the order of `COLUMNS`; it tells a damaged or edited row.

    >>> row = Answer("t", "p", "x", label=("sport",)).to_row()
    >>> digest(row[:-1]) == row[-1]
    True
    """
    plain = [value.hex() if isinstance(value, bytes) else value for value in values]
    return hashlib.sha256(json.dumps(plain, ensure_ascii=True).encode()).hexdigest()


EXPORT = pa.schema(
    [
        ("id", pa.string()),
        ("label", pa.list_(pa.string())),
        ("status", pa.string()),
        ("probs", pa.list_(pa.float32())),
        ("sample", pa.int32()),
        ("evidence", pa.string()),
        ("teacher", pa.string()),
        ("prompt", pa.string()),
        ("text_sha256", pa.string()),
        ("raw", pa.string()),
        ("tokens_in", pa.int64()),
        ("tokens_out", pa.int64()),
        ("cost", pa.float64()),
        ("currency", pa.string()),
        ("latency", pa.float64()),
        ("attempts", pa.int32()),
        ("error", pa.string()),
        ("created", pa.string()),
    ]
)
"""Columns of `Ledger.to_table`; `text_sha256` is the fingerprint of the text."""


def to_export(ids: Sequence[str], answers: Sequence[Answer]) -> pa.Table:
    """Answers as a table of the columns `EXPORT`, each under the id of its text."""
    data: dict[str, Sequence[object]] = {"id": ids}
    for name in EXPORT.names[1:]:
        data[name] = [getattr(answer, "text" if name == "text_sha256" else name) for answer in answers]
    return pa.table({f.name: pa.array(data[f.name], f.type) for f in EXPORT}, schema=EXPORT)


def from_export(table: pa.Table) -> tuple[list[str], list[Answer]]:
    """The inverse of `to_export`. Raises: InputError: columns are missing."""
    missing = [name for name in EXPORT.names if name not in table.column_names]
    if missing:
        raise InputError(f"not an export of a ledger: column {missing[0]!r} is missing")
    answers = []
    for row in table.select(EXPORT.names).to_pylist():
        values = {name: row["text_sha256" if name == "text" else name] for name in COLUMNS}
        values["label"] = tuple(values["label"] or ())
        values["probs"] = None if values["probs"] is None else tuple(values["probs"])
        answers.append(Answer(**values))
    return table["id"].to_pylist(), answers
