"""Curves: how much a score gains from more labels, how it carries from language to language, when it rises.

The learning curve is fitted by a power law with a floor of error,

    score(n) = a − b · n^(−c),      a ≤ 1, b ≥ 0, 0.05 ≤ c ≤ 2,

by least squares over the means at each size: for each c on a grid the best (a, b) is a bounded linear problem, solved in
closed form, so the fit has no start value and no local minimum. Doubling n labels then promises b n^(−c) (1 − 2^(−c)).

Source of the law: Hestness et al. 2017, "Deep Learning Scaling is Predictable, Empirically".
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

WORTH = 0.005
"""Half a point: what a doubling of the labels must add to pay."""

_EXPONENTS = np.geomspace(0.05, 2.0, 200)


@dataclass(frozen=True)
class PowerLaw:
    """score(n) = a − b · n^(−c)."""

    a: float
    b: float
    c: float

    def __call__(self, n: float) -> float:
        """The score at n labels."""
        return self.a - self.b * float(n) ** -self.c

    def gain_of_doubling(self, n: float) -> float:
        """score(2n) − score(n)."""
        return self(2 * n) - self(n)

    def pays_until(self, worth: float = WORTH) -> float:
        """The number of labels from which a doubling adds less than `worth`.

        >>> round(PowerLaw(0.9, 1.0, 0.5).pays_until(0.005))  # (1 − 2^−½) / 0.005, squared
        3431
        """
        if self.b == 0:
            return 0.0
        return (self.b * (1 - 2.0**-self.c) / worth) ** (1 / self.c)


@dataclass(frozen=True)
class LearningCurve:
    """Scores by number of labels: sizes (S,) ascending, one list of scores (one a seed) for each size."""

    sizes: tuple[int, ...]
    scores: tuple[tuple[float, ...], ...]

    def __post_init__(self) -> None:
        if len(self.sizes) != len(self.scores) or any(not s for s in self.scores):
            raise ValueError(f"{len(self.sizes)} sizes need as many non-empty lists of scores; got {len(self.scores)}")
        if any(a >= b for a, b in zip(self.sizes, self.sizes[1:], strict=False)) or any(n < 1 for n in self.sizes):
            raise ValueError(f"sizes must be positive and ascending; got {list(self.sizes)}")

    @property
    def means(self) -> tuple[float, ...]:
        """Mean over the seeds at each size."""
        return tuple(float(np.mean(s)) for s in self.scores)

    @property
    def noise(self) -> float:
        """Standard deviation between seeds, pooled over the sizes; 0 with one seed a size."""
        spread = [np.var(s, ddof=1) for s in self.scores if len(s) > 1]
        return float(np.sqrt(np.mean(spread))) if spread else 0.0

    def fit(self) -> PowerLaw | None:
        """The power law through the means; None with fewer than three sizes."""
        return fit_power_law(self.sizes, self.means) if len(self.sizes) >= 3 else None

    def flat(self, worth: float = WORTH) -> bool:
        """Whether more labels no longer pay (the criterion of `--until-flat`).

        True when both the fitted law promises less than `worth` for doubling the largest size and the last measured
        doubling gave less than `worth`. With fewer than three sizes never.
        """
        law = self.fit()
        if law is None:
            return False
        last = self.sizes[-1]
        half = max(i for i, n in enumerate(self.sizes[:-1]) if n <= last / 2 or i == 0)
        doublings = np.log2(last / self.sizes[half])
        measured = (self.means[-1] - self.means[half]) / max(float(doublings), 1.0)
        return law.gain_of_doubling(last) < worth and measured < worth

    def advice(self, *, metric: str = "macro-F1", worth: float = WORTH) -> str:
        """One sentence: what doubling the labels would add, and up to how many labels a doubling adds at least `worth`.

        >>> curve = LearningCurve((100, 200, 400, 800), ((0.70,), (0.75,), (0.785,), (0.81,)))
        >>> curve.advice()
        'Doubling the labels to 1,600 would add about 1.7 points of macro-F1; more labels pay up to about 9,400.'
        """
        law = self.fit()
        if law is None:
            return "Three or more sizes are needed to say how many more labels would pay."
        last = self.sizes[-1]
        gain = law.gain_of_doubling(last)
        begin = f"oubling the labels to {2 * last:,} would add about {100 * gain:.1f} points of {metric}"
        if self.flat(worth):
            return f"More labels no longer pay: d{begin}."
        if gain < worth:
            return f"D{begin}, but the last doubling still gave more than that: measure once more before stopping."
        until = law.pays_until(worth)
        far = 16 * last  # further than that no fit should be believed
        pays = (
            f"more labels pay up to about {_round(until):,}"
            if until <= far
            else f"labels still pay beyond {_round(far):,}"
        )
        return f"D{begin}; {pays}."


def learning_curve(score: Callable[[int, int], float], sizes: Sequence[int], seeds: Sequence[int]) -> LearningCurve:
    """Train and score at every size with every seed: `score(size, seed)` returns the figure.

    >>> learning_curve(lambda size, seed: 1 - 1 / size, [2, 4], seeds=[0]).means
    (0.5, 0.75)
    """
    return LearningCurve(tuple(sizes), tuple(tuple(float(score(n, s)) for s in seeds) for n in sizes))


def fit_power_law(sizes: npt.ArrayLike, scores: npt.ArrayLike) -> PowerLaw:
    """Bounded least-squares fit of a − b · n^(−c) to (S,) sizes and scores.

    >>> law = fit_power_law([100, 200, 400, 800], [0.9 - n**-0.5 for n in (100, 200, 400, 800)])
    >>> round(law.a, 3), round(law.c, 2)
    (0.9, 0.5)

    Raises: ValueError: fewer than three different sizes.
    """
    n, y = np.asarray(sizes, np.float64), np.asarray(scores, np.float64)
    if n.shape != y.shape or len(np.unique(n)) < 3:
        raise ValueError("a power law needs scores at three or more different sizes")
    x = n[:, None] ** -_EXPONENTS  # (S, C)
    x_mean, y_mean = x.mean(axis=0), y.mean()
    slope = ((x - x_mean) * (y - y_mean)[:, None]).sum(axis=0) / ((x - x_mean) ** 2).sum(axis=0)
    b = np.maximum(-slope, 0.0)
    a = y_mean + b * x_mean
    at_ceiling = a > 1.0  # then the best b for a = 1
    b = np.where(at_ceiling, np.maximum((x * (1.0 - y)[:, None]).sum(axis=0) / (x**2).sum(axis=0), 0.0), b)
    a = np.minimum(a, 1.0)
    best = int((((a - b * x) - y[:, None]) ** 2).sum(axis=0).argmin())
    return PowerLaw(float(a[best]), float(b[best]), float(_EXPONENTS[best]))


Name = TypeVar("Name", bound=Hashable)


@dataclass(frozen=True)
class TransferMatrix(Generic[Name]):
    """Scores (L, L): row = trained on, column = tested on."""

    names: tuple[Name, ...]
    scores: np.ndarray

    def ratios(self) -> dict[Name, float]:
        """For each training name, the mean score on the others over the score on its own; 1 loses nothing."""
        own = np.diag(self.scores)
        others = (self.scores.sum(axis=1) - own) / max(len(self.names) - 1, 1)
        return {name: float(o / d) if d else float("nan") for name, o, d in zip(self.names, others, own, strict=True)}


def transfer_matrix(score: Callable[[Name, Name], float], names: Sequence[Name]) -> TransferMatrix[Name]:
    """Score every training name on every test name: `score(trained_on, tested_on)`.

    >>> transfer_matrix(lambda a, b: 1.0 if a == b else 0.5, ["en", "de"]).ratios()
    {'en': 0.5, 'de': 0.5}
    """
    return TransferMatrix(tuple(names), np.array([[score(a, b) for b in names] for a in names], np.float64))


def area_under(steps: npt.ArrayLike, values: npt.ArrayLike) -> float:
    """Area under a curve by trapezoids, divided by the range of the steps: the curve's average height.

    >>> area_under([0, 10, 20], [0.0, 1.0, 1.0])
    0.75
    """
    x, y = _curve(steps, values)
    if len(x) == 1:
        return float(y[0])
    return float(((y[1:] + y[:-1]) / 2 * np.diff(x)).sum() / (x[-1] - x[0]))


@dataclass(frozen=True)
class Crossing:
    """The first step at a level; `censored` when it was never reached: the step is then the last one measured."""

    step: float
    censored: bool


def first_crossing(steps: npt.ArrayLike, values: npt.ArrayLike, level: float, *, falling: bool = False) -> Crossing:
    """The first measured step whose value is at least `level` (with `falling`, at most).

    >>> first_crossing([1, 2, 3], [0.1, 0.6, 0.5], 0.5)
    Crossing(step=2.0, censored=False)
    """
    x, y = _curve(steps, values)
    there = np.flatnonzero(y <= level if falling else y >= level)
    return Crossing(float(x[there[0]]), False) if len(there) else Crossing(float(x[-1]), True)


def abruptness(steps: npt.ArrayLike, values: npt.ArrayLike) -> float:
    """(t90 − t10) / t90 with t_x the first step at x % of the final gain: 0 is a jump, near 1 a slow rise.

    >>> abruptness([0, 50, 90, 100], [0.0, 0.0, 0.1, 1.0])
    0.1
    """
    x, y = _curve(steps, values)
    gain = y[-1] - y[0]
    t10, t90 = (first_crossing(x, (y - y[0]) * np.sign(gain), part * abs(gain)).step for part in (0.1, 0.9))
    return (t90 - t10) / t90 if t90 else 0.0


def _curve(steps: npt.ArrayLike, values: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.asarray(steps, np.float64), np.asarray(values, np.float64)
    if x.ndim != 1 or x.shape != y.shape or not len(x) or (np.diff(x) <= 0).any():
        raise ValueError(f"a curve needs ascending steps with one value each; got {x.shape} and {y.shape}")
    return x, y


def _round(n: float) -> int:
    """Two significant digits, as an extrapolation deserves."""
    digits = max(len(str(int(n))) - 2, 0)
    return int(round(n, -digits))
