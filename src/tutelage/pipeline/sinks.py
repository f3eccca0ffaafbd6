"""Where predictions go: Parquet, JSON Lines, CSV or TSV, in a file that is whole or not there, or into a pipe.

A table goes to disk as it comes, so that any number of rows takes constant memory. A regular file is written under another
name beside it and renamed when all is there; devices, pipes and standard output are written as they are.
"""

from __future__ import annotations

import contextlib
import csv
import io
import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Protocol

import pyarrow as pa
import pyarrow.parquet as pq

from tutelage.data.json_values import finite, of_json, without_json
from tutelage.data.text import as_text
from tutelage.errors import InputError

FORMATS = (".parquet", ".jsonl", ".csv", ".tsv")
_DANGEROUS = ("=", "+", "-", "@", "\t", "\r")
"""First characters of a cell that a spreadsheet would run as a formula (OWASP, CSV injection)."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_GROUP_ROWS, _GROUP_BYTES = 131_072, 32 << 20  # a Parquet row group ends at the first of them


class _Sink(Protocol):
    def write(self, table: pa.Table) -> None: ...
    def finish(self) -> None: ...
    def abandon(self) -> None: ...


class Writer:
    """One place to write tables to; leaving the block without an error puts the file in its place.

    `kind` is the format as an ending.
    """

    def __init__(self, name: str, stream: IO[bytes], kind: str, target: Path | None, temporary: Path | None) -> None:
        self._name, self._stream, self._target, self._temporary = name, stream, target, temporary
        self._owned = stream is not getattr(sys.stdout, "buffer", None)
        self.kind = kind
        self._sink: _Sink = _SINKS[kind](stream)

    @classmethod
    def open(cls, sink: str | Path, format: str | None = None) -> Writer:
        """A writer to a file, or to standard output ("-"); `format` where the name does not tell.

        Raises: InputError: an unknown ending, a folder, or a place that cannot be written.
        """
        if str(sink) == "-":
            if sys.stdout is None:
                raise InputError("cannot write to standard output: it is closed; name a file with --out")
            return cls("standard output", sys.stdout.buffer, _kind(f".{format or 'jsonl'}", "it"), None, None)
        given = Path(sink)
        kind = _kind(f".{format}" if format else given.suffix.lower(), given)
        if given.is_dir():
            raise InputError(f"cannot write {given}: it is a folder")
        with writing(given):
            if given.exists() and not given.is_file():
                return cls(str(given), given.open("wb"), kind, None, None)
            target = given.resolve()  # the file behind a link is replaced, not the link
            temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
            return cls(str(given), temporary.open("wb"), kind, target, temporary)

    def write(self, table: pa.Table) -> None:
        """Raises: InputError: the disk is full, or whatever else the system says."""
        with writing(self._name):
            self._sink.write(table)

    def append(self, file: Path) -> None:
        """Write what another writer has put into a file: JSON Lines as they are, Parquet in the form that this one has.

        Raises: InputError: as `write`.
        """
        if file.suffix == ".jsonl":
            with writing(self._name), file.open("rb") as stream:
                shutil.copyfileobj(stream, self._stream, 1 << 20)
            return
        with pq.ParquetFile(file, pre_buffer=False) as stored:
            for batch in stored.iter_batches(8192):
                self.write(pa.Table.from_batches([batch]))

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            with writing(self._name):
                if kind is not None:
                    self._sink.abandon()
                else:
                    self._sink.finish()
                    self._stream.flush()
                    if self._temporary and self._target:
                        self._stream.close()
                        self._temporary.replace(self._target)
        finally:
            if self._owned:
                with contextlib.suppress(OSError):  # closing flushes; on a full disk that fails again
                    self._stream.close()
            if self._temporary:
                self._temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def writing(name: object) -> Iterator[None]:
    """What the system says against writing as one line; a reader that has gone is no error of ours."""
    try:
        yield
    except BrokenPipeError:
        raise
    except (OSError, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or " ".join(str(error).split())[:300]
        raise InputError(f"cannot write {name}: {reason}") from None


def safe_cell(value: object) -> object:
    """A CSV cell that no spreadsheet will run: text that begins like a formula, and is no number, gets an apostrophe.

    >>> safe_cell("=1+1"), safe_cell("-3.5"), safe_cell("fine")
    ("'=1+1", '-3.5', 'fine')
    """
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, list):
        value = "|".join(map(str, value))
    text = str(as_text(value) if isinstance(value, bytes | dict) else value).replace("\x00", "")
    return "'" + text if text.startswith(_DANGEROUS) and not _NUMBER.fullmatch(text) else text


def _kind(ending: str, target: object) -> str:
    if ending not in _SINKS:
        raise InputError(f"cannot write {target}: the ending must be one of {', '.join(FORMATS)} (or give --format)")
    return ending


class _Parquet:
    """Row groups of a size that readers like, whatever the size of the tables that come."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._writer: pq.ParquetWriter | None = None
        self._waiting: list[pa.Table] = []
        self._rows = self._bytes = 0

    def write(self, table: pa.Table) -> None:
        table = without_json(table)
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._stream, table.schema, compression="zstd")
        self._waiting.append(table)
        self._rows += table.num_rows
        self._bytes += table.nbytes
        if self._rows >= _GROUP_ROWS or self._bytes >= _GROUP_BYTES:
            self._flush(self._writer)

    def _flush(self, writer: pq.ParquetWriter) -> None:
        if self._waiting:
            writer.write_table(pa.concat_tables(self._waiting), row_group_size=_GROUP_ROWS)
            self._waiting.clear()
            self._rows = self._bytes = 0

    def finish(self) -> None:
        if self._writer is None:
            raise InputError("there was no usable text: nothing is written")
        self._flush(self._writer)
        self._writer.close()

    def abandon(self) -> None:
        if self._writer is not None:
            self._writer.is_open = False  # or pyarrow, collecting it, writes the footer into the closed file


