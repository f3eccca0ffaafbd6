"""Perplexity of groups: a mean over tokens, without a trace on the model."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from tutelage.errors import InputError
from tutelage.feedback.groups import group_perplexity, stalled


class Biased(nn.Module):
    """Says token 1 has odds 3 : 1, with dropout in training mode."""

    def __init__(self) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor([0.0, math.log(3.0)]))
        self.drop = nn.Dropout(0.9)

    def forward(self, ids: Tensor) -> Tensor:
        return self.drop(self.logits.expand(*ids.shape, 2))


def test_the_mean_is_over_tokens_of_a_group():
    model = Biased()
    x = torch.tensor([[0, 1, 1, 1], [0, 0, 0, 0]])
    rows = {"x": x, "y": torch.tensor([[-100, 1, 1, 1], [-100, 0, -100, -100]])}
    found = group_perplexity(model, {"both": rows, "ones": {"x": x[:1]}}, batch_size=1)
    assert found["both"] == pytest.approx(math.exp((3 * math.log(4 / 3) + math.log(4)) / 4))
    assert found["ones"] == pytest.approx(4 / 3)
    assert model.training
    assert model.logits.grad is None


def test_what_an_untrained_model_says_is_bounded():
    model = Biased()
    nn.init.constant_(model.logits, 0.0)
    with torch.no_grad():
        model.logits[0] = -1e4
    assert group_perplexity(model, {"a": {"x": torch.zeros(2, 3).long()}})["a"] == pytest.approx(math.exp(20))


def test_a_group_without_tokens_is_named():
    with pytest.raises(InputError, match="no token of group 'law' counts"):
        group_perplexity(Biased(), {"law": {"x": torch.zeros(2, 3).long(), "y": torch.full((2, 3), -100)}})


def test_stalled_groups_are_those_that_stopped_falling_above_the_end():
    gaps = [{"a": 5.0, "b": 5.0, "c": 1.0}, {"a": 4.0, "b": 4.0, "c": 1.0}, {"a": 4.0, "b": 3.9, "c": 1.0}]
    assert stalled(gaps, patience=1) == ["a"]
    assert stalled(gaps, patience=2) == []
    assert stalled(gaps, patience=3) == []
