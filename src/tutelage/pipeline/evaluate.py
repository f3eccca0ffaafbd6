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
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

import tutelage
from tutelage.data.annotations import annotations, hard_labels, soft_targets
from tutelage.data.split import group_split
from tutelage.methods.labelling.iptc import accept
from tutelage.pipeline.annotate import labelled
from tutelage.pipeline.curve import learning_curve_of
from tutelage.pipeline.folder import Run
from tutelage.pipeline.learn import Labelled, Recipe, Vectors, fit, predicted
from tutelage.pipeline.teacher import teacher_of
from tutelage.pipeline.train import dev_folds, train

if TYPE_CHECKING:
    from tutelage.students.base import Student

PRECISIONS = (0.8, 0.9, 0.95)
DISAGREEMENTS = 100
_SPEED_TEXTS, _SLOW_TEXTS = 2_000, 64
_LEAST_TRANSFER = 50  # labels in a language before it takes part in the transfer table

Metrics = dict[str, Any]


def evaluate(run: Run, *, log: Callable[[str], None] = lambda _: None) -> Metrics:
    """Measure, and write `metrics.json`: -> the same as a dictionary.

    The student is trained again first when labels or gold have changed since.
    """
    from tutelage.students import load_student

    started = time.monotonic()
    training = train(run, log=log)
    config, scheme = run.config, run.config.labels
    data = labelled(run)
    student = load_student(run.path / "student")
    chosen = Recipe(**next(row for row in training["tried"] if row["chosen"])["recipe"])
    vectors = Vectors(chosen.encoder, run.encoder_cache) if chosen.tier == "embedding" and chosen.encoder else None

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
        judge = _on_gold(run, metrics, data, student, chosen, vectors)
    else:
        metrics["acceptance"] = _acceptance(run, [], None)
        metrics["warnings"].append("no human labels: figures show agreement with the teacher, not quality")
    for row in metrics["students"]:
        row.pop("_model")
    metrics["agreement"] |= _teacher_teacher(run)
    if "student_teacher" not in metrics["agreement"]:
        held = dev_folds(data, config.dev_share, config.seed)[0]
        rest = np.setdiff1d(np.arange(len(data)), held)
        codes = predicted(fit(chosen, data.rows(rest), scheme, vectors=vectors), data.texts[held])[0]
        metrics["agreement"]["student_teacher"] = _agreement([data.hard[held], codes], scheme.names)
        metrics["student"]["dev_macro_f1"] = next(r["dev_macro_f1"] for r in metrics["students"] if r["chosen"])
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
    return metrics


def _on_gold(
    run: Run, metrics: Metrics, data: Labelled, student: Student, chosen: Recipe, vectors: Vectors | None
) -> tuple[np.ndarray, np.ndarray]:
    from tutelage.evaluation import classification as c

    names = run.config.labels.names
    table = run.table("gold")
    texts = np.array(table["text"].to_pylist(), object)
    lang = np.array(table["lang"].to_pylist(), object) if "lang" in table.column_names else None
    gold = _codes(table, "gold", run)
    teacher, teacher_probs = _teacher_on_gold(run, table)
    codes, probs = predicted(student, texts)

    metrics["student"] |= _scored(gold, codes, names, probs, lang)
    metrics["teacher"] |= _scored(gold, teacher, names, teacher_probs, lang)
    metrics["student"]["coverage"], metrics["student"]["thresholds"] = _coverage(gold, probs)
    for row in metrics["students"]:
        row |= _short(gold, codes if row["chosen"] else predicted(row["_model"], texts)[0], names)
    guess = c.dummy(data.hard, len(gold), strategy="stratified", seed=run.config.seed)
    most = c.dummy(data.hard, len(gold))
    metrics["dummy"] = {"name": "drawn from the teacher's label shares", **_short(gold, guess, names), "texts_per_second": None,
                        "most_frequent": _short(gold, most, names)}  # fmt: skip
    metrics["gold_student"] = _gold_student(run, gold, texts, chosen, vectors, names)
    metrics["gold"] = {
        "n": len(gold), "labels_present": [names[k] for k in c.labels_present(gold)],
        "discarded": run.stage("pool").get("discarded", {}),
        "confusion": c.confusion(gold, codes, len(names)).tolist() if gold.ndim == 1 else None,
        "caveat": "The gold sample need not have the label shares of the pool; macro-F1 averages over the labels present in it.",
    }  # fmt: skip
    difference = c.macro_f1_difference(gold, codes, teacher, resamples=2_000)
    metrics["student_minus_teacher"] = {
        "macro_f1": difference.value,
        "ci": list(difference.interval),
        "p": difference.p,
    }

    people = [gold, *(_codes(table, name, run) for name in table.column_names if name.startswith("gold_"))]
    agreement = {
        "teacher_human": _agreement([people[0], teacher], names, per_label=True),
        "student_human": _agreement([people[0], codes], names),
        "student_teacher": _agreement([teacher, codes], names),
    }
    each = [_agreement([person, teacher], names)["alpha"] for person in people]
    between = None
    if len(people) > 1:
        agreement["human_human"] = _agreement(people, names, per_label=True)
        between = agreement["human_human"]["alpha"]
    metrics["agreement"] |= agreement
    metrics["acceptance"] = _acceptance(run, [a for a in each if a is not None], between)
    if lang is not None:
        metrics["transfer"] = _transfer(run, data, gold, texts, lang, chosen)
    if lang is not None and metrics["transfer"] is None:
        del metrics["transfer"]
    return texts, gold


