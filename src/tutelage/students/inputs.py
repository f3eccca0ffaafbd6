"""What a student is given, checked at the door: texts as Arrow, labels as a matrix of targets, weights as an array.

Texts come as a list, a numpy array, a pandas or polars Series or an Arrow array and leave as one Arrow chunked array
of `string` or `large_string`; a null stays a null and counts as the empty text.

Labels come in three forms and leave as targets Y (N, K) float32 in [0, 1]:

| form | y | Y |
|---|---|---|
| hard | (N,) names or integers | one-hot rows |
| soft | (N, K) probabilities | the rows, each scaled to sum to exactly one |
| multi | (N, K) indicators or probabilities, or a list of sets of names | independent columns |
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol, TypeAlias, cast, runtime_checkable

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from tutelage.errors import InputError

Label: TypeAlias = str | int | bool


@runtime_checkable
class Series(Protocol):
    """A pandas or polars Series: anything with a length that numpy can read."""

    def __len__(self) -> int: ...
    def __array__(self) -> np.ndarray: ...


Texts: TypeAlias = Sequence[str] | npt.NDArray[np.object_] | Series | pa.Array | pa.ChunkedArray
Labels: TypeAlias = Sequence[Label] | Sequence[Sequence[Label]] | np.ndarray | Series | pa.Array | pa.ChunkedArray
Weights: TypeAlias = Sequence[float] | np.ndarray | Series


def as_texts(texts: Texts) -> pa.ChunkedArray:
    """N texts of any kind -> an Arrow chunked array of string or large_string, without a copy where there is none to make.

    >>> as_texts(["a", None]).to_pylist()
    ['a', None]
    >>> as_texts("a")
    Traceback (most recent call last):
    tutelage.errors.InputError: texts must be a list, Series or Arrow array of texts; got one string

    Raises: InputError: one string, a table, or an entry that is not a text; the message names the row.
    """
    if isinstance(texts, str | bytes | Mapping):
        kind = "one string" if isinstance(texts, str | bytes) else "a mapping"
        raise InputError(f"texts must be a list, Series or Arrow array of texts; got {kind}")
    if getattr(texts, "ndim", 1) != 1:
        raise InputError(f"texts must be one-dimensional; got shape {getattr(texts, 'shape', None)}: name one column")
    if not isinstance(texts, pa.Array | pa.ChunkedArray) and hasattr(texts, "to_arrow"):
        texts = texts.to_arrow()  # type: ignore[union-attr]
    if isinstance(texts, pa.Array | pa.ChunkedArray):
        return _as_strings(texts)
    rows = texts if isinstance(texts, list | tuple | np.ndarray) or hasattr(texts, "__array__") else _listed(texts)
    try:
        return _as_strings(pa.array(rows, from_pandas=True))
    except (pa.ArrowInvalid, pa.ArrowTypeError, UnicodeEncodeError, TypeError):
        for row, text in enumerate(rows):  # type: ignore[arg-type]
            _check_text(row, text)
        raise


def _listed(texts: object) -> list[object]:
    if not isinstance(texts, Iterable):
        raise InputError(f"texts must be a list, Series or Arrow array of texts; got {type(texts).__name__}")
    return list(texts)


def _check_text(row: int, text: object) -> None:
    if text is None or (isinstance(text, float) and np.isnan(text)):
        return
    if not isinstance(text, str):
        raise InputError(f"texts must be strings; row {row} is {type(text).__name__}")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InputError(f"row {row} holds a lone surrogate, which is not a character; clean the text first") from None


def _as_strings(texts: pa.Array | pa.ChunkedArray) -> pa.ChunkedArray:
    chunked = texts if isinstance(texts, pa.ChunkedArray) else pa.chunked_array([texts])
    kind = chunked.type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
        chunked = chunked.cast(kind)
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return chunked
    if pa.types.is_null(kind):
        return chunked.cast(pa.string())
    if pa.types.is_string_view(kind):
        return chunked.cast(pa.large_string())
    raise InputError(f"texts must be strings; got values of type {kind}")


def as_list(texts: pa.ChunkedArray) -> list[str]:
    """Arrow texts -> Python strings, nulls as empty texts."""
    return [text or "" for text in texts.to_pylist()]


def as_targets(
    y: Labels, classes: Sequence[Label] | None, n: int, *, multi: bool = False
) -> tuple[np.ndarray, np.ndarray]:
    """Labels of any of the three forms -> (classes (K,), targets Y (N, K) float32).

    Args:
        y: hard, soft or multi labels; integers beside named `classes` are positions in them.
        classes: fixes K and the order of the columns; without it the sorted labels of `y` do.
        n: number of texts.
        multi: a text may have any number of labels.

    >>> classes, Y = as_targets(["b", "a"], None, 2)
    >>> classes.tolist(), Y.tolist()
    (['a', 'b'], [[0.0, 1.0], [1.0, 0.0]])

    Raises: InputError: lengths that differ, a label outside `classes`, a row that is no distribution, fewer than two classes.
    """
    known = _as_classes(classes) if classes is not None else None
    values = _as_rows(y, n, None if known is None or not multi else len(known))
    if len(values) != n:
        raise InputError(f"there are {n} texts and {len(values)} labels")
    if n == 0:
        raise InputError("there is nothing to learn from: no texts were given")
    if isinstance(values, np.ndarray) and values.ndim == 2:
        return _from_matrix(values, known, multi)
    if multi:
        return _from_sets(values, known)
    return _from_hard(np.asarray(values), known)


def _as_rows(y: Labels, n: int, width: int | None) -> np.ndarray | list[Sequence[Label]]:
    """Labels as an array, or as a list of sets; rows of numbers are a matrix if their length is `width` (None: any)."""
    arrow = cast(pa.Array, y) if isinstance(y, pa.Array | pa.ChunkedArray) else None
    listed = cast(list[object], y if arrow is None else arrow.to_pylist())
    if isinstance(listed, list | tuple) and listed and isinstance(listed[0], list | tuple | set | frozenset):
        sets = cast(list[Sequence[Label]], list(listed))
        lengths = {len(row) for row in sets}
        numeric = all(isinstance(v, float | int | np.number) for row in sets for v in row)
        return np.asarray(sets) if numeric and len(lengths) == 1 and width in (None, *lengths) else sets
    rows = np.asarray(listed)
    if rows.ndim not in (1, 2):
        raise InputError(f"labels must be (N,) or (N, K); got shape {rows.shape}")
    if rows.ndim == 2 and rows.shape[1] == 1 and n > 0:
        warnings.warn("labels came as a column of shape (N, 1); they are read as (N,)", stacklevel=5)
        rows = rows[:, 0]
    return rows


def _as_classes(classes: Sequence[Label]) -> np.ndarray:
    names = np.asarray(list(classes))
    if names.ndim != 1 or names.dtype.kind not in "Uiub":
        raise InputError("classes must be a list of names or integers")
    if len(names) < 2:
        raise InputError(f"a classifier needs at least two classes; got {len(names)}")
    if len(np.unique(names)) != len(names):
        raise InputError(f"classes must be distinct; got {names.tolist()}")
    return names


def _from_hard(labels: np.ndarray, classes: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    if labels.dtype.kind == "O":
        for row, label in enumerate(labels):
            if not isinstance(label, str | int | np.integer | np.bool_):
                raise InputError(f"labels must be names or integers; row {row} is {label!r}")
        labels = np.asarray(labels.tolist())
    if labels.dtype.kind not in "Uiub":
        raise InputError(f"labels must be names or integers, or (N, K) probabilities; got {labels.dtype} numbers")
    if classes is None:
        classes, position = np.unique(labels, return_inverse=True)
        if len(classes) < 2:
            raise InputError(
                f"a classifier needs at least two classes; all labels are {classes[0]!r} (or give classes=)"
            )
    elif labels.dtype.kind in "iu" and classes.dtype.kind == "U":
        position = labels.astype(np.int64)
        wrong = np.flatnonzero((position < 0) | (position >= len(classes)))
        if len(wrong):
            raise InputError(f"labels must be in [0, {len(classes)}); found {position[wrong[0]]} in row {wrong[0]}")
    else:
        order = np.argsort(classes)
        place = np.searchsorted(classes, labels, sorter=order).clip(max=len(classes) - 1)
        position = order[place]
        wrong = np.flatnonzero(classes[position] != labels)
        if len(wrong):
            raise InputError(f"label {labels[wrong[0]].item()!r} in row {wrong[0]} is not among the classes")
    targets = np.zeros((len(labels), len(classes)), np.float32)
    targets[np.arange(len(labels)), position] = 1.0
    return classes, targets


def _from_matrix(y: np.ndarray, classes: np.ndarray | None, multi: bool) -> tuple[np.ndarray, np.ndarray]:
    if y.dtype.kind not in "fiub":
        raise InputError(f"labels of shape {y.shape} must be numbers; got {y.dtype}")
    names = np.arange(y.shape[1]) if classes is None else classes
    if len(names) < 2:
        raise InputError("a classifier needs at least two classes; labels have one column")
    if y.shape[1] != len(names):
        raise InputError(f"labels have {y.shape[1]} columns for {len(names)} classes")
    targets = y.astype(np.float64)
    wrong = np.flatnonzero(~((targets >= 0) & (targets <= 1 + 1e-6)).all(1))
    if len(wrong):
        raise InputError(f"probabilities must be in [0, 1]; row {wrong[0]} is {y[wrong[0]].tolist()}")
    if not multi:
        total = targets.sum(1, keepdims=True)
        wrong = np.flatnonzero(np.abs(total[:, 0] - 1) > 1e-3)
        if len(wrong):
            raise InputError(f"soft labels must sum to one; row {wrong[0]} sums to {total[wrong[0], 0]:.4g}")
        targets /= total
    return names, targets.astype(np.float32)


def _from_sets(y: np.ndarray | list[Sequence[Label]], classes: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    rows = [[row] if isinstance(row, str | int | np.generic) else list(row) for row in y]
    if classes is None:
        classes = _as_classes(sorted({label for row in rows for label in row}))  # type: ignore[type-var]
    column = {label: k for k, label in enumerate(classes.tolist())}
    targets = np.zeros((len(rows), len(classes)), np.float32)
    for i, row in enumerate(rows):
        for label in row:
            if label not in column:
                raise InputError(f"label {label!r} in row {i} is not among the classes")
            targets[i, column[label]] = 1.0
    return classes, targets
