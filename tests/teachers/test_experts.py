"""A pool of experts: what it says, who may speak, and that nobody learns."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tutelage.errors import InputError
from tutelage.students.mlp import Mlp, mlp
from tutelage.teachers.experts import ExpertPool


def three() -> list[Mlp]:
    torch.manual_seed(0)
    return [mlp(4, width, 3, 2) for width in (5, 6, 7)]


def test_tokens_are_each_expert_s_own_answer():
    experts, x = three(), torch.randn(6, 4)
    pool = ExpertPool(experts)
    assert len(pool) == 3
    for number, expert in enumerate(experts):
        assert torch.equal(pool.outputs(x)[:, number], expert(x))
        assert torch.equal(pool.outputs(x, "features")[:, number], expert.features(x))
    assert torch.allclose(pool.mean(x), torch.stack([e(x).softmax(-1) for e in experts]).mean(0))
    y = torch.tensor([0, 1, 0, 1, 1, 1])
    assert pool.losses(x, y).tolist() == pytest.approx([nn.functional.cross_entropy(e(x), y).item() for e in experts])


def test_the_expert_of_a_domain_is_silent_there():
    pool = ExpertPool(three(), own=[2, 0, 1, 1])
    assert pool.keep(torch.tensor([0, 3])).tolist() == [[True, True, False], [True, False, True]]


def test_experts_are_frozen():
    experts = three()
    pool = ExpertPool(experts)
    assert not any(p.requires_grad for p in pool.parameters())
    assert not pool.outputs(torch.ones(1, 4, requires_grad=True)).requires_grad


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: ExpertPool([]), "at least one expert"),
        (lambda: ExpertPool(three(), own=[0, 3]), "experts 0 to 2"),
        (lambda: ExpertPool(three()).keep(torch.tensor([0])), "experts of 0 domains"),
        (lambda: ExpertPool(three(), own=[0]).keep(torch.tensor([1])), "got domain 1"),
        (lambda: ExpertPool([nn.Linear(4, 2)]).outputs(torch.zeros(1, 4), "features"), r"Linear has no features"),
        (
            lambda: ExpertPool([mlp(4, 3, 2), mlp(4, 5, 2)]).outputs(torch.zeros(1, 4), "features"),
            r"widths: \[3, 5\]",
        ),
    ],
)
def test_refuses_pools_that_cannot_answer(act, message: str):
    with pytest.raises(InputError, match=message):
        act()
