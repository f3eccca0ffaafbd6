"""Fitting one student on a teacher's labels: which form of the labels, which tier.

A teacher's labels are wrong in part, so how they are used is a choice, made on the teacher-labelled dev split and never on
gold:

| form | target | weight |
|---|---|---|
| `hard` | the teacher's label | 1 |
| `soft` | the teacher's probabilities | 1 |
| `trusted` | the teacher's label | its confidence |
| `agreed` | the teacher's label | 1 where a student of another view says the same, else 0 |

and each of them also `balanced`: times the inverse frequency of the label.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from tutelage.data.labels import LabelScheme
from tutelage.data.split import group_split

if TYPE_CHECKING:
    from tutelage.data.encoder import SentenceEncoder
    from tutelage.students.base import Student

STRENGTHS = (500.0, 1_500.0, 5_000.0, 15_000.0, 50_000.0)
"""What is tried for a head on a frozen encoder: C·N, the weight of the mean loss against the shrinkage of the head."""

_MANY = 20_000  # labels above which the second view is learned in halves instead of fifths


@dataclass(frozen=True)
class Labelled:
    """N texts with what was said about them.

    Attributes: ids, texts (N,); hard: codes (N,) int64 or indicators (N, K); soft: (N, K) float32; lang: (N,) or None.
    """

    ids: np.ndarray
    texts: np.ndarray
    hard: np.ndarray
    soft: np.ndarray
    lang: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, index: np.ndarray) -> Labelled:
        """The rows of a mask or of positions."""
        lang = None if self.lang is None else self.lang[index]
        return Labelled(self.ids[index], self.texts[index], self.hard[index], self.soft[index], lang)

    @property
    def confidence(self) -> np.ndarray:
        """(N,) the teacher's probability of its own answer."""
        if self.hard.ndim == 2:
            return np.maximum(self.soft, 1 - self.soft).prod(axis=1)
        return self.soft.max(axis=1)

    @cached_property
    def agreed(self) -> np.ndarray:
        """(N,) 1.0 where an n-gram student that has not seen the text's label gives the same one, else 0.0.

        Teacher and n-grams see a text in different ways, so their mistakes coincide seldom: what both say is cleaner than
        what either says (Blum & Mitchell, "Combining Labeled and Unlabeled Data with Co-Training", 1998).
        """
        from tutelage.students import NgramClassifier

        k = self.soft.shape[1]
        folds = group_split(range(len(self)), [0.2] * 5 if len(self) <= _MANY else [0.5] * 2, stratify=self.strata)
        same = np.zeros(len(self))
        for fold in folds:
            rest = np.setdiff1d(np.arange(len(self)), fold)
            if not len(fold) or len(np.unique(self.hard[rest], axis=0)) < 2:
                continue
            student = NgramClassifier(classes=list(range(k)), multi=self.hard.ndim == 2)
            student.fit(pa.array(self.texts[rest].tolist()), one_hot(self.hard[rest], k))
            codes = predicted(student, self.texts[fold])[0]
            hits = codes == self.hard[fold]
            same[fold] = hits if hits.ndim == 1 else hits.all(axis=1)
        return same

    @property
    def is_soft(self) -> bool:
        """Whether the teacher gave probabilities at all."""
        return bool(((self.soft > 0) & (self.soft < 1)).any())

    @property
    def strata(self) -> list[str]:
        """(N,) label and language as one key, for stratified splits."""
        codes = self.hard if self.hard.ndim == 1 else [row.tobytes().hex() for row in self.hard]
        langs = self.lang if self.lang is not None else [""] * len(self)
        return [f"{code}|{lang}" for code, lang in zip(codes, langs, strict=True)]


@dataclass(frozen=True)
class Recipe:
    """How a student is made: tier, form of the labels, balanced or not, encoder, epochs, seed.

    `strength` is C·N of the embedding student, so that one value means the same with few labels and with many; None lets
    the student choose C by its own loss. `chars` adds character n-grams to the n-gram student, which then is slower.
    """

    tier: str
    form: str = "hard"
    balanced: bool = False
    encoder: str | None = None
    epochs: int | None = None
    seed: int = 0
    strength: float | None = None
    chars: bool = False

    def describe(self) -> str:
        """For tables: "ngram (soft, balanced)"."""
        return f"{self.tier} ({self.form}{', balanced' if self.balanced else ''}{', characters' if self.chars else ''})"


