"""Key points found, and left taken for right."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tutelage.evaluation.dense import pck, swap_rate

TRUE = np.array([[[0.0, 0.0], [10.0, 0.0], [5.0, 5.0]], [[0.0, 0.0], [10.0, 0.0], [5.0, 5.0]]])


def test_points_are_found_up_to_the_radius():
    found = TRUE + np.array([[[3.0, 0.0], [0.0, 3.1], [0.0, 0.0]], [[0.0, 0.0]] * 3])
    assert pck(found, TRUE, 3.0) == pytest.approx(5 / 6)
    counted = np.array([[True, True, False], [False] * 3])
    assert pck(found, TRUE, 3.0, counted) == pytest.approx(1 / 2)
    assert math.isnan(pck(found, TRUE, 3.0, np.zeros((2, 3), bool)))


def test_a_swap_is_a_miss_at_the_partners_place():
    found = TRUE.copy()
    found[0, :2] = TRUE[0, [1, 0]]
    assert swap_rate(found, TRUE, [(0, 1)], 1.0) == 0.5
    assert swap_rate(TRUE, TRUE, [(0, 1)], 1.0) == 0.0
    assert swap_rate(TRUE, TRUE, [(0, 1)], 20.0) == 0.0, "found and near the partner is no swap"
    found[1, 0] = [30.0, 30.0]
    assert swap_rate(found, TRUE, [(0, 1)], 1.0) == 0.5, "a miss elsewhere is no swap"


def test_refuses_points_that_do_not_fit():
    for wrong in (TRUE[:, :2], TRUE[0], np.zeros((2, 3, 3))):
        with pytest.raises(ValueError, match="points must be"):
            pck(wrong, TRUE, 1.0)
