"""Texts of any length, and several answers to one text: any teacher's, merged into one annotation each.

A text beyond what a teacher reads at once is cut into windows w at sentence ends; a text may be asked about in several
reruns s. What comes back is the mean of what the teacher said,

    p(label | text) = 1/|A| · Σ_(w,s) in A  p(label | window w, rerun s),     A = the windows and reruns that were answered

so that a window that says nothing of the matter, and is answered with equal probabilities, decides nothing.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa

from tutelage.data.annotations import annotations, soft_targets
from tutelage.data.labels import LabelScheme
from tutelage.data.text import chunk_text
from tutelage.errors import InputError
from tutelage.teachers.base import Teacher
from tutelage.teachers.ledger import Ledger


def annotate_in_windows(
    teacher: Teacher,
    table: pa.Table,
    scheme: LabelScheme,
    *,
    characters: int = 3000,
    overlap: int = 300,
    samples: int = 1,
    ledger: Ledger | None = None,
) -> pa.Table:
    """Annotations of texts of any length: one row a text, in the order of `table` (columns id, text).

    Args:
        teacher: anything that annotates; without probabilities its hard labels are averaged, so windows outvote.
        characters, overlap: of a window; windows end at sentence ends. A text that fits is one window.
        samples: reruns that are averaged (sample numbers 0 … samples − 1 of the ledger).
        ledger: answers that are there are not asked for again.

    A text has status "ok" when any of its windows and reruns was answered, else the reason of the first failure.

    Raises: InputError: a multi-label scheme, or `samples` below 1; and what the teacher raises.
    """
    if scheme.multi or samples < 1:
        raise InputError(f"windows are merged for single-label schemes and samples ≥ 1; got {scheme.kind!r}, {samples}")
    windows = [
        (row, text[start:end])
        for row, text in enumerate(map(str, table["text"].to_pylist()))
        for start, end in chunk_text(text, characters, overlap=overlap)
    ]
    rows = np.array([row for row, _ in windows], np.int64)
    pieces = pa.table({"id": [f"{row}/{n}" for n, row in enumerate(rows)], "text": [text for _, text in windows]})
    sums, counts = np.zeros((len(table), len(scheme))), np.zeros(len(table), np.int64)
    spent = {name: np.zeros(len(table)) for name in ("tokens_in", "tokens_out", "cost")}
    failure: dict[int, str] = {}
    for sample in range(samples):
        answers = teacher.annotate(pieces, scheme, ledger=ledger, sample=sample)
        usable = np.array([status == "ok" for status in answers["status"].to_pylist()])
        np.add.at(sums, rows[usable], soft_targets(answers, scheme)[usable])
        np.add.at(counts, rows[usable], 1)
        for name, total in spent.items():
            np.add.at(total, rows, np.nan_to_num(np.array(answers[name].to_pylist(), np.float64)))
        for place in np.flatnonzero(~usable):
            failure.setdefault(int(rows[place]), answers["status"][int(place)].as_py())
    means = sums / np.maximum(counts, 1)[:, None]
    answered = counts > 0
    return annotations(
        [str(key) for key in table["id"].to_pylist()],
        [[scheme.names[int(p.argmax())]] if good else [] for p, good in zip(means, answered, strict=True)],
        probs=[p.astype(np.float32).tolist() if good else None for p, good in zip(means, answered, strict=True)],
        status=["ok" if good else failure.get(row, "too_long") for row, good in enumerate(answered)],
        teacher=teacher.fingerprint,
        prompt=teacher.prompt_fingerprint(scheme),
        tokens_in=spent["tokens_in"].astype(np.int64).tolist(),
        tokens_out=spent["tokens_out"].astype(np.int64).tolist(),
        cost=spent["cost"].tolist(),
    )
