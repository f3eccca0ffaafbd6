"""From one loss per example to one number."""

from __future__ import annotations

import torch
from torch import Tensor

from tutelage.errors import InputError


def weighted_mean(
    loss: Tensor, weight: Tensor | None = None, mask: Tensor | None = None, *, over: str = "mask"
) -> Tensor:
    """Σ w·l / max(Σ mask, 1): a mean over what counts, in which weights make an example count for less.

    With `over="weight"` the divisor is Σ w instead, so that weights are relative. An all-zero weight or mask gives 0
    with a graph, never NaN, also where the loss of a masked entry is not finite.

    Shapes: loss [B, …]; weight, mask broadcast to it from the left ([B] weighs whole examples).

    Raises: InputError: a weight or mask that does not fit the loss.

    >>> weighted_mean(torch.tensor([1.0, 3.0]), weight=torch.tensor([1.0, 0.5]))
    tensor(1.2500)
    >>> weighted_mean(torch.tensor([1.0, 3.0]), weight=torch.tensor([1.0, 0.5]), over="weight")
    tensor(1.6667)
    >>> weighted_mean(torch.tensor([1.0, float("nan")]), mask=torch.tensor([True, False]))
    tensor(1.)
    """
    if weight is None and mask is None:
        return loss.mean()
    factor = torch.ones_like(loss)
    if mask is not None:
        factor = factor * _fit("mask", mask, loss)
        loss = torch.where(factor != 0, loss, 0.0)
    count = factor.sum().clamp(min=1)
    if weight is not None:
        factor = factor * _fit("weight", weight, loss)
    total = (loss * factor).sum()
    match over:
        case "mask":
            return total / count
        case "weight":
            mass = factor.sum()
            return total / torch.where(mass > 0, mass, 1.0)
    raise InputError(f"over is 'mask' or 'weight'; got {over!r}")


def _fit(what: str, factor: Tensor, loss: Tensor) -> Tensor:
    if factor.shape != loss.shape[: factor.ndim]:
        raise InputError(f"{what} has shape {tuple(factor.shape)}, the loss {tuple(loss.shape)}")
    return factor.to(loss.dtype).reshape(factor.shape + (1,) * (loss.ndim - factor.ndim))
