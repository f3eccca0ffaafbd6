"""How easy an example is for a model that has seen it, and subsets drawn by it.

With p_i the model's probability of the label that example i carries and ℓ_i = −log p_i its loss,

    prob           s_i = p_i + floor
    inverse_loss   s_i = 1 / (ℓ_i + floor)
    loss           s_i = ℓ_i + floor          (hard examples first)

A subset of k examples is drawn without replacement with probabilities proportional to s: example i finishes a race after
an exponential time with rate s_i, and the first k are taken.

Efraimidis and Spirakis, "Weighted random sampling with a reservoir", Information Processing Letters, 2006.

Shapes: logits [N, K], y [N] (long), scores [N].
"""

from __future__ import annotations

import warnings
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from tutelage.errors import InputError

Kind = Literal["prob", "inverse_loss", "loss"]


def easiness(logits: Tensor, y: Tensor, kind: Kind = "prob", *, floor: float = 0.02) -> Tensor:
    """One positive number an example, larger for examples that should come earlier: [N, K], [N] → [N] (float64).

    Take the logits of a model at its best validation step: a fully fitted one knows its wrong labels by heart, too.

    Args: floor: keeps every example in the draw. Without one, 1/ℓ of what is fitted is a million times that of the rest.

    Raises: InputError: an unknown kind, a floor that is not positive, labels or logits that do not fit or are not finite.

    >>> logits = torch.tensor([[0.0, 0.0], [8.0, 0.0]])
    >>> easiness(logits, torch.tensor([0, 0]), floor=0.1).round(decimals=2).tolist()
    [0.6, 1.1]
    >>> easiness(logits, torch.tensor([0, 0]), "inverse_loss", floor=0.1).round(decimals=2).tolist()
    [1.26, 9.97]
    """
    if not floor > 0:
        raise InputError(f"floor must be positive, or some examples are never drawn; got {floor}")
    if logits.ndim != 2 or y.shape != logits.shape[:1]:
        raise InputError(f"need logits [N, K] and labels [N]; got {tuple(logits.shape)} and {tuple(y.shape)}")
    if (wrong := (y < 0) | (y >= logits.shape[1])).any():
        row = int(wrong.nonzero()[0])
        raise InputError(f"labels must be in [0, {logits.shape[1]}); found {int(y[row])} in row {row}")
    if not bool(torch.isfinite(logits).all()):
        raise InputError(f"logits must be finite; row {int((~torch.isfinite(logits)).any(1).nonzero()[0])} is not")
    loss = F.cross_entropy(logits.detach().double(), y, reduction="none")
    match kind:
        case "prob":
            return (-loss).exp() + floor
        case "inverse_loss":
            return 1 / (loss + floor)
        case "loss":
            return loss + floor
    raise InputError(f"kind is 'prob', 'inverse_loss' or 'loss'; got {kind!r}")


def checked_scores(scores: Tensor) -> Tensor:
    """Scores as they are drawn by: [N] → [N] (float64, no graph).

    Raises: InputError: scores that are negative, not finite or all zero.
    """
    weights = scores.detach().double()
    if weights.ndim != 1 or not bool((torch.isfinite(weights) & (weights >= 0)).all()) or not bool(weights.any()):
        raise InputError("scores are one finite number an example, not negative and not all zero")
    return weights


def weighted_subset(scores: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` different indices, drawn by score, in random order: [N] → [count] (long).

    Where fewer scores than `count` are above zero, the zeros are lifted to the smallest of them, with a warning.

    Raises: InputError: scores that are negative, not finite or all zero; a count outside [1, N].

    >>> weighted_subset(torch.tensor([1.0, 0.0, 2.0]), 2, torch.Generator().manual_seed(0)).sort().values
    tensor([0, 2])
    """
    weights = checked_scores(scores)
    if not 1 <= count <= len(weights):
        raise InputError(f"cannot draw {count} of {len(weights)} examples")
    positive = weights > 0
    if int(positive.sum()) < count:
        warnings.warn(
            f"only {int(positive.sum())} of {len(weights)} scores are above zero but {count} examples are drawn: "
            "the zeros count as the smallest of them",
            stacklevel=2,
        )
        weights = weights.clamp(min=float(weights[positive].min()))
    finish = torch.empty_like(weights).exponential_(generator=generator) / weights
    first = finish.topk(count, largest=False).indices
    return first[torch.randperm(count, generator=generator, device=generator.device)]
