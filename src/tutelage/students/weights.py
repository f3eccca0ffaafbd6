"""How much each text, and each decision about it, counts in training.

| class_weight | one label a text | several labels a text |
|---|---|---|
| None | 1 | 1 |
| "balanced" | n / (K n_k) for texts of class k | n / (2 n_k) where label k holds, n / (2 (n - n_k)) where it does not |
| {label: w} | w for texts of the class, else 1 | w where the label holds, else 1 |

n is the weight of all texts and n_k the (weighted) mass of class k's targets. A soft target y_k in [0, 1] counts as y_k of a
text that has the label and 1 - y_k of one that has not. With several labels a text without any is as good an example as
another, so what is weighted there is the single decision (i, k), never the text for the sake of the labels it has.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple, TypeAlias

import numpy as np

from tutelage.errors import InputError
from tutelage.students.inputs import Label, Weights

ClassWeight: TypeAlias = str | Mapping[Label, float] | None
"""None, "balanced", or class → weight."""


class Weighted(NamedTuple):
    """Targets (N, K) and what they count: weights (N,) of the texts and, within a text, emphasis (N, K) of the decisions.

    Emphasis has the mean one in every row; None says that all decisions count alike. The loss of a row is
    weights_i * sum_k emphasis_ik * l_ik.
    """

    targets: np.ndarray
    weights: np.ndarray
    emphasis: np.ndarray | None


def as_weights(sample_weight: Weights | None, n: int) -> np.ndarray:
    """Sample weights -> (N,) float64, ones by default.

    Raises: InputError: wrong length, a negative or infinite weight, or nothing but zeros.
    """
    if sample_weight is None:
        return np.ones(n)
    weights = np.asarray(sample_weight, np.float64)
    if weights.shape != (n,):
        raise InputError(f"sample_weight must have shape ({n},); got {weights.shape}")
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(wrong):
        raise InputError(f"sample weights must be finite and not negative; found {weights[wrong[0]]} in row {wrong[0]}")
    if not weights.any():
        raise InputError("all sample weights are zero")
    return weights


def with_class_weight(
    mass: np.ndarray, targets: np.ndarray, classes: np.ndarray, how: ClassWeight, *, multi: bool = False
) -> Weighted:
    """Sample weights (N,) times the class weights that the targets (N, K) ask for.

    One label a text: the weight of a soft row is the mean of its classes' weights. Several labels: with factors a_k where
    the label holds and b_k where not, a y (-log p) + b (1 - y) (-log(1 - p)) is a y + b (1 - y) times the cross-entropy with
    the target a y / (a y + b (1 - y)), and so the targets change where they are soft.

    >>> with_class_weight(np.ones(3), np.eye(2)[[0, 0, 1]], np.array(["a", "b"]), "balanced").weights
    array([0.75, 0.75, 1.5 ])
    >>> found = with_class_weight(np.ones(4), np.eye(2)[[0, 0, 0, 1]], np.array(["a", "b"]), {"b": 3.0}, multi=True)
    >>> found.weights.tolist(), found.emphasis[3].tolist()
    ([1.0, 1.0, 1.0, 2.0], [0.5, 1.5])

    Raises: InputError: a name other than "balanced", classes that are not there, a weight that is negative or no number.
    """
    if how is None:
        return Weighted(targets, mass, None)
    holds, fails = _factors(mass, targets, classes, how, multi)
    if not multi:
        return Weighted(targets, mass * (targets @ holds) / np.maximum(targets.sum(1), 1e-12), None)
    present, absent = targets * holds, (1 - targets) * fails
    each = present + absent
    shifted = np.divide(present, each, out=np.array(targets, np.float64), where=each > 0)
    row = each.mean(1)
    emphasis = np.divide(each, row[:, None], out=np.ones_like(each), where=row[:, None] > 0)
    return Weighted(shifted.astype(np.float32), mass * row, emphasis.astype(np.float32))


def _factors(
    mass: np.ndarray, targets: np.ndarray, classes: np.ndarray, how: str | Mapping[Label, float], multi: bool
) -> tuple[np.ndarray, np.ndarray]:
    """What counts a label that holds (K,), and one that does not (K,); zero where there is no such text."""
    total, of = mass.sum(), mass @ np.asarray(targets, np.float64)
    if isinstance(how, str):
        if how != "balanced":
            raise InputError(f"class_weight must be None, 'balanced' or a mapping; got {how!r}")
        share = 2 if multi else len(classes)
        return tuple(np.divide(total, share * m, out=np.zeros_like(m), where=m > 0) for m in (of, total - of))  # type: ignore[return-value]
    unknown = set(how) - set(classes.tolist())
    if unknown:
        raise InputError(f"class_weight names classes that are not there: {sorted(map(str, unknown))}")
    factors = np.array([float(how.get(label, 1.0)) for label in classes.tolist()])
    if not (np.isfinite(factors) & (factors >= 0)).all():
        raise InputError(f"class weights must be finite and not negative; got {dict(how)}")
    return factors, np.ones(len(classes))


def holdout(targets: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Which rows to hold out: a mask (N,) with the same share of every class (by its likeliest label), seeded.

    >>> holdout(np.eye(2)[[0, 0, 0, 0, 1, 1]], 0.5, seed=0).sum()
    np.int64(3)
    """
    label = targets.argmax(1)
    order = np.lexsort((np.random.default_rng(seed).random(len(label)), label))
    first = np.searchsorted(label[order], label[order], side="left")
    count = np.bincount(label, minlength=targets.shape[1])[label[order]]
    mask = np.zeros(len(label), bool)
    mask[order] = np.arange(len(label)) - first < np.floor(count * fraction + 0.5)
    return mask
