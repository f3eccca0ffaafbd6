"""Disagreement: how differently two models answer the same example.

    kl      T² KL(softmax b/T ‖ softmax a/T)      a, b logits [B, …, K]
    mse     mean over the last axis of (a − b)²   any outputs
    bce     Σ over the last axis of T² KL between Bernoulli(σ(b/T)) and Bernoulli(σ(a/T)), for multi-label logits
    gap     max softmax b/T − max softmax a/T     confidence of the second over the first, signed

Nothing is detached: gradients flow through both sides, so that an input can be moved to where the two differ most.
"""

from __future__ import annotations

from typing import Literal

from torch import Tensor
from torch.nn import functional as F

from tutelage.errors import InputError
from tutelage.objectives.divergence import divergence

Kind = Literal["kl", "mse", "bce", "gap"]


def disagreement(first: Tensor, second: Tensor, *, kind: Kind = "kl", temperature: float = 1.0) -> Tensor:
    """How far `first` is from `second`, one value an example: [B, …, K], [B, …, K] → [B, …].

    Raises: InputError: shapes that differ, a temperature that is not positive, an unknown kind.

    >>> import torch
    >>> disagreement(torch.zeros(1, 2), torch.tensor([[0.0, 2.0]]), kind="mse")
    tensor([2.])
    >>> disagreement(torch.zeros(1, 2), torch.zeros(1, 2))
    tensor([0.])
    """
    if first.shape != second.shape:
        raise InputError(f"two models must answer in one shape; got {tuple(first.shape)} and {tuple(second.shape)}")
    if temperature <= 0:
        raise InputError(f"the temperature must be positive; got {temperature}")
    a, b = first / temperature, second / temperature
    match kind:
        case "kl":
            return temperature**2 * divergence(F.log_softmax(a, -1), F.log_softmax(b, -1))
        case "mse":
            return (first - second).square().mean(-1)
        case "bce":
            gap = F.logsigmoid(b) - F.logsigmoid(a)
            other = F.logsigmoid(-b) - F.logsigmoid(-a)
            return temperature**2 * (b.sigmoid() * gap + (-b).sigmoid() * other).sum(-1)
        case "gap":
            return b.softmax(-1).amax(-1) - a.softmax(-1).amax(-1)
    raise InputError(f"kind is 'kl', 'mse', 'bce' or 'gap'; got {kind!r}")
