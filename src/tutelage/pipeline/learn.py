"""Fitting one student on a teacher's labels: which form of the labels, which tier.

A teacher's labels are wrong in part, so how they are used is a choice, made on the teacher-labelled dev split and never on
gold:

| form | target | weight |
|---|---|---|
| `hard` | the teacher's label | 1 |
| `soft` | the teacher's probabilities | 1 |
| `trusted` | the teacher's label | its confidence |

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

if TYPE_CHECKING:
    from tutelage.data.encoder import SentenceEncoder
    from tutelage.students.base import Student

FORMS = ("hard", "soft", "trusted")
STRENGTHS = (0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0)
"""Inverse shrinkages that are tried for a head on a frozen encoder."""


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

    `strength` is the inverse shrinkage C of the embedding student; None lets the student choose by its own loss.
    """

    tier: str
    form: str = "hard"
    balanced: bool = False
    encoder: str | None = None
    epochs: int | None = None
    seed: int = 0
    strength: float | None = None

    def describe(self) -> str:
        """For tables: "ngram (soft, balanced)"."""
        return f"{self.tier} ({self.form}{', balanced' if self.balanced else ''})"


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
            return students.NgramClassifier(classes=classes, multi=multi, class_weight=weight, seed=seed)
        case "static":
            return students.StaticClassifier(classes=classes, multi=multi, class_weight=weight, seed=seed)
        case "embedding":
            head = students.EmbeddingClassifier(
                vectors or recipe.encoder or "minilm", classes=classes, multi=multi, class_weight=weight, seed=seed
            )
            return head if recipe.strength is None else head.set_params(C=recipe.strength)
        case "encoder":
            network = students.EncoderClassifier(
                recipe.encoder or "minilm", classes=classes, multi=multi, class_weight=weight, seed=seed
            )
            return network if recipe.epochs is None else network.set_params(epochs=recipe.epochs)
    raise ValueError(f"unknown tier {recipe.tier!r}")


def fit(
    recipe: Recipe, data: Labelled, scheme: LabelScheme, *, vectors: Vectors | None = None, dev: Labelled | None = None
) -> Student:
    """Fit a student on labels in the recipe's form."""
    student = build(recipe, scheme, vectors)
    targets = data.soft if recipe.form == "soft" else one_hot(data.hard, len(scheme))
    weights = data.confidence if recipe.form == "trusted" else None
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
    multi = bool(getattr(student, "multi", False))
    return ((probs >= 0.5).astype(np.int8) if multi else probs.argmax(axis=1)), probs


@dataclass(frozen=True)
class Judged:
    """How a recipe did on teacher labels that it had not seen.

    Attributes:
        macro_f1: against the teacher on all of them; sure: on the half of which the teacher is surest; unsure: on the rest.
        error: one standard error of `sure`. n: how many texts.
    """

    macro_f1: float
    sure: float
    unsure: float
    error: float
    n: int


def judge(
    recipe: Recipe, data: Labelled, folds: Sequence[np.ndarray], scheme: LabelScheme, vectors: Vectors | None
) -> Judged:
    """Fit on all rows but a fold, predict the fold, and compare with the teacher."""
    from tutelage.evaluation.classification import macro_f1

    held = np.concatenate(folds)
    codes = np.zeros_like(data.hard)
    for fold in folds:
        rest = np.setdiff1d(np.arange(len(data)), fold)
        dev = data.rows(fold) if recipe.tier == "encoder" else None
        codes[fold] = predicted(fit(recipe, data.rows(rest), scheme, vectors=vectors, dev=dev), data.texts[fold])[0]
    said, given, trust = codes[held], data.hard[held], data.confidence[held]
    sure = trust >= np.median(trust)
    hits = (said == given) if said.ndim == 1 else (said == given).all(axis=1)
    rate = (hits[sure].sum() + 1) / (sure.sum() + 2)
    return Judged(
        macro_f1=macro_f1(given, said), sure=macro_f1(given[sure], said[sure]),
        unsure=float(hits[~sure].mean()) if (~sure).any() else float(hits.mean()),
        error=float(np.sqrt(rate * (1 - rate) / sure.sum())), n=len(held),
    )  # fmt: skip


def choose(
    recipe: Recipe, data: Labelled, folds: Sequence[np.ndarray], scheme: LabelScheme, *, vectors: Vectors | None = None
) -> tuple[Recipe, Judged]:
    """The form of the labels, and the shrinkage, of the best student of one tier, without any human label.

    A student that agrees more with its teacher is not the better one: sharing the teacher's view of a text it can copy the
    teacher's mistakes too. Where the teacher is sure it is mostly right, so agreement there is quality, and agreement
    elsewhere is imitation. The choice is therefore, among all recipes whose macro-F1 on the sure half is within one
    standard error of the best, the one that imitates least. A transformer is trained once, on all that the teacher said.
    """
    if recipe.tier == "encoder":
        only = replace(recipe, form="soft" if data.is_soft else "hard")
        return only, judge(only, data, folds[:1], scheme, vectors)
    forms = FORMS if data.is_soft else ("hard",)
    tried = [
        replace(recipe, form=form, strength=c)
        for form in forms
        for c in (STRENGTHS if recipe.tier == "embedding" else (None,))
    ]
    judged = {one: judge(one, data, folds, scheme, vectors) for one in tried}
    best = max(judged.values(), key=lambda j: j.sure)
    close = [one for one in tried if judged[one].sure >= best.sure - best.error]
    chosen = (
        min(close, key=lambda one: judged[one].unsure)
        if recipe.tier == "embedding"
        else max(close, key=lambda one: judged[one].sure)
    )
    balanced = replace(chosen, balanced=True)
    judged[balanced] = judge(balanced, data, folds, scheme, vectors)
    if judged[balanced].sure > judged[chosen].sure + judged[chosen].error:
        chosen = balanced
    return chosen, judged[chosen]
