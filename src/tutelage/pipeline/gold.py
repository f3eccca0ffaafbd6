"""What is scored on the held-out human labels: teacher, every student, a student of human labels, a dummy, agreement.

The gold is read here and nowhere else: nothing of it reaches the teacher or the student.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from tutelage.data.annotations import annotations, hard_labels, soft_targets
from tutelage.data.split import group_split
from tutelage.methods.labelling.iptc import accept
from tutelage.pipeline.folder import Run
from tutelage.pipeline.labelled import Labelled, one_hot, predicted
from tutelage.pipeline.learn import Recipe, Vectors, fit

if TYPE_CHECKING:
    from tutelage.evaluation.agreement import Ratings
    from tutelage.students.base import Student

PRECISIONS = (0.8, 0.9, 0.95)
RARE = 3
_LEAST_TRANSFER = 50  # labels in a language before it takes part in the transfer table

Metrics = dict[str, Any]


def score_on_gold(
    run: Run, metrics: Metrics, data: Labelled, student: Student, chosen: Recipe, vectors: Vectors | None
) -> tuple[np.ndarray, np.ndarray]:
    """Add to the metrics all that people's labels tell: -> the gold texts (M,) and their labels, (M,) or (M, K)."""
    from tutelage.evaluation import classification as c
    from tutelage.evaluation.cost import texts_per_second

    names = run.config.labels.names
    table = run.table("gold")
    texts = np.array(table["text"].to_pylist(), object)
    lang = np.array(table["lang"].to_pylist(), object) if "lang" in table.column_names else None
    gold = gold_codes(table, "gold", run)
    teacher, teacher_probs = _teacher_on_gold(run, table)
    codes, probs = predicted(student, texts)

    metrics["student"] |= _scored(gold, codes, names, probs, lang)
    metrics["teacher"] |= _scored(gold, teacher, names, teacher_probs, lang)
    metrics["student"]["coverage"], metrics["student"]["thresholds"] = _coverage(gold, probs)
    for row in metrics["students"]:
        row |= _short(gold, codes if row["chosen"] else predicted(row["_model"], texts)[0], names)
    guess = c.dummy(data.hard, len(gold), strategy="stratified", seed=run.config.seed)
    most = c.dummy(data.hard, len(gold))
    draw = lambda rows: c.dummy(data.hard, len(rows), strategy="stratified")
    metrics["dummy"] = {
        "name": "drawn from the teacher's label shares", **_short(gold, guess, names), "most_frequent": _short(gold, most, names),
        "texts_per_second": texts_per_second(draw, texts.tolist(), repeats=1),
    }  # fmt: skip
    metrics["gold_student"] = {
        **_gold_student(run, gold, texts, chosen, vectors, names),
        "texts_per_second": metrics["student"]["texts_per_second"],  # the same student with other weights
    }
    metrics["gold"] = {
        "n": len(gold), "labels_present": [names[k] for k in c.labels_present(gold)],
        "discarded": run.stage("pool").get("discarded", {}),
        "confusion": c.confusion(gold, codes, len(names)).tolist() if gold.ndim == 1 else None,
        "caveat": _caveat(gold, names),
    }  # fmt: skip
    difference = c.macro_f1_difference(gold, codes, teacher, resamples=2_000)
    metrics["student_minus_teacher"] = {
        "macro_f1": difference.value,
        "ci": list(difference.interval),
        "p": difference.p,
    }

    people = [_rated(table, name, run) for name in table.column_names if name.split("_")[0] == "gold"]
    agreement = {
        "teacher_human": agreement_of([gold, teacher], names, per_label=True),
        "student_human": agreement_of([gold, codes], names),
        "student_teacher": agreement_of([teacher, codes], names),
    }
    each = [agreement_of([person, teacher], names)["alpha"] for person in people]
    between = None
    if len(people) > 1:
        agreement["human_human"] = agreement_of(people, names, per_label=True)
        between = agreement["human_human"]["alpha"]
    metrics["agreement"] |= agreement
    metrics["acceptance"] = acceptance_of(run, [a for a in each if a is not None], between)
    transfer = None if lang is None else _transfer(run, data, gold, texts, lang, chosen)
    if transfer:
        metrics["transfer"] = transfer
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
            for one in sorted(set(lang) - {""}) for m in [lang == one]
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
    scheme = run.config.labels
    recipe = replace(chosen, form="hard")
    known = run.table("pool_gold") if run.has("pool_gold") else None
    if known is not None and len({tuple(x) for x in known["gold"].to_pylist()}) > 1:
        pool = run.table("pool")
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
    return {"name": how, **_short(gold, codes, names)}


