"""Fitting one student on a teacher's labels: which form of the labels, which tier.

A teacher's labels are wrong in part, so how they are used is a choice, made on the teacher-labelled dev split and never on
gold:

| form | target | weight |
|---|---|---|
| `hard` | the teacher's label | 1 |
| `soft` | the teacher's probabilities | 1 |
| `trusted` | the teacher's label | its confidence |
| `agreed` | the teacher's label | 1 where a student of another view says the same, else 0 |

and each of them also `balanced`: times the inverse frequency of the label. Soft targets may be of another `temperature`, all
of them refined by the student's own past (`self_distill`; see `tutelage.students.targets`), and those of private texts
shielded (see `tutelage.pipeline.shield`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from tutelage.data.labels import LabelScheme
from tutelage.data.privacy import shield_targets
from tutelage.data.split import group_split
from tutelage.pipeline.labelled import Labelled, one_hot, predicted

if TYPE_CHECKING:
    from tutelage.data.encoder import SentenceEncoder
    from tutelage.students.base import Student

STAGES = 4
"""Fits of a student that is solved for at once and refines its targets."""


@dataclass(frozen=True)
class Recipe:
    """How a student is made: tier, form of the labels, balanced or not, encoder, epochs, seed.

    `strength` is C·N of the student, so that one value means the same with few labels and with many; None lets
    the student choose C by its own loss. `chars` adds character n-grams to the n-gram student, which then is slower.
    `temperature` is that of soft targets, `self_distill` the share of the student's own past at the end.
    """

    tier: str
    form: str = "hard"
    balanced: bool = False
    encoder: str | None = None
    epochs: int | None = None
    seed: int = 0
    strength: float | None = None
    chars: bool = False
    temperature: float = 1.0
    self_distill: float = 0.0

    @property
    def learns_at(self) -> float:
        """The temperature of the targets that it learns: hard labels have none."""
        return self.temperature if self.form == "soft" else 1.0

    def describe(self) -> str:
        """For tables: "ngram (soft, balanced)"."""
        marks = {
            "balanced": self.balanced, "characters": self.chars, f"temperature {self.learns_at:g}": self.learns_at != 1,
            f"self-distilled {self.self_distill:g}": self.self_distill,
        }  # fmt: skip
        return f"{self.tier} ({', '.join([self.form, *(name for name, there in marks.items() if there)])})"


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
            chars = (2, 4) if recipe.chars else None
            return students.NgramClassifier(chars=chars, classes=classes, multi=multi, class_weight=weight, seed=seed)
        case "static":
            words = vectors or recipe.encoder or "minilm"
            return students.StaticClassifier(words, classes=classes, multi=multi, class_weight=weight, seed=seed)
        case "embedding":
            head = students.EmbeddingClassifier(
                vectors or recipe.encoder or "minilm", classes=classes, multi=multi, class_weight=weight, seed=seed
            )
            return head
        case "encoder":
            return students.EncoderClassifier(
                recipe.encoder or "minilm", epochs=recipe.epochs, temperature=recipe.learns_at,
                self_distill=recipe.self_distill, classes=classes, multi=multi, class_weight=weight, seed=seed,
            )  # fmt: skip
    raise ValueError(f"unknown tier {recipe.tier!r}")


def fit(
    recipe: Recipe,
    data: Labelled,
    scheme: LabelScheme,
    *,
    vectors: Vectors | None = None,
    dev: Labelled | None = None,
    sure: bool = True,
) -> Student:
    """Fit a student on labels in the recipe's form.

    In a multi-label scheme each label's threshold is tuned on a fifth of the rows, with a student of the other four fifths.

    Args:
        sure: an n-gram student of a given strength also finds out, on a tenth of the rows, how sure it may be; its labels
            are the same either way, but for the optimiser's rounding.
    """
    student = _fit(recipe, data, scheme, vectors, dev, sure)
    if scheme.multi and len(data) >= 10:
        rest, held = group_split(range(len(data)), [0.8, 0.2], seed=recipe.seed, stratify=data.strata)
        part = _fit(recipe, data.rows(rest), scheme, vectors, dev, sure)
        part.tune_thresholds(predicted(part, data.texts[held])[1], data.hard[held])
        student.thresholds_ = part.thresholds_
    return student


def _fit(
    recipe: Recipe, data: Labelled, scheme: LabelScheme, vectors: Vectors | None, dev: Labelled | None, sure: bool
) -> Student:
    from tutelage.students.targets import refined, tempered

    student = build(recipe, scheme, vectors)
    if recipe.strength is not None:
        C = recipe.strength / len(data)
        student.set_params(C=[C] if recipe.tier == "ngram" and sure else C)
    targets = data.soft if recipe.form == "soft" else one_hot(data.hard, len(scheme))
    targets = tempered(targets, recipe.learns_at, multi=scheme.multi)
    if data.degree is not None:
        targets = shield_targets(targets, data.degree, multi=scheme.multi, seed=recipe.seed)
    weights = {"trusted": lambda: data.confidence, "agreed": lambda: data.agreed}.get(recipe.form, lambda: None)()
    held = None
    if dev is not None:
        held = (pa.array(dev.texts.tolist()), one_hot(dev.hard, len(scheme)))
    texts = pa.array(data.read.tolist())
    student.fit(texts, targets, weights, dev=held)
    if recipe.tier == "encoder":
        return student  # it knows of temperature and past, and goes by epochs
    for stage in range(1, STAGES if recipe.self_distill else 1):
        told = refined(targets, student.predict_proba(texts), recipe.self_distill, stage, STAGES)
        student.fit(texts, told, weights)
    return student if recipe.learns_at == 1 else student.sharpen(1 / recipe.learns_at)
