"""Readers: a file, a folder, standard input, a hub data set or an Arrow table becomes one Arrow table of texts.

| source | what is read |
|---|---|
| `.jsonl`, `.ndjson` | one object, or one string, a line |
| `.json` | a list of objects or strings, an object with one such list inside, or one object a line |
| `.csv`, `.tsv` | with a header line; `.csv` may be separated by commas, semicolons or tabs |
| `.parquet`, `.arrow`, `.feather` | row groups or record batches |
| `.txt` | one text a line |
| a folder | every `.txt` file in it, one text a file; the id is the file's path in the folder |
| `-` | standard input: JSON Lines when the first line is an object, else one text a line |
| `hf://name[:config][#split]` | a `datasets` id (extra `hub`) |

Text files may be compressed (`.gz`). A fault of the whole source raises `InputError`; a bad row is reported as a `Reject`
and skipped, or raises with `strict`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from tutelage.data.columns import TEXT_COLUMNS as TEXT_COLUMNS
from tutelage.data.columns import Columns, readable, row_groups
from tutelage.data.json_values import carried
from tutelage.data.parts import Part
from tutelage.data.readers import Row, raw_rows
from tutelage.data.tables import as_strings, column_faults, is_columnar, is_plain, mended, table_batches, table_schema
from tutelage.data.text import MAX_TEXT_BYTES, as_text, fault, text_id
from tutelage.errors import InputError


@dataclass(frozen=True)
class Reject:
    """A row that is not used. `row` counts from 1 as an editor shows it (lines for text formats, rows for tables).

    `reason` is one of empty, too_long, nul_bytes, invalid_utf8, not_text, bad_json, bad_csv, duplicate_id; `source` is the
    file where several are read as one.
    """

    row: int
    id: str | None
    reason: str
    source: str | None = None


OnReject = Callable[[Reject], None]


def read_texts(
    source: str | Path | pa.Table,
    *,
    text: str | None = None,
    id: str | None = None,
    keep: Mapping[str, str] | None = None,
    limit: int | None = None,
    strict: bool = False,
    on_reject: OnReject | None = None,
) -> pa.Table:
    """Read a corpus into memory: -> table with `id`, `text` and the kept columns, all strings.

    Args:
        source: see the module's table; an Arrow table is taken as it is.
        text: the text's column; found by name where it is not given.
        id: the id's column; else a column named "id"; where there is no id, it is made from the text (equal texts, equal
            ids).
        keep: other columns to carry along: our name -> the source's column, such as {"lang": "language"}; a value that
            is absent becomes "".
        limit: stop after so many good rows.
        strict: a bad row is an error instead of a reject.
        on_reject: called for every bad row, in the order of the rows.

    >>> table = read_texts(pa.table({"headline": ["Rain", "", "Sun"]}))
    >>> table["text"].to_pylist()
    ['Rain', 'Sun']

    Raises: InputError: no such file, unreadable, empty, no such column, no usable row; with `strict`, the first bad row.
    """
    keep = dict(keep or {})
    if keep.keys() & {"id", "text"}:
        raise InputError("a kept column cannot be called id or text: these are the table's own")
    if limit is not None and limit < 1:
        raise InputError(f"limit must be at least 1 row; got {limit}")
    tally = _Tally(_where(source), strict, on_reject)
    schema = pa.schema([(name, pa.string()) for name in ("id", "text", *keep)])
    batches: list[pa.RecordBatch] = []
    seen: set[str] = set()
    for piece in _pieces(Part(source, text), id, keep, 8192, everything=False):
        if not piece.batch.num_rows:
            tally.add(0, piece.rejects)
            continue
        texts = as_strings(piece.batch.column(piece.text))
        given = as_strings(piece.batch.column(piece.id)).to_pylist() if piece.id else [None] * len(texts)
        ids = _filled(given, texts)
        rows, rejects = [], list(piece.rejects)
        for row, key in enumerate(given):
            if key and key in seen:
                rejects.append(Reject(piece.numbers[row], key, "duplicate_id"))
            else:
                rows.append(row)
                seen.add(key or "")
        end = None
        if limit is not None and tally.good + len(rows) >= limit:
            rows = rows[: limit - tally.good]
            end = piece.numbers[rows[-1]]
        tally.add(len(rows), sorted((r for r in rejects if end is None or r.row < end), key=lambda r: r.row))
        kept = [as_strings(piece.batch.column(column)).fill_null("") for column in keep.values()]
        batch = pa.RecordBatch.from_arrays([pa.array(ids, pa.string()), texts, *kept], schema=schema)
        batches.append(batch if len(rows) == len(ids) else batch.take(pa.array(rows, pa.int64())))
        if end is not None:
            break
    tally.check()
    return pa.Table.from_batches(batches, schema)


def stream_texts(
    source: str | Path | pa.Table | Part,
    *,
    text: str | None = None,
    batch_rows: int = 8192,
    strict: bool = False,
    on_reject: OnReject | None = None,
) -> Iterator[pa.RecordBatch]:
    """Read a corpus of any size in constant memory: -> record batches with all columns of the source, in order.

    The text column's name is in `batch.schema.metadata[b"text"]`; bad rows are reported and left out. Parquet and Arrow
    columns keep their types, but that texts come as plain strings, not as dictionaries, views or bytes; other formats give
    strings, and their columns are those that the first 1,000 rows have. A column of JSON that holds other things than strings
    comes as JSON, which its field's metadata say (`json_values.is_json`). A batch has at most
    `batch_rows` rows, fewer where texts are long. A `Part` brings its own `text`, and may be without any row; its rows are
    numbered from 1.

    >>> [b.num_rows for b in stream_texts(pa.table({"text": ["a", None, "b"]}), batch_rows=2)]
    [1, 1]

    Raises: InputError: as `read_texts`, when the first batch is asked for or, of no usable row, at the end.
    """
    if batch_rows < 1:
        raise InputError(f"batch_rows must be at least 1; got {batch_rows}")
    part = source if isinstance(source, Part) else Part(source, text)
    tally = _Tally(_where(part.source), strict, on_reject)
    for piece in _pieces(part, None, {}, batch_rows, everything=True):
        tally.add(piece.batch.num_rows, piece.rejects)
        if piece.batch.num_rows:
            yield piece.batch.replace_schema_metadata({b"text": piece.text.encode()})
    if part is not source:
        tally.check()


@dataclass(frozen=True)
class _Piece:
    """Good rows with their numbers, and the rejects among them; the columns `text` and `id` by name."""

    batch: pa.RecordBatch
    numbers: Sequence[int]
    rejects: Sequence[Reject]
    text: str
    id: str | None


class _Tally:
    """Counts good and bad rows; passes on the bad ones, or raises for the first with `strict`."""

    def __init__(self, where: str, strict: bool, on_reject: OnReject | None) -> None:
        self.where, self.strict, self.on_reject = where, strict, on_reject
        self.good = 0
        self.bad: Counter[str] = Counter()
        self.first = 0

    def add(self, good: int, rejects: Iterable[Reject]) -> None:
        self.good += good
        for reject in rejects:
            self.first = self.first or reject.row
            self.bad[reject.reason] += 1
            if self.strict:
                raise bad_row(self.where, reject)
            if self.on_reject:
                self.on_reject(reject)

    def check(self) -> None:
        """Raises: InputError: no row was usable."""
        if self.good:
            return
        if not self.bad:
            raise InputError(f"{self.where} is empty: there is no text in it")
        reasons = ", ".join(f"{count} {reason}" for reason, count in self.bad.most_common())
        raise InputError(
            f"{self.where}: none of its {self.bad.total()} rows is usable: {reasons} (the first is row {self.first})"
        )


def bad_row(where: str, reject: Reject) -> InputError:
    """The error that a bad row is with `strict`."""
    row = f"row {reject.row}" + (f" (id {reject.id})" if reject.id else "")
    return InputError(f"{where}: {row}: {_EXPLAIN[reject.reason]} (without --strict the row is counted and skipped)")


_EXPLAIN = {
    "empty": "the text is empty",
    "too_long": f"the text is longer than {MAX_TEXT_BYTES:,} bytes",
    "nul_bytes": "the text holds NUL bytes",
    "invalid_utf8": "the text is not valid UTF-8",
    "not_text": "the value is not a text",
    "bad_json": "the line is not a JSON object",
    "bad_csv": "the line does not fit the CSV header: too many fields, or a stray quotation mark",
    "duplicate_id": "an earlier row has the same id",
}


def _where(source: str | Path | pa.Table) -> str:
    return "the table" if isinstance(source, pa.Table) else "standard input" if str(source) == "-" else str(source)


def _filled(ids: Sequence[str | None], texts: pa.Array) -> list[str]:
    """Given ids where there are some, else made ones."""
    missing = [row for row, key in enumerate(ids) if not key]
    values = texts.take(pa.array(missing, pa.int64())).to_pylist()
    made = {row: text_id(str(value)) for row, value in zip(missing, values, strict=True)}
    return [key or made[row] for row, key in enumerate(ids)]


def _pieces(part: Part, id: str | None, keep: Mapping[str, str], rows: int, *, everything: bool) -> Iterator[_Piece]:
    """A part in pieces of at most `rows` rows; with all columns, or only those that are asked for."""
    return (_column_pieces if is_columnar(part.source) else _row_pieces)(part, id, keep, rows, everything)


def _column_pieces(
    part: Part, id: str | None, keep: Mapping[str, str], rows: int, everything: bool
) -> Iterator[_Piece]:
    columns = Columns.of_schema(table_schema(part.source))
    text, id = columns.choose(_where(part.source), part.text, id, keep)
    wanted = part.columns if everything else _wanted(text, id, keep)
    start = 1
    for batch in table_batches(part.source, rows, wanted, part.start, part.stop):
        numbers = range(start, start + batch.num_rows)
        start += batch.num_rows
        bad = column_faults(batch.column(text))
        rejects: list[Reject] = []
        if bad:
            keys = as_strings(batch.column(id).take(pa.array(bad))).to_pylist() if id else [None] * len(bad)
            rejects = [Reject(numbers[row], key, bad[row]) for row, key in zip(bad, keys, strict=True)]
            good = np.ones(batch.num_rows, bool)
            good[list(bad)] = False
            batch = batch.filter(pa.array(good))
            numbers = np.asarray(numbers)[good].tolist()
        if not is_plain(batch.schema.field(text).type):
            batch = batch.set_column(batch.schema.get_field_index(text), text, as_strings(batch.column(text)))
        yield _Piece(mended(batch), numbers, rejects, text, id)


def _row_pieces(part: Part, id: str | None, keep: Mapping[str, str], rows: int, everything: bool) -> Iterator[_Piece]:
    names: Sequence[str] = []
    column = key = None
    for group in row_groups(raw_rows(part.source, part.start, part.stop), rows):
        head = readable(group)
        if column is None and head:
            columns = Columns.of_rows(head)
            if part.columns is not None:
                columns = Columns(part.columns, columns.strings)
            column, key = columns.choose(_where(part.source), part.text, id, keep)
            names = columns.names if everything else _wanted(column, key, keep)
        for start in range(0, len(group), rows):
            yield _piece(group[start : start + rows], names, column, key, typed=everything)


def _piece(group: Sequence[Row], names: Sequence[str], column: str | None, key: str | None, *, typed: bool) -> _Piece:
    numbers: list[int] = []
    good: list[dict[str, object]] = []
    rejects: list[Reject] = []
    for number, fields in group:
        if isinstance(fields, str):
            rejects.append(Reject(number, None, fields))
        elif reason := fault(fields.get(str(column))):
            rejects.append(Reject(number, as_text(fields.get(key)) if key else None, reason))
        else:
            numbers.append(number)
            good.append(fields)
    titles = [str(as_text(name)) for name in names]
    if typed:
        columns = [carried(title, [row.get(name) for row in good]) for title, name in zip(titles, names, strict=True)]
    else:
        columns = [
            (pa.field(title, pa.string()), pa.array([as_text(row.get(name)) for row in good], pa.string()))
            for title, name in zip(titles, names, strict=True)
        ]
    batch = pa.RecordBatch.from_arrays(
        [column for _, column in columns], schema=pa.schema([field for field, _ in columns])
    )
    return _Piece(batch, numbers, rejects, str(as_text(column or "")), as_text(key))


def _wanted(text: str, id: str | None, keep: Mapping[str, str]) -> list[str]:
    return list(dict.fromkeys(name for name in (text, id, *keep.values()) if name is not None))
