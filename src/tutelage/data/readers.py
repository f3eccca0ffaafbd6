"""Rows of every format that a corpus may come in; `corpus` decides which column is the text and what is a fault.

A row is (number, fields) or (number, reason): numbers count from 1 as an editor shows them (lines of a text format, entries
of a JSON list), a reason is why there are no fields. Memory is bounded for every line-based and columnar format, whatever the
size of the file.
"""

from __future__ import annotations

import codecs
import gzip
import io
import json
import re
import sys
import zlib
from collections.abc import Iterator
from contextlib import nullcontext
from itertools import chain
from pathlib import Path
from typing import IO, Any

import pyarrow as pa

from tutelage.data.csv_rows import Line, csv_rows
from tutelage.data.tables import is_columnar, mended, suffix, table_batches
from tutelage.data.text import MAX_TEXT_BYTES, as_text
from tutelage.errors import InputError, MissingExtra

Row = tuple[int, dict[str, object] | str]
FORMATS = ".jsonl, .ndjson, .json, .csv, .tsv, .parquet, .arrow, .feather, .txt (or .gz of a text format)"
LINES = (".jsonl", ".ndjson", ".txt")
"""Formats in which a line is a row, whatever stands in the lines around it."""
LINE_BYTES = 4 * MAX_TEXT_BYTES
"""A longer line holds no text that could be used; it is skipped without being kept in memory."""
WHOLE_BYTES = 1 << 30
"""A file that can only be read whole is refused beyond; a small .gz may unpack to any size."""

_OBJECT = re.compile(r'\s*\{\s*["}]')
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def read_rows(source: str | Path | pa.Table) -> Iterator[Row]:
    """All rows of a source, in strings that are valid: bytes that are not UTF-8 become U+FFFD.

    Raises: InputError: missing, unreadable or of an unknown format.
    """
    if is_columnar(source):
        batches = (mended(batch) for batch in table_batches(source, 1024))
        yield from enumerate(chain.from_iterable(batch.to_pylist() for batch in batches), 1)
        return
    for number, fields in raw_rows(source):
        if isinstance(fields, dict):
            fields = {str(as_text(name)): as_text(x) if isinstance(x, str) else x for name, x in fields.items()}
        yield number, fields


def raw_rows(source: str | Path | pa.Table, start: int = 0, stop: int | None = None) -> Iterator[Row]:
    """The rows of a source that is not columnar. Bytes that are not UTF-8 come as lone surrogates: the caller decides.

    Args:
        start, stop: of a plain file of `LINES`, the bytes [start, stop) only; both must be the beginning of a line.

    Raises: InputError: missing, unreadable or of an unknown format.
    """
    if str(source) == "-":
        return _sniffed(_lines(sys.stdin.buffer, "standard input"))
    if str(source).startswith("hf://"):
        return _hub_rows(str(source))
    path = Path(str(source))
    if path.is_dir():
        return _folder_rows(path)
    match suffix(path):
        case ".jsonl" | ".ndjson":
            return _json_lines(_lines(_open(path, start, stop), path, start))
        case ".json":
            return _json_rows(_open(path), path)
        case ".csv":
            return csv_rows(_lines(_open(path), path), ",;\t", path)
        case ".tsv":
            return csv_rows(_lines(_open(path), path), "\t", path)
        case ".txt":
            return _plain(_lines(_open(path, start, stop), path, start))
        case other:
            if not path.exists():
                raise InputError(f"no such file: {path}")
            raise InputError(f"{path}: cannot read {other or 'a file without ending'}; readable are {FORMATS}")


class _Window(io.RawIOBase):
    """The bytes [start, stop) of a file."""

    def __init__(self, path: Path, start: int, stop: int) -> None:
        self._file = io.FileIO(path)
        self._left = stop - self._file.seek(start)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any, /) -> int:
        count = self._file.readinto(memoryview(buffer)[: self._left]) or 0
        self._left -= count
        return count

    def close(self) -> None:
        self._file.close()
        super().close()


def _open(path: Path, start: int = 0, stop: int | None = None) -> IO[bytes]:
    """The bytes of a file, decompressed; it has some, and they are not UTF-16."""
    try:
        if stop is not None:
            return io.BufferedReader(_Window(path, start, stop))
        stream = gzip.open(path) if path.suffix.lower() == ".gz" else path.open("rb")  # noqa: SIM115 - the reader closes it
        first = stream.read(2)
        stream.seek(0)
    except FileNotFoundError:
        raise InputError(f"no such file: {path}") from None
    except (OSError, EOFError, zlib.error) as error:
        raise _unreadable(path, error) from None
    if not first:
        raise InputError(f"{path} is empty: there is no text in it")
    if first in _UTF16:
        raise InputError(f"{path} is encoded as UTF-16; save it as UTF-8")
    return stream  # type: ignore[return-value]


def _unreadable(where: object, error: Exception) -> InputError:
    return InputError(f"cannot read {where}: {getattr(error, 'strerror', None) or ' '.join(str(error).split())}")


