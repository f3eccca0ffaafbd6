"""The bootstrap of everything that is a function of sums over units.

An accuracy, an F1, a kappa and an alpha are all f(s_1 … s_D) with s_d = Σ_u x_ud a sum over the units u. A resample of
the units therefore needs no recomputation: with w_u how often unit u was drawn, its sums are w·x. All resamples
together are one matrix product [R, N] × [N, D], so 1,000 resamples cost milliseconds.

With `cluster` whole clusters are drawn (all texts of one author, all turns of one dialogue): the rows of x are first
added up by cluster.

Source: Efron & Tibshirani, "An Introduction to the Bootstrap", 1993, ch. 6 (weights) and 13 (percentile interval).
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt

_CELLS = 4_000_000  # of the weight matrix that are held at once: 32 MB


def resampled_sums(
    contributions: npt.ArrayLike, *, resamples: int = 1_000, seed: int = 0, cluster: npt.ArrayLike | None = None
) -> np.ndarray:
    """Sums over bootstrap resamples of the rows: (N, D) -> (R, D) float64.

    Args:
        contributions: (N, D) what each unit adds to each of the D sums.
        resamples: R.
        seed: same seed, same resamples, whatever D is.
        cluster: (N,) names of the clusters that are drawn whole; None draws single units.

    >>> resampled_sums([[1.0], [1.0], [1.0]], resamples=2).tolist()
    [[3.0], [3.0]]

    Raises: ValueError: no rows; `cluster` of another length.
    """
    x = by_cluster(contributions, cluster)
    return np.concatenate([w @ x for w in draws(len(x), resamples=resamples, seed=seed)])


def by_cluster(contributions: npt.ArrayLike, cluster: npt.ArrayLike | None) -> np.ndarray:
    """Rows added up by cluster: (N, D) -> (G, D), clusters in the order of their first row; without clusters, as given.

    >>> by_cluster([[1.0], [2.0], [4.0]], ["a", "b", "a"]).tolist()
    [[5.0], [2.0]]
    """
    x = np.asarray(contributions, np.float64)
    if x.ndim != 2 or len(x) == 0:
        raise ValueError(f"contributions must be (N, D) with N > 0; got shape {x.shape}")
    if cluster is None:
        return x
    names = np.asarray(cluster)
    if names.shape != (len(x),):
        raise ValueError(f"cluster has shape {names.shape} for {len(x)} units")
    _, first, codes = np.unique(names, return_index=True, return_inverse=True)
    rank = np.empty(len(first), np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    sums = np.zeros((len(first), x.shape[1]))
    np.add.at(sums, rank[codes], x)
    return sums


def draws(n: int, *, resamples: int, seed: int) -> Iterator[np.ndarray]:
    """How often each of n units is drawn: blocks of (r, n) float64 whose rows sum to n, R rows in all."""
    if resamples < 1:
        raise ValueError(f"resamples must be at least 1; got {resamples}")
    rng = np.random.default_rng(seed)
    block = max(1, _CELLS // n)
    for start in range(0, resamples, block):
        rows = min(block, resamples - start)
        drawn = rng.integers(n, size=(rows, n)) + np.arange(rows)[:, None] * n
        yield np.bincount(drawn.ravel(), minlength=rows * n).reshape(rows, n).astype(np.float64)


def percentile_interval(samples: npt.ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """The central interval that holds `level` of the resampled values; resamples where the value is undefined are left out.

    >>> percentile_interval(range(5), level=0.5)
    (1.0, 3.0)
    """
    if not 0 < level < 1:
        raise ValueError(f"level must be between 0 and 1; got {level}")
    values = np.asarray(samples, np.float64)
    values = values[np.isfinite(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)
