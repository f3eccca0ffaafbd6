"""A mixer of what several experts say: attention over expert tokens."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from tutelage.errors import InputError
from tutelage.students.transformer import Block


class AttentionAggregator(nn.Module):
    """Mixes what M experts say about an example: tokens [B, M, d], who may speak [B, M] → [B, d].

    Pre-norm transformer blocks over the tokens, and their mean. Every expert has a vector of its own that is added to its
    token; the published form has to recognise experts by their features.

    Args: width: d; experts: M; heads divide the width; depth: blocks, whose feed-forward layer is 2 d wide.

    Raises: InputError: heads that do not divide the width.

    >>> AttentionAggregator(16, experts=6, heads=4)(torch.zeros(5, 6, 16)).shape
    torch.Size([5, 16])
    """

    def __init__(self, width: int, experts: int, *, heads: int = 4, depth: int = 1, dropout: float = 0.1) -> None:
        super().__init__()
        if width % heads:
            raise InputError(f"{heads} heads do not divide the width {width}")
        self.identity = nn.Parameter(0.02 * torch.randn(experts, width))
        self.blocks = nn.ModuleList(Block(width, heads, 2 * width, dropout) for _ in range(depth))

    def forward(self, tokens: Tensor, keep: Tensor | None = None) -> Tensor:
        states = tokens + self.identity
        for block in self.blocks:
            states, _ = block(states, keep)
        if keep is None:
            return states.mean(1)
        spoken = keep.unsqueeze(-1).to(states.dtype)
        return (states * spoken).sum(1) / spoken.sum(1)


class Mixture(nn.Module):
    """An aggregator that answers through a head, which stays as it is: tokens [B, M, d] → logits [B, K].

    Trained with labels, the aggregator learns to say what a student with this head should have as features.

    >>> mixture = Mixture(AttentionAggregator(8, experts=3), nn.Linear(8, 2))
    >>> mixture(torch.zeros(5, 3, 8)).shape, mixture.head.weight.requires_grad
    (torch.Size([5, 2]), False)
    """

    def __init__(self, aggregator: nn.Module, head: nn.Module) -> None:
        super().__init__()
        self.aggregator, self.head = aggregator, copy.deepcopy(head).requires_grad_(False)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.head(self.aggregator(tokens))
