"""The pull towards earlier weights: by hand, its gradient, and what it refuses."""

from __future__ import annotations

import pytest
import torch

from tutelage.errors import InputError
from tutelage.objectives.stability import quadratic_penalty


def test_by_hand_and_its_gradient_is_precision_times_distance():
    w = {"a": torch.tensor([1.0, 2.0], requires_grad=True), "b": torch.tensor([[3.0]], requires_grad=True)}
    anchor = {"a": torch.tensor([0.0, 2.0]), "b": torch.tensor([[1.0]])}
    precision = {"a": torch.tensor([2.0, 5.0]), "b": torch.tensor([[0.5]])}
    loss = quadratic_penalty(w, anchor, precision)
    assert loss.item() == pytest.approx(0.5 * (2 * 1 + 0 + 0.5 * 4))
    loss.backward()
    assert w["a"].grad.tolist() == [2.0, 0.0]  # type: ignore[union-attr]
    assert w["b"].grad.tolist() == [[1.0]]  # type: ignore[union-attr]


def test_without_precision_it_is_half_the_squared_distance_and_zero_at_the_anchor():
    w = {"a": torch.randn(4, 3), "unanchored": torch.randn(2)}
    anchor = {"a": torch.randn(4, 3)}
    expected = 0.5 * (w["a"] - anchor["a"]).square().sum()
    assert torch.allclose(quadratic_penalty(w, anchor), expected)
    assert quadratic_penalty(anchor, anchor).item() == 0.0


def test_anchor_and_precision_get_no_gradient():
    w, anchor, precision = ({"a": torch.rand(2, requires_grad=True)} for _ in range(3))
    quadratic_penalty(w, anchor, precision).backward()
    assert anchor["a"].grad is None
    assert precision["a"].grad is None


@pytest.mark.parametrize(
    ("weights", "anchor", "precision"),
    [
        ({}, {}, None),
        ({"b": torch.zeros(1)}, {"a": torch.zeros(1)}, None),
        ({"a": torch.zeros(2)}, {"a": torch.zeros(1)}, None),
        ({"a": torch.zeros(1)}, {"a": torch.zeros(1)}, {}),
    ],
)
def test_refuses_weights_that_do_not_meet(weights, anchor, precision):
    with pytest.raises(InputError, match="anchor"):
        quadratic_penalty(weights, anchor, precision)
