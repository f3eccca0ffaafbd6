"""Is the difference real: paired bootstrap, sign test, permutation test, and the correction for asking often.

All tests are paired: d_i = a_i − b_i for the same seed, text or learner. Units that belong together (texts of one author,
turns of one dialogue) are resampled or flipped together with `cluster`; with several seeds whose items differ, seeds are
resampled first and each drawn seed's items within it.

Sources: Efron & Tibshirani 1993 (percentile interval); Fisher's sign-flip randomisation; Benjamini & Hochberg 1995.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from tutelage.evaluation.bootstrap import by_cluster, percentile_interval, resampled_sums

Alternative = Literal["two-sided", "greater", "less"]


@dataclass(frozen=True)
class Difference:
    """A difference, its interval, its two-sided p, and the number of paired items it rests on."""

    value: float
    interval: tuple[float, float]
    p: float
    n: int


def paired_bootstrap(
    a: npt.ArrayLike | Sequence[npt.ArrayLike],
    b: npt.ArrayLike | Sequence[npt.ArrayLike] = 0.0,
    *,
    cluster: npt.ArrayLike | None = None,
    resamples: int = 10_000,
    level: float = 0.95,
    seed: int = 0,
) -> Difference:
    """Mean of a − b with a percentile interval over resampled pairs.

    Args:
        a, b: (n,) paired values; or (seeds, items), or one array of items a seed (of different lengths if need be),
            which resamples seeds and, within each drawn seed, items: the value is then the mean over seeds of the
            seeds' means. `b` may be one number.
        cluster: (n,) names of the units that are drawn whole; not with several seeds.
        resamples, level, seed: of the bootstrap.

    >>> paired_bootstrap([0.5, 0.75, 0.25], [0.25, 0.5, 0.0])
    Difference(value=0.25, interval=(0.25, 0.25), p=0.00019998000199980003, n=3)

    Raises: ValueError: no pairs, lengths that differ, values that are not finite, `cluster` with several seeds.
    """
    seeds = _differences(a, b)
    n = sum(map(len, seeds))
    if len(seeds) == 1:
        contributions = np.column_stack([seeds[0], np.ones(n)])
        sums = resampled_sums(contributions, resamples=resamples, seed=seed, cluster=cluster)
        means = sums[:, 0] / sums[:, 1]
    elif cluster is not None:
        raise ValueError("cluster= works on one row of pairs, not on several seeds")
    else:
        means = _nested_means(seeds, resamples, seed)
    value = float(np.mean([d.mean() for d in seeds]))
    return Difference(value, percentile_interval(means, level), two_sided_p(means), n)


def two_sided_p(differences: npt.ArrayLike) -> float:
    """Twice the smaller share of resampled differences on either side of zero, never exactly 0: (1 + count) / (1 + R).

    >>> two_sided_p([1.0, 1.0, -1.0])
    1.0
    """
    d = np.asarray(differences, np.float64)
    fewer = min((d <= 0).sum(), (d >= 0).sum())
    return float(min(1.0, 2 * (1 + fewer) / (1 + len(d))))


def sign_test(a: npt.ArrayLike, b: npt.ArrayLike = 0.0, *, alternative: Alternative = "two-sided") -> float:
    """Exact p that a beats b as often as seen if both were equally likely to win; ties are left out.

    >>> round(sign_test([1, 1, 1, 1, 1, 1, 1, 1, 1, -1], alternative="greater"), 4)  # 9 of 10
    0.0107
    """
    from scipy.stats import binomtest

    d = _differences(a, b)[0]
    wins, losses = int((d > 0).sum()), int((d < 0).sum())
    if wins + losses == 0:
        return 1.0
    return float(binomtest(wins, wins + losses, alternative=alternative).pvalue)


def permutation_test(
    a: npt.ArrayLike,
    b: npt.ArrayLike = 0.0,
    *,
    cluster: npt.ArrayLike | None = None,
    alternative: Alternative = "two-sided",
    resamples: int = 10_000,
    seed: int = 0,
) -> float:
    """p of the mean of a − b under random swaps of a and b within each pair (or cluster of pairs).

    All 2^n swaps are tried where they are no more than `resamples` (the p is then exact), else a random sample of them.

    >>> permutation_test([1.0, 2.0, 3.0])  # two of the eight sign patterns are as extreme
    0.25
    """
    units = by_cluster(_differences(a, b)[0][:, None], cluster)[:, 0]
    n = len(units)
    exact = n < 63 and 2**n <= resamples
    if exact:
        signs = 1.0 - 2.0 * (np.arange(2**n)[:, None] >> np.arange(n) & 1)
    else:
        signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(resamples, n))
    seen, null = units.sum(), signs @ units
    if alternative == "two-sided":
        seen, null = abs(seen), np.abs(null)
    elif alternative == "less":
        seen, null = -seen, -null
    tolerance = 1e-12 * max(1.0, float(np.abs(units).sum()))
    as_extreme = int((null >= seen - tolerance).sum())
    return as_extreme / len(null) if exact else (1 + as_extreme) / (1 + len(null))


def bh(p: npt.ArrayLike) -> np.ndarray:
    """Benjamini–Hochberg: p-values adjusted for having asked n questions: (n,) -> (n,), in the given order.

    Calling those ≤ q real keeps the expected share of false ones among them at most q.

    >>> bh([0.01, 0.04, 0.03]).round(6).tolist()
    [0.03, 0.04, 0.04]
    """
    from scipy.stats import false_discovery_control

    values = np.asarray(p, np.float64)
    return np.asarray(false_discovery_control(values)) if len(values) else values


def _differences(
    a: npt.ArrayLike | Sequence[npt.ArrayLike], b: npt.ArrayLike | Sequence[npt.ArrayLike]
) -> list[np.ndarray]:
    """a − b as one array a seed, checked."""
    first, second = _rows(a), _rows(b)
    if len(second) == 1 and second[0].ndim == 0:
        second = [np.broadcast_to(second[0], row.shape) for row in first]
    shapes = [row.shape for row in first], [row.shape for row in second]
    if shapes[0] != shapes[1] or not first or any(row.ndim != 1 or not len(row) for row in first):
        raise ValueError(
            f"a and b must hold the same, non-zero number of paired values; got {shapes[0]} and {shapes[1]}"
        )
    differences = [x - y for x, y in zip(first, second, strict=True)]
    if not all(np.isfinite(d).all() for d in differences):
        raise ValueError("paired values must be finite")
    return differences


def _rows(values: npt.ArrayLike | Sequence[npt.ArrayLike]) -> list[np.ndarray]:
    if isinstance(values, np.ndarray) or np.isscalar(values):
        array = np.asarray(values, np.float64)
        return list(array) if array.ndim == 2 else [array]
    items = [np.asarray(v, np.float64) for v in values]  # type: ignore[union-attr]
    return items if items and items[0].ndim else [np.asarray(items)]


def _nested_means(seeds: list[np.ndarray], resamples: int, seed: int) -> np.ndarray:
    """Bootstrap means (R,): draw seeds with replacement, and for each drawn one a fresh resample of its items."""
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(seeds), size=(resamples, len(seeds)))
    means = np.empty(drawn.shape)
    for number, values in enumerate(seeds):
        places = drawn == number
        count = int(places.sum())
        if count:
            child = int(rng.integers(2**63))
            means[places] = resampled_sums(values[:, None], resamples=count, seed=child)[:, 0] / len(values)
    return means.mean(axis=1)
