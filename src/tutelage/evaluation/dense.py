"""Figures of dense predictions: key points found, and left taken for right.

Shapes: points, predicted and true (N, K, 2) in pixels; counted (N, K) (bool): which of them are asked about.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt


def pck(predicted: npt.ArrayLike, true: npt.ArrayLike, radius: float, counted: npt.ArrayLike | None = None) -> float:
    """Share of key points that are found within `radius` pixels; NaN where none is asked about.

    >>> pck([[[0.0, 0.0], [9.0, 9.0]]], [[[0.0, 2.0], [0.0, 0.0]]], radius=3)
    0.5

    Raises: ValueError: shapes that do not fit.
    """
    near, asked = _near(predicted, true, radius, counted)
    return float(near[asked].mean()) if asked.any() else float("nan")


def swap_rate(
    predicted: npt.ArrayLike,
    true: npt.ArrayLike,
    pairs: Sequence[tuple[int, int]],
    radius: float,
    counted: npt.ArrayLike | None = None,
) -> float:
    """Share of the paired key points that are missed but found where their partner is; NaN where none is asked about.

    >>> swap_rate([[[5.0, 0.0], [5.0, 0.0]]], [[[0.0, 0.0], [5.0, 0.0]]], pairs=[(0, 1)], radius=1)
    0.5
    """
    near, asked = _near(predicted, true, radius, counted)
    partner = np.arange(near.shape[1])
    for left, right in pairs:
        partner[[left, right]] = right, left
    paired = partner != np.arange(len(partner))
    crossed, _ = _near(predicted, np.asarray(true)[:, partner], radius, counted)
    asked = asked & paired
    return float((crossed & ~near)[asked].mean()) if asked.any() else float("nan")


def _near(
    predicted: npt.ArrayLike, true: npt.ArrayLike, radius: float, counted: npt.ArrayLike | None
) -> tuple[np.ndarray, np.ndarray]:
    """Which points are near enough, and which are asked about: (N, K) twice."""
    found, gold = np.asarray(predicted, np.float64), np.asarray(true, np.float64)
    asked = np.ones(gold.shape[:2], bool) if counted is None else np.asarray(counted).astype(bool)
    if found.shape != gold.shape or gold.ndim != 3 or gold.shape[2] != 2 or asked.shape != gold.shape[:2]:
        raise ValueError(
            f"points must be (N, K, 2) twice, counted (N, K); got {found.shape}, {gold.shape}, {asked.shape}"
        )
    return np.linalg.norm(found - gold, axis=2) <= radius, asked
