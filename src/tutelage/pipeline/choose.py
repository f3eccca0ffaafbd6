"""The choice of a student's recipe: how each does on teacher labels that it has not seen, and which one is taken."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from tutelage.data.labels import LabelScheme
from tutelage.errors import InputError
from tutelage.pipeline.labelled import Labelled, predicted
from tutelage.pipeline.learn import Recipe, Vectors, fit

STRENGTHS: dict[str, tuple[float, ...]] = {
    "embedding": (500.0, 1_500.0, 5_000.0, 15_000.0, 50_000.0),
    "ngram": (3_000.0, 10_000.0, 30_000.0, 100_000.0, 300_000.0),
}
"""What is tried for C·N, the weight of the mean loss against the shrinkage; other tiers choose C by their own loss."""


@dataclass(frozen=True)
class Judged:
    """How a recipe did on teacher labels that it had not seen.

    Attributes:
        macro_f1: against the teacher on all of them; sure: on the half of which the teacher is surest, or on all where that
            half has no label (a teacher of several labels may be surest of the texts that it gives none). unsure: share of
            the teacher's labels that it gives too on the rest. error: one standard error of `sure`. n: how many texts.
        probs: what was said of them (n, K), fold by fold. hits: whether the teacher says so too, of the sure half.
    """

    macro_f1: float
    sure: float
    unsure: float
    error: float
    n: int
    probs: np.ndarray = field(repr=False, compare=False)
    hits: np.ndarray = field(repr=False, compare=False)

    def apart(self, other: Judged) -> float:
        """One standard error of the difference to another on the same texts: twins differ by less than strangers."""
        return float(np.std(self.hits.astype(float) - other.hits) / np.sqrt(len(self.hits)))


@dataclass(frozen=True)
class Fold:
    """Rows to learn from, and rows to be judged on."""

    train: Labelled
    dev: Labelled


def judge(recipe: Recipe, folds: Sequence[Fold], scheme: LabelScheme, vectors: Vectors | None) -> Judged:
    """Fit on each fold's rows, predict its dev rows, and compare with the teacher."""
    from tutelage.evaluation.classification import macro_f1

    answers = []
    for fold in folds:
        dev = fold.dev if recipe.tier == "encoder" else None
        student = fit(recipe, fold.train, scheme, vectors=vectors, dev=dev, sure=False)
        answers.append(predicted(student, fold.dev.texts))
    said, probs = (np.concatenate(part) for part in zip(*answers, strict=True))
    given = np.concatenate([fold.dev.hard for fold in folds])
    trust = np.concatenate([fold.dev.confidence for fold in folds])
    sure = trust >= np.median(trust)
    hits = (said == given) if said.ndim == 1 else (said == given).all(axis=1)
    rate = (hits[sure].sum() + 1) / (sure.sum() + 2)
    labels = given.ndim == 1 or given[sure].any()
    return Judged(
        macro_f1=macro_f1(given, said),
        sure=macro_f1(given[sure], said[sure]) if labels else macro_f1(given, said),
        unsure=float(hits[~sure].mean()) if (~sure).any() else float(hits.mean()),
        error=float(np.sqrt(rate * (1 - rate) / sure.sum())),
        n=len(said),
        probs=probs,
        hits=hits[sure],
    )


def choose(
    recipe: Recipe, folds: Sequence[Fold], scheme: LabelScheme, *, vectors: Vectors | None = None
) -> tuple[Recipe, Judged]:
    """The form of the labels, and the shrinkage, of the best student of one tier, without any human label.

    A student that agrees more with its teacher is not the better one: sharing the teacher's view of a text it can copy the
    teacher's mistakes too. Where the teacher is sure it is mostly right, so agreement there is quality, and agreement
    elsewhere is imitation. The choice is therefore among all recipes whose macro-F1 on the sure half is within one standard
    error of the best (of n-grams: of their difference): of heads on embeddings the one that imitates least, of n-grams the
    one that shrinks most, since among many weak features shrinkage is what stands between a student and its teacher's slips.
    Soft targets are the shortest way to a copy and not tried on embeddings, unless a temperature is asked for, which hard
    labels do not have. A transformer is trained once, on all that the teacher said. Characters and balance each cost
    something, and must be worth it.

    Raises: InputError: a temperature for a teacher that gives no probabilities.
    """
    soft = folds[0].train.is_soft
    if recipe.temperature != 1 and not soft:
        raise InputError(
            "the teacher gives labels without probabilities, so there is nothing to temper: leave out --target-temperature, "
            "or ask an endpoint several times (--votes 5), which makes the shares of its answers probabilities"
        )
    if recipe.tier == "encoder":
        only = replace(recipe, form="soft" if soft else "hard")
        return only, judge(only, folds[:1], scheme, vectors)
    forms = ["hard"]
    if soft:
        forms += ["trusted"] if recipe.tier == "embedding" else ["trusted", "soft"]
    if recipe.tier != "ngram":
        forms += ["agreed"]
    if recipe.temperature != 1:
        forms = ["soft"]
    judged: dict[Recipe, Judged] = {}
    strengths = STRENGTHS.get(recipe.tier, (None,))

    def best_of(first: Recipe, forms: Sequence[str], strengths: Sequence[float | None]) -> Recipe:
        tried = [replace(first, form=form, strength=strength) for form in forms for strength in strengths]
        judged.update((one, judge(one, folds, scheme, vectors)) for one in tried)
        return settled({one: judged[one] for one in tried})

    def worth(one: Recipe, other: Recipe) -> Recipe:
        return other if judged[other].sure > judged[one].sure + judged[one].error else one

    chosen = best_of(recipe, forms, strengths)
    if recipe.tier == "ngram":  # characters are many features and want little shrinkage
        suited = dict.fromkeys([chosen.form, forms[-1]])
        chosen = worth(chosen, best_of(replace(recipe, chars=True), list(suited), strengths[-3:]))
    balanced = replace(chosen, balanced=True)
    judged[balanced] = judge(balanced, folds, scheme, vectors)
    chosen = worth(chosen, balanced)
    return chosen, judged[chosen]


def settled(judged: Mapping[Recipe, Judged]) -> Recipe:
    """The recipe that is taken of several of one tier, by the rule of `choose`."""
    leader = max(judged, key=lambda one: judged[one].sure)
    best = judged[leader]
    match leader.tier:
        case "embedding":
            close = [one for one, j in judged.items() if j.sure >= best.sure - best.error]
            return min(close, key=lambda one: judged[one].unsure)
        case "ngram":
            close = [one for one, j in judged.items() if j.sure >= best.sure - best.apart(j)]
            return min(close, key=lambda one: (one.strength, -judged[one].sure))
        case _:
            return leader
