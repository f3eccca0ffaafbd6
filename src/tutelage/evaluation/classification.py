"""How good are the labels: accuracy and F1 over an explicit list of labels, with intervals.

With tp, fp, fn counted for label k:

    precision_k = tp / (tp + fp)      recall_k = tp / (tp + fn)      F1_k = 2 tp / (2 tp + fp + fn)
    macro-F1    = mean of F1_k over the labels that are PRESENT IN GOLD (the list is part of the result)
    micro-F1    = 2 Σ tp / (2 Σ tp + Σ fp + Σ fn);   one label a text: a miss is one fp and one fn, so it is the accuracy

Gold and predictions are (N,) label codes in [0, K) or (N, K) indicators where a text may carry several labels. A code of
−1 among the predictions says "no answer" (a teacher that refused): it is never right. The counts are sums over texts, so
the same sums give the bootstrap intervals; the tests hold them against scikit-learn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from tutelage.evaluation.bootstrap import percentile_interval, resampled_sums
from tutelage.evaluation.significance import Difference, two_sided_p


@dataclass(frozen=True)
class LabelScore:
    """One label; None where the figure has no denominator (never predicted, absent from gold)."""

    precision: float | None
    recall: float | None
    f1: float | None
    support: int


@dataclass(frozen=True)
class Scores:
    """Everything that is reported of one labeller; intervals are 95 % bootstrap percentiles over texts (or clusters)."""

    n: int
    macro_f1: float
    micro_f1: float
    macro_f1_ci: tuple[float, float]
    micro_f1_ci: tuple[float, float]
    labels_present: list[str]
    per_label: dict[str, LabelScore]


def labels_present(gold: npt.ArrayLike) -> list[int]:
    """Codes of the labels that gold holds, ascending: what macro-F1 averages over.

    >>> labels_present([3, 1, 1])
    [1, 3]
    """
    gold = np.asarray(gold)
    return np.flatnonzero(gold.any(axis=0)).tolist() if gold.ndim == 2 else np.unique(gold).tolist()


def accuracy(gold: npt.ArrayLike, predicted: npt.ArrayLike, *, weights: npt.ArrayLike | None = None) -> float:
    """Share of texts whose label (whose whole label set) is right; `weights` (N,) re-weighs the texts.

    >>> accuracy([0, 1, 1], [0, 1, -1])
    0.6666666666666666
    """
    gold, predicted = _pair(gold, predicted)
    right = (gold == predicted).reshape(len(gold), -1).all(axis=1)
    return float(np.average(right, weights=None if weights is None else np.asarray(weights, np.float64)))


def macro_f1(
    gold: npt.ArrayLike,
    predicted: npt.ArrayLike,
    *,
    labels: Sequence[int] | None = None,
    weights: npt.ArrayLike | None = None,
) -> float:
    """Mean F1 over `labels`, by default those present in gold (see `labels_present`).

    >>> macro_f1([0, 0, 1, 1], [0, 0, 1, 2])  # F1 of label 0 is 1, of label 1 is 2/3; label 2 is not in gold
    0.8333333333333333

    Raises: ValueError: shapes that differ, no texts, a gold code below 0.
    """
    gold, predicted = _pair(gold, predicted)
    f1 = _f1(_counts(gold, predicted, _width(gold, predicted), weights))
    return float(f1[..., labels_present(gold) if labels is None else list(labels)].mean())


def micro_f1(gold: npt.ArrayLike, predicted: npt.ArrayLike, *, weights: npt.ArrayLike | None = None) -> float:
    """F1 over all decisions together; the accuracy, where a text has exactly one label.

    >>> micro_f1([[1, 1], [0, 1]], [[1, 0], [0, 1]])
    0.8
    """
    gold, predicted = _pair(gold, predicted)
    if gold.ndim == 1:
        return accuracy(gold, predicted, weights=weights)
    return float(_f1(_counts(gold, predicted, gold.shape[1], weights).sum(axis=-1, keepdims=True))[0])


def multilabel_f1(
    gold: npt.ArrayLike, predicted: npt.ArrayLike, *, average: Literal["macro", "micro", "texts"] = "macro"
) -> float:
    """F1 of label sets (N, K): mean over the labels in gold, over all decisions, or mean over the texts.

    A text without gold labels for which nothing is predicted counts as 1 in the mean over texts.

    >>> multilabel_f1([[1, 1], [0, 1]], [[1, 0], [0, 1]], average="texts")
    0.8333333333333333
    """
    gold, predicted = _pair(gold, predicted)
    if gold.ndim != 2:
        raise ValueError(f"multilabel_f1 needs (N, K) indicators; got shape {gold.shape}")
    if average != "texts":
        return (macro_f1 if average == "macro" else micro_f1)(gold, predicted)
    both, either = (gold & predicted).sum(axis=1), gold.sum(axis=1) + predicted.sum(axis=1)
    return float(np.where(either == 0, 1.0, 2 * both / np.maximum(either, 1)).mean())


def per_label(gold: npt.ArrayLike, predicted: npt.ArrayLike, names: Sequence[str]) -> dict[str, LabelScore]:
    """Precision, recall, F1 and support of every label, in the order of `names` (K).

    >>> per_label([0, 0, 1], [0, 1, 1], ["a", "b"])["a"]
    LabelScore(precision=1.0, recall=0.5, f1=0.6666666666666666, support=2)
    """
    gold, predicted = _pair(gold, predicted)
    tp, fp, fn = _counts(gold, predicted, len(names))
    table = {}
    for k, name in enumerate(names):
        support = int(tp[k] + fn[k])
        table[name] = LabelScore(
            precision=_ratio(tp[k], tp[k] + fp[k]),
            recall=_ratio(tp[k], support),
            f1=_ratio(2 * tp[k], 2 * tp[k] + fp[k] + fn[k]) if support else None,
            support=support,
        )
    return table


def scores(
    gold: npt.ArrayLike,
    predicted: npt.ArrayLike,
    names: Sequence[str],
    *,
    resamples: int = 1_000,
    cluster: npt.ArrayLike | None = None,
    seed: int = 0,
) -> Scores:
    """All figures of one labeller against gold, with 95 % bootstrap intervals.

    The labels that macro-F1 averages over stay those of gold itself in every resample; a label that a resample happens
    to miss counts with the F1 of its predictions there, 0 when there are none either.

    >>> s = scores([0, 0, 1], [0, 1, 1], ["a", "b", "c"])
    >>> round(s.macro_f1, 3), s.labels_present
    (0.667, ['a', 'b'])

    Raises: ValueError: a gold code outside [0, K), named with its row.
    """
    gold, predicted = _pair(gold, predicted)
    outcomes = _outcomes(gold, predicted, len(names))
    present = labels_present(gold)
    sums = resampled_sums(outcomes.reshape(len(gold), -1), resamples=resamples, seed=seed, cluster=cluster)
    sums = sums.reshape(-1, 3, len(names))
    return Scores(
        n=len(gold),
        macro_f1=macro_f1(gold, predicted),
        micro_f1=micro_f1(gold, predicted),
        macro_f1_ci=percentile_interval(_f1(sums)[:, present].mean(axis=1)),
        micro_f1_ci=percentile_interval(_micro(sums, single=gold.ndim == 1)),
        labels_present=[names[k] for k in present],
        per_label=per_label(gold, predicted, names),
    )


def macro_f1_difference(
    gold: npt.ArrayLike,
    first: npt.ArrayLike,
    second: npt.ArrayLike,
    *,
    resamples: int = 10_000,
    cluster: npt.ArrayLike | None = None,
    level: float = 0.95,
    seed: int = 0,
) -> Difference:
    """Macro-F1 of `first` minus that of `second` on the same gold, by paired bootstrap over texts (or clusters).

    >>> macro_f1_difference([0, 1, 0, 1], [0, 1, 0, 1], [0, 1, 0, 1]).value
    0.0
    """
    gold, first = _pair(gold, first)
    _, second = _pair(gold, second)
    k = _width(gold, first, second)
    outcomes = np.stack([_outcomes(gold, first, k), _outcomes(gold, second, k)], axis=1)
    sums = resampled_sums(outcomes.reshape(len(gold), -1), resamples=resamples, seed=seed, cluster=cluster)
    f1 = _f1(sums.reshape(-1, 2, 3, k))[..., labels_present(gold)].mean(axis=-1)
    differences = f1[:, 0] - f1[:, 1]
    return Difference(
        value=macro_f1(gold, first) - macro_f1(gold, second),
        interval=percentile_interval(differences, level),
        p=two_sided_p(differences),
        n=len(gold),
    )


def confusion(gold: npt.ArrayLike, predicted: npt.ArrayLike, k: int) -> np.ndarray:
    """Counts (K, K) int64, rows gold, columns predicted; texts without an answer (−1) are in no column.

    >>> confusion([0, 0, 1], [0, 1, -1], 2).tolist()
    [[1, 1], [0, 0]]
    """
    gold, predicted = _pair(gold, predicted)
    if gold.ndim == 2:
        raise ValueError("a confusion matrix needs exactly one label a text")
    _check_codes(gold, k)
    table = np.zeros((k, k), np.int64)
    answered = predicted >= 0
    np.add.at(table, (gold[answered], predicted[answered]), 1)
    return table


def dummy(
    train: npt.ArrayLike, n: int, *, strategy: Literal["most_frequent", "stratified"] = "most_frequent", seed: int = 0
) -> np.ndarray:
    """Predictions of a labeller that never reads the text: (M,) or (M, K) training labels -> (n,) or (n, K).

    `most_frequent` always gives the commonest label (set), ties to the smallest code; `stratified` draws a training row.

    >>> dummy([2, 0, 2], 2).tolist()
    [2, 2]
    """
    rows = np.asarray(train)
    if len(rows) == 0:
        raise ValueError("a dummy needs at least one training label")
    if strategy == "stratified":
        return rows[np.random.default_rng(seed).integers(len(rows), size=n)]
    values, counts = np.unique(rows, axis=0, return_counts=True)
    return np.repeat(values[[counts.argmax()]], n, axis=0)


def prevalence_weights(strata: npt.ArrayLike, shares: npt.ArrayLike) -> np.ndarray:
    """Weights (N,) with mean 1 that turn a sample balanced over strata back to the pool's shares.

    Gold that was sampled in equal numbers per teacher label is not what arrives in production; `accuracy(weights=…)`
    with these weights estimates the accuracy there.

    Args:
        strata: (N,) the stratum code (the teacher's label) of each gold text.
        shares: (S,) how much of the pool each stratum is; strata without gold texts drop out.

    >>> prevalence_weights([0, 1], [0.9, 0.1]).tolist()
    [1.8, 0.2]
    """
    strata, shares = np.asarray(strata), np.asarray(shares, np.float64)
    _check_codes(strata, len(shares), "strata")
    weights = shares[strata] / np.bincount(strata, minlength=len(shares))[strata]
    if not weights.sum() > 0:
        raise ValueError("none of the strata of the gold texts occurs in the pool")
    return weights * (len(weights) / weights.sum())


def _pair(gold: npt.ArrayLike, predicted: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    gold, predicted = np.asarray(gold), np.asarray(predicted)
    if gold.shape != predicted.shape or gold.ndim not in (1, 2) or len(gold) == 0:
        raise ValueError(
            f"gold and predicted must be two (N,) or (N, K) arrays; got {gold.shape} and {predicted.shape}"
        )
    if gold.ndim == 1:
        _check_codes(gold, None)
        return gold.astype(np.int64), predicted.astype(np.int64)
    return gold.astype(bool), predicted.astype(bool)


def _check_codes(codes: np.ndarray, k: int | None, what: str = "gold labels") -> None:
    wrong = (codes < 0) if k is None else (codes < 0) | (codes >= k)
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        upper = "K" if k is None else k
        raise ValueError(f"{what} must be in [0, {upper}); found {codes[row]} in row {row}")


def _outcomes(gold: np.ndarray, predicted: np.ndarray, k: int) -> np.ndarray:
    """What each text adds to tp, fp and fn of each label: (N, 3, K) bool."""
    if gold.ndim == 1:
        _check_codes(gold, k)
        gold, predicted = (codes[:, None] == np.arange(k) for codes in (gold, predicted))
    return np.stack([gold & predicted, ~gold & predicted, gold & ~predicted], axis=1)


def _width(*codes: np.ndarray) -> int:
    """K, as far as these arrays show it."""
    return codes[0].shape[1] if codes[0].ndim == 2 else int(max(c.max() for c in codes)) + 1


def _counts(gold: np.ndarray, predicted: np.ndarray, k: int, weights: npt.ArrayLike | None = None) -> np.ndarray:
    """tp, fp, fn of each label: (3, K) float64."""
    weights = np.ones(len(gold)) if weights is None else np.asarray(weights, np.float64)
    return np.tensordot(weights, _outcomes(gold, predicted, k), axes=1)


def _f1(counts: np.ndarray) -> np.ndarray:
    """F1 from (…, 3, K) counts of tp, fp, fn: (…, K); 0 where all three are 0."""
    tp, errors = counts[..., 0, :], counts[..., 1, :] + counts[..., 2, :]
    return 2 * tp / np.maximum(2 * tp + errors, np.finfo(float).tiny)


def _micro(sums: np.ndarray, *, single: bool) -> np.ndarray:
    """Micro-F1 from (R, 3, K) counts: (R,); with one label a text every text is one tp or one fn of its gold label."""
    tp, fp, fn = sums.sum(axis=-1).T
    return tp / (tp + fn) if single else 2 * tp / np.maximum(2 * tp + fp + fn, 1)


def _ratio(top: float, bottom: float) -> float | None:
    return float(top / bottom) if bottom else None
