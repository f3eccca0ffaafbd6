"""Annotation: ask the teacher about the gold and the pool, once each, and keep every answer in the ledger."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from tutelage.data.annotations import hard_labels, ok, soft_targets
from tutelage.errors import InputError, Paused
from tutelage.pipeline.folder import Run, signature
from tutelage.pipeline.labelled import Labelled
from tutelage.pipeline.pool import prepare

if TYPE_CHECKING:
    from tutelage.teachers.base import Progress, Teacher
    from tutelage.teachers.ledger import Ledger

FLAT_START = 250
"""Labels after which `until_flat` looks at the learning curve for the first time; it looks again at every doubling."""


def annotate(
    run: Run,
    teacher: Teacher,
    *,
    limit: int | None = None,
    until_flat: bool = False,
    progress: Progress | None = None,
    log: Callable[[str], None] = lambda _: None,
) -> dict[str, object]:
    """Label the gold and the first `limit` texts of the pool (0: the gold alone): -> the ledger's summary.

    What the ledger holds is not asked again. With `until_flat` labels are asked for in doubling portions until the
    learning curve of the n-gram student says that more no longer pay.

    Raises: Paused: the budget is spent or the endpoint is down; everything so far is kept and `annotations.parquet` is
        up to date; InputError: the teacher refuses to work (wrong key, unknown model).
    """
    prepare(run, log=log)
    pool = run.table("pool")
    wanted = pool if limit is None else pool.slice(0, limit)
    scheme = run.config.labels
    started, paused = time.monotonic(), None
    with run.ledger() as ledger:
        before = int(ledger.summary()["answered"])  # type: ignore[call-overload]
        answers = _keep(run, teacher, ledger)
        try:
            if hasattr(teacher, "settle"):
                teacher.settle(pool, ledger)  # type: ignore[attr-defined]
            if run.has("gold"):
                log("the teacher labels the held-out texts")
                teacher.annotate(run.table("gold"), scheme, ledger=ledger, progress=progress)
            if wanted.num_rows:
                log("the teacher labels the pool")
                if until_flat:
                    _until_flat(run, teacher, wanted, ledger, progress, log)
                else:
                    teacher.annotate(wanted, scheme, ledger=ledger, progress=progress)
            if run.config.teacher.rerun:
                log("the teacher is asked again about a part of the pool")
                again = _asked_again(teacher).annotate(
                    pool.slice(0, run.config.teacher.rerun), scheme, ledger=ledger, sample=1
                )
                run.put_table("rerun_annotations", again)
            else:
                run.drop_table("rerun_annotations")
        except Paused as stop:
            paused = stop
        finally:  # Ctrl-C and errors too: what was answered is there for the next step
            answers = _keep(run, teacher, ledger)
        summary = ledger.summary()
    fresh = int(summary["answered"]) - before  # type: ignore[call-overload]
    seconds = time.monotonic() - started
    note = run.stage("annotate")
    run.finish(
        "annotate", teacher=teacher.name, fingerprint=teacher.fingerprint, made_from=signature(answers),
        seconds=round(seconds, 3) if fresh else note.get("seconds"),
        texts_per_second=round(fresh / seconds, 2) if fresh else note.get("texts_per_second"),
    )  # fmt: skip
    if paused:
        raise paused
    return summary


def labelled(run: Run) -> Labelled:
    """The usable teacher labels of the pool.

    Raises: InputError: too few of them to learn from, or all with one label.
    """
    if not run.has("annotations"):
        raise InputError(f"{run.path} has no labels yet: run `tutelage annotate` first")
    scheme = run.config.labels
    answers = ok(run.table("annotations"))
    pool = run.table("pool")
    place = {key: row for row, key in enumerate(pool["id"].to_pylist())}
    keep = [row for row, key in enumerate(answers["id"].to_pylist()) if key in place]
    answers = answers.take(pa.array(keep, pa.int64()))
    chosen = pool.take(pa.array([place[key] for key in answers["id"].to_pylist()], pa.int64()))
    hard = hard_labels(answers, scheme)
    used = np.unique(hard, axis=0)
    if len(hard) < 10 or len(used) < 2:
        raise InputError(
            f"{run.path}: {len(hard)} labelled texts with {len(used)} different labels; at least 10 texts and 2 labels are needed"
        )
    lang = np.array(chosen["lang"].to_pylist(), object) if "lang" in chosen.column_names else None
    return Labelled(
        ids=np.array(chosen["id"].to_pylist(), object), texts=np.array(chosen["text"].to_pylist(), object),
        hard=hard, soft=soft_targets(answers, scheme), lang=lang,
    )  # fmt: skip


def _keep(run: Run, teacher: Teacher, ledger: Ledger) -> pa.Table:
    """Write all that this teacher has ever said about the run's texts, whatever the limit was when it was asked."""
    scheme = run.config.labels
    if run.has("gold"):
        run.put_table("gold_annotations", teacher.answered(run.table("gold"), scheme, ledger))
    answers = teacher.answered(run.table("pool"), scheme, ledger)
    run.put_table("annotations", answers)
    return answers


def _until_flat(
    run: Run, teacher: Teacher, pool: pa.Table, ledger: Ledger, progress: Progress | None, log: Callable[[str], None]
) -> None:
    from tutelage.pipeline.curve import learning_curve_of

    size = min(FLAT_START, pool.num_rows)
    while True:
        teacher.annotate(pool.slice(0, size), run.config.labels, ledger=ledger, progress=progress)
        if size == pool.num_rows:
            return
        _keep(run, teacher, ledger)
        curve = learning_curve_of(run, labelled(run))
        if curve and curve.flat():
            log(f"the learning curve is flat at {size:,} labels: {pool.num_rows - size:,} texts are not asked about")
            return
        size = min(2 * size, pool.num_rows)


def _asked_again(teacher: Teacher) -> Teacher:
    """The teacher for a second opinion of itself: the same one, or another wording where it cannot but repeat itself."""
    reworded = getattr(teacher, "reworded", None)
    return reworded() if reworded else teacher
