"""Evaluation: everything that can be said about how far the student may be trusted, as `metrics.json`.

Teacher, student, the other tiers, a student of the human labels (the upper bound) and a dummy are scored on the same
held-out gold. Without gold the agreement of student and teacher is all there is, and the report says so loudly.
"""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

import tutelage
from tutelage.data.annotations import hard_labels
from tutelage.data.split import group_split
from tutelage.pipeline.annotate import labelled
from tutelage.pipeline.curve import learning_curve_of
from tutelage.pipeline.folder import Run, signature
from tutelage.pipeline.gold import Metrics, acceptance_of, agreement_of, score_on_gold
from tutelage.pipeline.labelled import Labelled, predicted
from tutelage.pipeline.learn import Recipe, Vectors, fit
from tutelage.pipeline.shield import audit, shielded
from tutelage.pipeline.teacher import teacher_of
from tutelage.pipeline.train import dev_folds, train

if TYPE_CHECKING:
    from tutelage.students.base import Student

DISAGREEMENTS, REASONS = 100, 5
_SPEED_TEXTS, _SLOW_TEXTS = 2_000, 48


def evaluate(run: Run, *, log: Callable[[str], None] = lambda _: None) -> Metrics:
    """Measure, and write `metrics.json`: -> the same as a dictionary.

    The student is trained again first when labels or gold have changed since; when nothing has, nothing is measured.
    """
    from tutelage.students import load_student

    training = train(run, log=log)
    started = time.monotonic()
    made_from = _made_from(run, training)
    if run.stage("evaluate").get("made_from") == made_from and (known := run.json("metrics")):
        log("the figures are up to date")
        return known
    config, scheme = run.config, run.config.labels
    data = shielded(labelled(run), config.student)
    student = load_student(run.path / "student")
    chosen = Recipe(**next(row for row in training["tried"] if row["chosen"])["recipe"])
    vectors = (
        Vectors(chosen.encoder, run.encoder_cache)
        if chosen.tier in ("embedding", "static") and chosen.encoder
        else None
    )

    metrics: Metrics = {
        "format": 1, "tutelage": tutelage.__version__, "created": datetime.now(UTC).isoformat(timespec="seconds"),
        "run": run.name, "scheme": {"name": scheme.name, "kind": scheme.kind, "names": list(scheme.names)},
        "pool": _pool(run), "labels": _labels(run, data),
        "teacher": {"name": run.stage("annotate").get("teacher", config.teacher.spec), **_empty()},
        "student": {"name": chosen.describe(), "tier": chosen.tier, "bytes": _bytes(run, "student"), **_empty()},
        "students": [], "agreement": {}, "warnings": list(scheme.warnings()),
    }  # fmt: skip
    log("measuring speed")
    metrics["student"]["texts_per_second"] = _speed(student, data.texts)
    metrics["teacher"]["texts_per_second"] = _teacher_speed(run, data)
    metrics["cost"] = _cost(run, metrics)
    for row in training["tried"]:
        if row["chosen"]:
            model, place, speed = student, "student", metrics["student"]["texts_per_second"]
        else:
            place = f"tried/{row['tier']}"
            model = load_student(run.path / place)
            speed = _speed(model, data.texts)
        metrics["students"].append({
            "tier": row["tier"], "form": row["form"], "dev_macro_f1": row["dev_macro_f1"],
            "dev_sure_macro_f1": row["dev_sure_macro_f1"], "chosen": row["chosen"],
            "seconds_to_train": row["seconds_to_train"], "texts_per_second": speed, "bytes": _bytes(run, place),
            "_model": model,
        })  # fmt: skip
    judge = None
    if run.has("gold"):
        log("scoring on the held-out human labels")
        judge = score_on_gold(run, metrics, data, student, chosen, vectors)
    else:
        metrics["acceptance"] = acceptance_of(run, [], None)
        metrics["warnings"].append("no human labels: figures show agreement with the teacher, not quality")
    for row in metrics["students"]:
        row.pop("_model")
    metrics["agreement"] |= _teacher_teacher(run)
    if "student_teacher" not in metrics["agreement"]:
        fold = dev_folds(data, config.dev_share, config.seed)[0]
        codes = predicted(fit(chosen, fold.train, scheme, vectors=vectors), fold.dev.texts)[0]
        metrics["agreement"]["student_teacher"] = agreement_of([fold.dev.hard, codes], scheme.names)
        metrics["student"]["dev_macro_f1"] = next(r["dev_macro_f1"] for r in metrics["students"] if r["chosen"])
    if data.degree is not None:
        log("measuring what a student keeps of planted secrets")
        folds = dev_folds(data, config.dev_share, config.seed)
        metrics["privacy"] = audit(data, chosen, folds, scheme, config.student, vectors)
    log("learning curve")
    curve = learning_curve_of(run, data, recipe=chosen, vectors=vectors, judge=judge)
    if curve:
        law = curve.fit()
        metrics["learning_curve"] = {
            "sizes": list(curve.sizes), "macro_f1": [list(s) for s in curve.scores],
            "against": "gold" if run.has("gold") else "dev", "fit": vars(law) if law else None,
            "advice": curve.advice(), "flat": curve.flat(),
        }  # fmt: skip
    metrics["disagreements"] = _disagreements(run, data, chosen, vectors)
    metrics["seconds"] = {
        "annotate": run.stage("annotate").get("seconds"), "train": training.get("seconds"),
        "evaluate": round(time.monotonic() - started, 2),
    }  # fmt: skip
    metrics = _plain(metrics)
    run.put_json("metrics", metrics)
    run.finish("evaluate", made_from=made_from)
    return metrics


