"""A gradient step by hand, what flows back through it, and rows that do not touch."""

from __future__ import annotations

import gc

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tutelage.errors import InputError
from tutelage.feedback.lookahead import inner_step
from tutelage.students.functional import call_with


@given(st.floats(-3, 3), st.floats(0.01, 0.4), st.floats(-2, 2))
def test_second_order_by_hand(start: float, rate: float, goal: float):
    """L = (w − g)²: w' = w − 2a (w − g); dw'/dw = 1 − 2a, dw'/dg = 2a, dw'/da = −2 (w − g)."""
    w, g, a = (torch.tensor([v], dtype=torch.float64, requires_grad=True) for v in (start, goal, rate))
    new = inner_step({"w": w}, (w - g).square().sum(), a, create_graph=True)["w"]
    assert new.item() == pytest.approx(start - 2 * rate * (start - goal))
    by_w, by_g, by_a = (grad.item() for grad in torch.autograd.grad(new.sum(), [w, g, a]))
    assert by_w == pytest.approx(1 - 2 * rate)
    assert by_g == pytest.approx(2 * rate)
    assert by_a == pytest.approx(-2 * (start - goal), abs=1e-9)


def test_first_order_takes_the_step_for_a_constant():
    w, goal = torch.tensor([3.0], requires_grad=True), torch.tensor([1.0], requires_grad=True)
    new = inner_step({"w": w}, (w - goal).square().sum(), 0.25)["w"]
    by_w, by_goal = torch.autograd.grad(new.sum(), [w, goal], allow_unused=True)
    assert by_w.item() == 1.0
    assert by_goal is None


def test_the_module_keeps_its_own_weights():
    layer, x = nn.Linear(3, 2), torch.randn(5, 3)
    before = layer.weight.detach().clone()
    weights = dict(layer.named_parameters())
    new = inner_step(weights, call_with(layer, weights, x).square().mean(), 0.5)
    assert torch.equal(layer.weight, before)
    assert layer.weight.grad is None
    assert not torch.equal(new["weight"], before)


def test_rows_are_runs_of_their_own():
    w = torch.randn(3, 2, requires_grad=True)
    rates = torch.tensor([0.1, 0.2, 0.0])
    together = inner_step({"w": w}, (w**3).sum(), rates)["w"]
    for row in range(3):
        own = w[row]
        alone = inner_step({"w": own}, (own**3).sum(), float(rates[row]))["w"]
        assert torch.allclose(together[row], alone)


def test_graphs_of_past_steps_are_freed():
    w = torch.zeros(4, requires_grad=True)

    def held() -> int:
        gc.collect()
        return sum(issubclass(type(thing), Tensor) for thing in gc.get_objects())

    inner_step({"w": w}, (w * w).sum(), 0.1, create_graph=True)["w"].sum().backward()
    before = held()
    for _ in range(200):
        inner_step({"w": w}, (w * w).sum(), 0.1, create_graph=True)["w"].sum().backward()
    assert held() <= before + 2


@pytest.mark.parametrize(
    ("loss", "rate", "message"),
    [
        (lambda w: w * w, 0.1, "scalar"),
        (lambda w: torch.zeros(()), 0.1, "graph"),
        (lambda w: (w * w).sum(), torch.ones(3), "3 step sizes"),
    ],
)
def test_refuses_losses_and_rates_that_do_not_fit(loss, rate, message: str):
    w = torch.ones(2, requires_grad=True)
    with pytest.raises(InputError, match=message):
        inner_step({"w": w}, loss(w), rate)


def test_refuses_weights_that_take_no_part():
    w, idle = torch.ones(2, requires_grad=True), torch.ones(1, requires_grad=True)
    with pytest.raises(InputError, match="'idle'"):
        inner_step({"w": w, "idle": idle}, w.sum(), 0.1)
