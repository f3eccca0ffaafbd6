"""The sample that people review: balanced over the teacher's labels, blind, and easy to send around as a file."""

from __future__ import annotations

import csv
import io
from pathlib import Path

from tutelage.errors import InputError
from tutelage.methods.labelling.iptc import balanced_sample
from tutelage.pipeline.annotate import labelled
from tutelage.pipeline.folder import Run, write_atomically
from tutelage.pipeline.sinks import safe_cell


def write_review_sample(run: Run, path: str | Path, *, per_label: int = 18) -> int:
    """Write a CSV (id, text, label, label_2) for people to fill in, without the teacher's answers: -> number of texts.

    The order is random, so that runs of one label do not give the teacher away. The filled file goes back with
    `tutelage evaluate RUN --gold FILE`; its texts then leave the training labels.

    Raises: InputError: the file is there already (it may hold somebody's work) or cannot be written.
    """
    import numpy as np

    target = Path(path)
    if target.exists():
        raise InputError(f"{target} exists and may hold somebody's answers; give another name")
    data = labelled(run)
    codes = data.hard if data.hard.ndim == 1 else np.where(data.hard.any(axis=1), data.hard.argmax(axis=1), -1)
    rows = balanced_sample([str(code) for code in codes], per_label, seed=run.config.seed)
    rows = np.random.default_rng(run.config.seed).permutation(rows)
    page = io.StringIO(newline="")
    writer = csv.writer(page)
    writer.writerow(["id", "text", "label", "label_2"])
    writer.writerows([safe_cell(str(data.ids[row])), safe_cell(str(data.texts[row])), "", ""] for row in rows)
    try:
        write_atomically(target, page.getvalue().encode("utf-8", "replace"))
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror}") from None
    return len(rows)
