"""Answers in and out of a run's ledger: exports for other tools, imports of labels that others have paid for."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tutelage.data.columns import columns_of
from tutelage.data.corpus import Reject, read_texts
from tutelage.data.labels import LabelScheme
from tutelage.errors import InputError
from tutelage.pipeline.annotate import annotate
from tutelage.pipeline.config import RunConfig, TeacherConfig, TextsConfig
from tutelage.pipeline.folder import Run, write_atomically
from tutelage.pipeline.held_out import GOLD_COLUMNS, labels_of
from tutelage.pipeline.pool import prepare
from tutelage.pipeline.sinks import safe_cell
from tutelage.pipeline.teacher import IMPORTED, Imported

_STATUS_OK = {"", "ok", "submitted", "accepted", "completed"}


def export_labels(run: Run, path: Path) -> int:
    """Write all answers of the ledger: id, label, status, probabilities, provenance -> number of rows.

    Raises: InputError: the ending is not .parquet, .jsonl or .csv, or the file cannot be written.
    """
    with run.ledger(readonly=True) as ledger:
        table = ledger.to_table()
    try:
        match path.suffix.lower():
            case ".parquet":
                sink = pa.BufferOutputStream()
                pq.write_table(table, sink, compression="zstd")
                data = sink.getvalue().to_pybytes()
            case ".jsonl":
                data = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in table.to_pylist()).encode()
            case ".csv":
                data = _csv(table)
            case ending:
                raise InputError(
                    f"cannot write {path}: the ending must be .parquet, .jsonl or .csv, not {ending or 'none'}"
                )
        write_atomically(path, data)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from None
    return table.num_rows


def run_for_import(path: Path, file: Path, labels: str | None, *, text: str | None, id: str | None) -> Run:
    """The run at `path`, or with a scheme a new one whose texts are the file's own.

    Raises: InputError: no run there and no scheme given.
    """
    if (path / "run.yaml").exists():
        return Run(path)
    if labels is None:
        raise InputError(f"no run at {path}; with --labels SCHEME one is made from the texts of {file}")
    config = RunConfig(
        texts=TextsConfig(source=str(file.resolve()), text=text, id=id),
        labels=LabelScheme.load(labels),
        teacher=TeacherConfig(spec=f"{IMPORTED}{file.name}"),
    )
    return Run.create(path, config)


def import_labels(run: Run, file: Path, *, text: str | None = None, id: str | None = None) -> dict[str, int]:
    """Read labels into the ledger and the run's annotations: -> counts imported, skipped, unknown (not in the pool).

    The file is an export of a ledger, or any table that `read_texts` takes with a column `label` (or another of the usual
    names), or with one column of 0 and 1 for each label of a multi-label scheme. Rows are matched to the pool by text, or
    by id where there is no text. Rows whose `status` says that they failed, or with an empty cell, are skipped.

    Raises: InputError: no labels in the file, a label outside the scheme, or no row that belongs to the pool.
    """
    from tutelage.teachers.base import text_fingerprint
    from tutelage.teachers.ledger import Answer

    teacher = Imported(f"{IMPORTED}{file.name}#{_checksum(file)}")
    scheme = run.config.labels
    rows, skipped = _labelled_rows(file, scheme, text, id)
    prepare(run)
    tables = [run.table(name).select(["id", "text"]) for name in ("pool", "gold") if run.has(name)]
    known = pa.concat_tables(tables)
    ids, texts = known["id"].to_pylist(), known["text"].to_pylist()
    fingerprints = [text_fingerprint(t) for t in texts]
    by_text = {fingerprint: i for i, fingerprint in reversed(list(enumerate(fingerprints)))}
    by_id = {key: i for i, key in enumerate(ids)}
    found: dict[int, list[str]] = {}
    unknown = 0
    for key, content, given in rows:
        place = by_text.get(text_fingerprint(_cut(content, run))) if content else by_id.get(key or "")
        if place is None:
            unknown += 1
        else:
            found.setdefault(place, given)
    if not found:
        raise InputError(f"{file}: none of its {len(rows):,} labelled rows belongs to the texts of {run.path}")
    prompt = teacher.prompt_fingerprint(scheme)
    answers = [Answer(teacher.fingerprint, prompt, fingerprints[i], label=tuple(found[i])) for i in sorted(found)]
    with run.ledger() as ledger:
        ledger.describe(teacher.fingerprint, "teacher", {"name": teacher.name})
        ledger.describe(prompt, "prompt", {"scheme": scheme.name})
        ledger.register(ids, fingerprints)
        ledger.put(answers)
        if _is_export(file):  # as they are too, so that the teacher that gave them is not asked again
            ledger.import_table(pq.read_table(file))
    run.configure(run.config.model_copy(update={"teacher": TeacherConfig(spec=teacher.spec)}))
    annotate(run, teacher)
    return {"imported": len(found), "skipped": skipped, "unknown": unknown}


def _checksum(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            return hashlib.file_digest(stream, "sha256").hexdigest()[:16]
    except OSError as error:
        raise InputError(f"cannot read {file}: {error.strerror or error}") from None


def _is_export(file: Path) -> bool:
    from tutelage.teachers.records import EXPORT

    return file.suffix.lower() == ".parquet" and set(EXPORT.names) <= set(pq.read_schema(file).names)


def _labelled_rows(
    file: Path, scheme: LabelScheme, text: str | None, id: str | None
) -> tuple[list[tuple[str | None, str | None, list[str]]], int]:
    """Rows as (id, text, labels), and how many had no usable label."""
    columns = columns_of(file)
    label = columns.find("label", *GOLD_COLUMNS)
    wide = {name: column for name in scheme.names if (column := columns.find(name))}
    if label is None and len(wide) < len(scheme):
        raise InputError(f"{file}: no column `label`, and not a column for each label of scheme {scheme.name!r}")
    status = columns.find("status")
    keep = {"label": label} if label else {f"is_{i}": wide[name] for i, name in enumerate(scheme.names)}
    if status:
        keep["status"] = status
    rejects: list[Reject] = []
    texts_there = text is not None or columns.text() is not None
    named = id or columns.find("id")
    if not texts_there and named is None:
        raise InputError(f"{file}: rows need a text or an id; name the column with --text or --id")
    source = read_texts(file, text=text if texts_there else named, id=id, keep=keep, on_reject=rejects.append)
    rows, skipped = [], len(rejects)
    for row in source.to_pylist():
        if status and row["status"].strip().lower() not in _STATUS_OK:
            skipped += 1
            continue
        cell = _cell(row["label"]) if label else ""
        given = (labels_of(cell, scheme, str(file)) if cell else None) if label else _flags(row, scheme)
        if given is None or (not given and not scheme.multi):
            skipped += 1
            continue
        rows.append((row["id"] if texts_there else row["text"], row["text"] if texts_there else None, given))
    return rows, skipped


def _cell(value: str) -> str:
    """A label cell; lists with one entry, as exports of ledgers have them, are that entry."""
    value = value.strip()
    if value.startswith("['") and value.endswith("']") and value.count("'") == 2:
        return value[2:-2]
    return value


def _flags(row: dict[str, str], scheme: LabelScheme) -> list[str] | None:
    """Labels from columns of 0 and 1; None where a cell is empty."""
    try:
        return [name for i, name in enumerate(scheme.names) if float(row[f"is_{i}"]) > 0.5]
    except ValueError:
        return None


def _cut(text: str, run: Run) -> str:
    from tutelage.data.text import truncate_words

    return truncate_words(text, run.config.texts.max_words)[0]


def _csv(table: pa.Table) -> bytes:
    import csv
    import io

    buffer = io.StringIO()
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow([safe_cell(name) for name in table.column_names])
    for row in zip(*(column.to_pylist() for column in table.columns), strict=True):
        writer.writerow(["[]" if cell == [] else safe_cell(cell) for cell in row])
    return buffer.getvalue().encode("utf-8", "replace")
