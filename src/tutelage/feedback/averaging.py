"""Averages of weights: several models of one shape as one.

Models that share a start lie in one basin more often than not; then the mean of their weights is a model too, and a
flatter one. Running statistics belong to the weights that they were measured with: after averaging a network with batch
norm, measure them again (`torch.optim.swa_utils.update_bn`).

Wortsman et al., "Model soups", 2022 (arXiv:2203.05482).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from tutelage.errors import InputError


def mean_weights(states: Sequence[Mapping[str, Tensor]], weights: Sequence[float] | None = None) -> dict[str, Tensor]:
    """Σ_i w_i θ_i / Σ_i w_i of state dicts with the same names and shapes; integers (counters) are the first one's.

    Raises: InputError: no state, states that do not fit one another, weights that are negative or all zero.

    >>> mean_weights([{"w": torch.tensor([0.0])}, {"w": torch.tensor([4.0])}], weights=[3, 1])
    {'w': tensor([1.])}
    """
    shares = [1.0] * len(states) if weights is None else list(weights)
    if not states or len(shares) != len(states) or min(shares) < 0 or sum(shares) == 0:
        raise InputError(
            f"need as many weights >= 0, not all 0, as states (at least one); got {shares} for {len(states)}"
        )
    first = {name: value.shape for name, value in states[0].items()}
    if wrong := [i for i, s in enumerate(states) if {name: value.shape for name, value in s.items()} != first]:
        raise InputError(f"state {wrong[0]} has other names or shapes than state 0")
    total = sum(shares)
    mixed = {}
    for name, value in states[0].items():
        if value.is_floating_point():
            mixed[name] = torch.stack([s / total * state[name] for s, state in zip(shares, states, strict=True)]).sum(0)
        else:
            mixed[name] = value.clone()
    return mixed
