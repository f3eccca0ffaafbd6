"""Prediction at scale: any size of file through a student in constant memory, order kept, bad rows reported.

The student sees what it was trained on: texts cut to the same number of words. A prediction below the threshold abstains:
its label is null and its confidence stays.
"""

from __future__ import annotations

import contextlib
import csv
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Protocol

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tutelage.data.corpus import Reject, stream_texts
from tutelage.data.text import truncate_words
from tutelage.errors import InputError

if TYPE_CHECKING:
    from tutelage.students.base import Student

FORMATS = (".parquet", ".jsonl", ".csv", ".tsv")
_DANGEROUS = ("=", "+", "-", "@", "\t", "\r")
"""First characters of a cell that a spreadsheet would run as a formula (OWASP, CSV injection)."""
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


@dataclass
class Report:
    """What a prediction did: rows written, abstentions, counts by label, bad rows (at most a thousand are listed)."""

    rows: int = 0
    abstained: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    rejects: list[Reject] = field(default_factory=list)
    by_label: dict[str, int] = field(default_factory=dict)


def open_student(path: str | Path) -> Student:
    """The student of a run folder, or of an exported student folder. Raises: InputError: neither, or damaged."""
    from tutelage.students import load_student

    folder = Path(path)
    if (folder / "run.yaml").exists():
        if not (folder / "student" / "config.json").exists():
            raise InputError(f"the run {folder} has no student yet: run `tutelage train {folder}` first")
        folder = folder / "student"
    return load_student(folder)