class Vectors:
    """A sentence encoder that remembers every text of the run in memory, so that many small fits embed each text once."""

    def __init__(self, name: str, cache: Path) -> None:
        self.name = name
        self._cache = cache
        self._rows: dict[str, np.ndarray] = {}

    @cached_property
    def encoder(self) -> SentenceEncoder:
        """The encoder itself."""
        from tutelage.data.encoder import SentenceEncoder

        return SentenceEncoder(self.name, cache=self._cache)

    @property
    def fingerprint(self) -> str:
        return self.encoder.fingerprint

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        """Texts -> (N, d)."""
        missing = list(dict.fromkeys(t for t in texts if t not in self._rows))
        if missing:
            self._rows.update(zip(missing, self.encoder.encode(missing), strict=True))
        return np.stack([self._rows[t] for t in texts]) if len(texts) else np.zeros((0, self.encoder.dim), np.float32)


def build(recipe: Recipe, scheme: LabelScheme, vectors: Vectors | None = None) -> Student:
    """An unfitted student. Raises: MissingExtra: its tier needs an extra."""
    from tutelage import students

    classes, multi, seed = list(scheme.names), scheme.multi, recipe.seed
    weight = "balanced" if recipe.balanced else None
    match recipe.tier:
        case "ngram":
            chars = (2, 5) if recipe.chars else None
            return students.NgramClassifier(chars=chars, classes=classes, multi=multi, class_weight=weight, seed=seed)
        case "static":
            return students.StaticClassifier(classes=classes, multi=multi, class_weight=weight, seed=seed)
        case "embedding":
            head = students.EmbeddingClassifier(
                vectors or recipe.encoder or "minilm", classes=classes, multi=multi, class_weight=weight, seed=seed
            )
            return head
        case "encoder":
            network = students.EncoderClassifier(
                recipe.encoder or "minilm", classes=classes, multi=multi, class_weight=weight, seed=seed
            )
            return network if recipe.epochs is None else network.set_params(epochs=recipe.epochs)
    raise ValueError(f"unknown tier {recipe.tier!r}")


def fit(
    recipe: Recipe, data: Labelled, scheme: LabelScheme, *, vectors: Vectors | None = None, dev: Labelled | None = None
) -> Student:
    """Fit a student on labels in the recipe's form.

    In a multi-label scheme each label's threshold is tuned on a fifth of the rows, with a student of the other four fifths.
    """
    student = _fit(recipe, data, scheme, vectors, dev)
    if scheme.multi and len(data) >= 10:
        rest, held = group_split(range(len(data)), [0.8, 0.2], seed=recipe.seed, stratify=data.strata)
        part = _fit(recipe, data.rows(rest), scheme, vectors, dev)
        part.tune_thresholds(predicted(part, data.texts[held])[1], data.hard[held])
        student.thresholds_ = part.thresholds_
    return student


def _fit(recipe: Recipe, data: Labelled, scheme: LabelScheme, vectors: Vectors | None, dev: Labelled | None) -> Student:
    student = build(recipe, scheme, vectors)
    if recipe.strength is not None:
        student.set_params(C=recipe.strength / len(data))
    targets = data.soft if recipe.form == "soft" else one_hot(data.hard, len(scheme))
    weights = {"trusted": lambda: data.confidence, "agreed": lambda: data.agreed}.get(recipe.form, lambda: None)()
    held = None
    if dev is not None:
        held = (pa.array(dev.texts.tolist()), one_hot(dev.hard, len(scheme)))
    return student.fit(pa.array(data.texts.tolist()), targets, weights, dev=held)


def one_hot(hard: np.ndarray, k: int) -> np.ndarray:
    """Codes (N,) or indicators (N, K) -> targets (N, K) float32."""
    return np.eye(k, dtype=np.float32)[hard] if hard.ndim == 1 else hard.astype(np.float32)


