"""One corpus in every format that the readers know."""

from __future__ import annotations

import csv
import gzip
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.ipc as ipc
import pyarrow.parquet as pq

from tutelage.data.corpus import Reject, read_texts, stream_texts

TEXT_FORMATS = ("jsonl", "ndjson", "json", "csv", "tsv")
COLUMN_FORMATS = ("parquet", "arrow", "arrow-stream", "feather")
FORMATS = (*TEXT_FORMATS, *(f"{name}.gz" for name in TEXT_FORMATS), *COLUMN_FORMATS)

Rows = list[dict[str, str]]


def write(folder: Path, form: str, rows: Rows) -> Path:
    """Rows of equal keys as a file of the given format."""
    if form in COLUMN_FORMATS:
        table = pa.table({name: pa.array([row[name] for row in rows], pa.string()) for name in rows[0]})
        return write_table(folder, form, table)
    path = folder / f"corpus.{form}"
    kind = form.removesuffix(".gz")
    if kind in ("csv", "tsv"):
        out = io.StringIO(newline="")
        writer = csv.DictWriter(out, list(rows[0]), delimiter="," if kind == "csv" else "\t", quoting=csv.QUOTE_ALL)
        writer.writeheader()
        writer.writerows(rows)
        text = out.getvalue()
    elif kind == "json":
        text = json.dumps(rows)
    else:
        text = "".join(json.dumps(row) + "\n" for row in rows)
    raw = text.encode("utf-8")
    path.write_bytes(gzip.compress(raw, 1) if form.endswith(".gz") else raw)
    return path


def write_table(folder: Path, form: str, table: pa.Table) -> Path:
    """A table as a columnar file."""
    path = folder / ("corpus." + form.removesuffix("-stream"))
    if form == "parquet":
        pq.write_table(table, path)
    elif form == "feather":
        feather.write_feather(table, path, compression="lz4")
    else:
        new = ipc.new_stream if form == "arrow-stream" else ipc.new_file
        with new(path, table.schema) as writer:
            writer.write_table(table)
    return path


def invalid_strings(values: list[bytes | None]) -> pa.Array:
    """A string array whose bytes are as given, UTF-8 or not, as some writers of Parquet leave them."""
    return pa.array(values, pa.binary()).view(pa.string())


def read(source: str | Path | pa.Table, **options: object) -> tuple[pa.Table, list[Reject]]:
    """`read_texts`, and what it rejected."""
    rejects: list[Reject] = []
    return read_texts(source, on_reject=rejects.append, **options), rejects  # type: ignore[arg-type]


def stream(source: str | Path | pa.Table, **options: object) -> tuple[list[pa.RecordBatch], list[Reject]]:
    """`stream_texts`, and what it rejected."""
    rejects: list[Reject] = []
    return list(stream_texts(source, on_reject=rejects.append, **options)), rejects  # type: ignore[arg-type]


def streamed_texts(batches: list[pa.RecordBatch]) -> list[str]:
    """The texts of streamed batches."""
    return [text for b in batches for text in b.column(b.schema.metadata[b"text"].decode()).to_pylist()]