def _made_from(run: Run, training: Metrics) -> str:
    tables = [
        run.table(name) for name in ("gold", "pool_gold", "gold_annotations", "rerun_annotations") if run.has(name)
    ]
    facts = [tutelage.__version__, training["made_from"], _pool(run), run.config.labels.model_dump()]
    return signature(*facts, *tables)


def _teacher_teacher(run: Run) -> Metrics:
    """Agreement of the teacher with its own second answers, where it was asked twice."""
    if not run.has("rerun_annotations"):
        return {}
    scheme = run.config.labels
    again, first = run.table("rerun_annotations"), run.table("annotations")
    place = {key: row for row, key in enumerate(first["id"].to_pylist())}
    both = [(row, place[key]) for row, key in enumerate(again["id"].to_pylist()) if key in place]
    if not both:
        return {}
    a = hard_labels(again.take(pa.array([r for r, _ in both])), scheme)
    b = hard_labels(first.take(pa.array([r for _, r in both])), scheme)
    return {"teacher_teacher": agreement_of([a, b], scheme.names)}


def _disagreements(run: Run, data: Labelled, chosen: Recipe, vectors: Vectors | None) -> list[Metrics]:
    """Where teacher and a student that has not seen the text's label are most sure of different things.

    Every text is judged by the student of the other half; the product of the two confidences ranks the rows. A student that
    can explain itself says which words decided.
    """
    scheme = run.config.labels
    halves = group_split(range(len(data)), [0.5, 0.5], seed=run.config.seed, stratify=data.strata)
    rows: list[tuple[float, Metrics, Student]] = []
    for mine, other in (halves, halves[::-1]):
        if len(np.unique(data.hard[other], axis=0)) < 2:
            continue
        student = fit(chosen, data.rows(other), scheme, vectors=vectors)
        codes, probs = predicted(student, data.texts[mine])
        differs = codes != data.hard[mine] if codes.ndim == 1 else (codes != data.hard[mine]).any(axis=1)
        for place in np.flatnonzero(differs):
            row = mine[place]
            sure = float(student.confidence(probs[place : place + 1])[0])
            trusted = float(data.confidence[row])
            rows.append((sure * trusted, {
                "id": data.ids[row], "text": data.texts[row], "teacher": _names(data.hard[row], scheme.names),
                "student": _names(codes[place], scheme.names), "teacher_confidence": trusted, "student_confidence": sure,
            }, student))  # fmt: skip
    rows.sort(key=lambda item: -item[0])
    shown = rows[:DISAGREEMENTS]
    return [row | {"because": _because(student, row["text"], row["student"])} for _, row, student in shown]


def _because(student: Student, text: str, label: str) -> list[str]:
    """The n-grams that spoke most for a label, strongest first; none where nobody can tell."""
    from tutelage.students import NgramClassifier

    if not isinstance(student, NgramClassifier) or label not in student.classes_:
        return []
    for_it = (part.text for part in student.explain(text, label).contributions if part.weight > 0)
    return list(dict.fromkeys(for_it))[:REASONS]


def _names(code: Any, names: tuple[str, ...]) -> str:
    if np.ndim(code) == 0:
        return names[int(code)]
    return " | ".join(names[k] for k in np.flatnonzero(code)) or "(none)"


