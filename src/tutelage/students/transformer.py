"""A small transformer encoder on `torch.nn`'s own attention.

Tokens come from patches of a picture, from an embedding table, or ready made; states of all tokens come out.
Attention scores (before the softmax) are there on request, for methods that distil them.

Shapes: tokens [B, n, d], mask [B, n] (True = real token), states [B, n, d], scores [B, heads, n, n].
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tutelage.errors import InputError


class Block(nn.Module):
    """Pre-norm attention and feed-forward, both with a residual."""

    def __init__(self, width: int, heads: int, hidden: int, dropout: float) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.feed = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor, mask: Tensor | None) -> tuple[Tensor, Tensor]:
        """States and attention scores before the softmax; scores are not computed twice where nobody reads them."""
        query, key, value = (
            part.unflatten(-1, (self.heads, -1)).transpose(1, 2) for part in self.qkv(self.norm1(x)).chunk(3, -1)
        )
        scores = query @ key.transpose(-1, -2) / math.sqrt(query.shape[-1])
        hidden = scores if mask is None else scores.masked_fill(~mask[:, None, None, :], torch.finfo(scores.dtype).min)
        mixed = (self.dropout(hidden.softmax(-1)) @ value).transpose(1, 2).flatten(2)
        x = x + self.dropout(self.out(mixed))
        return x + self.dropout(self.feed(self.norm2(x))), scores


class TransformerEncoder(nn.Module):
    """Blocks over tokens, positions learned: [B, n, d] → states [B, n, d].

    Args:
        width: d; heads divide it; depth: blocks; length: most tokens; hidden: feed-forward width (default 4 d).

    Raises: InputError: heads that do not divide the width, or more tokens than `length`.

    >>> encoder = TransformerEncoder(24, depth=2, heads=4, length=16)
    >>> encoder(torch.zeros(3, 16, 24)).shape
    torch.Size([3, 16, 24])
    >>> states, scores = encoder.inner(torch.zeros(3, 5, 24))
    >>> len(states), scores[0].shape
    (3, torch.Size([3, 4, 5, 5]))
    """

    def __init__(
        self, width: int, *, depth: int, heads: int, length: int, hidden: int | None = None, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if width % heads:
            raise InputError(f"{heads} heads do not divide the width {width}")
        self.positions = nn.Parameter(0.02 * torch.randn(length, width))
        self.blocks = nn.ModuleList(Block(width, heads, hidden or 4 * width, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(width)

    def forward(self, tokens: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.inner(tokens, mask)[0][-1]

    def inner(self, tokens: Tensor, mask: Tensor | None = None) -> tuple[list[Tensor], list[Tensor]]:
        """All states (input first, depth + 1 of them, the last one normalised) and the scores of all blocks."""
        if tokens.shape[1] > len(self.positions):
            raise InputError(f"{tokens.shape[1]} tokens; this encoder was made for at most {len(self.positions)}")
        states, scores = [tokens + self.positions[: tokens.shape[1]]], []
        for block in self.blocks:
            state, score = block(states[-1], mask)
            states.append(state)
            scores.append(score)
        states[-1] = self.norm(states[-1])
        return states, scores


class Patches(nn.Module):
    """Square patches of a picture as tokens: [B, C, H, W] → [B, n, d].

    >>> Patches(2, channels=1, width=24)(torch.zeros(3, 1, 8, 8)).shape
    torch.Size([3, 16, 24])
    """

    def __init__(self, side: int, *, channels: int, width: int) -> None:
        super().__init__()
        self.side = side
        self.embed = nn.Linear(channels * side * side, width)

    def forward(self, pictures: Tensor) -> Tensor:
        if pictures.shape[-1] % self.side or pictures.shape[-2] % self.side:
            raise InputError(f"patches of side {self.side} do not tile pictures {tuple(pictures.shape[-2:])}")
        return self.embed(F.unfold(pictures, self.side, stride=self.side).transpose(1, 2))


class TransformerClassifier(nn.Module):
    """Front, encoder, mean over real tokens, linear head: → logits [B, K].

    Args: front: from the input to tokens (`Patches`, `nn.Embedding`, `nn.Identity`).
    """

    def __init__(self, front: nn.Module, encoder: TransformerEncoder, classes: int) -> None:
        super().__init__()
        self.front, self.encoder = front, encoder
        self.head = nn.Linear(encoder.positions.shape[1], classes)

    def features(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """[B, …] → [B, d]."""
        return _mean(self.encoder(self.front(x), mask), mask)

    def inner(self, x: Tensor, mask: Tensor | None = None) -> tuple[Tensor, list[Tensor], list[Tensor]]:
        """Logits [B, K], all states and all scores, from one pass: what latent distillation reads."""
        states, scores = self.encoder.inner(self.front(x), mask)
        return self.head(_mean(states[-1], mask)), states, scores

    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        return self.head(self.features(x, mask))


def _mean(states: Tensor, mask: Tensor | None) -> Tensor:
    """Mean over real tokens: [B, n, d] → [B, d]."""
    if mask is None:
        return states.mean(1)
    kept = mask.unsqueeze(-1).to(states.dtype)
    return (states * kept).sum(1) / kept.sum(1).clamp(min=1)
