"""Prediction at scale: any size of file through a student in constant memory, order kept, bad rows reported.

The student sees what it was trained on: texts cut to the same number of words. A prediction below the threshold abstains:
its label is null and its confidence stays. `tutelage.pipeline.predict_ray` maps the same over several processes or machines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from tutelage.data.corpus import OnReject, Reject, stream_texts
from tutelage.data.parts import Part, parts_of
from tutelage.data.tables import is_columnar
from tutelage.data.text import truncate_words
from tutelage.errors import InputError
from tutelage.pipeline.sinks import Writer

if TYPE_CHECKING:
    from tutelage.students.base import Student

LISTED = 1_000
"""Bad rows that a report names; all of them are counted."""


@dataclass
class Report:
    """What a prediction did: rows written, abstentions, counts by label, bad rows."""

    rows: int = 0
    abstained: int = 0
    rejected: dict[str, int] = field(default_factory=dict)
    rejects: list[Reject] = field(default_factory=list)
    by_label: dict[str, int] = field(default_factory=dict)

    def add(self, labels: pa.ChunkedArray) -> None:
        """Count the labels that rows were given."""
        self.rows += len(labels)
        self.abstained += labels.null_count
        for entry in pc.value_counts(_flat(labels)).to_pylist():
            if entry["values"] is not None:
                name = str(entry["values"])
                self.by_label[name] = self.by_label.get(name, 0) + entry["counts"]

    def reject(self, reject: Reject) -> None:
        """Count a bad row."""
        self.rejected[reject.reason] = self.rejected.get(reject.reason, 0) + 1
        if len(self.rejects) < LISTED:
            self.rejects.append(reject)

    def merge(self, other: Report, *, source: str | None = None, offset: int = 0) -> None:
        """Add what was done with a part, whose rows begin after `offset` rows of `source`."""
        self.rows += other.rows
        self.abstained += other.abstained
        for ours, theirs in ((self.rejected, other.rejected), (self.by_label, other.by_label)):
            for name, count in theirs.items():
                ours[name] = ours.get(name, 0) + count
        listed = (replace(one, row=one.row + offset, source=source) for one in other.rejects)
        self.rejects += list(listed)[: LISTED - len(self.rejects)]

    def check(self) -> None:
        """Raises: InputError: not one row was usable."""
        if not self.rows:
            reasons = ", ".join(f"{count:,} {reason}" for reason, count in self.rejected.items())
            raise InputError(f"there is no usable text in the files{f': {reasons}' if reasons else ''}")


def open_student(path: str | Path) -> Student:
    """The student of a run folder, or of an exported student folder. Raises: InputError: neither, or damaged."""
    from tutelage.students import load_student

    return load_student(student_folder(path))


def student_folder(path: str | Path) -> Path:
    """Where the student of a run lies; another folder as it is. Raises: InputError: the run has no student yet."""
    folder = Path(path)
    if not (folder / "run.yaml").exists():
        return folder
    if not (folder / "student" / "config.json").exists():
        raise InputError(f"the run {folder} has no student yet: run `tutelage train {folder}` first")
    return folder / "student"


def predict(
    student: Student,
    source: str | Path | pa.Table | Sequence[str | Path],
    sink: str | Path,
    *,
    text: str | None = None,
    threshold: float = 0.0,
    prefix: str = "",
    batch_rows: int = 8192,
    strict: bool = False,
    format: str | None = None,
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Label every text of a source: all its columns plus `label` and `confidence` go to the sink.

    Args:
        source: whatever `tutelage.data.corpus` reads; "-" is standard input. Several files follow each other and must have
            the same columns.
        sink: a .parquet, .jsonl, .csv or .tsv file, or "-" for JSON Lines on standard output.
        threshold: below this confidence the label is null.
        prefix: what the names of the new columns begin with.
        format: the sink's format where its name does not tell.
        progress: called with the number of rows written so far.

    Raises: InputError: unreadable source, unwritable sink, columns named like ours; nothing half-written is left under the
        sink's name.
    """
    check_threshold(threshold)
    report = Report()
    with Writer.open(sink, format) as writer:
        for part in _parts(source, text):
            name = str(part.source) if isinstance(part, Part) else None
            options = {"threshold": threshold, "prefix": prefix, "batch_rows": batch_rows, "strict": strict}

            def bad(reject: Reject, name: str | None = name) -> None:
                report.reject(replace(reject, source=name))

            for table in labelled(student, part, text=text, on_reject=bad, **options):
                writer.write(table)
                report.add(table[f"{prefix}label"])
                if progress:
                    progress(report.rows)
        report.check()
    return report


def labelled(
    student: Student,
    source: str | Path | pa.Table | Part,
    *,
    text: str | None = None,
    threshold: float = 0.0,
    prefix: str = "",
    batch_rows: int = 8192,
    strict: bool = False,
    on_reject: OnReject | None = None,
) -> Iterator[pa.Table]:
    """A source, batch by batch, with label and confidence: what every engine does with its share of the data."""
    for batch in stream_texts(source, text=text, batch_rows=batch_rows, strict=strict, on_reject=on_reject):
        yield label_batch(student, batch, threshold, prefix)


def label_batch(student: Student, batch: pa.RecordBatch, threshold: float = 0.0, prefix: str = "") -> pa.Table:
    """One batch of `stream_texts` with label and confidence, whose names begin with `prefix`."""
    column = (batch.schema.metadata or {})[b"text"].decode()
    table = pa.Table.from_batches([batch]).replace_schema_metadata(None)
    for name in (f"{prefix}label", f"{prefix}confidence"):
        if name in table.column_names:
            raise InputError(
                f"the input already has a column {name!r}, which would be overwritten: give the new ones another name, "
                "with --prefix predicted_ or the like"
            )
    limit = (student.provenance_ or {}).get("max_words")
    cut = _truncated(table[column], limit) if isinstance(limit, int) and limit > 0 else table[column]
    named = student.predict_table(pa.table({column: cut}), column, label="label", confidence="confidence")
    label, confidence = named["label"], named["confidence"]
    if threshold > 0:
        label = pc.if_else(pc.greater_equal(confidence, pa.scalar(threshold, pa.float32())), label, None)
    return table.append_column(f"{prefix}label", label).append_column(f"{prefix}confidence", confidence)


def check_threshold(threshold: float) -> None:
    """Raises: InputError: it is no probability."""
    if not 0 <= threshold <= 1:
        raise InputError(f"the threshold is a probability in [0, 1]; got {threshold}")


def _parts(
    source: str | Path | pa.Table | Sequence[str | Path], text: str | None
) -> Sequence[str | Path | pa.Table | Part]:
    """Several files, and the files of a folder of Parquet, as parts of one corpus; any other source as it is."""
    if isinstance(source, pa.Table):
        return [source]
    given = [source] if isinstance(source, str | Path) else list(source)
    if len(given) == 1 and (str(given[0]) == "-" or not (Path(given[0]).is_dir() and is_columnar(given[0]))):
        return given
    return parts_of(given, text=text)


def _truncated(texts: pa.ChunkedArray, words: int) -> pa.ChunkedArray:
    """Texts cut to so many words; only those long enough to have more are looked at."""
    long = pc.greater(pc.binary_length(texts), 2 * words)
    if not pc.any(long).as_py():
        return texts
    values = [truncate_words(t, words)[0] if t else t for t in texts.to_pylist()]
    return pa.chunked_array([pa.array(values, pa.large_string())])


def _flat(labels: pa.ChunkedArray) -> pa.ChunkedArray:
    return pc.list_flatten(labels) if pa.types.is_list(labels.type) else labels
