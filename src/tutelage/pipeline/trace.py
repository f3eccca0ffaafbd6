"""Knowledge tracing over a log of answers: what each learner masters, what comes next, and how far to trust it.

Learners are split in three: tracers learn from 70 %, 10 % choose among them (and the epoch of a network), and 20 % say how
well each predicts answers that it has not seen. Two simple tracers always take part, so that a network has to earn its
place. The chosen one then speaks about everybody. The folder holds

    mastery.parquet, mastery.csv   a row a learner and skill: mastery, answers, right
    predictions.parquet            a row an answer: what was predicted before it was given, and which part it belongs to
    trace.json, trace.html         the figures, and the page for people

The folder is private (mode 0700), as run folders are: it says of people what they know.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from tutelage.data.knowledge_tracing import AnswerLog
from tutelage.errors import InputError, MissingExtra
from tutelage.evaluation.auc import auc, auc_by_group
from tutelage.evaluation.significance import paired_bootstrap
from tutelage.pipeline.folder import private_folder, write_atomically
from tutelage.pipeline.sinks import Writer

if TYPE_CHECKING:
    from tutelage.students.knowledge_tracing import KnowledgeTracer

TRACERS: Mapping[str, str] = {
    "mean": "how hard each skill is, whoever answers",
    "pfa": "logistic regression on right and wrong answers so far",
    "dkt": "recurrent network (deep knowledge tracing)",
    "cakt": "recurrent network that also reads the last tries at the asked skill",
}
"""The tracers, simplest first; the first two always take part."""

PARTS = ("train", "choose", "test")
SHARES = (0.7, 0.1, 0.2)
LEARNERS_AT_ONCE = 2000
FEWEST = 20
"""Learners with enough answers below which nothing can be said."""
DROPOUT = 0.3
"""Of networks."""
MASTERED = 0.8
"""From this mastery on a skill is not named as the next to practise."""
STEPS = 600
"""Updates of a network where the log is so small that 15 passes are fewer; validation learners stop it in time."""

_FILES = ("mastery.parquet", "mastery.csv", "predictions.parquet", "trace.json", "trace.html")

Facts = dict[str, Any]


@dataclass(frozen=True)
class TraceOptions:
    """How a log is traced.

    Attributes: tracer: one of `TRACERS`, or "auto": all of them, and of the best on the choosing learners the simplest speaks;
        shortest: learners with fewer answers are neither learned from nor scored; epochs: of networks, None: 15, or more where
        the log is small; seed: of networks and split.
    """

    tracer: str = "auto"
    shortest: int = 5
    epochs: int | None = None
    seed: int = 0

    def names(self) -> list[str]:
        """The tracers that take part. Raises: InputError: no such tracer; MissingExtra: it needs a package."""
        if self.tracer != "auto" and self.tracer not in TRACERS:
            raise InputError(f"no tracer {self.tracer!r}; there are auto, {', '.join(TRACERS)}")
        networks = find_spec("torch") is not None and find_spec("accelerate") is not None
        if self.tracer in ("dkt", "cakt") and not networks:
            raise MissingExtra(f"the tracer {self.tracer}", "encoder")
        asked = TRACERS if self.tracer == "auto" and networks else ("mean", "pfa", self.tracer)
        return [name for name in TRACERS if name in asked]


def trace(
    log: AnswerLog,
    out: Path,
    options: TraceOptions | None = None,
    *,
    note: Callable[[str], None] = lambda message: None,
    bars: bool = False,
) -> Facts:
    """Trace a log, and write the folder `out`.

    Args: note: told what is going on; bars: show a progress bar for each network that trains.

    Returns: what `trace.json` holds.

    Raises: InputError: too few learners, answers that are all right or all wrong, a folder that cannot be written.
    """
    o = options or TraceOptions()
    names = o.names()
    parts, part_of = _parts(log, o)
    private_folder(out, _FILES, "trace")
    train, choose, test = parts
    rows: list[Facts] = []
    tracers: dict[str, KnowledgeTracer] = {}
    values: dict[str, np.ndarray] = {}
    chances: dict[str, np.ndarray] = {}
    for name in names:
        began = time.perf_counter()
        tracers[name] = _make(name, train, o, bars).fit(train, choose)
        values[name] = auc_by_group(test.correct, said := tracers[name].predict(test), test.sequence)
        interval = paired_bootstrap(values[name]).interval
        guess = tracers[name].predict(choose)
        chances[name] = auc_by_group(choose.correct, guess, choose.sequence)
        row = {"name": name, "what": TRACERS[name], "choose_auc": auc(choose.correct, guess)}
        row |= {"test_auc": auc(test.correct, said), "interval": list(interval), "seconds": time.perf_counter() - began}
        rows.append(row)
        note(f"{name}: AUC {row['test_auc']:.3f} on held-out learners, {row['seconds']:.1f} s")
    if o.tracer == "auto":
        chosen = simplest_of_the_best(chances, max(rows, key=lambda row: row["choose_auc"])["name"])
    else:
        chosen = o.tracer
    against = next(name for name in ("pfa", "mean") if name != chosen)
    gain = paired_bootstrap(values[chosen], values[against])
    tracer = tracers[chosen]
    facts: Facts = {
        "format": 1,
        "learners": len(log),
        "skills": len(log.concepts),
        "answers": log.answers,
        "right": float(log.correct.mean()),
        "remarks": list(log.remarks),
        "parts": {name: {"learners": len(p), "answers": p.answers} for name, p in zip(PARTS, parts, strict=True)},
        "shortest": o.shortest,
        "tracers": rows,
        "chosen": chosen,
        "against": {"name": against, "gain": gain.value, "interval": list(gain.interval)},
        "curves": learning_curves(test, tracer.predict(test)),
    }
    note(f"{chosen} speaks; asking it about {len(log):,} learners and {len(log.concepts):,} skills")
    try:
        facts |= _write_tables(log, tracer, part_of, out)
        from tutelage.pipeline.trace_page import render_trace

        write_atomically(out / "trace.json", (json.dumps(facts, ensure_ascii=False, indent=1) + "\n").encode())
        write_atomically(out / "trace.html", render_trace(facts).encode())
    except OSError as error:
        raise InputError(f"cannot write {out}: {error.strerror or error}") from None
    return facts


def simplest_of_the_best(chances: Mapping[str, np.ndarray], best: str) -> str:
    """The first tracer that is within one standard error of the best: of their difference over the choosing learners.

    Args: chances: tracer -> AUC of each learner (L,), simplest first.

    >>> simplest_of_the_best({"pfa": np.array([0.7, 0.8, 0.7]), "dkt": np.array([0.8, 0.7, 0.8])}, "dkt")
    'pfa'
    """
    for name, own in chances.items():
        worse = chances[best] - own
        if len(worse) < 2 or worse.mean() <= worse.std(ddof=1) / np.sqrt(len(worse)):
            return name
    return best


def learning_curves(
    log: AnswerLog, predicted: np.ndarray, *, most: int = 5, tries: int = 8, fewest: int = 5
) -> list[Facts]:
    """Share right by number of earlier tries, observed and predicted, for all skills and the `most` answered ones.

    A point needs `fewest` answers; a curve without a point is left out.

    >>> log = AnswerLog.of({"ann": [("add", 0), ("add", 1)], "bob": [("add", 1), ("add", 1)]})
    >>> [point["observed"] for point in learning_curves(log, np.full(4, 0.5), fewest=2)[0]["points"]]
    [0.5, 1.0]
    """
    earlier = sum(log.earlier())
    counts = np.bincount(log.concept, minlength=len(log.concepts))
    wanted = [("all skills", np.ones(log.answers, bool))]
    wanted += [(log.concepts[k], log.concept == k) for k in np.argsort(-counts, kind="stable")[:most] if counts[k]]
    curves = []
    for name, those in wanted if len(log.concepts) > 1 else wanted[:1]:
        points = []
        for n in range(tries):
            cell = those & (earlier == n)
            if cell.sum() >= fewest:
                shares = {"observed": float(log.correct[cell].mean()), "predicted": float(predicted[cell].mean())}
                points.append({"try": n + 1, **shares, "answers": int(cell.sum())})
        if points:
            curves.append({"skill": name, "points": points})
    return curves


def _parts(log: AnswerLog, o: TraceOptions) -> tuple[list[AnswerLog], np.ndarray]:
    """The three parts of the learners with enough answers, and the part of every learner ("" where in none)."""
    enough = np.flatnonzero(log.lengths >= o.shortest)
    if len(enough) < FEWEST:
        raise InputError(
            f"{len(enough)} learners have {o.shortest} answers or more; at least {FEWEST} are needed to learn from some and to "
            "test on others" + (" (see --shortest)" if len(log) >= FEWEST else "")
        )
    parts = log.take(enough).split(SHARES, seed=o.seed)
    part_of = np.full(len(log), "", dtype="<U6")
    place = {learner: row for row, learner in enumerate(log.learners)}
    for name, part in zip(PARTS, parts, strict=True):
        part_of[[place[learner] for learner in part.learners]] = name
        if part.correct.all() or not part.correct.any():
            raise InputError("answers are all right or all wrong: there is nothing to predict")
    return parts, part_of


def _make(name: str, train: AnswerLog, o: TraceOptions, bars: bool) -> KnowledgeTracer:
    from tutelage.students.tracing_baselines import ConceptMean, Pfa

    if name in ("mean", "pfa"):
        return ConceptMean() if name == "mean" else Pfa()
    from tutelage.methods.education.cakt import CAKT
    from tutelage.students.knowledge_tracing import Dkt, TracerOptions
    from tutelage.training import ShowProgress

    kind = Dkt if name == "dkt" else CAKT
    pieces = len(train.pieces(TracerOptions().length))
    batch = 64 if pieces >= 1000 else 16
    options = TracerOptions(epochs=o.epochs or max(15, STEPS * batch // pieces), batch_size=batch, seed=o.seed)
    return kind(dropout=DROPOUT, options=options, callbacks=(ShowProgress(name),) if bars else ())


def _write_tables(log: AnswerLog, tracer: KnowledgeTracer, part_of: np.ndarray, out: Path) -> Facts:
    """Write mastery and predictions, some thousand learners at a time; what the page shows of them."""
    right, wrong = log.totals()
    tries = right + wrong
    shown_learners, shown_skills = _shown(tries)
    means, shown = np.zeros(len(log.concepts)), {}
    schema = pa.schema(
        [("learner", pa.string()), ("skill", pa.string()), ("mastery", pa.float32()), ("answers", pa.int32()),
         ("right", pa.int32())]
    )  # fmt: skip
    with Writer.open(out / "mastery.parquet") as columns, Writer.open(out / "mastery.csv") as lines:
        for start in range(0, len(log), LEARNERS_AT_ONCE):
            rows = np.arange(start, min(start + LEARNERS_AT_ONCE, len(log)))
            mastery = tracer.mastery(log.take(rows))
            means += mastery.sum(0)
            shown |= {int(row): mastery[row - start] for row in rows if row in shown_learners}
            names = np.repeat([log.learners[row] for row in rows], len(log.concepts))
            skills, rounded = np.tile(log.concepts, len(rows)), mastery.ravel().astype(np.float64).round(4)
            cells = [names, skills, rounded, tries[rows].ravel(), right[rows].ravel()]
            table = pa.table(
                [pa.array(cell).cast(kind) for cell, kind in zip(cells, schema.types, strict=True)], schema
            )
            columns.write(table)
            lines.write(table.set_column(2, "mastery", pa.array(rounded)))
    predictions = {
        "learner": np.array(log.learners)[log.sequence],
        "step": log.step + 1,
        "skill": np.array(log.concepts)[log.concept],
        "correct": log.correct,
        "predicted": tracer.predict(log).astype(np.float32),
        "part": part_of[log.sequence],
    }
    with Writer.open(out / "predictions.parquet") as answers:
        answers.write(pa.table(predictions))
    first = sum(log.earlier()) == 0
    skills = [
        {
            "name": log.concepts[k],
            "answers": int(tries[:, k].sum()),
            "learners": int((tries[:, k] > 0).sum()),
            "right": float(right[:, k].sum() / max(tries[:, k].sum(), 1)),
            "first": float(log.correct[first & (log.concept == k)].mean()) if tries[:, k].any() else None,
            "mastery": float(means[k] / len(log)),
        }
        for k in np.argsort(-tries.sum(0), kind="stable")
    ]
    return {"skill_table": skills, "grid": _grid(log, shown, shown_skills, tries)}


def _shown(tries: np.ndarray, learners: int = 30, skills: int = 14) -> tuple[set[int], list[int]]:
    """Who and what the page has room for: the most answered skills, and who answered most about them."""
    columns = np.argsort(-tries.sum(0), kind="stable")[:skills]
    rows = np.argsort(-tries[:, columns].sum(1), kind="stable")[:learners]
    return set(rows.tolist()), [int(k) for k in columns if tries[:, k].any()]


def _grid(log: AnswerLog, shown: Mapping[int, np.ndarray], skills: Sequence[int], tries: np.ndarray) -> Facts:
    """Mastery of the shown learners and skills, who masters least first, and what each should practise next."""
    weakest = sorted(shown, key=lambda row: float(shown[row][skills].mean()))
    hardest = sorted(skills, key=lambda k: float(np.mean([shown[row][k] for row in weakest])))
    rows = []
    for row in weakest:
        weak = [k for k in np.argsort(shown[row], kind="stable") if tries[row, k] and shown[row][k] < MASTERED]
        cells = [{"mastery": float(shown[row][k]), "answers": int(tries[row, k])} for k in hardest]
        rows.append({"learner": log.learners[row], "cells": cells, "next": [log.concepts[k] for k in weak[:3]]})
    return {"skills": [log.concepts[k] for k in hardest], "rows": rows}
