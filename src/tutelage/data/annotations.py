"""Annotations: what a teacher, a model or a person said about each text, as one Arrow table.

One row is one answer. `label` is a list so that single- and multi-label schemes share the format: one name, several, or
none when the answer failed. `probs` has K entries in the order of the scheme, or is null where the teacher gave none.

| column | type | |
|---|---|---|
| id | string | the text's id in the pool |
| sample | int32 | which rerun, vote or human annotator |
| label | list<string> | the labels given; empty when `status` is not "ok" |
| probs | list<float32> | (K,) or null |
| status | string | "ok", or why the answer is unusable |
| evidence | string | what the teacher pointed at, or null |
| teacher, prompt | string | fingerprints |
| tokens_in, tokens_out, cost | int64, int64, float64 | what it cost |
"""

from __future__ import annotations  # pyright: ignore[reportAssignmentType] - the builder below has the noun's name

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from tutelage.data.labels import LabelScheme
from tutelage.errors import InputError

pc: Any = pyarrow.compute  # its functions are made at import time, where no type checker sees them

ANNOTATIONS = pa.schema(
    [
        ("id", pa.string()),
        ("sample", pa.int32()),
        ("label", pa.list_(pa.string())),
        ("probs", pa.list_(pa.float32())),
        ("status", pa.string()),
        ("evidence", pa.string()),
        ("teacher", pa.string()),
        ("prompt", pa.string()),
        ("tokens_in", pa.int64()),
        ("tokens_out", pa.int64()),
        ("cost", pa.float64()),
    ]
)

FAILURES = ("invalid_json", "unknown_label", "refusal", "too_long", "blocked")
"""Reasons for which an answer is recorded as failed; a fault of transport is no answer and is asked again."""


def annotations(ids: Sequence[str], labels: Sequence[Sequence[str]], **columns: object) -> pa.Table:
    """Build an annotation table from ids and label lists; other columns may be sequences or one value for all rows.

    >>> annotations(["a"], [["sport"]], teacher="t").select(["id", "label", "status"]).to_pylist()
    [{'id': 'a', 'label': ['sport'], 'status': 'ok'}]
    """
    n = len(ids)
    defaults: dict[str, object] = {
        "sample": 0, "probs": None, "status": "ok", "evidence": None, "teacher": "", "prompt": "",
        "tokens_in": 0, "tokens_out": 0, "cost": 0.0,
    }  # fmt: skip
    unknown = set(columns) - set(defaults)
    if unknown:
        raise ValueError(f"annotations have no column {sorted(unknown)}; they have {ANNOTATIONS.names}")
    data: dict[str, object] = {**defaults, **columns, "id": list(ids), "label": [list(names) for names in labels]}
    return pa.table([_column(data[field.name], n, field.type) for field in ANNOTATIONS], schema=ANNOTATIONS)


def ok(table: pa.Table) -> pa.Table:
    """The usable rows."""
    return table.filter(pc.equal(table["status"], "ok"))


def hard_labels(table: pa.Table, scheme: LabelScheme) -> np.ndarray:
    """Labels as integers: (N,) int64 for single-label schemes, (N, K) int8 indicators for multi; failed rows are −1 / all 0.

    The first label of a row counts where a single-label scheme finds several.

    >>> hard_labels(annotations(["a", "b"], [["y"], []], status=["ok", "refusal"]), LabelScheme.from_dict(["x", "y"]))
    array([ 1, -1])

    Raises: InputError: a label outside the scheme, named with its row.
    """
    lists = _one(table["label"])
    values, parents = lists.flatten(), lists.value_parent_indices().to_numpy(zero_copy_only=False)
    codes = pc.fill_null(pc.index_in(values, value_set=pa.array(scheme.names, values.type)), -1)
    codes = codes.to_numpy(zero_copy_only=False)
    asked = _usable(table)[parents]
    parents, codes = parents[asked], codes[asked]
    if (codes < 0).any():
        row = int(parents[codes < 0][0])
        name = next(name for name in lists[row].as_py() if name not in scheme.names)
        raise InputError(
            f"row {row + 1} (id {table['id'][row]}): label {name!r} is not in scheme {scheme.name!r}: "
            + ", ".join(scheme.names)
        )
    if scheme.multi:
        hard = np.zeros((len(table), len(scheme)), np.int8)
        hard[parents, codes] = 1
        return hard
    single = np.full(len(table), -1, np.int64)
    single[parents[::-1]] = codes[::-1]
    return single


