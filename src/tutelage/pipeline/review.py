"""The sample that people review: balanced over the teacher's labels, blind, and easy to send around as a file."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tutelage.errors import InputError
from tutelage.methods.labelling.iptc import balanced_sample
from tutelage.pipeline.annotate import labelled
from tutelage.pipeline.folder import Run, write_atomically
from tutelage.pipeline.sinks import safe_cell

if TYPE_CHECKING:
    from tutelage.pipeline.labelled import Labelled


@dataclass(frozen=True)
class Item:
    """A text to review, and what the teacher said of it: its labels, or None where it failed."""

    id: str
    text: str
    teacher: tuple[str, ...] | None


def rows_to_review(data: Labelled, per_label: int, seed: int) -> np.ndarray:
    """Rows of a sample with as many texts of each teacher's label, in an order that does not give the labels away."""
    codes = data.hard if data.hard.ndim == 1 else np.where(data.hard.any(axis=1), data.hard.argmax(axis=1), -1)
    rows = balanced_sample([str(code) for code in codes], per_label, seed=seed)
    return np.random.default_rng(seed).permutation(rows)


def write_review_sample(run: Run, path: str | Path, *, per_label: int = 18) -> int:
    """Write a CSV (id, text, label, label_2) for people to fill in, without the teacher's answers: -> number of texts.

    The order is random, so that runs of one label do not give the teacher away. The filled file goes back with
    `tutelage evaluate RUN --gold FILE`; its texts then leave the training labels.

    Raises: InputError: the file is there already (it may hold somebody's work) or cannot be written.
    """
    target = Path(path)
    if target.exists():
        raise InputError(f"{target} exists and may hold somebody's answers; give another name")
    data = labelled(run)
    rows = rows_to_review(data, per_label, run.config.seed)
    page = io.StringIO(newline="")
    writer = csv.writer(page)
    writer.writerow(["id", "text", "label", "label_2"])
    writer.writerows([safe_cell(str(data.ids[row])), safe_cell(str(data.texts[row])), "", ""] for row in rows)
    try:
        write_atomically(target, page.getvalue().encode("utf-8", "replace"))
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror}") from None
    return len(rows)


def items_of(run: Run, ids: Sequence[str]) -> list[Item]:
    """The sample with its texts; texts that were forgotten are left out."""
    tables = ("pool", "gold", "annotations", "gold_annotations")
    stamps = tuple(_stamp(run.path / f"{name}.parquet") for name in tables)
    texts, said = _rows(run.path, tuple(ids), stamps)
    return [Item(id, texts[id], said.get(id)) for id in ids if id in texts]


def _stamp(path: Path) -> int:
    return path.stat().st_mtime_ns if path.exists() else 0


@lru_cache(maxsize=8)
def _rows(
    folder: Path, ids: tuple[str, ...], stamps: tuple[int, ...]
) -> tuple[dict[str, str], dict[str, tuple[str, ...]]]:
    """Texts and the teacher's labels of the ids; read once for every state (`stamps`) of the tables."""
    wanted = pa.array(ids, pa.string())
    texts: dict[str, str] = {}
    said: dict[str, tuple[str, ...]] = {}
    for name, column in (("pool", "text"), ("gold", "text"), ("annotations", "label"), ("gold_annotations", "label")):
        path = folder / f"{name}.parquet"
        if not path.exists():
            continue
        columns = ["id", column, *(["status"] if column == "label" else [])]
        table = pq.read_table(path, columns=columns)
        rows = table.filter(pc.is_in(table["id"], value_set=wanted)).to_pylist()
        if column == "text":
            texts |= {row["id"]: row["text"] for row in rows}
        else:
            said |= {row["id"]: tuple(row["label"]) for row in rows if row["status"] == "ok"}
    return texts, said