def _pool(run: Run) -> Metrics:
    note = run.stage("pool")
    return {key: note.get(key) for key in ("read", "rejected", "duplicates", "truncated", "texts", "languages")}


def _labels(run: Run, data: Labelled) -> Metrics:
    given = run.table("annotations")
    status = Counter(given["status"].to_pylist())
    names = run.config.labels.names
    counts = np.bincount(data.hard, minlength=len(names)) if data.hard.ndim == 1 else data.hard.sum(axis=0)
    answered = status.pop("ok", 0)
    return {
        "answered": answered, "failed": dict(status), "pending": run.table("pool").num_rows - given.num_rows,
        "by_label": {name: int(n) for name, n in zip(names, counts, strict=True)},
        "few": [name for name, n in zip(names, counts, strict=True) if n < 10],
    }  # fmt: skip


def _cost(run: Run, metrics: Metrics) -> Metrics:
    """What the teacher of the run has cost, and what a million texts would; another one that was asked before is not it."""
    from tutelage.evaluation.cost import core_hours_per_million, cost_per_million

    if not (run.path / "labels.sqlite").exists():
        return {}
    with run.ledger(readonly=True) as ledger:
        book = ledger.summary(run.stage("annotate").get("fingerprint"))
        if not book["requests"] and "openai:" in run.config.teacher.spec:  # votes, ensembles: filed under their parts
            book = ledger.summary()
    tables = [run.table(name) for name in ("annotations", "gold_annotations") if run.has(name)]
    answered = sum(table["status"].to_pylist().count("ok") for table in tables)
    per_million = cost_per_million(float(book["cost"]), answered) if book["cost"] else None  # type: ignore[arg-type]
    teacher: Metrics = {
        "requests": book["requests"], "tokens_in": book["tokens_in"], "tokens_out": book["tokens_out"],
        "amount": book["cost"], "currency": book["currency"], "per_million_texts": per_million,
    }  # fmt: skip
    speed = metrics["teacher"]["texts_per_second"]
    if not book["requests"] and speed:
        teacher["per_million_texts_core_hours"] = core_hours_per_million(speed)
    student = {"per_million_texts_core_hours": core_hours_per_million(metrics["student"]["texts_per_second"])}
    if per_million is not None:
        metrics["teacher"]["cost_per_million"] = {"amount": per_million, "currency": book["currency"]}
    return {"teacher": teacher, "student": student}


def _speed(student: Student, texts: np.ndarray) -> float:
    """Texts a second of `predict_proba`, warm, on as many texts as take no more than a moment."""
    from tutelage.evaluation.cost import seconds, texts_per_second

    slow = student.tier in {"embedding", "encoder"}
    sample = [str(t) for t in texts[: _SLOW_TEXTS if slow else _SPEED_TEXTS]]
    student.predict_proba(pa.array(sample[:2]))  # loads the encoder, compiles the kernels
    if not slow:
        return texts_per_second(lambda batch: student.predict_proba(pa.array(batch)), sample)
    with seconds() as spent:
        student.predict_proba(pa.array(sample))
    return len(sample) / spent.wall


def _teacher_speed(run: Run, data: Labelled) -> float | None:
    """A zero-shot teacher is timed again, warm and on texts that are not cached; of another the annotation's speed is known."""
    if not run.config.teacher.spec.startswith("zero-shot"):
        return run.stage("annotate").get("texts_per_second")
    from tutelage.evaluation.cost import seconds

    few = data.rows(np.arange(min(_SLOW_TEXTS, len(data))))
    langs = {} if few.lang is None else {"lang": few.lang.tolist()}
    table = pa.table({"id": few.ids.tolist(), "text": few.texts.tolist(), **langs})
    with TemporaryDirectory() as folder:
        teacher = teacher_of(run, encoder_cache=Path(folder) / "vectors.sqlite")
        first = table.slice(
            0, len(few) // 8
        )  # loads the encoders and embeds the labels, which millions of texts would share
        teacher.annotate(first, run.config.labels)
        rest = table.slice(first.num_rows)
        with seconds() as spent:
            teacher.annotate(rest, run.config.labels)
    return rest.num_rows / spent.wall


def _bytes(run: Run, place: str) -> int:
    return sum(file.stat().st_size for file in (run.path / place).rglob("*") if file.is_file())


def _empty() -> Metrics:
    return {"macro_f1": None, "micro_f1": None, "macro_f1_ci": None, "texts_per_second": None}


def _plain(value: Any) -> Any:
    """numpy scalars and NaN as JSON has them."""
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(v) for v in value]
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
