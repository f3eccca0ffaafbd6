"""What is in Arrow data that somebody else wrote: whether its parts fit one another, and its values as Python has them.

Arrow maps its files into memory and believes them: an offset that points outside of its buffer is followed, and the process
dies. So each batch of such a file is looked at before anything reads its values. Bytes that are not UTF-8 are no such fault in
a column of texts: they spoil their own row, and whoever reads the column deals with them.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa


def checked(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch as it is.

    >>> checked(pa.record_batch({"text": ["a", None]})).num_rows
    2

    Raises: pa.ArrowInvalid, pa.ArrowIndexError: an offset, length or index leaves its buffer; nested texts are not UTF-8.
    """
    for column in batch.columns:
        _check(column)
    return batch


def values_of(column: Any) -> list[object]:
    """A column without dictionary as Python values; texts and bytes as str where they are UTF-8, else as bytes.

    What Python cannot hold is "\ufffd": years beyond 9999, two fields of one name, nested texts that are not UTF-8.

    >>> values_of(pa.array(["a", None])), values_of(pa.array([b"\\xff"])), values_of(pa.array([2**40], pa.timestamp("s")))
    (['a', None], [b'\\xff'], ['�'])
    """
    if column.type in _AS_BYTES:
        column = column.cast(pa.large_binary())
    elif not is_bytes(column.type):
        return [_python(value) for value in column]
    return [None if raw is None else _text_or_bytes(raw) for raw in column.to_pylist()]


def is_bytes(kind: pa.DataType) -> bool:
    """Whether a column of this type holds bytes."""
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_fixed_size_binary(kind)


def _check(column: pa.Array) -> None:
    if isinstance(column, pa.DictionaryArray):
        column.validate()
        _check(column.indices)
        _check(column.dictionary)
        pa.DictionaryArray.from_arrays(column.indices, pa.nulls(len(column.dictionary)))  # looks at every index
    elif column.type in _AS_BYTES:
        column.validate()
        column.view(_AS_BYTES[column.type]).validate(full=True)
    else:
        column.validate(full=True)


def _python(value: Any) -> object:
    try:
        return value.as_py()
    except (ValueError, OverflowError):
        return "\ufffd"


def _text_or_bytes(raw: bytes) -> str | bytes:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        return raw


_AS_BYTES = {pa.string(): pa.binary(), pa.large_string(): pa.large_binary(), pa.string_view(): pa.binary_view()}
"""Types of texts, and what their bytes are when nobody asks whether they are UTF-8."""
