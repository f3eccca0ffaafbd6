"""How good is a ranking: reciprocal rank, discounted gain and recall at a cutoff, one figure a query.

With r_j the rank of document j by its score (1 = best) and g_j its relevance:

    MRR@k     1 / (least r_j of a relevant j), 0 when it is beyond k
    nDCG@k    Σ_{r_j ≤ k} (2^{g_j} − 1) / log2(1 + r_j), divided by the same sum of the best possible ranking
    recall@k  relevant documents with r_j ≤ k, divided by all relevant ones
    AP lift   of one ranking: average precision over the share of relevant items

Documents with equal scores share their mean rank, so that the order of the candidates (which often puts the relevant one
first) decides nothing. A score of −inf takes a document out of the ranking: something the query has seen, or padding. A
query without a relevant document has no figure: NaN, to be left out by the caller, who should say how many there were.

Source: Järvelin & Kekäläinen 2002 (nDCG, with the exponential gain of Burges et al. 2005).
Shapes: scores, relevance (Q, n); figures (Q,) float64.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

from tutelage.errors import InputError
from tutelage.evaluation.bootstrap import draws


def mrr(scores: npt.ArrayLike, relevance: npt.ArrayLike, k: int | None = None) -> np.ndarray:
    """Reciprocal rank of the best relevant document: (Q, n), (Q, n) → (Q,).

    >>> mrr([[0.2, 0.9, 0.5]], [[1, 0, 0]]).round(3).tolist(), mrr([[0.2, 0.9, 0.5]], [[1, 0, 0]], k=2).tolist()
    ([0.333], [0.0])
    """
    ranks, gains = _ranked(scores, relevance)
    best = np.where(gains > 0, ranks, np.inf).min(axis=1)
    return _where_relevant(gains, np.where(best <= _cutoff(k), 1 / best, 0.0))


def ndcg(scores: npt.ArrayLike, relevance: npt.ArrayLike, k: int | None = None) -> np.ndarray:
    """Normalised discounted cumulative gain of graded relevance: (Q, n), (Q, n) → (Q,).

    >>> ndcg([[3.0, 2.0, 1.0]], [[0, 1, 0]]).round(4).tolist()  # (1 / log2 3) / (1 / log2 2)
    [0.6309]
    """
    ranks, relevant = _ranked(scores, relevance)
    gains, cutoff = 2.0**relevant - 1, _cutoff(k)
    ideal = (-gains).argsort(axis=1).argsort(axis=1) + 1
    found, best = (np.where(r <= cutoff, gains / np.log2(1 + r), 0.0).sum(axis=1) for r in (ranks, ideal))
    return _where_relevant(relevant, found / np.where(best > 0, best, 1.0))


def recall_at_k(scores: npt.ArrayLike, relevance: npt.ArrayLike, k: int) -> np.ndarray:
    """Share of the relevant documents that are among the k best: (Q, n), (Q, n) → (Q,).

    >>> recall_at_k([[3.0, 2.0, 1.0]], [[1, 0, 1]], k=2).tolist()
    [0.5]
    """
    ranks, gains = _ranked(scores, relevance)
    found = ((gains > 0) & (ranks <= _cutoff(k))).sum(axis=1)
    return _where_relevant(gains, found / np.maximum((gains > 0).sum(axis=1), 1))


def hit_at_k(scores: npt.ArrayLike, relevance: npt.ArrayLike, k: int) -> np.ndarray:
    """1 where a relevant document is among the k best, else 0: (Q, n), (Q, n) → (Q,).

    >>> hit_at_k([[3.0, 2.0, 1.0]], [[0, 0, 1]], k=2).tolist()
    [0.0]
    """
    ranks, gains = _ranked(scores, relevance)
    return _where_relevant(gains, ((gains > 0) & (ranks <= _cutoff(k))).any(axis=1).astype(np.float64))


def ap_lift(scores: npt.ArrayLike, relevance: npt.ArrayLike) -> float:
    """Average precision over the share of relevant items: (n,), (n,) → how many times better than a random order.

    Items of one score count together, as in scikit-learn. Raises: InputError: nothing is relevant.

    >>> ap_lift([0.9, 0.8, 0.1, 0.1], [1, 0, 1, 0])  # precision 1 at the first, 1/2 at the last two: 3/4 over 1/2
    1.5
    """
    return float(_ap_lifts(scores, relevance, iter([np.ones((1, np.size(scores)))]))[0])


def ap_lift_resampled(
    scores: npt.ArrayLike, relevance: npt.ArrayLike, *, resamples: int = 1_000, seed: int = 0
) -> np.ndarray:
    """`ap_lift` over bootstrap resamples of the items: (n,), (n,) → (R,), NaN where a resample holds nothing relevant.

    One seed draws the same items for every score, so two scores' results are paired.
    """
    return _ap_lifts(scores, relevance, draws(np.size(scores), resamples=resamples, seed=seed))


def _ap_lifts(scores: npt.ArrayLike, relevance: npt.ArrayLike, weights: Iterator[np.ndarray]) -> np.ndarray:
    """AP over base rate where items count as often as each row of the weights' blocks (r, n) says."""
    values, gains = np.asarray(scores, np.float64), np.asarray(relevance) > 0
    if values.ndim != 1 or values.shape != gains.shape or not gains.any():
        raise InputError(
            f"need a score an item, and something relevant; got {values.shape} and {int(gains.sum())} relevant"
        )
    if np.isnan(values).any():
        raise InputError(f"item {int(np.isnan(values).argmax())} has a score that is not a number")
    order = np.argsort(-values, kind="stable")
    ranked = values[order]
    groups = np.flatnonzero(np.concatenate([[True], ranked[1:] != ranked[:-1]]))
    lifts = []
    for block in weights:
        drawn = block[:, order]
        hits = np.add.reduceat(drawn * gains[order], groups, axis=1)
        items = np.add.reduceat(drawn, groups, axis=1).cumsum(axis=1)
        found = hits.cumsum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            precision = np.where(items > 0, found / items, 0.0)
            lifts.append((precision * hits).sum(axis=1) * items[:, -1] / found[:, -1] ** 2)
    return np.concatenate(lifts)


def _ranked(scores: npt.ArrayLike, relevance: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """Mean ranks (Q, n), infinite where the score is −inf, and relevance (Q, n)."""
    from scipy.stats import rankdata

    values, gains = np.asarray(scores, np.float64), np.asarray(relevance, np.float64)
    if values.ndim != 2 or values.shape != gains.shape:
        raise InputError(f"need scores and relevance of one shape (Q, n); got {values.shape} and {gains.shape}")
    if np.isnan(values).any() or np.isposinf(values).any():
        raise InputError(f"row {int(np.argwhere(~(values < np.inf))[0, 0])} has a score that is not a number")
    if not np.isfinite(gains).all() or (gains < 0).any():
        raise InputError("relevance must be finite and not negative")
    return np.where(np.isneginf(values), np.inf, rankdata(-values, axis=1)), gains


def _cutoff(k: int | None) -> float:
    if k is None:
        return np.finfo(np.float64).max
    if k < 1:
        raise InputError(f"k must be at least 1; got {k}")
    return k


def _where_relevant(gains: np.ndarray, figures: npt.ArrayLike) -> np.ndarray:
    return np.where((gains > 0).any(axis=1), figures, np.nan)
