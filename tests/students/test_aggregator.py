"""The mixer of expert tokens: silence is absence, and experts are told apart."""

from __future__ import annotations

import pytest
import torch

from tutelage.errors import InputError
from tutelage.students.aggregator import AttentionAggregator


def mixer(experts: int = 4) -> AttentionAggregator:
    torch.manual_seed(0)
    return AttentionAggregator(8, experts, heads=2).eval()


def test_a_silent_expert_is_as_good_as_absent():
    whole, fewer = mixer(), mixer(3)
    present = torch.tensor([0, 1, 3])
    fewer.load_state_dict({**whole.state_dict(), "identity": whole.identity.detach()[present]})
    tokens = torch.randn(5, 4, 8)
    keep = torch.tensor([True, True, False, True]).expand(5, 4)
    assert torch.allclose(whole(tokens, keep), fewer(tokens[:, present]), atol=1e-6)
    moved = tokens.clone()
    moved[:, 2] += 100
    assert torch.allclose(whole(moved, keep), whole(tokens, keep), atol=1e-6)


def test_all_may_speak_without_a_mask_and_each_example_is_alone():
    net, tokens = mixer(), torch.randn(5, 4, 8)
    assert torch.allclose(net(tokens), net(tokens, torch.ones(5, 4, dtype=torch.bool)), atol=1e-6)
    assert torch.allclose(net(tokens)[2:3], net(tokens[2:3]), atol=1e-6)


def test_experts_are_told_apart_by_their_own_vectors():
    net, tokens = mixer(), torch.randn(1, 4, 8)
    swapped = tokens[:, [1, 0, 2, 3]]
    assert not torch.allclose(net(tokens), net(swapped), atol=1e-5)
    torch.nn.init.zeros_(net.identity)
    assert torch.allclose(net(tokens), net(swapped), atol=1e-6)


def test_refuses_heads_that_do_not_divide_the_width():
    with pytest.raises(InputError, match="3 heads"):
        AttentionAggregator(8, 2, heads=3)
