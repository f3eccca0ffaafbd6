"""Which columns a source has, which of them hold texts, and which is *the* text.

A columnar source says it in its schema; of any other source the first 1,000 rows are looked at, since a row of JSON need not
have every field.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import pyarrow as pa

from tutelage.data.readers import Row, raw_rows
from tutelage.data.tables import BATCH_BYTES, is_columnar, is_string, table_schema
from tutelage.errors import InputError

TEXT_COLUMNS = ("text", "content", "body", "document", "comment", "sentence", "description", "message", "title")
"""Where the text is looked for when no column is named, in this order, letter case aside."""

HEAD = 1000
"""Rows that are looked at to learn the columns of a source without a schema."""


@dataclass(frozen=True)
class Columns:
    """The columns of a source: all names in their order, and those of them in which there are strings.

    >>> columns = Columns(("Title", "n", "body"), frozenset({"Title", "body"}))
    >>> columns.text(), columns.find("N", "title")
    ('body', 'n')
    """

    names: tuple[str, ...]
    strings: frozenset[str]

    @classmethod
    def of_schema(cls, schema: pa.Schema) -> Columns:
        """The columns of an Arrow schema."""
        return cls(tuple(schema.names), frozenset(field.name for field in schema if is_string(field.type)))

    @classmethod
    def of_rows(cls, rows: Iterable[Mapping[str, object]]) -> Columns:
        """The columns of rows, in the order in which they appear."""
        held = list(rows)
        strings = {name for row in held for name, value in row.items() if isinstance(value, str)}
        return cls(tuple(dict.fromkeys(chain.from_iterable(held))), frozenset(strings))

    def find(self, *wanted: str) -> str | None:
        """The column that is called like the first of these names, letter case aside; None where there is none of them."""
        names = {name.lower(): name for name in reversed(self.names)}
        return next((names[name.lower()] for name in wanted if name.lower() in names), None)

    def text(self, besides: Iterable[str | None] = ()) -> str | None:
        """The column with one of the usual names of texts, strings first; None where there is none."""
        left = set(besides)
        named = [name for name in self.names if name.lower() in TEXT_COLUMNS and name not in left]
        fitting = [name for name in named if name in self.strings] or named
        return min(fitting, key=lambda name: TEXT_COLUMNS.index(name.lower()), default=None)

    def choose(
        self, where: str, text: str | None = None, id: str | None = None, keep: Mapping[str, str] | None = None
    ) -> tuple[str, str | None]:
        """The columns of text and id: as named, else by the usual names, else the only column that can be the text.

        Raises: InputError: a named column is not there, or no column stands out; the line begins with `where`.
        """
        keep = keep or {}
        listing = " ".join(", ".join(map(str, self.names)).split()) or "none"
        for role, column in (("text", text), ("id", id), *keep.items()):
            if column is not None and column not in self.names:
                raise InputError(f"{where} has no column {column!r} (asked for as {role}); it has: {listing}")
        text = text if text is not None else self.text([id])
        if text is None:
            taken = {id, "id", *keep.values()}
            others = [name for name in self.names if name in self.strings and name not in taken]
            if len(others) != 1:
                raise InputError(
                    f"{where}: which column holds the text? Name it with --text COLUMN; columns: {listing}"
                )
            text = others[0]
        if id is None:
            id = next((n for n in ("id", *self.names) if n.lower() == "id" and n in self.names and n != text), None)
        return text, id


def columns_of(source: str | Path | pa.Table) -> Columns:
    """The columns of a source, by its schema or its first rows (standard input cannot be read twice, so not of "-").

    >>> columns_of(pa.table({"id": [1], "text": ["a"]})).strings
    frozenset({'text'})

    Raises: InputError: missing, unreadable, empty, or not one row that can be read.
    """
    if is_columnar(source):
        return Columns.of_schema(table_schema(source))
    for group in row_groups(raw_rows(source), HEAD):
        if rows := readable(group):
            return Columns.of_rows(rows)
    raise InputError(f"{source}: there is no row in it that can be read")


def row_groups(stream: Iterator[Row], rows: int) -> Iterator[list[Row]]:
    """Rows in groups of `rows`, the first large enough to learn the columns from; a group of long texts ends earlier."""
    group: list[Row] = []
    wanted, size = max(rows, HEAD), 0
    for row in stream:
        group.append(row)
        if isinstance(row[1], dict):
            size += sum(len(value) for value in row[1].values() if isinstance(value, str))
        if len(group) >= wanted or size >= BATCH_BYTES:
            yield group
            group, wanted, size = [], rows, 0
    if group:
        yield group


def readable(group: Sequence[Row]) -> list[dict[str, object]]:
    """The fields of the first 1,000 rows of a group, without the faulty ones."""
    return [fields for _, fields in group[:HEAD] if isinstance(fields, dict)]
