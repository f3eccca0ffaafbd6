"""How the student does on each group of examples (domain, skill, language): what a curriculum is steered by."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from tutelage.errors import InputError
from tutelage.objectives.tokens import next_token_nll
from tutelage.training.batches import Data
from tutelage.training.causal import labels_of
from tutelage.training.inference import predict_all
from tutelage.training.lesson import Batch, logits_of

CEILING = 20.0
"""Nats: an untrained model must not overflow."""


def group_perplexity(model: nn.Module, groups: Mapping[str, Data], *, batch_size: int = 128) -> dict[str, float]:
    """exp(mean cost of a token) of a language model on each group, at most exp(20).

    The mean is over tokens, so that long examples count for more, as in training. The model is asked in evaluation mode
    without gradients, and left as it was.

    Args: groups: name → rows `x` [N, n], or model inputs by name, and labels `y` [N, n] with −100 where nothing counts.

    Raises: InputError: a group without tokens that count.

    >>> class Coin(nn.Module):
    ...     def forward(self, ids):
    ...         return torch.zeros(*ids.shape, 2)
    >>> round(group_perplexity(Coin(), {"heads": {"x": torch.zeros(3, 4).long()}})["heads"], 6)
    2.0
    """
    result = {}
    for name, rows in groups.items():
        cost, count = predict_all(model, rows, function=_costs, batch_size=batch_size).sum(0).tolist()
        if not count:
            raise InputError(f"no token of group '{name}' counts: every label is -100, or rows have one token")
        result[name] = math.exp(min(cost / count, CEILING))
    return result


def stalled(gaps: Sequence[Mapping[str, float]], *, done: float = 1.05, patience: int = 3) -> list[str]:
    """Groups whose gap was no smaller in the last `patience` measurements than before, and is still above `done`.

    >>> stalled([{"law": 9.0, "code": 4.0}, {"law": 9.0, "code": 3.0}, {"law": 9.1, "code": 2.0}], patience=2)
    ['law']
    """
    recent, earlier = gaps[-patience:], gaps[:-patience]
    if not earlier:
        return []
    best = {name: min(one[name] for one in earlier) for name in gaps[-1]}
    return [n for n, last in gaps[-1].items() if last > done and min(one[n] for one in recent) >= best[n]]


def _costs(model: nn.Module, batch: Batch) -> Tensor:
    costs, counted = next_token_nll(logits_of(model, batch["x"]), labels_of(batch))
    return torch.stack([costs.double().sum(1), counted.double().sum(1)], 1)