def soft_targets(table: pa.Table, scheme: LabelScheme) -> np.ndarray:
    """What the teacher said as targets (N, K) float32: its probabilities where it gave them, else its hard label.

    Rows of a single-label scheme sum to one; failed rows are all zero. Multi-label rows hold one probability a label.

    >>> scheme = LabelScheme.from_dict(["x", "y"])
    >>> soft_targets(annotations(["a", "b"], [["y"], ["x"]], probs=[[0.25, 0.75], None]), scheme).tolist()
    [[0.25, 0.75], [1.0, 0.0]]

    Raises: InputError: a label outside the scheme; probabilities that are not K numbers of zero or more.
    """
    targets = _indicators(hard_labels(table, scheme), scheme)
    probs = _one(table["probs"])
    rows = np.flatnonzero(probs.is_valid().to_numpy(zero_copy_only=False) & _usable(table))
    probs = probs.take(pa.array(rows))
    lengths = pc.list_value_length(probs).to_numpy(zero_copy_only=False)
    if (lengths != len(scheme)).any():
        row = int(rows[np.flatnonzero(lengths != len(scheme))[0]])
        found = len(table["probs"][row].as_py())
        raise InputError(
            f"row {row + 1} (id {table['id'][row]}): {found} probabilities; scheme {scheme.name!r} has {len(scheme)} labels"
        )
    given = probs.flatten().to_numpy(zero_copy_only=False).reshape(-1, len(scheme))
    total = np.ones((len(given), 1)) if scheme.multi else given.sum(axis=1, keepdims=True)
    wrong = ~np.isfinite(given).all(axis=1) | (given < 0).any(axis=1) | (total[:, 0] <= 0)
    if wrong.any():
        row = int(rows[np.flatnonzero(wrong)[0]])
        raise InputError(
            f"row {row + 1} (id {table['id'][row]}): probabilities must be finite, not negative, not all zero"
        )
    targets[rows] = given / total
    return targets


def merge(tables: Iterable[pa.Table]) -> pa.Table:
    """All answers in one table, in the given order."""
    return pa.concat_tables([t.select(ANNOTATIONS.names).cast(ANNOTATIONS) for t in tables]).combine_chunks()


def vote(table: pa.Table, scheme: LabelScheme) -> pa.Table:
    """One row a text from several samples: label shares become `probs`, the largest share the label.

    Usable answers only; ids keep the order of their first appearance; ties go to the label that comes first in the
    scheme; in a multi-label scheme a label is given when at least half of the answers give it. Costs are added up; the
    other columns are those of the text's first usable answer.

    >>> votes = annotations(["a"] * 3, [["x"], ["y"], ["y"]], sample=[0, 1, 2])
    >>> scheme = LabelScheme.from_dict(["x", "y"])
    >>> vote(votes, scheme)["label"].to_pylist()
    [['y']]
    """
    hard = hard_labels(table, scheme)
    usable = _usable(table) if scheme.multi else hard >= 0
    ids = _one(table["id"]).dictionary_encode()  # codes count up in the order of first appearance
    texts, n = ids.indices.to_numpy(), len(ids.dictionary)
    order = np.lexsort((~usable, texts))  # by text, usable rows first; stable, so in the order of the table
    chosen = order[np.searchsorted(texts[order], np.arange(n))]

    answers = np.bincount(texts[usable], minlength=n)
    shares = np.zeros((n, len(scheme)))
    np.add.at(shares, texts[usable], _indicators(hard, scheme)[usable])
    shares /= np.maximum(answers, 1)[:, None]
    winners = shares >= 0.5 if scheme.multi else _indicators(shares.argmax(axis=1), scheme) > 0
    named = [[scheme.names[k] for k in np.flatnonzero(row)] for row in winners]
    best = table.take(pa.array(chosen, pa.int64()))
    totals = {
        name: np.bincount(texts, weights=pc.fill_null(table[name], 0).to_numpy(), minlength=n).astype(kind)
        for name, kind in (("tokens_in", np.int64), ("tokens_out", np.int64), ("cost", np.float64))
    }
    return annotations(
        ids.dictionary.to_pylist(),
        [names if count else [] for names, count in zip(named, answers, strict=True)],
        probs=[row.tolist() if count else None for row, count in zip(shares, answers, strict=True)],
        **{name: best[name] for name in ("status", "evidence", "teacher", "prompt")},
        **totals,
    )


def _column(value: Any, n: int, kind: pa.DataType) -> pa.Array | pa.ChunkedArray:
    if isinstance(value, pa.Array | pa.ChunkedArray):
        return value.cast(kind)
    return pa.array([value] * n if value is None or isinstance(value, str | int | float) else value, kind)


def _one(column: Any) -> Any:
    """A column of a table as one array."""
    return pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], column.type)


def _usable(table: pa.Table) -> np.ndarray:
    return pc.equal(table["status"], "ok").to_numpy()


def _indicators(hard: np.ndarray, scheme: LabelScheme) -> np.ndarray:
    """(N,) positions or (N, K) indicators -> (N, K) float32; −1 is a row of zeros."""
    if scheme.multi:
        return hard.astype(np.float32)
    return np.eye(len(scheme) + 1, len(scheme), dtype=np.float32)[hard]
