"""A run's ledger after damage: its sound rows, and what the run's own tables still know of the others."""

from __future__ import annotations

from typing import Any

from tutelage.pipeline.folder import Run
from tutelage.pipeline.pool import SPOKEN
from tutelage.teachers.base import Pool
from tutelage.teachers.ledger import Answer
from tutelage.teachers.ledger_repair import repair

_SAME = ("teacher", "prompt", "sample", "status", "evidence", "tokens_in", "tokens_out", "cost")


def repair_ledger(run: Run) -> dict[str, Any]:
    """Keep every sound row, take lost answers from the run's tables: -> facts (answers, damaged, from_tables, …).

    Answers from a table come without the teacher's raw reply. What neither holds is asked for again by the next
    `tutelage annotate`.

    Raises: InputError: see `tutelage.teachers.ledger_repair.repair`.
    """
    path = run.path / "labels.sqlite"
    done = repair(path)
    with run.ledger() as ledger:
        before = _answers(ledger.summary())
        for table in SPOKEN:
            if run.has(table):
                ledger.put(_of_table(run, table))
        after = _answers(ledger.summary())
    return {
        "answers": done.answers, "from_tables": after - before, "requests": done.requests, "damaged": done.damaged,
        "unreadable": list(done.unreadable), "damaged_file": str(done.old),
    }  # fmt: skip


def _answers(summary: dict[str, Any]) -> int:
    return sum(summary["status"].values())


def _of_table(run: Run, name: str) -> list[Answer]:
    """The answers of one of a run's tables, under the fingerprints of its texts."""
    keys: dict[str, str] = {}
    for source in ("pool", "gold"):
        if run.has(source):
            texts = Pool.of(run.table(source), run.config.texts.max_words)
            keys |= dict(zip(texts.ids, texts.fingerprints, strict=True))
    return [
        Answer(
            text=keys[row["id"]],
            label=tuple(row["label"] or ()),
            probs=None if row["probs"] is None else tuple(row["probs"]),
            **{column: row[column] for column in _SAME},
        )
        for row in run.table(name).to_pylist()
        if row["id"] in keys and row["teacher"]
    ]