def _scored(
    gold: np.ndarray, codes: np.ndarray, names: tuple[str, ...], probs: np.ndarray | None, lang: np.ndarray | None
) -> Metrics:
    from tutelage.evaluation import calibration
    from tutelage.evaluation.classification import macro_f1, micro_f1, scores

    s = scores(gold, codes, names)
    result: Metrics = {
        "macro_f1": s.macro_f1, "micro_f1": s.micro_f1, "macro_f1_ci": list(s.macro_f1_ci), "micro_f1_ci": list(s.micro_f1_ci),
        "n": s.n, "per_label": {name: vars(score) for name, score in s.per_label.items()},
    }  # fmt: skip
    if lang is not None:
        result["per_language"] = {
            str(one): {"macro_f1": macro_f1(gold[m], codes[m]), "micro_f1": micro_f1(gold[m], codes[m]), "n": int(m.sum())}
            for one in sorted(set(lang)) for m in [lang == one]
        }  # fmt: skip
    if probs is not None and np.isfinite(probs).all():
        result["calibration"] = {
            "ece": calibration.ece(probs, gold), "brier": calibration.brier(probs, gold), "nll": calibration.nll(probs, gold),
            "bins": [vars(b) for b in calibration.reliability(probs, gold) if b.n],
        }  # fmt: skip
    return result


def _short(gold: np.ndarray, codes: np.ndarray, names: tuple[str, ...]) -> Metrics:
    from tutelage.evaluation.classification import scores

    s = scores(gold, codes, names)
    return {"macro_f1": s.macro_f1, "micro_f1": s.micro_f1, "macro_f1_ci": list(s.macro_f1_ci)}


def _coverage(gold: np.ndarray, probs: np.ndarray) -> tuple[list[Metrics], Metrics]:
    from tutelage.evaluation.calibration import coverage_curve, threshold_for

    points = [vars(point) for point in coverage_curve(probs, gold, points=60)]
    thresholds = {str(p): vars(threshold_for(probs, gold, p)) for p in PRECISIONS} if len(gold) > 1 else {}
    return points, thresholds


def _gold_student(
    run: Run, gold: np.ndarray, texts: np.ndarray, chosen: Recipe, vectors: Vectors | None, names: tuple[str, ...]
) -> Metrics:
    """The same student learned from human labels: of the pool where it has them, else across five folds of the gold."""
    from dataclasses import replace

    scheme = run.config.labels
    recipe = replace(chosen, form="hard")
    if run.has("pool_gold"):
        known, pool = run.table("pool_gold"), run.table("pool")
        text_of = dict(zip(pool["id"].to_pylist(), pool["text"].to_pylist(), strict=True))
        data = _as_labelled(run, known, [text_of[key] for key in known["id"].to_pylist()])
        codes = predicted(fit(recipe, data, scheme, vectors=vectors), texts)[0]
        how = f"learned from {len(data):,} human labels of the pool"
    else:
        data = _as_labelled(run, run.table("gold"), texts.tolist())
        folds = group_split(range(len(data)), [0.2] * 5, seed=run.config.seed, stratify=data.strata)
        codes = np.zeros_like(gold)
        for fold in folds:
            rest = np.setdiff1d(np.arange(len(data)), fold)
            if len(fold) and len(np.unique(gold[rest], axis=0)) > 1:
                codes[fold] = predicted(fit(recipe, data.rows(rest), scheme, vectors=vectors), texts[fold])[0]
        how = f"learned from human labels, five-fold across the {len(gold):,} held-out texts"
    return {"name": how, **_short(gold, codes, names), "texts_per_second": None}


