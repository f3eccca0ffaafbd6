"""Can the confidence be believed: NLL, Brier, ECE, reliability bins, and what is gained by abstaining.

With probabilities p (N, K), gold y (N,), confidence c_i = max_k p_ik and hit h_i = [argmax_k p_ik = y_i]:

    NLL   = − mean_i log p_i,y_i                    Brier = mean_i Σ_k (p_ik − [k = y_i])²
    ECE   = Σ_b (n_b / N) |mean_b h − mean_b c|     10 equal bins (lower, upper], as a fraction
    AURC  = mean over i of the error rate of the i most confident texts (the area under the risk–coverage curve)

Where a text may carry several labels, gold is (N, K) and every (text, label) pair is one yes-or-no decision: NLL and Brier
are means over texts of sums over labels, the confidence of a pair is p_ik, and a hit says that the label applies.

A threshold is never judged by the gold that chose it: `threshold_for` chooses on some folds and reports on the others.

Sources: Guo et al. 2017 (ECE); Geifman & El-Yaniv 2017 (risk–coverage); Geifman et al. 2019 (AURC, excess AURC).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

_LEAST_KEPT = 10
"""A threshold is not chosen on fewer kept decisions than this."""


@dataclass(frozen=True)
class Bin:
    """One bar of the reliability diagram: mean confidence and share of hits in (lower, upper]; None when empty."""

    lower: float
    upper: float
    confidence: float | None
    accuracy: float | None
    n: int


@dataclass(frozen=True)
class CoveragePoint:
    """Keep what is at least `threshold` confident: share of texts kept, and share of kept decisions that are right."""

    threshold: float
    coverage: float
    accuracy: float


@dataclass(frozen=True)
class Threshold:
    """A threshold for a wanted precision, and what it does on gold that did not choose it.

    `threshold` is None where no threshold reaches the wanted precision; coverage is then 0 and accuracy None. Accuracy is
    also None when nothing was kept in any held-out fold.
    """

    precision: float
    threshold: float | None
    coverage: float
    accuracy: float | None


def nll(probs: npt.ArrayLike, gold: npt.ArrayLike) -> float:
    """Mean negative log-likelihood in nats; probabilities are clipped at 1e-12 so that one zero is not infinite.

    >>> round(nll([[0.5, 0.5]], [1]), 4)
    0.6931
    """
    p, y = _checked(probs, gold)
    if y.ndim == 1:
        return float(-np.log(np.clip(p[np.arange(len(y)), y], 1e-12, None)).mean())
    likely = np.where(y, p, 1 - p)
    return float(-np.log(np.clip(likely, 1e-12, None)).sum(axis=1).mean())


def brier(probs: npt.ArrayLike, gold: npt.ArrayLike) -> float:
    """Mean squared distance of the probabilities from the truth, summed over labels: 0 is perfect, 2 the worst.

    >>> brier([[0.5, 0.5]], [1])
    0.5
    """
    p, y = _checked(probs, gold)
    truth = y[:, None] == np.arange(p.shape[1]) if y.ndim == 1 else y
    return float(((p - truth) ** 2).sum(axis=1).mean())


def ece(probs: npt.ArrayLike, gold: npt.ArrayLike, *, bins: int = 10) -> float:
    """Expected calibration error as a fraction in [0, 1].

    >>> round(ece([[0.8, 0.2], [0.8, 0.2]], [0, 1]), 4)  # sure of 0.8, right half of the time
    0.3
    """
    table = reliability(probs, gold, bins=bins)
    total = sum(b.n for b in table)
    gaps = (b.n * abs(b.accuracy - b.confidence) for b in table if b.accuracy is not None and b.confidence is not None)
    return sum(gaps) / total


def reliability(probs: npt.ArrayLike, gold: npt.ArrayLike, *, bins: int = 10) -> list[Bin]:
    """The reliability diagram: confidence against accuracy in equal bins (lower, upper]; 0 belongs to the first bin.

    >>> [b for b in reliability([[0.8, 0.2], [0.8, 0.2]], [0, 1]) if b.n]
    [Bin(lower=0.7, upper=0.8, confidence=0.8, accuracy=0.5, n=2)]
    """
    confidence, hit = decisions(probs, gold)
    edges = np.round(np.arange(bins + 1) / bins, 12)
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    n = np.bincount(place, minlength=bins)
    sure = np.bincount(place, confidence, bins)
    right = np.bincount(place, hit, bins)
    return [
        Bin(
            lower=float(edges[b]),
            upper=float(edges[b + 1]),
            confidence=float(sure[b] / n[b]) if n[b] else None,
            accuracy=float(right[b] / n[b]) if n[b] else None,
            n=int(n[b]),
        )
        for b in range(bins)
    ]


def decisions(probs: npt.ArrayLike, gold: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Confidence and hit of every decision: (N,) each where a text has one label, (N·K,) where it may have several.

    >>> decisions([[0.2, 0.8]], [0])
    (array([0.8]), array([False]))
    """
    p, y = _checked(probs, gold)
    if y.ndim == 2:
        return p.ravel(), y.ravel()
    return p.max(axis=1), p.argmax(axis=1) == y


