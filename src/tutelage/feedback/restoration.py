"""Restoration: a student that drifts gets some of its weights back from the model that it was.

Which ones is the question. At random, each with probability p (Wang et al., "Continual Test-Time Domain Adaptation", 2022,
arXiv:2203.13591), or those that matter least for the data in hand: the share δ with the smallest diagonal Fisher
information F = g², g the gradient of the batch (Brahma and Rai, "A Probabilistic Framework for Lifelong Test-Time
Adaptation", 2023, arXiv:2212.09713).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from tutelage.errors import InputError


class Restore(Protocol):
    """Says which weights go back: gradients, one a weight tensor, and a generator → masks of the same shapes."""

    def __call__(self, gradients: Sequence[Tensor], generator: torch.Generator) -> list[Tensor]: ...


def smallest(scores: Tensor, share: float) -> Tensor:
    """The entries below the `share`-quantile, as a mask: [P] → [P] (bool).

    Without ties these are the ⌈share · (P − 1)⌉ entries strictly below the linearly interpolated quantile. Of equal entries
    the first ones are taken until there are as many, where a strict comparison with a quantile of 0 would take none.

    >>> smallest(torch.tensor([0.0, 3.0, 0.0, 0.0]), 0.5).tolist()
    [True, False, True, False]
    """
    count = math.ceil(share * (len(scores) - 1) - 1e-9)
    if count < 1:
        return torch.zeros_like(scores, dtype=torch.bool)
    edge = scores.kthvalue(count).values
    below, level = scores < edge, scores == edge
    return below | (level & (level.cumsum(0) <= count - below.sum()))


@dataclass(frozen=True)
class FisherRestore:
    """The share δ of all weights whose squared gradient is smallest, over the whole network.

    Raises: InputError: a share outside [0, 1].

    >>> masks = FisherRestore(0.5)([torch.tensor([[3.0, -0.1]]), torch.tensor([2.0, 0.2])], torch.Generator())
    >>> [mask.tolist() for mask in masks]
    [[[False, True]], [False, True]]
    """

    share: float = 0.03

    def __post_init__(self) -> None:
        _check(self.share)

    def __call__(self, gradients: Sequence[Tensor], generator: torch.Generator) -> list[Tensor]:
        masks = smallest(torch.cat([gradient.flatten() for gradient in gradients]).square(), self.share)
        parts = masks.split([gradient.numel() for gradient in gradients])
        return [part.view_as(gradient) for part, gradient in zip(parts, gradients, strict=True)]


@dataclass(frozen=True)
class StochasticRestore:
    """Every weight with probability `share`, whatever its gradient.

    Raises: InputError: a share outside [0, 1].

    >>> StochasticRestore(1.0)([torch.zeros(2)], torch.Generator())
    [tensor([True, True])]
    """

    share: float = 0.01

    def __post_init__(self) -> None:
        _check(self.share)

    def __call__(self, gradients: Sequence[Tensor], generator: torch.Generator) -> list[Tensor]:
        sizes, device = [gradient.numel() for gradient in gradients], gradients[0].device
        drawn = torch.rand(sum(sizes), generator=generator, device=device) < self.share
        return [part.view_as(gradient) for part, gradient in zip(drawn.split(sizes), gradients, strict=True)]


@torch.no_grad()
def put_back(weights: Sequence[Tensor], source: Sequence[Tensor], masks: Sequence[Tensor]) -> None:
    """θ ← θ_0 where the mask is true, in place."""
    for weight, was, mask in zip(weights, source, masks, strict=True):
        torch.where(mask, was, weight, out=weight)


def _check(share: float) -> None:
    if not 0 <= share <= 1:
        raise InputError(f"the share of weights that are restored is in [0, 1]; got {share}")
