"""Policies that edit a network: which layers to keep, and by how much the others are made narrower.

A policy reads a network as a row of numbers a layer (`editing.describe`) and samples actions for all of them. Ashok et al.,
"N2N Learning", 2017 (arXiv:1709.06030), section 3.

Shapes: layers [L, 5]; actions [N, L] for N rollouts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

FACTORS = (0.25, 0.5, 0.5, 0.5, 0.5, 0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
"""Factors of a width, all equally likely at first: 0.5 is the likeliest."""


class Rollouts(NamedTuple):
    """Sampled actions (N, L), and log-probability and entropy of each row (N,)."""

    actions: Tensor
    log_prob: Tensor
    entropy: Tensor


class RemovalPolicy(nn.Module):
    """Stage 1: a bidirectional LSTM over the layers; action 1 keeps a layer, 0 takes it out."""

    def __init__(self, hidden: int = 30) -> None:
        super().__init__()
        self.lstm = nn.LSTM(5, hidden, num_layers=2, bidirectional=True, batch_first=True)
        self.head = nn.Linear(2 * hidden, 2)

    def sample(self, layers: Tensor, rollouts: int, free: Sequence[bool]) -> Rollouts:
        """Draw from the policy: layers [L, 5]; what is not free is kept, and has no part in the log-probability."""
        logits = self.head(self.lstm(layers[None])[0])[0]
        drawn = torch.distributions.Categorical(logits=logits.expand(rollouts, -1, -1))
        actions, mask = drawn.sample(), torch.tensor(list(free))
        log_prob, entropy = (v.masked_fill(~mask, 0).sum(1) for v in (drawn.log_prob(actions), drawn.entropy()))
        return Rollouts(actions.masked_fill(~mask, 1), log_prob, entropy)


class ShrinkagePolicy(nn.Module):
    """Stage 2: an LSTM that goes from layer to layer and chooses the position of a factor, told the one before."""

    def __init__(self, factors: Sequence[float] = FACTORS, hidden: int = 30) -> None:
        super().__init__()
        self.lstm = nn.LSTM(6, hidden, num_layers=2, batch_first=True)
        self.head = nn.Linear(hidden, len(factors))
        self.factors = tuple(factors)

    def sample(self, layers: Tensor, rollouts: int, free: Sequence[bool]) -> Rollouts:
        """Draw from the policy: layers [L, 5]; what is not free gets the last factor."""
        table, state, before = torch.tensor(self.factors), None, torch.ones(rollouts, 1)
        actions, log_probs, entropies = [], [], []
        for layer, chosen in zip(layers, free, strict=True):
            out, state = self.lstm(torch.cat([layer.expand(rollouts, -1), before], 1)[:, None], state)
            drawn = torch.distributions.Categorical(logits=self.head(out[:, 0]))
            action = drawn.sample() if chosen else torch.full((rollouts,), len(self.factors) - 1)
            before = table[action][:, None]
            actions.append(action)
            log_probs.append(drawn.log_prob(action) * chosen)
            entropies.append(drawn.entropy() * chosen)
        return Rollouts(torch.stack(actions, 1), torch.stack(log_probs, 1).sum(1), torch.stack(entropies, 1).sum(1))
