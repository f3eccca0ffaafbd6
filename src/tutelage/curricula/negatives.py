"""Negatives: what does not belong together, drawn at random or where it hurts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from tutelage.errors import InputError


def sample_negatives(
    seen: Sequence[Iterable[int]], total: int, n: int, *, rng: np.random.Generator | None = None
) -> np.ndarray:
    """n ids out of 0 … total − 1 for each row, none of which the row has seen, all different: → [rows, n] (int64).

    Raises: InputError: a row with fewer than n unseen ids.

    >>> sample_negatives([{0, 1}, {2}], total=4, n=2, rng=np.random.default_rng(0)).shape
    (2, 2)
    """
    rng = rng or np.random.default_rng(0)
    result = np.empty((len(seen), n), dtype=np.int64)
    for row, known in enumerate(seen):
        avoid = np.fromiter(known, dtype=np.int64)
        if total - len(np.unique(avoid)) < n:
            raise InputError(f"row {row} has seen {len(np.unique(avoid))} of {total} ids; cannot draw {n} others")
        if 2 * (len(avoid) + n) > total:
            result[row] = rng.choice(np.setdiff1d(np.arange(total), avoid), n, replace=False)
            continue
        drawn: dict[int, None] = {}
        blocked = set(avoid.tolist())
        while len(drawn) < n:
            drawn |= {i: None for i in rng.integers(total, size=2 * n).tolist() if i not in blocked}
        result[row] = list(drawn)[:n]
    return result


def hard_negatives(scores: np.ndarray, relevant: Sequence[Iterable[int]], k: int) -> np.ndarray:
    """The k best-scored documents of each query that are not relevant, best first: [Q, n] → [Q, k], −1 where there are fewer.

    Ties are broken by id.

    >>> hard_negatives(np.array([[0.9, 0.8, 0.7]]), [{0}], k=2).tolist()
    [[1, 2]]
    """
    scores = np.array(scores, dtype=np.float64)
    if scores.ndim != 2 or len(relevant) != len(scores) or k < 1:
        raise InputError(
            f"need scores [Q, n], relevant ids for each query and k >= 1; got {scores.shape}, {len(relevant)}, {k}"
        )
    for row, known in enumerate(relevant):
        scores[row, list(known)] = -np.inf
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    order = np.where(np.isneginf(np.take_along_axis(scores, order, axis=1)), -1, order)
    return np.pad(order, ((0, 0), (0, max(0, k - scores.shape[1]))), constant_values=-1)
