"""Combiners: how the updates of T frozen adapters become one.

    mean      o = (1/T) Σ_t u_t
    scales    o = Σ_t ω_t ⊙ u_t                                    ω free: it may amplify, and subtract
    fusion    o = W_V Σ_t a_t u_t,   a = softmax_t((W_Q h + b) · (W_K u_t))

Scales: Frohmann et al., "ScaLearn: Simple and Highly Parameter-Efficient Task Transfer by Learning to Scale", 2024
(arXiv:2310.01217). Fusion: Pfeiffer et al., "AdapterFusion: Non-Destructive Task Composition for Transfer Learning", 2021
(arXiv:2005.00247).

All are called with a place l, what stands there, h [..., d], and the updates u [T, ..., d], and return [..., d].
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from tutelage.errors import InputError
from tutelage.students.adapter_bank import AdapterBank


class Combined(nn.Module):
    """A bank and a combiner as one update: (l, h) → combiner(l, h, bank.outputs(l, h))."""

    def __init__(self, bank: AdapterBank, combiner: nn.Module) -> None:
        super().__init__()
        self.bank, self.combiner = bank, combiner

    def forward(self, layer: int, h: Tensor) -> Tensor:
        return self.combiner(layer, h, self.bank.outputs(layer, h))


class MeanCombiner(nn.Module):
    """All sources alike; nothing is trained."""

    def forward(self, layer: int, h: Tensor, updates: Tensor) -> Tensor:
        return updates.mean(0)


class ScaleCombiner(nn.Module):
    """Σ_t ω_t ⊙ u_t with trained scales.

    Args:
        sources: T; widths: d of every place.
        per_feature: ω has a number for each feature, [T, d]; otherwise one for each source, [T, 1].
        shared: one ω for all places.
        init: ω begins at Normal(init / T, 0.001).
        dropout: share of the scales that a step leaves out (of ω, not of the sum).
        normalise: None: free scales. "mean": they are divided by their sum over t; "softmax": over t.

    Raises: InputError: no source or place, a dropout outside [0, 1), shared scales for places of different widths.

    >>> combiner = ScaleCombiner(4, [8, 8], per_feature=False, shared=True).eval()
    >>> updates = torch.ones(4, 3, 8)
    >>> combiner(1, updates[0], updates).shape, round(combiner(1, updates[0], updates).mean().item(), 1)
    (torch.Size([3, 8]), 2.0)
    """

    def __init__(
        self,
        sources: int,
        widths: Sequence[int],
        *,
        per_feature: bool = True,
        shared: bool = False,
        init: float = 2.0,
        dropout: float = 0.3,
        normalise: Literal["mean", "softmax"] | None = None,
    ) -> None:
        super().__init__()
        if sources < 1 or not widths or not 0 <= dropout < 1 or normalise not in (None, "mean", "softmax"):
            raise InputError(
                f"need a source, a place, dropout in [0, 1) and normalise None, 'mean' or 'softmax'; got {sources}, "
                f"{list(widths)}, {dropout}, {normalise!r}"
            )
        if shared and per_feature and len(set(widths)) > 1:
            raise InputError(f"places of different widths {list(widths)} cannot share scales of single features")
        sizes = [width if per_feature else 1 for width in widths]
        self.omega = nn.ParameterList(
            [init / sources + 0.001 * torch.randn(sources, size) for size in (sizes[:1] if shared else sizes)]
        )
        self.shared, self.normalise = shared, normalise
        self.dropout = nn.Dropout(dropout)

    def scales(self, layer: int) -> Tensor:
        """What the sources count for at a place, [T, d] or [T, 1]; in training some are dropped."""
        omega = self.omega[0 if self.shared else layer]
        if self.normalise == "mean":
            omega = omega / omega.sum(0)
        elif self.normalise == "softmax":
            omega = omega.softmax(0)
        return self.dropout(omega)

    def forward(self, layer: int, h: Tensor, updates: Tensor) -> Tensor:
        scales = self.scales(layer)
        return (scales.view(len(scales), *(1,) * (h.ndim - 1), -1) * updates).sum(0)


class FusionCombiner(nn.Module):
    """Attention over the sources: what stands at the place asks, the updates answer. 3 d² + d weights a place.

    W_V begins as the identity, W_Q and W_K at Normal(0, 0.02), so that all sources count about alike at first. Scores and
    values are computed after the products have been re-ordered: (W_Q h) · (W_K u_t) = (W_Kᵀ W_Q h) · u_t, and
    Σ_t a_t W_V u_t = W_V Σ_t a_t u_t, which costs T times less and is the same. A bias of the keys would cancel in the softmax.

    >>> combiner = FusionCombiner([8])
    >>> combiner(0, torch.ones(3, 8), torch.ones(4, 3, 8)).shape, sum(p.numel() for p in combiner.parameters())
    (torch.Size([3, 8]), 200)
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.query = nn.ModuleList([nn.Linear(d, d) for d in widths])
        self.key = nn.ParameterList([0.02 * torch.randn(d, d) for d in widths])
        self.value = nn.ParameterList([torch.eye(d) for d in widths])
        for layer in self.query:
            nn.init.normal_(layer.weight, std=0.02)  # type: ignore[arg-type]
            nn.init.zeros_(layer.bias)  # type: ignore[arg-type]

    def attention(self, layer: int, h: Tensor, updates: Tensor) -> Tensor:
        """Shares of the sources: [T, ...], summing to one over T."""
        asked = self.query[layer](h) @ self.key[layer]
        return (updates * asked).sum(-1).softmax(0)

    def forward(self, layer: int, h: Tensor, updates: Tensor) -> Tensor:
        shares = self.attention(layer, h, updates)
        return (shares.unsqueeze(-1) * updates).sum(0) @ self.value[layer].mT
