"""What was measured: the figures of every arm on every seed, as bars and tables read them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

Measured = Mapping[str, "float | Sequence[float] | Sequence[Sequence[float]] | np.ndarray"]
"""What an arm returns: a figure a name, or the items (predictions, per-query scores, a curve) behind one."""


@dataclass(frozen=True)
class Metric:
    """A column of the table: its name, which way is better, its unit, and how many digits are worth printing."""

    name: str
    higher_is_better: bool = True
    unit: str = ""
    digits: int = 3
    shown: bool = True
    """False: measured and stored, say for tuning, but no column."""

    @property
    def title(self) -> str:
        """Name, unit and direction, as the table's head prints them."""
        unit = f" [{self.unit}]" if self.unit else ""
        return f"{self.name}{unit} {'↑' if self.higher_is_better else '↓'}"


class Results:
    """The figures of one part of a study: S seeds, the same for every arm, so that every comparison is paired.

    >>> r = Results([Metric("error", higher_is_better=False)], [100, 101],
    ...             {"kd": [{"error": 0.5}, {"error": 0.375}], "ours": [{"error": 0.25}, {"error": [0.5, 0.0]}]})
    >>> r["ours", "error"]
    array([0.25, 0.25])
    >>> r.gain("ours", "kd", "error")  # positive: better
    array([0.25 , 0.125])
    """

    def __init__(
        self, metrics: Sequence[Metric], seeds: Sequence[int], measured: Mapping[str, Sequence[Measured]]
    ) -> None:
        self.metrics = {metric.name: metric for metric in metrics}
        self.seeds = tuple(seeds)
        self._measured = measured

    def __getitem__(self, key: tuple[str, str]) -> np.ndarray:
        """One figure a seed of (arm, name): (S,) float64; items are averaged.

        Raises: KeyError: no such arm, or the arm did not return that name.
        """
        return np.array([np.mean(items) for items in self.items(*key)], np.float64)

    def __contains__(self, key: tuple[str, str]) -> bool:
        arm, name = key
        return arm in self._measured and all(name in values for values in self._measured[arm])

    def items(self, arm: str, name: str) -> list[np.ndarray]:
        """What the arm returned under this name, one array a seed (a plain figure is an array of shape ())."""
        if (arm, name) not in self:
            held = ", ".join(self._measured[arm][0]) if arm in self._measured else f"arms {', '.join(self._measured)}"
            raise KeyError(f"no {name!r} of arm {arm!r}; there are {held}")
        return [np.asarray(values[name]) for values in self._measured[arm]]

    def gain(self, method: str, baseline: str, metric: str, *, times: float = 1.0) -> np.ndarray | list[np.ndarray]:
        """How much better `method` is than `times` × `baseline`: positive is better whichever way the metric points.

        Returns: (S,), or one array of items a seed where both arms returned items, for a nested bootstrap.
        """
        sign = 1.0 if self.metrics[metric].higher_is_better else -1.0
        ours, theirs = self.items(method, metric), self.items(baseline, metric)
        if ours[0].ndim and all(a.shape == b.shape for a, b in zip(ours, theirs, strict=True)):
            return [sign * (a - times * b) for a, b in zip(ours, theirs, strict=True)]
        return sign * (self[method, metric] - times * self[baseline, metric])
