"""Rectified flow: the line by hand, batch axes that follow the times, and shapes that are refused."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tutelage.errors import InputError
from tutelage.objectives.flow import between, rectified_flow_loss


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_loss_by_hand():
    x0, x1, t = torch.tensor([[1.0, 0.0]]), torch.tensor([[3.0, 4.0]]), torch.tensor([0.5])

    def asked(x: Tensor, at: Tensor) -> Tensor:
        assert x.tolist() == [[2.0, 2.0]]
        assert at.tolist() == [0.5]
        return torch.tensor([[1.0, 1.0]])

    assert rectified_flow_loss(asked, x0, x1, t).tolist() == [((1 - 2) ** 2 + (1 - 4) ** 2) / 2]


@given(st.floats(0, 1))
def test_a_line_has_its_ends_and_a_constant_speed(t: float):
    x0, x1 = torch.randn(2, 3, 2, 2, 2, generator=generator()).double()
    at = torch.full((3,), t, dtype=torch.float64)
    assert torch.equal(between(x0, x1, at * 0), x0)
    assert torch.equal(between(x0, x1, at * 0 + 1), x1)
    assert torch.allclose(between(x0, x1, at) - x0, t * (x1 - x0))


def test_the_right_velocity_costs_nothing_and_the_others_do():
    x0, x1 = torch.randn(2, 5, 3, generator=generator())
    t = torch.rand(5, generator=generator())
    assert rectified_flow_loss(lambda x, t: x1 - x0, x0, x1, t).max() < 1e-12
    assert (rectified_flow_loss(lambda x, t: x0 - x1, x0, x1, t) > 0).all()


def test_stacked_runs_cost_what_each_costs_alone():
    x0, x1 = torch.randn(2, 4, 5, 3, generator=generator())
    t = torch.rand(4, 5, generator=generator())
    together = rectified_flow_loss(lambda x, t: x * t.unsqueeze(-1), x0, x1, t)
    alone = [rectified_flow_loss(lambda x, t: x * t.unsqueeze(-1), *row) for row in zip(x0, x1, t, strict=True)]
    assert together.shape == (4, 5)
    assert torch.allclose(together, torch.stack(alone))


def test_the_gradient_agrees_with_finite_differences():
    net = nn.Linear(2, 2).double()
    x0, x1 = torch.randn(2, 3, 2, generator=generator(), dtype=torch.float64)
    t = torch.tensor([0.0, 0.4, 1.0], dtype=torch.float64)
    assert torch.autograd.gradcheck(lambda a, b: rectified_flow_loss(lambda x, _: net(x), a, b, t), (
        x0.requires_grad_(), x1.requires_grad_(),
    ))  # fmt: skip


@pytest.mark.parametrize(
    ("x0", "x1", "t", "message"),
    [
        ((2, 3), (2, 4), (2,), "one shape"),
        ((2, 3), (2, 3), (3,), "one time an example"),
        ((2, 3), (2, 3), (2, 1), "one time an example"),
    ],
)
def test_refuses_shapes_that_do_not_fit(x0, x1, t, message: str):
    with pytest.raises(InputError, match=message):
        rectified_flow_loss(lambda x, t: x, torch.zeros(x0), torch.zeros(x1), torch.zeros(t))


def test_refuses_a_net_that_returns_another_shape():
    with pytest.raises(InputError, match=r"shape of its input \(2, 3\); the net gave \(2,\)"):
        rectified_flow_loss(lambda x, t: t, torch.zeros(2, 3), torch.zeros(2, 3), torch.zeros(2))
