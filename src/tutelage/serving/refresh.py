"""Refreshing a student: what the world says now is labelled by the teacher, and a new student must win before it takes over.

The drifted texts are new to the run. Two thirds of them join what is learned from; on the last third, and on the people's
labels if there are any, the old student and the new one are compared. Until the new one is adopted nothing of the run
changes but its ledger, in which the teacher's answers are kept: nothing is paid for twice.
"""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from tutelage.data.annotations import hard_labels, ok
from tutelage.data.corpus import Reject, read_texts
from tutelage.data.dedup import near_duplicates
from tutelage.errors import InputError, Refused
from tutelage.pipeline.folder import REFRESHING, Run
from tutelage.pipeline.gold import gold_codes
from tutelage.pipeline.held_out import truncate
from tutelage.pipeline.labelled import predicted
from tutelage.pipeline.pool import remembered
from tutelage.pipeline.train import train

if TYPE_CHECKING:
    from tutelage.students.base import Student
    from tutelage.teachers.base import Progress, Teacher

MARGIN = 0.01
"""Macro-F1 that a new student may lose on what the old one was made for."""
LEAST = 10


@dataclass(frozen=True)
class Compared:
    """Two students on the same texts: macro-F1 of each, the difference with its 95 % interval, and how many texts."""

    on: str
    old: float
    new: float
    difference: float
    interval: tuple[float, float]
    texts: int


@dataclass(frozen=True)
class Candidate:
    """A new student that waits beside the old one.

    Attributes: texts: new texts; labelled: those with an answer of the teacher; drifted: both students against the teacher
        on new texts that neither has learned from; gold: against people, or None.
    """

    run: Run
    scratch: Run
    texts: int
    labelled: int
    drifted: Compared
    gold: Compared | None
    added: pa.Table
    samples: tuple[Path, ...]

    @property
    def fault(self) -> str | None:
        """Why the new student should not take over, or None."""
        if self.gold is not None and self.gold.difference < -MARGIN:
            return f"on people's labels it loses {-self.gold.difference:.3f} macro-F1; {MARGIN} are allowed"
        if self.drifted.difference < 0:
            return f"on the drifted texts it is worse than the old one, by {-self.drifted.difference:.3f} macro-F1"
        return None

    def adopt(self, *, force: bool = False) -> None:
        """The new student takes over, with its texts and labels. Raises: Refused: it is worse (`force` takes it still)."""
        if self.fault and not force:
            raise Refused(f"the new student does not replace the old one: {self.fault} (--force takes it all the same)")
        run, scratch = self.run, self.scratch
        run.put_table("added", self.added)
        run.put_table("pool", scratch.table("pool"))
        run.put_table("annotations", scratch.table("annotations"))
        for place in ("student", "tried"):
            fresh, target, old = scratch.path / place, run.path / place, scratch.path / f"old-{place}"
            if target.exists():
                target.rename(old)
            if fresh.exists():
                fresh.rename(target)
        run.finish("train", **scratch.stage("train"))
        for sample in self.samples:  # their texts are in the run's tables now
            sample.unlink(missing_ok=True)
        self.discard()

    def discard(self) -> None:
        """Forget the new student; the teacher's answers stay in the ledger."""
        shutil.rmtree(self.scratch.path, ignore_errors=True)


