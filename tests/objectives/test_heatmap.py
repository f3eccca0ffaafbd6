"""Hills on maps and the distance between maps."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tutelage.errors import InputError
from tutelage.objectives.heatmap import gaussian_map, heatmap_mse


@given(st.floats(0, 8), st.floats(0, 5), st.floats(0.3, 3))
def test_a_hill_has_its_height_and_its_widths(x: float, y: float, sigma: float):
    hill = gaussian_map(torch.tensor([[[x, y]]], dtype=torch.float64), (6, 9), sigma)[0, 0]
    for row in (0, 3, 5):
        for column in (0, 4, 8):
            expected = math.exp(-((column - x) ** 2 + (row - y) ** 2) / (2 * sigma**2))
            assert hill[row, column].item() == pytest.approx(expected, abs=1e-12)


def test_points_that_do_not_count_cost_nothing_and_do_not_make_others_cheaper():
    pred, target = torch.zeros(2, 2, 3, 3, requires_grad=True), torch.ones(2, 2, 3, 3)
    weight = torch.tensor([[1.0, 0.0], [0.0, 0.0]])
    loss = heatmap_mse(pred, target, weight)
    assert loss.item() == 9.0
    loss.backward()
    assert pred.grad is not None
    assert pred.grad[0, 0].eq(-2).all()
    assert not pred.grad[0, 1].any()
    assert not pred.grad[1].any()
    assert heatmap_mse(pred, target).item() == 9.0
    assert heatmap_mse(pred, target, torch.zeros(2, 2)).item() == 0.0


def test_the_target_gets_no_gradient():
    target = torch.ones(1, 1, 2, 2, requires_grad=True)
    heatmap_mse(torch.zeros(1, 1, 2, 2, requires_grad=True), target).backward()
    assert target.grad is None


def test_refuses_what_does_not_fit():
    with pytest.raises(InputError, match="sigma"):
        gaussian_map(torch.zeros(1, 1, 2), (2, 2), 0.0)
    with pytest.raises(InputError, match="one shape"):
        heatmap_mse(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 3))
