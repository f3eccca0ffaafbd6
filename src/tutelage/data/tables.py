"""Columnar sources (Parquet, Arrow, a table in memory) as record batches, and what may be wrong inside a column of texts.

Columns are judged as a whole: only values that look odd become Python objects, so that a clean file costs no object a text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute

from tutelage.data.arrow_values import checked, is_bytes, values_of
from tutelage.data.text import MAX_TEXT_BYTES, as_text, fault
from tutelage.errors import InputError

COLUMNAR = {".parquet", ".arrow", ".feather"}
BATCH_BYTES = 64 << 20
"""About how much text a batch may hold, whatever the number of its rows."""

pc: Any = pyarrow.compute  # its functions are made at import time, where no type checker sees them


def suffix(source: str | Path) -> str:
    """The ending that tells the format, lower case; that of the inner file for `.gz`.

    >>> suffix("news.JSONL.gz"), suffix("-")
    ('.jsonl', '')
    """
    if str(source) == "-" or str(source).startswith("hf://"):
        return ""
    endings = [s.lower() for s in Path(source).suffixes]
    return endings[-2] if endings[-1:] == [".gz"] and len(endings) > 1 else (endings or [""])[-1]


def is_columnar(source: str | Path | pa.Table) -> bool:
    """Whether a source is read by columns: a table, a file that ends like one, or a folder of Parquet files."""
    if isinstance(source, pa.Table) or suffix(source) in COLUMNAR:
        return True
    return str(source) != "-" and not str(source).startswith("hf://") and bool(parquet_files(source))


def parquet_files(folder: str | Path) -> list[Path]:
    """The Parquet files of a folder, in the order of their paths; empty where it has none, or is no folder.

    Data sets are folders to Spark, Ray and pandas. Names that begin with "." or "_" are theirs to keep books.
    """
    found = sorted(Path(folder).rglob("*.parquet"))
    inside = [file.relative_to(folder).parts for file in found]
    kept = [not any(part.startswith((".", "_")) for part in parts) for parts in inside]
    return [file for file, good in zip(found, kept, strict=True) if good and file.is_file()]


def row_group_sizes(path: str | Path) -> list[tuple[int, int]]:
    """Rows and bytes (before compression) of each row group of a Parquet file. Raises: InputError: missing or damaged."""
    import pyarrow.parquet as pq

    with _readable(Path(path)):
        about = pq.read_metadata(path)
        groups = [about.row_group(group) for group in range(about.num_row_groups)]
        return [(group.num_rows, group.total_byte_size) for group in groups]


def table_schema(source: str | Path | pa.Table) -> pa.Schema:
    """Names and types of the columns. Raises: InputError: missing, unreadable, or two columns of one name."""
    with _opened(source) as (schema, _):
        repeated = sorted({name for name in schema.names if schema.names.count(name) > 1})
        if repeated:
            where = "the table" if isinstance(source, pa.Table) else source
            raise InputError(f"{where}: two columns have the same name: {' '.join(', '.join(repeated).split())}")
        return schema


def table_batches(
    source: str | Path | pa.Table,
    rows: int,
    columns: Sequence[str] | None = None,
    start: int = 0,
    stop: int | None = None,
) -> Iterator[pa.RecordBatch]:
    """A source in batches of at most `rows` rows, fewer where rows are long: all columns, or those named.

    Args:
        start, stop: of a Parquet file, the row groups [start, stop) only.

    Raises: InputError: missing or damaged.
    """
    with _opened(source, start, stop) as (_, batches):
        for batch in map(_without_views, batches(rows, columns and list(columns))):
            step = max(64, batch.num_rows * BATCH_BYTES // max(batch.nbytes, 1))
            for start in range(0, batch.num_rows, step):
                yield batch.slice(start, step)


def is_string(kind: pa.DataType) -> bool:
    """Whether a column of this type holds texts, as they are or in a dictionary."""
    return is_plain(_value_type(kind)) or pa.types.is_string_view(_value_type(kind))


def is_plain(kind: pa.DataType) -> bool:
    """Whether the texts of a column lie one after the other, as every kernel and student takes them."""
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)


def column_faults(column: pa.Array) -> dict[int, str]:
    """Which values cannot be used as a text, and why: position -> reason (see `text.fault`).

    >>> column_faults(pa.array(["fine", None, " ", "a\\x00b"]))
    {1: 'empty', 2: 'empty', 3: 'nul_bytes'}
    """
    plain = _decoded(column)
    if not is_string(plain.type) or not _valid(plain):
        suspects = range(len(plain))
    else:
        size = pc.fill_null(pc.binary_length(plain), 0).to_numpy(zero_copy_only=False)
        visible = pc.fill_null(pc.match_substring_regex(plain, "[!-~]"), False).to_numpy(zero_copy_only=False)
        odd = (size > MAX_TEXT_BYTES) | ~visible  # blank, or in a script without ASCII: a closer look decides
        if _holds_nul(plain):
            odd |= pc.fill_null(pc.match_substring(plain, "\x00"), False).to_numpy(zero_copy_only=False)
        suspects = np.flatnonzero(odd).tolist()
    if not suspects:
        return {}
    values = values_of(plain.take(pa.array(suspects, pa.int64())))
    found = ((position, fault(value)) for position, value in zip(suspects, values, strict=True))
    return {position: reason for position, reason in found if reason}


def as_strings(column: pa.Array) -> pa.Array:
    """Any column as strings: nested values as JSON, bytes that are not UTF-8 as U+FFFD, nulls stay.

    >>> as_strings(pa.array([{"a": 1}, None])).to_pylist()
    ['{"a": 1}', None]
    """
    plain = _decoded(column)
    if pa.types.is_integer(plain.type) or (is_string(plain.type) and _valid(plain)):
        return plain.cast(pa.string())
    if is_bytes(plain.type):
        with suppress(pa.ArrowInvalid):  # some are not UTF-8
            return plain.cast(pa.string())
    return pa.array([as_text(value) for value in values_of(plain)], pa.string())


def mended(batch: pa.RecordBatch) -> pa.RecordBatch:
    """The batch with valid strings only, so that any program can read it on: bytes that are not UTF-8 become U+FFFD."""
    for position, field in enumerate(batch.schema):
        column = batch.column(position)
        if is_string(field.type) and not _valid(column):
            batch = batch.set_column(position, field.name, as_strings(column).cast(_value_type(field.type)))
    return batch


@contextmanager
def _opened(source: str | Path | pa.Table, start: int = 0, stop: int | None = None) -> Iterator[tuple[pa.Schema, Any]]:
    """Schema, and a function (rows, columns or None for all) -> batches, of a columnar source."""
    if not isinstance(source, str | Path):
        yield source.schema, lambda rows, columns: _picked(source, columns).to_batches(max_chunksize=rows)
        return
    path = Path(source)
    with _readable(path), ExitStack() as stack:
        if path.is_dir():
            yield _folder(path, stack)
        elif suffix(path) == ".parquet":
            yield _parquet(path, stack, start, stop)
        else:
            yield _arrow(path, stack)


@contextmanager
def _readable(path: Path) -> Iterator[None]:
    """What may go wrong with a columnar file as one line."""
    try:
        if path.stat().st_size == 0 and path.is_file():
            raise InputError(f"{path} is empty: there is no text in it")
        yield
    except FileNotFoundError:
        raise InputError(f"no such file: {path}") from None
    except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError) as error:  # the last: names of columns
        message = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot read {path}: {' '.join(message.split())[:300]}") from None


def _folder(path: Path, stack: ExitStack) -> tuple[pa.Schema, Any]:
    """The Parquet files of a folder one after the other; all have the columns of the first."""
    files = parquet_files(path)
    if not files:
        raise InputError(f"the folder {path} holds no Parquet file")
    schema = table_schema(files[0])

    def batches(rows: int, columns: list[str] | None) -> Iterator[pa.RecordBatch]:
        for file in files:
            same_columns(table_schema(file), schema, file, files[0])
            yield from table_batches(file, rows, columns or schema.names)

    return schema, batches


def same_columns(schema: pa.Schema, first: pa.Schema, where: object, other: object) -> None:
    """Raises: InputError: two files of one corpus differ in the names or types of their columns."""
    ours, theirs = ({field.name: field.type for field in each} for each in (schema, first))
    if ours != theirs:
        name = next(name for name in [*theirs, *ours] if ours.get(name) != theirs.get(name))
        one, two = (f"{name}: {types[name]}" if name in types else f"no {name}" for types in (ours, theirs))
        raise InputError(f"{where} has other columns than {other} ({one}, there {two}): use them one by one")


def _parquet(path: Path, stack: ExitStack, start: int, stop: int | None) -> tuple[pa.Schema, Any]:
    import pyarrow.parquet as pq

    # a buffer, and no buffering ahead: a column of a row group is read in pieces, not at once
    file = stack.enter_context(pq.ParquetFile(path, buffer_size=1 << 20, pre_buffer=False))

    def batches(rows: int, columns: list[str] | None) -> Iterator[pa.RecordBatch]:
        for group in range(file.num_row_groups)[start:stop]:
            about = file.metadata.row_group(group)
            fitting = BATCH_BYTES * about.num_rows // max(about.total_byte_size, 1)
            for batch in file.iter_batches(max(1, min(rows, fitting)), row_groups=[group], columns=columns):
                yield batch.select(columns) if columns else batch

    return file.schema_arrow, batches


def _arrow(path: Path, stack: ExitStack) -> tuple[pa.Schema, Any]:
    import pyarrow.ipc as ipc

    memory = stack.enter_context(pa.memory_map(str(path)))
    whole = memory.read(6) == b"ARROW1"  # the file format has a footer, the stream format has not
    memory.seek(0)
    reader: Any = ipc.open_file(memory) if whole else ipc.open_stream(memory)

    def batches(rows: int, columns: list[str] | None) -> Iterator[pa.RecordBatch]:
        for batch in map(checked, (reader.get_batch(i) for i in range(reader.num_record_batches)) if whole else reader):
            yield from (_picked(batch.slice(start, rows), columns) for start in range(0, batch.num_rows, rows))

    return reader.schema, batches


def _picked(table: Any, columns: list[str] | None) -> Any:
    return table.select(columns) if columns else table


def _value_type(kind: Any) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _decoded(column: Any) -> pa.Array:
    """Dictionaries as their values."""
    return column.dictionary_decode() if pa.types.is_dictionary(column.type) else column


def _without_views(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Views as plain strings or bytes: Arrow cannot filter views yet."""
    for position, field in enumerate(batch.schema):
        if pa.types.is_string_view(field.type) or pa.types.is_binary_view(field.type):
            plain = batch.column(position).cast(pa.large_binary())  # by way of bytes: no check of UTF-8 here
            kind = pa.large_string() if pa.types.is_string_view(field.type) else pa.large_binary()
            batch = batch.set_column(position, field.name, plain.view(kind))
    return batch


def _valid(column: pa.Array) -> bool:
    try:
        column.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def _holds_nul(plain: Any) -> bool:
    _, bounds, data = plain.buffers()
    if bounds is None or data is None or not len(plain):
        return False
    width = np.int64 if pa.types.is_large_string(plain.type) else np.int32
    ends = np.frombuffer(bounds, width)[plain.offset : plain.offset + len(plain) + 1]
    piece = np.frombuffer(data, np.uint8)[ends[0] : ends[-1]]
    return bool(len(piece)) and int(piece.min()) == 0