class _JsonLines:
    """One object a line; what JSON has no form for becomes null (NaN, infinity) or a string (dates, bytes)."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self._encode = json.JSONEncoder(ensure_ascii=False, allow_nan=False, default=_plain).encode

    def write(self, table: pa.Table) -> None:
        rows = table.to_pylist()
        for name in of_json(table):
            for row in rows:
                row[name] = None if row[name] is None else json.loads(row[name])
        lines = [self._line(row) for row in rows]
        self._stream.write("".join(lines).encode("utf-8", "replace"))

    def _line(self, row: dict[str, object]) -> str:
        try:
            return self._encode(row) + "\n"
        except ValueError:
            return self._encode(finite(row)) + "\n"

    def finish(self) -> None:
        self._stream.flush()

    def abandon(self) -> None:
        pass


class _Csv:
    """CSV in which no cell starts a formula: such a cell gets a leading apostrophe, as spreadsheets write text."""

    delimiter = ","

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._header = stream, False

    def write(self, table: pa.Table) -> None:
        table = without_json(table)
        buffer = io.StringIO(newline="")
        writer = csv.writer(buffer, delimiter=self.delimiter, lineterminator="\n")
        if not self._header:
            writer.writerow([safe_cell(name) for name in table.column_names])
            self._header = True
        columns = (map(safe_cell, column.to_pylist()) for column in table.columns)
        writer.writerows(zip(*columns, strict=True))
        self._stream.write(buffer.getvalue().encode("utf-8", "replace"))

    def finish(self) -> None:
        self._stream.flush()

    def abandon(self) -> None:
        pass


class _Tsv(_Csv):
    delimiter = "\t"


_SINKS: dict[str, type] = {".parquet": _Parquet, ".jsonl": _JsonLines, ".csv": _Csv, ".tsv": _Tsv}


def _plain(value: object) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
