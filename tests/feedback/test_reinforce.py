"""REINFORCE: the gradient by hand, the baseline, clipping, and what it refuses."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from tutelage.errors import InputError
from tutelage.feedback.reinforce import Reinforce


def policy() -> nn.Linear:
    layer = nn.Linear(1, 2, bias=False)
    nn.init.zeros_(layer.weight)
    return layer


def test_the_baseline_is_the_mean_of_past_means():
    learn = Reinforce(policy(), lr=0.1)
    assert learn.baseline is None
    for rewards, baseline in (([1.0, 0.0], 0.5), ([1.0, 1.0], 0.75)):
        log_p = learn.policy(torch.ones(2, 1)).log_softmax(1)[:, 0]
        learn.update(log_p, torch.tensor(rewards))
        assert learn.baseline == baseline
    assert learn.advantages(torch.tensor([1.75, 0.75])).tolist() == [1.0, 0.0]


def test_one_shared_advantage_is_that_of_the_mean_and_nothing_at_first():
    learn = Reinforce(policy(), lr=0.1, shared=True)
    assert learn.advantages(torch.tensor([1.0, 0.0])).tolist() == [0.0, 0.0]
    learn.update(learn.policy(torch.ones(2, 1)).log_softmax(1)[:, 0], torch.tensor([1.0, 0.0]))
    assert learn.policy.weight.tolist() == [[0.0], [0.0]]
    assert learn.advantages(torch.tensor([2.0, 1.0])).tolist() == [1.0, 1.0]


def test_the_gradient_by_hand_and_its_clip():
    """Equal logits, reward 1 and 0 for action 0 and 1, b = ½: −½ (e0 − ½) + ½ (e1 − ½) = (−½, ½)."""
    for clip, expected in ((1.0, 0.5), (0.1, 0.1 / math.sqrt(2))):
        layer = policy()
        learn = Reinforce(layer, lr=0.1, clip=clip)
        learn.update(layer(torch.ones(2, 1)).log_softmax(1).diagonal(), torch.tensor([1.0, 0.0]))
        assert layer.weight.grad is not None
        assert layer.weight.grad.flatten().tolist() == pytest.approx([-expected, expected], rel=1e-4)


def test_entropy_keeps_a_policy_open():
    ends = []
    for weight in (0.0, 2.0):
        layer = policy()
        learn = Reinforce(layer, lr=0.1, entropy=weight)
        for _ in range(60):
            log_p = layer(torch.ones(2, 1)).log_softmax(1)
            learn.update(log_p.diagonal(), torch.tensor([1.0, 0.0]), -(log_p.exp() * log_p).sum(1))
        ends.append(layer(torch.ones(1, 1)).softmax(1)[0, 0].item())
    assert ends[0] > 0.95
    assert 0.5 < ends[1] < 0.8


def test_refuses_settings_and_rewards_that_make_no_sense():
    for options in ({"lr": 0}, {"lr": 0.1, "clip": 0}, {"lr": 0.1, "entropy": -1}):
        with pytest.raises(InputError, match="lr > 0"):
            Reinforce(policy(), **options)
    learn = Reinforce(policy(), lr=0.1)
    for rewards in (torch.ones(3), torch.tensor([1.0, math.nan])):
        with pytest.raises(InputError, match="one finite reward a proposal"):
            learn.update(learn.policy(torch.ones(2, 1))[:, 0], rewards)
