"""Files in parts that several workers read at the same time: ranges of lines, row groups of Parquet, or whole files.

A part knows the text's column and the columns of the whole corpus, which its own rows alone might not tell, so that the parts
together give what one reader of all files would give.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import pyarrow as pa

from tutelage.data.columns import columns_of
from tutelage.data.readers import LINE_BYTES, LINES
from tutelage.data.tables import is_columnar, parquet_files, row_group_sizes, same_columns, suffix, table_schema
from tutelage.errors import InputError

_BLOCK = 1 << 20


@dataclass(frozen=True)
class Part:
    """A source, or a piece of one that can be read by itself.

    Attributes:
        source: what `tutelage.data.corpus` reads.
        text: the text's column; None to find it. columns: all columns to give; None for those that are found.
        start, stop: the piece [start, stop) in bytes of a file of lines, or in row groups of Parquet; None is the end.
    """

    source: str | Path | pa.Table
    text: str | None = None
    columns: tuple[str, ...] | None = None
    start: int = 0
    stop: int | None = None

    def rows(self) -> int:
        """How many row numbers a part of a cut file takes, bad rows and blank lines included."""
        path = Path(str(self.source))
        if suffix(path) == ".parquet":
            return sum(rows for rows, _ in row_group_sizes(path)[self.start : self.stop])
        return sum(block.count(b"\n") for block in _blocks(path, self.start, self.stop))


def parts_of(sources: Sequence[str | Path], *, text: str | None = None) -> list[Part]:
    """Files that make up one corpus, each a part, in their order.

    The first file says which columns there are and which is the text; the others must agree with it (columnar files) or are
    read for the same columns (other files). A folder of Parquet files stands for its files; of several files of lines those
    without a byte are left out.

    Raises: InputError: a file is missing or unreadable, has other columns than the first, or is of another kind.
    """
    files = [file for source in sources for file in _files(source)]
    files = [file for file in files if is_columnar(file) or not _is_empty(file)] or files
    if not files:
        raise InputError("no file is given")
    found = columns_of(files[0])
    where = str(files[0])
    column, _ = found.choose(where, text)
    for file in files[1:]:
        if is_columnar(file) != is_columnar(files[0]):
            raise InputError(f"{file} and {where} are of different kinds: label one kind of file at a time")
        if is_columnar(file):
            same_columns(table_schema(file), table_schema(files[0]), file, where)
    return [Part(str(file), column, found.names) for file in files]


def split(part: Part, size: int) -> list[Part]:
    """A whole file as parts of about `size` bytes, or as it is where its format cannot be cut.

    Plain files of lines (.jsonl, .ndjson, .txt) are cut between lines, Parquet between row groups.

    Raises: InputError: the file cannot be read.
    """
    path = Path(str(part.source))
    if suffix(path) == ".parquet":
        bounds = _row_group_bounds(path, size)
    elif suffix(path) in LINES and path.suffix.lower() != ".gz":
        bounds = _line_bounds(path, size)
    else:
        return [part]
    return [Part(part.source, part.text, part.columns, start, stop) for start, stop in pairwise(bounds)] or [part]


def _files(source: str | Path) -> list[str | Path]:
    if str(source) == "-":
        raise InputError("standard input is one stream: it cannot be one of several files, nor be cut into parts")
    inside = parquet_files(source) if not str(source).startswith("hf://") and Path(source).is_dir() else []
    return [*inside] or [source]


def _is_empty(source: str | Path) -> bool:
    """Whether it is a file of no bytes. Raises: InputError: it is not there."""
    if str(source).startswith("hf://"):
        return False
    path = Path(source)
    if not path.exists():
        raise InputError(f"no such file: {path}")
    return path.is_file() and path.stat().st_size == 0


def _row_group_bounds(path: Path, size: int) -> list[int]:
    bounds, held = [0], 0
    sizes = row_group_sizes(path)
    for group, (_, weight) in enumerate(sizes):
        if held and held + weight > size:
            bounds.append(group)
            held = 0
        held += weight
    return [*bounds, len(sizes)] if sizes else []


def _line_bounds(path: Path, size: int) -> list[int]:
    """Positions at which a line begins, about `size` bytes apart, and the end of the file."""
    try:
        with path.open("rb") as stream:
            end = stream.seek(0, 2)
            bounds = [0]
            while bounds[-1] + size < end:
                stream.seek(bounds[-1] + size - 1)
                while (line := stream.readline(LINE_BYTES)) and not line.endswith(b"\n"):
                    pass
                bounds.append(stream.tell())
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror or error}") from None
    return bounds if bounds[-1] == end else [*bounds, end]


def _blocks(path: Path, start: int, stop: int | None) -> Iterator[bytes]:
    with path.open("rb") as stream:
        left = (stop if stop is not None else path.stat().st_size) - stream.seek(start)
        while left > 0 and (block := stream.read(min(left, _BLOCK))):
            left -= len(block)
            yield block
