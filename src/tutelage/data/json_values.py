"""Values of JSON in Arrow columns: numbers, booleans and nested values that shall come out as they went in.

An Arrow column is of one type, a key of JSON Lines need not be. So a column that holds other things than strings is carried as a
column of JSON, one document a value, which the metadata of its field say; a sink turns it back, or into texts.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence

import pyarrow as pa

from tutelage.data.text import as_text

_MARK = {b"values": b"json"}


def carried(name: str, values: Sequence[object]) -> tuple[pa.Field, pa.Array]:
    """A field and its column for values of JSON: plain strings where there are only strings, else JSON.

    >>> field, column = carried("n", [7, "seven", None])
    >>> is_json(field), column.to_pylist()
    (True, ['7', '"seven"', None])
    """
    mixed = any(not isinstance(value, str | None) for value in values)
    texts = [None if value is None else json_text(value) if mixed else as_text(value) for value in values]
    return pa.field(name, pa.string(), metadata=_MARK if mixed else None), pa.array(texts, pa.string())


def is_json(field: pa.Field) -> bool:
    """Whether a column holds JSON, not plain strings."""
    return _MARK.items() <= (field.metadata or {}).items()


def of_json(table: pa.Table) -> list[str]:
    """The names of the columns that hold JSON."""
    return [field.name for field in table.schema if is_json(field)]


def without_json(table: pa.Table) -> pa.Table:
    """The table with JSON as texts: strings as they are, all else as JSON, so that a column is of one type."""
    for name in of_json(table):
        texts = [None if value is None else as_text(json.loads(value)) for value in table[name].to_pylist()]
        table = table.set_column(table.column_names.index(name), name, pa.array(texts, pa.string()))
    return table


def json_text(value: object) -> str:
    """A value of a JSON file as JSON; what is no character becomes U+FFFD, and a number that JSON does not have null.

    >>> json_text("a"), json_text(7), json_text(True), json_text([float("inf")])
    ('"a"', '7', 'true', '[null]')
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False)
    except ValueError:
        text = json.dumps(finite(value), ensure_ascii=False)
    return as_text(text) or ""


def finite(value: object) -> object:
    """A value without the numbers that JSON does not have.

    >>> finite({"a": [float("nan"), 1.5]})
    {'a': [None, 1.5]}
    """
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {name: finite(one) for name, one in value.items()}
    return [finite(one) for one in value] if isinstance(value, list) else value