def _as_labelled(run: Run, table: pa.Table, texts: list[str]) -> Labelled:
    hard = gold_codes(table, "gold", run)
    k = len(run.config.labels)
    return Labelled(np.array(table["id"].to_pylist(), object), np.array(texts, object), hard, one_hot(hard, k))


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
        strength=chosen.strength if same else None,
        temperature=chosen.temperature,
        self_distill=chosen.self_distill,
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


def agreement_of(raters: Sequence[Ratings], names: tuple[str, ...], *, per_label: bool = False) -> Metrics:
    """Krippendorff's alpha with its interval.

    Args: raters: for each the codes (N,) with −1 for "not rated"; or in a multi-label scheme indicators (N, K) or sets of
        codes with None, which are compared as sets.
    """
    from tutelage.evaluation.agreement import alpha, alpha_per_label

    multi = not isinstance(raters[0], np.ndarray) or raters[0].ndim == 2
    missing = None if multi else -1
    found = alpha(raters, level="masi" if multi else "nominal", missing=missing)
    result: Metrics = {"alpha": found.value, "ci": list(found.interval), "n": found.n}
    if found.reason:
        result["reason"] = found.reason
    if per_label:
        labels = alpha_per_label(raters, range(len(names)), missing=missing, resamples=100)
        result["per_label"] = dict(zip(names, (one.value for one in labels.values()), strict=True))
    return result


def acceptance_of(run: Run, teacher_human: list[float], human_human: float | None) -> Metrics:
    """The verdict on the teacher, and where nobody has checked it the command that makes the sample to review."""
    verdict = accept(teacher_human, human_human)
    result: Metrics = {"outcome": verdict.outcome, "rule": verdict.rule, "sentence": verdict.sentence}
    if verdict.outcome == "unchecked":
        result["command"] = f"tutelage evaluate {run.path} --sample to_review.csv"
    return result


def _caveat(gold: np.ndarray, names: Sequence[str]) -> str:
    """What the sample's make-up does to the figures."""
    said = (
        "The gold sample need not have the label shares of the pool; macro-F1 averages over the labels present in it."
    )
    counts = np.bincount(gold[gold >= 0], minlength=len(names)) if gold.ndim == 1 else gold.sum(axis=0)
    rare = [name for name, count in zip(names, counts.tolist(), strict=True) if 0 < count < RARE]
    if rare:
        said += (
            f" Fewer than {RARE} of its texts are {', '.join(rare)}: many resamples hold none of them and count its F1 as zero, "
            "so the lower ends of the intervals are too low."
        )
    return said


def gold_codes(table: pa.Table, column: str, run: Run) -> np.ndarray:
    """A column of label lists as codes (N,) with −1 for "not rated", or indicators (N, K)."""
    lists = table[column].to_pylist()
    return hard_labels(annotations(table["id"].to_pylist(), [x or [] for x in lists]), run.config.labels)


def _rated(table: pa.Table, column: str, run: Run) -> Ratings:
    """What one person said: codes (N,) with −1, or in a multi-label scheme sets of codes with None, for "not rated"."""
    codes = gold_codes(table, column, run)
    if codes.ndim == 1:
        return codes
    rated = table[column].is_valid().to_pylist()
    return [frozenset(np.flatnonzero(row).tolist()) if there else None for row, there in zip(codes, rated, strict=True)]
