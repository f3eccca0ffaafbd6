"""Attention pooling: a set of vectors as one vector, and the share that each member has in it.

    a_q = softmax over members of w_q · tanh(V x_i) [· sigmoid(U x_i), gated],      z_q = Σ_i a_qi x_i

Ilse et al., "Attention-based Deep Multiple Instance Learning" (ABMIL), 2018 (arXiv:1802.04712).

Shapes: x [B, n, d], mask [B, n] (true: a real member), Q queries.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tutelage.errors import InputError


class AttentionPool(nn.Module):
    """Q weighted means of a set: [B, n, d] → [B, Q, d] and the weights [B, Q, n].

    Members that the mask leaves out have weight 0; a set needs at least one (`pad_collate` refuses empty ones).

    Args: width: d; hidden: rows of V; queries: Q; gated: multiply by a learned sigmoid gate.

    >>> pooled, weights = AttentionPool(4)(torch.ones(2, 3, 4), torch.tensor([[True, True, False], [True, False, False]]))
    >>> pooled.shape, weights[:, 0].tolist()
    (torch.Size([2, 1, 4]), [[0.5, 0.5, 0.0], [1.0, 0.0, 0.0]])
    """

    def __init__(
        self,
        width: int,
        *,
        hidden: int = 128,
        queries: int = 1,
        gated: bool = False,
        activation: Callable[[], nn.Module] = nn.Tanh,
    ) -> None:
        super().__init__()
        if min(width, hidden, queries) < 1:
            raise InputError(f"need positive width, hidden and queries; got {width}, {hidden}, {queries}")
        self.score = nn.Sequential(nn.Linear(width, hidden), activation())
        self.gate = nn.Sequential(nn.Linear(width, hidden), nn.Sigmoid()) if gated else None
        self.queries = nn.Linear(hidden, queries, bias=False)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, Tensor]:
        hidden = self.score(x) if self.gate is None else self.score(x) * self.gate(x)
        scores = self.queries(hidden).transpose(-1, -2)
        if mask is not None:
            scores = scores.masked_fill(~mask.unsqueeze(-2), -torch.inf)
        weights = scores.softmax(-1)
        return weights @ x, weights


class MilOutput(NamedTuple):
    """What a multiple-instance model says: logits [B, K], the bag's feature [B, width], attention [B, n] (sums to 1)."""

    logits: Tensor
    feature: Tensor
    attention: Tensor


class AttentionMil(nn.Module):
    """ABMIL: one label for a bag of instances, and which instances it was read from.

    Attributes: embed (instance by instance), pool, head.

    Args: inputs: D; classes: K; width, hidden: of instance features and of attention; dropout: on instance features; gated,
        activation: as in `AttentionPool`.

    >>> model = AttentionMil(8, 2, width=16)
    >>> output = model(torch.zeros(3, 5, 8))
    >>> output.logits.shape, output.feature.shape, output.attention.shape
    (torch.Size([3, 2]), torch.Size([3, 16]), torch.Size([3, 5]))
    """

    def __init__(
        self,
        inputs: int,
        classes: int,
        *,
        width: int = 512,
        hidden: int = 128,
        dropout: float = 0.25,
        gated: bool = False,
        activation: Callable[[], nn.Module] = nn.Tanh,
    ) -> None:
        super().__init__()
        self.embed = nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Dropout(dropout))
        self.pool = AttentionPool(width, hidden=hidden, gated=gated, activation=activation)
        self.head = nn.Linear(width, classes)

    def forward(self, x: Tensor, mask: Tensor | None = None) -> MilOutput:
        pooled, weights = self.pool(self.embed(x), mask)
        feature = pooled.squeeze(-2)
        return MilOutput(self.head(feature), feature, weights.squeeze(-2))