def _lines(stream: IO[bytes], where: object, start: int = 0) -> Iterator[Line]:
    """Lines with their ends as (number, line, reason); an over-long one keeps only an odd quotation mark, for `csv_rows`.

    `start` is where in its file the stream begins: only there may be a mark of the byte order.
    """
    with nullcontext(stream) if stream is getattr(sys.stdin, "buffer", None) else stream:
        number = 0
        try:
            while line := stream.readline(LINE_BYTES):
                number += 1
                if len(line) == LINE_BYTES and not line.endswith(b"\n"):
                    quotes = line.count(b'"')
                    while (rest := stream.readline(LINE_BYTES)) and not rest.endswith(b"\n"):
                        quotes += rest.count(b'"')
                    yield number, '"\n' if (quotes + rest.count(b'"')) % 2 else "\n", "too_long"
                    continue
                if number == 1 and start == 0:
                    line = line.removeprefix(codecs.BOM_UTF8)
                yield number, line.decode("utf-8", "surrogateescape"), None
        except (OSError, EOFError, zlib.error) as error:
            raise _unreadable(where, error) from None


def _json_lines(lines: Iterator[Line]) -> Iterator[Row]:
    for number, line, reason in lines:
        if reason:
            yield number, reason
        elif line.strip():
            try:
                value = json.loads(line)
            except (ValueError, RecursionError):
                value = None
            yield number, _fields(value)


def _fields(value: object) -> dict[str, object] | str:
    """An object, with names that can be written; a bare string as a text."""
    if isinstance(value, dict):
        return value if all(map(str.isascii, value)) else {str(as_text(name)): x for name, x in value.items()}
    return {"text": value} if isinstance(value, str) else "bad_json"


def _plain(lines: Iterator[Line]) -> Iterator[Row]:
    for number, line, reason in lines:
        yield number, reason or {"text": line.removesuffix("\n").removesuffix("\r")}


def _sniffed(lines: Iterator[Line]) -> Iterator[Row]:
    head: list[Line] = []
    for line in lines:
        head.append(line)
        if line[1].strip():
            break
    lines = chain(head, lines)
    return _json_lines(lines) if head and _OBJECT.match(head[-1][1]) else _plain(lines)


def _json_rows(stream: IO[bytes], path: Path) -> Iterator[Row]:
    with stream:
        try:
            raw = stream.read(WHOLE_BYTES + 1)
        except (OSError, EOFError, zlib.error) as error:
            raise _unreadable(path, error) from None
    if len(raw) > WHOLE_BYTES:
        raise InputError(
            f"{path}: over {WHOLE_BYTES:,} bytes, too many to read whole; give one object a line, as .jsonl"
        )
    try:
        data = json.loads(raw.decode("utf-8-sig", "surrogateescape"))
    except json.JSONDecodeError as error:
        if error.msg == "Extra data" and raw.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"{"):
            yield from _json_lines(_lines(io.BytesIO(raw), path))
            return
        raise InputError(f"{path}: not valid JSON ({error}); for one object a line use .jsonl") from None
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path}: not usable JSON ({error}); for one object a line use .jsonl") from None
    if isinstance(data, dict):
        lists = [value for value in data.values() if isinstance(value, list)]
        data = lists[0] if len(lists) == 1 else None
    if not isinstance(data, list):
        raise InputError(f"{path}: expected a list of objects, or an object that holds exactly one list")
    for number, row in enumerate(data, 1):
        yield number, _fields(row)


def _folder_rows(folder: Path) -> Iterator[Row]:
    """One text a file, the id is its path in the folder; the number is its place in the sorted list."""
    files = sorted(file for file in folder.rglob("*.txt") if file.is_file())
    if not files:
        raise InputError(f"{folder} holds no .txt file; give a folder of .txt files, or one file ({FORMATS})")
    for number, file in enumerate(files, 1):
        try:
            with file.open("rb") as stream:
                raw = stream.read(MAX_TEXT_BYTES + len(codecs.BOM_UTF8) + 1)
        except OSError as error:
            raise _unreadable(file, error) from None
        raw = raw.removeprefix(codecs.BOM_UTF8)
        yield number, {"id": file.relative_to(folder).as_posix(), "text": raw.decode("utf-8", "surrogateescape")}


def _hub_rows(address: str) -> Iterator[Row]:
    """`hf://name[:config][#split]`: a hub id, or a folder that `datasets` can load; the split is "train" by default."""
    try:
        import datasets
    except ImportError:
        raise MissingExtra(f"reading {address}", "hub") from None
    name, _, split = address.removeprefix("hf://").partition("#")
    name, _, config = name.partition(":")
    try:
        rows = datasets.load_dataset(name, config or None, split=split or "train", streaming=True)
        for number, fields in enumerate(rows, 1):
            yield number, dict(fields)
    except Exception as error:  # the hub client raises many kinds; each means that the set cannot be had
        reason = " ".join(str(error).split()) or type(error).__name__
        raise InputError(f"cannot load data set {address}: {reason[:300]}") from None