def predict(
    student: Student,
    source: str | Path | pa.Table,
    sink: str | Path,
    *,
    text: str | None = None,
    threshold: float = 0.0,
    batch_rows: int = 8192,
    strict: bool = False,
    format: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Label every text of a source: all its columns plus `label` and `confidence` go to the sink.

    Args:
        source: whatever `tutelage.data.corpus` reads; "-" is standard input.
        sink: a .parquet, .jsonl, .csv or .tsv file, or "-" for JSON Lines on standard output.
        threshold: below this confidence the label is null.
        format: the sink's format where its name does not tell.
        progress: called with the number of rows written so far.

    Raises: InputError: unreadable source, unwritable sink, columns named like ours; nothing half-written is left under the
        sink's name.
    """
    if not 0 <= threshold <= 1:
        raise InputError(f"the threshold is a probability in [0, 1]; got {threshold}")
    report = Report()

    def on_reject(reject: Reject) -> None:
        report.rejected[reject.reason] = report.rejected.get(reject.reason, 0) + 1
        if len(report.rejects) < 1_000:
            report.rejects.append(reject)

    with _Writer.open(sink, format) as writer:
        for batch in stream_texts(source, text=text, batch_rows=batch_rows, strict=strict, on_reject=on_reject):
            table = label_batch(student, batch, threshold)
            writer.write(table)
            report.rows += table.num_rows
            report.abstained += table["label"].null_count
            for entry in pc.value_counts(_flat(table["label"])).to_pylist():
                if entry["values"] is not None:
                    report.by_label[entry["values"]] = report.by_label.get(entry["values"], 0) + entry["counts"]
            if progress:
                progress(report.rows)
    return report


def label_batch(student: Student, batch: pa.RecordBatch, threshold: float = 0.0) -> pa.Table:
    """One batch of `stream_texts` with label and confidence: what every engine maps over the data."""
    column = (batch.schema.metadata or {})[b"text"].decode()
    table = pa.Table.from_batches([batch]).replace_schema_metadata(None)
    for name in ("label", "confidence"):
        if name in table.column_names:
            raise InputError(f"the input already has a column {name!r}; rename it, so that it is not overwritten")
    limit = (student.provenance_ or {}).get("max_words")
    cut = _truncated(table[column], int(limit)) if limit else table[column]  # type: ignore[arg-type]
    labelled = student.predict_table(pa.table({column: cut}), column, label="label", confidence="confidence")
    label, confidence = labelled["label"], labelled["confidence"]
    if threshold > 0:
        label = pc.if_else(pc.greater_equal(confidence, pa.scalar(threshold, pa.float32())), label, None)
    return table.append_column("label", label).append_column("confidence", confidence)


def _truncated(texts: pa.ChunkedArray, words: int) -> pa.ChunkedArray:
    """Texts cut to so many words; only those long enough to have more are looked at."""
    long = pc.greater(pc.binary_length(texts), 2 * words)
    if not pc.any(long).as_py():
        return texts
    values = [truncate_words(t, words)[0] if t else t for t in texts.to_pylist()]
    return pa.chunked_array([pa.array(values, pa.large_string())])


def _flat(labels: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.list_flatten(labels) if pa.types.is_list(labels.type) else labels


class _Sink(Protocol):
    def write(self, table: pa.Table) -> None: ...
    def finish(self) -> None: ...


class _Writer:
    """Writes to a temporary file beside the sink and renames it when all is there."""

    def __init__(self, stream: IO[bytes], kind: str, target: Path | None, temporary: Path | None) -> None:
        self._stream, self._target, self._temporary = stream, target, temporary
        self._sink: _Sink = _SINKS[kind](stream)

    @classmethod
    def open(cls, sink: str | Path, format: str | None) -> _Writer:
        if str(sink) == "-":
            return cls(sys.stdout.buffer, f".{format or 'jsonl'}", None, None)
        target = Path(sink)
        kind = f".{format}" if format else target.suffix.lower()
        if kind not in _SINKS:
            raise InputError(
                f"cannot write {target}: the ending must be one of {', '.join(FORMATS)} (or give --format)"
            )
        if target.is_dir():
            raise InputError(f"cannot write {target}: it is a folder")
        temporary = target.with_name(f".{target.name}.{os.getpid()}.part")
        try:
            return cls(temporary.open("wb"), kind, target, temporary)
        except OSError as error:
            raise InputError(f"cannot write {target}: {error.strerror}") from None

    def write(self, table: pa.Table) -> None:
        try:
            self._sink.write(table)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise InputError(f"cannot write {self._target or 'standard output'}: {error.strerror or error}") from None

    def __enter__(self) -> _Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._sink.finish()
                self._stream.flush()
                if self._temporary and self._target:
                    self._stream.close()
                    self._temporary.replace(self._target)
        except BrokenPipeError:
            raise
        except OSError as error:
            raise InputError(f"cannot write {self._target or 'standard output'}: {error.strerror or error}") from None
        finally:
            if self._temporary:
                with contextlib.suppress(OSError):  # closing flushes; on a full disk that fails again
                    self._stream.close()
                self._temporary.unlink(missing_ok=True)


class _Parquet:
    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._writer = stream, None

    def write(self, table: pa.Table) -> None:
        if self._writer is None:
            self._writer = pq.ParquetWriter(self._stream, table.schema, compression="zstd")
        self._writer.write_table(table)

    def finish(self) -> None:
        if self._writer is None:
            raise InputError("there was no usable text: nothing is written")
        self._writer.close()


class _JsonLines:
    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream

    def write(self, table: pa.Table) -> None:
        for row in table.to_pylist():
            self._stream.write(json.dumps(row, ensure_ascii=False, default=str).encode("utf-8", "replace") + b"\n")

    def finish(self) -> None:
        self._stream.flush()


class _Csv:
    """CSV in which no cell starts a formula: such a cell gets a leading apostrophe, as spreadsheets write text."""

    delimiter = ","

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream, self._header = stream, False

    def write(self, table: pa.Table) -> None:
        if not self._header:
            self._stream.write(self._line(table.column_names))
            self._header = True
        for row in zip(*(column.to_pylist() for column in table.columns), strict=True):
            self._stream.write(self._line(row))

    def _line(self, row: Iterator[object] | tuple[object, ...] | list[str]) -> bytes:
        buffer = _Line()
        csv.writer(buffer, delimiter=self.delimiter, lineterminator="\n").writerow([safe_cell(cell) for cell in row])
        return buffer.value.encode("utf-8", "replace")

    def finish(self) -> None:
        self._stream.flush()


class _Tsv(_Csv):
    delimiter = "\t"


class _Line:
    value = ""

    def write(self, text: str) -> None:
        self.value += text


_SINKS: dict[str, type] = {".parquet": _Parquet, ".jsonl": _JsonLines, ".csv": _Csv, ".tsv": _Tsv}


def safe_cell(value: object) -> object:
    """A CSV cell that no spreadsheet will run: text that begins like a formula, and is no number, gets an apostrophe.

    >>> safe_cell("=1+1"), safe_cell("-3.5"), safe_cell("fine")
    ("'=1+1", '-3.5', 'fine')
    """
    if value is None or isinstance(value, int | float):
        return value
    if isinstance(value, list):
        value = "|".join(map(str, value))
    text = str(value).replace("\x00", "")
    return "'" + text if text.startswith(_DANGEROUS) and not _NUMBER.fullmatch(text) else text