def _as_labelled(run: Run, table: pa.Table, texts: list[str]) -> Labelled:
    hard = _codes(table, "gold", run)
    k = len(run.config.labels)
    soft = np.eye(k, dtype=np.float32)[hard] if hard.ndim == 1 else hard.astype(np.float32)
    return Labelled(np.array(table["id"].to_pylist(), object), np.array(texts, object), hard, soft)


def _transfer(
    run: Run, data: Labelled, gold: np.ndarray, texts: np.ndarray, lang: np.ndarray, chosen: Recipe
) -> Metrics | None:
    """Macro-F1 of students taught in one language (rows) on the gold of each (columns)."""
    from tutelage.evaluation.classification import macro_f1
    from tutelage.evaluation.curves import transfer_matrix

    if data.lang is None:
        return None
    count = Counter(data.lang)
    names = [
        one
        for one, n in sorted(count.items(), key=lambda item: -item[1])
        if n >= _LEAST_TRANSFER and (lang == one).any()
    ]
    if len(names) < 2:
        return None
    same = chosen.tier == "embedding" and chosen.encoder == "use-multilingual"
    recipe = Recipe(
        "embedding",
        encoder="use-multilingual",
        form=chosen.form,
        seed=chosen.seed,
        strength=chosen.strength if same else 10.0,
    )
    vectors = Vectors("use-multilingual", run.encoder_cache)
    students = {one: fit(recipe, data.rows(data.lang == one), run.config.labels, vectors=vectors) for one in names}
    matrix = transfer_matrix(
        lambda taught, tested: macro_f1(gold[lang == tested], predicted(students[taught], texts[lang == tested])[0]),
        names,
    )
    return {"languages": list(matrix.names), "macro_f1": matrix.scores.tolist(), "ratios": matrix.ratios(),
            "student": recipe.describe(), "labels": {one: count[one] for one in names}}  # fmt: skip


def _teacher_on_gold(run: Run, gold: pa.Table) -> tuple[np.ndarray, np.ndarray | None]:
    """The teacher's codes on the gold (−1 or no label where it failed) and its probabilities, where it gave any for all."""
    scheme = run.config.labels
    given = run.table("gold_annotations") if run.has("gold_annotations") else annotations([], [])
    place = {key: row for row, key in enumerate(given["id"].to_pylist())}
    hard, soft = hard_labels(given, scheme), soft_targets(given, scheme)
    shape = (gold.num_rows, len(scheme))
    codes = np.full(gold.num_rows, -1, np.int64) if not scheme.multi else np.zeros(shape, np.int8)
    probs = np.full(shape, np.nan)
    for row, key in enumerate(gold["id"].to_pylist()):
        if key in place:
            codes[row] = hard[place[key]]
            if given["probs"][place[key]].is_valid:
                probs[row] = soft[place[key]]
    return codes, probs if np.isfinite(probs).all() and len(probs) else None


def _agreement(raters: list[np.ndarray], names: tuple[str, ...], *, per_label: bool = False) -> Metrics:
    """Krippendorff's alpha with its interval; multi-label raters are compared as sets."""
    from tutelage.evaluation.agreement import alpha, alpha_per_label

    multi = raters[0].ndim == 2
    found = alpha(raters, level="masi") if multi else alpha(raters, missing=-1)
    result: Metrics = {"alpha": found.value, "ci": list(found.interval), "n": found.n}
    if found.reason:
        result["reason"] = found.reason
    if per_label:
        labels = alpha_per_label(
            raters, names if multi else range(len(names)), missing=None if multi else -1, resamples=100
        )
        result["per_label"] = dict(zip(names, (one.value for one in labels.values()), strict=True))
    return result


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
    return {"teacher_teacher": _agreement([a, b], scheme.names)}