def predicted(student: Student, texts: np.ndarray | Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(codes (N,) or indicators (N, K), probabilities (N, K))."""
    probs = student.predict_proba(pa.array(list(texts), pa.string()))
    codes = student.decide(probs)
    return (codes.astype(np.int8) if codes.ndim == 2 else codes), probs


@dataclass(frozen=True)
class Judged:
    """How a recipe did on teacher labels that it had not seen.

    Attributes:
        macro_f1: against the teacher on all of them; sure: on the half of which the teacher is surest; unsure: share of the
            teacher's labels that it gives too on the rest. error: one standard error of `sure`. n: how many texts.
    """

    macro_f1: float
    sure: float
    unsure: float
    error: float
    n: int


@dataclass(frozen=True)
class Fold:
    """Rows to learn from, and rows to be judged on."""

    train: Labelled
    dev: Labelled


def judge(recipe: Recipe, folds: Sequence[Fold], scheme: LabelScheme, vectors: Vectors | None) -> Judged:
    """Fit on each fold's rows, predict its dev rows, and compare with the teacher."""
    from tutelage.evaluation.classification import macro_f1

    codes = []
    for fold in folds:
        dev = fold.dev if recipe.tier == "encoder" else None
        codes.append(predicted(fit(recipe, fold.train, scheme, vectors=vectors, dev=dev), fold.dev.texts)[0])
    said = np.concatenate(codes)
    given = np.concatenate([fold.dev.hard for fold in folds])
    trust = np.concatenate([fold.dev.confidence for fold in folds])
    sure = trust >= np.median(trust)
    hits = (said == given) if said.ndim == 1 else (said == given).all(axis=1)
    rate = (hits[sure].sum() + 1) / (sure.sum() + 2)
    return Judged(
        macro_f1=macro_f1(given, said),
        sure=macro_f1(given[sure], said[sure]),
        unsure=float(hits[~sure].mean()) if (~sure).any() else float(hits.mean()),
        error=float(np.sqrt(rate * (1 - rate) / sure.sum())),
        n=len(said),
    )


def choose(
    recipe: Recipe, folds: Sequence[Fold], scheme: LabelScheme, *, vectors: Vectors | None = None
) -> tuple[Recipe, Judged]:
    """The form of the labels, and the shrinkage, of the best student of one tier, without any human label.

    A student that agrees more with its teacher is not the better one: sharing the teacher's view of a text it can copy the
    teacher's mistakes too. Where the teacher is sure it is mostly right, so agreement there is quality, and agreement
    elsewhere is imitation. The choice is therefore, among all recipes whose macro-F1 on the sure half is within one
    standard error of the best, the one that imitates least. Soft targets are the shortest way to a copy and not tried on
    embeddings. A transformer is trained once, on all that the teacher said.
    """
    if recipe.tier == "encoder":
        only = replace(recipe, form="soft" if folds[0].train.is_soft else "hard")
        return only, judge(only, folds[:1], scheme, vectors)
    forms = ["hard"]
    if folds[0].train.is_soft:
        forms += ["trusted"] if recipe.tier == "embedding" else ["trusted", "soft"]
    if recipe.tier != "ngram":
        forms += ["agreed"]
    strengths = STRENGTHS if recipe.tier == "embedding" else (None,)
    judged: dict[Recipe, Judged] = {}
    for one in (replace(recipe, form=form, strength=strength) for form in forms for strength in strengths):
        judged[one] = judge(one, folds, scheme, vectors)
    best = max(judged.values(), key=lambda j: j.sure)
    close = [one for one, j in judged.items() if j.sure >= best.sure - best.error]
    if recipe.tier == "embedding":
        chosen = min(close, key=lambda one: judged[one].unsure)
    else:
        chosen = max(close, key=lambda one: judged[one].sure)
    variants = [{"balanced": True}, *([{"chars": True}] if recipe.tier == "ngram" else [])]
    for variant in variants:  # each costs something, and must be worth it
        other = replace(chosen, **variant)
        judged[other] = judge(other, folds, scheme, vectors)
        if judged[other].sure > judged[chosen].sure + judged[chosen].error:
            chosen = other
    return chosen, judged[chosen]
