"""Small integers for large tables: rows of float32 -> int8 or int16 with one scale a column.

    q = round(w / scale),    scale_k = clip * max_h |w_hk| / (2^(n-1) - 1)

A few large weights would make the steps coarse for all others, so `clip` cuts them, at the value that has the least squared
error weighted by how often a row is used. Fixed-point numbers rather than half floats of the same size, because sums of
integers are exact: a prediction then depends neither on the order of the features nor on the machine.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

CLIPS = (1.0, 0.85, 0.7, 0.55, 0.4, 0.3, 0.2)
PRECISIONS = ("int8", "int16")


class Quantised(NamedTuple):
    """Integers (V, r) int8 or int16, and scale (r,) float32 such that `integers * scale` is about the rows."""

    integers: np.ndarray
    scale: np.ndarray

    @property
    def values(self) -> np.ndarray:
        """The rows that the integers stand for, float32."""
        return self.integers * self.scale


def quantise(rows: np.ndarray, mass: np.ndarray, precision: str) -> Quantised:
    """Rows (V, r), used with weight mass (V,), as integers.

    >>> q = quantise(np.array([[0.5], [-1.0]], np.float32), np.ones(2), "int8")
    >>> q.integers.ravel().tolist(), bool(np.allclose(q.values, [[0.5], [-1.0]], atol=0.005))
    ([64, -127], True)
    """
    limit = np.iinfo(precision).max
    top = np.abs(rows).max(0, initial=0.0)
    top[top == 0] = 1.0
    best: tuple[float, Quantised] | None = None
    for clip in CLIPS:
        scale = (clip * top / limit).astype(np.float32)
        found = Quantised(np.clip(np.rint(rows / scale), -limit, limit).astype(precision), scale)
        error = float(mass @ ((found.values - rows) ** 2).sum(1))
        if best is None or error < best[0]:
            best = (error, found)
    assert best is not None
    return best[1]
