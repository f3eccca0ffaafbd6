"""Disagreement by hand, its gradients to both sides, and whose turn it is."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tutelage.errors import InputError
from tutelage.feedback import Alternation, disagreement


def test_every_kind_by_hand():
    a, b = torch.zeros(1, 2), torch.tensor([[math.log(3.0), 0.0]])
    kl = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert disagreement(a, b).item() == pytest.approx(kl)
    assert disagreement(a, b, kind="mse").item() == pytest.approx(math.log(3.0) ** 2 / 2)
    assert disagreement(a, b, kind="bce").item() == pytest.approx(kl), "the second logit is 0 on both sides"
    assert disagreement(a, b, kind="gap").item() == pytest.approx(0.25)


@pytest.mark.parametrize("kind", ["kl", "mse", "bce", "gap"])
def test_equal_answers_do_not_differ_and_both_sides_get_a_gradient(kind: str):
    a = torch.randn(3, 4, 5, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(disagreement(a, a, kind=kind), torch.zeros(3, 4), atol=1e-6)  # type: ignore[arg-type]
    first, second = a.clone().requires_grad_(), (a + a.roll(1, -1)).requires_grad_()
    disagreement(first, second, kind=kind).sum().backward()  # type: ignore[arg-type]
    for side in (first, second):
        assert side.grad is not None
        assert side.grad.abs().sum() > 0


def test_the_temperature_keeps_the_size_of_the_gradient():
    """As T grows, T² KL goes to half the variance over classes of the difference."""
    a, b = torch.tensor([[1.0, 0.0, 2.0]]).double(), torch.tensor([[0.0, 1.0, 4.0]]).double()
    limit = (b - a).var(-1, unbiased=False) / 2
    assert torch.allclose(disagreement(a, b, temperature=1000.0), limit, rtol=1e-2)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(InputError, match="one shape"):
        disagreement(torch.zeros(1, 2), torch.zeros(1, 3))
    with pytest.raises(InputError, match="positive"):
        disagreement(torch.zeros(1, 2), torch.zeros(1, 2), temperature=0)
    with pytest.raises(InputError, match="kind is"):
        disagreement(torch.zeros(1, 2), torch.zeros(1, 2), kind="l1")  # type: ignore[arg-type]


def seen(turn: Alternation, clean: float, augmented: float) -> bool:
    turn.see(clean=torch.tensor(clean), augmented=torch.tensor(augmented), memory=0.0)
    return turn.climbs


def test_between_the_thresholds_nothing_changes():
    turn = Alternation(l_max=2.0, l_min=1.1)
    assert [seen(turn, 1.0, ratio) for ratio in (1.5, 1.9, 2.1, 1.5, 1.2, 1.0, 1.9)] == [
        True, True, False, False, False, True, True,
    ]  # fmt: skip


def test_by_default_the_augmentor_never_waits():
    assert seen(Alternation(), 1e-6, 1e6)


def test_it_climbs_no_more_where_the_teacher_does_not_know():
    turn = Alternation(fog=0.8)
    turn.see(entropy=torch.tensor(0.9))
    assert not turn.climbs
    turn.see(clean=torch.tensor(1.0), augmented=torch.tensor(1.0))
    assert not turn.climbs


def test_running_means_forget_at_the_rate_that_is_asked():
    turn = Alternation()
    for value in (1.0, 2.0):
        turn.see(clean=torch.tensor(value), memory=0.75)
    assert turn.averages[0].item() == pytest.approx(1.25)


def test_its_state_is_saved_with_the_lesson():
    turn, other = Alternation(l_max=2.0), Alternation(l_max=2.0)
    seen(turn, 1.0, 3.0)
    other.load_state_dict(turn.state_dict())
    assert not other.climbs


@pytest.mark.parametrize("wrong", [{"l_max": 1.0, "l_min": 2.0}, {"most": 0}, {"fog": 0.0}])
def test_limits_out_of_order_are_refused(wrong: dict[str, Tensor]):
    with pytest.raises(InputError, match="l_min <= l_max"):
        Alternation(**wrong)  # type: ignore[arg-type]