def _acceptance(run: Run, teacher_human: list[float], human_human: float | None) -> Metrics:
    verdict = accept(teacher_human, human_human)
    result: Metrics = {"outcome": verdict.outcome, "rule": verdict.rule, "sentence": verdict.sentence}
    if verdict.outcome == "unchecked":
        result["command"] = f"tutelage evaluate {run.path} --sample to_review.csv"
    return result


def _disagreements(run: Run, data: Labelled, chosen: Recipe, vectors: Vectors | None) -> list[Metrics]:
    """Where teacher and a student that has not seen the text's label are most sure of different things.

    Every text is judged by the student of the other half; the product of the two confidences ranks the rows.
    """
    scheme = run.config.labels
    halves = group_split(range(len(data)), [0.5, 0.5], seed=run.config.seed, stratify=data.strata)
    rows: list[tuple[float, Metrics]] = []
    for mine, other in (halves, halves[::-1]):
        if len(np.unique(data.hard[other], axis=0)) < 2:
            continue
        codes, probs = predicted(fit(chosen, data.rows(other), scheme, vectors=vectors), data.texts[mine])
        differs = codes != data.hard[mine] if codes.ndim == 1 else (codes != data.hard[mine]).any(axis=1)
        for place in np.flatnonzero(differs):
            row = mine[place]
            sure = float(np.maximum(probs[place], 1 - probs[place]).prod() if codes.ndim == 2 else probs[place].max())
            trusted = float(data.confidence[row])
            rows.append((sure * trusted, {
                "id": data.ids[row], "text": data.texts[row], "teacher": _names(data.hard[row], scheme.names),
                "student": _names(codes[place], scheme.names), "teacher_confidence": trusted, "student_confidence": sure,
            }))  # fmt: skip
    rows.sort(key=lambda item: -item[0])
    return [row for _, row in rows[:DISAGREEMENTS]]


def _names(code: Any, names: tuple[str, ...]) -> str:
    if np.ndim(code) == 0:
        return names[int(code)]
    return " | ".join(names[k] for k in np.flatnonzero(code)) or "(none)"


def _codes(table: pa.Table, column: str, run: Run) -> np.ndarray:
    """A column of label lists as codes (N,) with −1 for "not rated", or indicators (N, K)."""
    lists = table[column].to_pylist()
    return hard_labels(annotations(table["id"].to_pylist(), [x or [] for x in lists]), run.config.labels)


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
    from tutelage.evaluation.cost import core_hours_per_million, cost_per_million

    if not (run.path / "labels.sqlite").exists():
        return {}
    with run.ledger(readonly=True) as ledger:
        book = ledger.summary()
    per_million = cost_per_million(float(book["cost"]), int(book["answered"])) if book["cost"] else None  # type: ignore[arg-type]
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
    from tutelage.evaluation.cost import texts_per_second

    slow = student.tier in {"embedding", "encoder"}
    sample = [str(t) for t in texts[: _SLOW_TEXTS if slow else _SPEED_TEXTS]]
    student.predict_proba(pa.array(sample[:2]))  # loads the encoder, compiles the kernels
    return texts_per_second(lambda batch: student.predict_proba(pa.array(batch)), sample, repeats=1 if slow else 3)


def _teacher_speed(run: Run, data: Labelled) -> float | None:
    """A zero-shot teacher is timed again, warm and without its cache; of another the annotation's own speed is known."""
    if not run.config.teacher.spec.startswith("zero-shot"):
        return run.stage("annotate").get("texts_per_second")
    from tutelage.evaluation.cost import texts_per_second

    few = data.rows(np.arange(min(_SLOW_TEXTS, len(data))))
    langs = {} if few.lang is None else {"lang": few.lang.tolist()}
    table = pa.table({"id": few.ids.tolist(), "text": few.texts.tolist(), **langs})
    teacher = teacher_of(run, cached=False)
    return texts_per_second(lambda _: teacher.annotate(table, run.config.labels), few.texts.tolist(), repeats=1)


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