def coverage_curve(probs: npt.ArrayLike, gold: npt.ArrayLike, *, points: int | None = None) -> list[CoveragePoint]:
    """What every threshold keeps and how right it is, from the strictest threshold to keeping all.

    Coverage is the share of texts that keep at least one label; accuracy the share of kept decisions that are right
    (the precision, where a text may carry several labels).

    Args:
        points: at most this many of the thresholds, spread evenly over the decisions; None gives every distinct one.

    >>> coverage_curve([[0.9, 0.1], [0.4, 0.6]], [0, 0])[0]
    CoveragePoint(threshold=0.9, coverage=0.5, accuracy=1.0)
    """
    p, y = _checked(probs, gold)
    thresholds, kept, right = _cumulative(*decisions(p, y))
    best = np.sort(p.max(axis=1))
    coverage = (len(best) - np.searchsorted(best, thresholds, side="left")) / len(best)
    chosen = np.arange(len(thresholds))
    if points is not None and points < len(chosen):
        chosen = np.unique(np.searchsorted(kept, np.linspace(kept[0], kept[-1], points)))
    return [CoveragePoint(float(thresholds[i]), float(coverage[i]), float(right[i] / kept[i])) for i in chosen]


def aurc(confidence: npt.ArrayLike, hit: npt.ArrayLike) -> float:
    """Area under the risk–coverage curve of decisions (N,): 0 is perfect; equal confidences are kept together.

    >>> aurc([0.9, 0.8], [True, False])  # risks 0 and 1/2
    0.25
    """
    _, kept, right = _cumulative(np.asarray(confidence, np.float64), np.asarray(hit, bool))
    return float(np.diff(kept, prepend=0) @ (1 - right / kept) / kept[-1])


def excess_aurc(confidence: npt.ArrayLike, hit: npt.ArrayLike) -> float:
    """AURC above that of the best ordering of the same hits (all right decisions first).

    >>> excess_aurc([0.9, 0.8, 0.7], [True, True, False])
    0.0
    """
    hit = np.asarray(hit, bool)
    return aurc(confidence, hit) - aurc(-np.arange(len(hit), dtype=float), np.sort(hit)[::-1])


def lowest_threshold(confidence: npt.ArrayLike, hit: npt.ArrayLike, precision: float) -> float | None:
    """The lowest threshold that keeps the errors within 1 − `precision`, at least 10 decisions kept; None if there is none.

    One error more than was seen is counted, (errors + 1) / (kept + 1) ≤ 1 − precision, so that no threshold is chosen on a
    lucky few (the finite-sample term of conformal risk control, Angelopoulos et al. 2022).

    >>> lowest_threshold([0.9] * 10 + [0.6] * 10, [True] * 15 + [False] * 5, 0.9)
    0.9
    """
    thresholds, kept, right = _cumulative(np.asarray(confidence, np.float64), np.asarray(hit, bool))
    good = np.flatnonzero((kept - right + 1 <= (1 - precision) * (kept + 1) + 1e-9) & (kept >= _LEAST_KEPT))
    return float(thresholds[good[-1]]) if len(good) else None


def threshold_for(
    probs: npt.ArrayLike,
    gold: npt.ArrayLike,
    precision: float,
    *,
    folds: int = 5,
    seed: int = 0,
    cluster: npt.ArrayLike | None = None,
) -> Threshold:
    """The threshold for a wanted precision, with cross-fitted coverage and accuracy.

    The threshold to deploy is chosen on all gold. Its coverage and accuracy are estimated by choosing again on all folds
    but one and applying that choice to the fold left out, so no text judges a threshold that it helped to choose. On little
    gold the accuracy that comes out may therefore be a little below the wanted one.

    Args:
        cluster: (N,) texts of one cluster stay in one fold.

    Raises: ValueError: a precision that is not between 0 and 1; fewer texts (or clusters) than two.
    """
    if not 0 < precision < 1:
        raise ValueError(f"precision must be between 0 and 1; got {precision}")
    p, y = _checked(probs, gold)
    units = np.unique(np.arange(len(p)) if cluster is None else np.asarray(cluster), return_inverse=True)[1]
    count = int(units.max()) + 1
    if count < 2:
        raise ValueError("a threshold needs at least two texts (or clusters) of gold")
    folds = min(folds, count)
    fold = (np.random.default_rng(seed).permutation(count) % folds)[units]
    texts = kept = right = 0
    for number in range(folds):
        held = fold == number
        threshold = lowest_threshold(*decisions(p[~held], y[~held]), precision)
        if threshold is not None:
            confidence, hit = decisions(p[held], y[held])
            texts += int((p[held].max(axis=1) >= threshold).sum())
            kept += int((confidence >= threshold).sum())
            right += int(hit[confidence >= threshold].sum())
    final = lowest_threshold(*decisions(p, y), precision)
    if final is None:
        return Threshold(precision, None, 0.0, None)
    return Threshold(precision, final, texts / len(p), right / kept if kept else None)


def _cumulative(confidence: np.ndarray, hit: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Distinct thresholds, highest first, with the number of decisions kept and of those that are right."""
    if confidence.ndim != 1 or confidence.shape != hit.shape or not len(confidence):
        raise ValueError(f"confidence and hit must be (N,) with N > 0; got {confidence.shape} and {hit.shape}")
    order = np.argsort(-confidence, kind="stable")
    confidence, right = confidence[order], np.cumsum(hit[order])
    last = np.append(np.flatnonzero(np.diff(confidence)), len(confidence) - 1)
    return confidence[last], last + 1, right[last]


def _checked(probs: npt.ArrayLike, gold: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    p, y = np.asarray(probs, np.float64), np.asarray(gold)
    if p.ndim != 2 or not len(p) or y.shape not in (p.shape[:1], p.shape):
        raise ValueError(f"probs must be (N, K) and gold (N,) or (N, K); got {p.shape} and {y.shape}")
    if not ((p >= -1e-6) & (p <= 1 + 1e-6)).all():
        raise ValueError("probabilities must lie in [0, 1]")
    if y.ndim == 2:
        return p, y.astype(bool)
    wrong = (y < 0) | (y >= p.shape[1])
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise ValueError(f"gold labels must be in [0, {p.shape[1]}); found {y[row]} in row {row}")
    return p, y.astype(np.int64)
