"""Heat-maps: key points as small hills on a grid, and the distance between two maps.

    target_k(c) = exp(−|c − p_k|² / 2σ²),       L = Σ_k w_k Σ_c (pred_k(c) − target_k(c))² / Σ_k w_k

A sum over cells and a mean over the points that count: joints that a gate leaves out must not make the others count less.

Shapes: points [B, K, 2] as (x, y) in cells, maps [B, K, H, W], weight [B, K].
"""

from __future__ import annotations

import torch
from torch import Tensor

from tutelage.errors import InputError
from tutelage.objectives.reduce import weighted_mean


def gaussian_map(points: Tensor, size: tuple[int, int], sigma: float) -> Tensor:
    """A hill of height 1 at every point: [B, K, 2] → [B, K, H, W]; points outside give what of their hill is inside.

    >>> gaussian_map(torch.tensor([[[1.0, 0.0]]]), (1, 3), sigma=1.0)
    tensor([[[[0.6065, 1.0000, 0.6065]]]])
    """
    if points.shape[-1] != 2 or sigma <= 0:
        raise InputError(f"need points (…, 2) and sigma > 0; got {tuple(points.shape)} and {sigma}")
    x, y = (torch.arange(side, device=points.device, dtype=points.dtype) for side in (size[1], size[0]))
    across, down = (
        (-((cells - points[..., axis, None]) ** 2) / (2 * sigma**2)).exp() for axis, cells in enumerate((x, y))
    )
    return down.unsqueeze(-1) * across.unsqueeze(-2)


def heatmap_mse(pred: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Squared difference, summed over cells, mean over the points that count: [B, K, H, W] twice, [B, K] → scalar.

    An all-zero weight gives 0. Raises: InputError: maps of different shapes.

    >>> pred, target = torch.zeros(1, 2, 2, 2), torch.ones(1, 2, 2, 2)
    >>> heatmap_mse(pred, target, torch.tensor([[1.0, 0.0]]))
    tensor(4.)
    """
    if pred.shape != target.shape:
        raise InputError(f"maps must have one shape; got {tuple(pred.shape)} and {tuple(target.shape)}")
    each = (pred - target.detach()).square().flatten(2).sum(2)
    return weighted_mean(each, weight, over="weight" if weight is not None else "mask")