def propose(
    run: Run,
    teacher: Teacher,
    source: str | Path | None = None,
    *,
    text: str | None = None,
    progress: Progress | None = None,
    log: Callable[[str], None] = lambda _: None,
) -> Candidate:
    """Label the new texts, train a student on them too, and compare it with the old one. Hold the run (`run.working`).

    Args:
        source: new texts; None takes the samples that the service has left in the run's folder.

    Raises: InputError: no student yet, no or too few new texts, too few answers; Paused: the teacher could not finish.
    """
    from tutelage.pipeline.predict import open_student

    old = open_student(run.path)
    samples = () if source is not None else tuple(sorted((run.path / "drift").glob("*.jsonl")))
    fresh = _fresh_texts(run, [source] if source is not None else list(samples), text, log)
    log(f"the teacher labels {fresh.num_rows:,} new texts")
    scheme = run.config.labels
    pool = pa.concat_tables([run.table("pool"), fresh], promote_options="default")
    with run.ledger() as ledger:
        if hasattr(teacher, "settle"):
            teacher.settle(run.table("pool"), ledger)  # type: ignore[attr-defined]
        answers = ok(teacher.annotate(fresh, scheme, ledger=ledger, progress=progress))
        if answers.num_rows < LEAST:
            raise InputError(
                f"the teacher has answered {answers.num_rows} of the new texts; at least {LEAST} are needed"
            )
        held = _held_out(answers["id"].to_pylist())
        known = teacher.answered(run.table("pool"), scheme, ledger)
    learned = pa.concat_tables([known, answers.filter(pa.array(~held))], promote_options="default")
    scratch = _scratch(run, pool, learned)
    train(scratch, log=log)
    new = open_student(scratch.path)
    place = {key: row for row, key in enumerate(fresh["id"].to_pylist())}
    tested = answers.filter(pa.array(held))
    texts = fresh["text"].take(pa.array([place[key] for key in tested["id"].to_pylist()])).to_pylist()
    gold = None
    if run.has("gold") and run.table("gold").num_rows:
        table = run.table("gold")
        gold = _compared("people's labels", table["text"].to_pylist(), gold_codes(table, "gold", run), old, new)
    return Candidate(
        run, scratch, fresh.num_rows, answers.num_rows,
        _compared("drifted texts, the teacher's labels", texts, hard_labels(tested, scheme), old, new),
        gold, pa.concat_tables([*([run.table("added")] if run.has("added") else []), fresh], promote_options="default"),
        samples,
    )  # fmt: skip


def _fresh_texts(run: Run, sources: list[Any], text: str | None, log: Callable[[str], None]) -> pa.Table:
    """(id, text) of texts that the run does not have, cut as its others are."""
    if not sources:
        raise InputError(
            f"{run.path} has no samples of drifted texts: name a file of new texts, or serve the run until its monitor "
            "gives an alarm"
        )
    rejects: list[Reject] = []
    tables = [read_texts(source, text=text, on_reject=rejects.append).select(["id", "text"]) for source in sources]
    table, _ = truncate(pa.concat_tables(tables), run.config.texts.max_words)
    table = remembered(table, run)
    have = [row for name in ("pool", "gold") if run.has(name) for row in run.table(name)["text"].to_pylist()]
    near = run.config.texts.near_duplicates
    table = table.filter(pa.array(~near_duplicates(table["text"].to_pylist(), threshold=near).drop))
    table = table.filter(pa.array(~near_duplicates(table["text"].to_pylist(), threshold=near, held_out=have).drop))
    taken = {key for name in ("pool", "gold") if run.has(name) for key in run.table(name)["id"].to_pylist()}
    keys = [
        key if key not in taken else f"{key}-{_digest(row)}"
        for key, row in zip(*table.to_pydict().values(), strict=True)
    ]
    table = table.set_column(0, "id", pa.array(keys, pa.string()))
    log(f"{table.num_rows:,} new texts, {len(rejects):,} bad rows")
    if table.num_rows < 2 * LEAST:
        raise InputError(
            f"{table.num_rows} texts are new to the run; at least {2 * LEAST} are needed to learn and to judge"
        )
    return table


def _held_out(ids: list[str]) -> np.ndarray:
    """A third of the texts, by a hash of their ids: (N,) bool."""
    order = np.argsort([_digest(key) for key in ids], kind="stable")
    held = np.zeros(len(ids), bool)
    held[order[: max(1, len(ids) // 3)]] = True
    return held


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _scratch(run: Run, pool: pa.Table, annotations: pa.Table) -> Run:
    """A run inside the run, in which the new student is trained."""
    folder = run.path / REFRESHING
    shutil.rmtree(folder, ignore_errors=True)
    scratch = Run.create(folder, run.config)
    scratch.put_table("pool", pool)
    scratch.put_table("annotations", annotations)
    note = run.stage("annotate")
    scratch.finish("annotate", teacher=note.get("teacher"), fingerprint=note.get("fingerprint"))
    with suppress(FileNotFoundError):
        run.encoder_cache.parent.mkdir(exist_ok=True)
        (folder / "cache").symlink_to(run.encoder_cache.parent.resolve())
    return scratch


def _compared(on: str, texts: list[str], labels: np.ndarray, old: Student, new: Student) -> Compared:
    from tutelage.evaluation.classification import macro_f1, macro_f1_difference

    before, after = (predicted(student, texts)[0] for student in (old, new))
    found = macro_f1_difference(labels, after, before, resamples=1_000)
    return Compared(
        on,
        macro_f1(labels, before),
        macro_f1(labels, after),
        found.value,
        (found.interval[0], found.interval[1]),
        len(texts),
    )
