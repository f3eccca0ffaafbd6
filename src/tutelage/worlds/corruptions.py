"""Eleven ways in which a picture goes wrong: noise, blur, weather, and a camera that moved.

Each takes pictures [B, C, H, W] with values around [0, 1] and a generator, and returns the same shape at full strength.
Fields of noise, displacement and stripes are drawn for each picture. After Hendrycks and Dietterich, "Benchmarking Neural Network
Robustness to Common Corruptions and Perturbations", 2019 (arXiv:1903.12261), in forms that pictures of 16 × 16 survive.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from tutelage.data.photometric import gaussian_blur
from tutelage.data.views import warp

Corruption = Callable[[Tensor, torch.Generator], Tensor]


def noise(x: Tensor, generator: torch.Generator) -> Tensor:
    """Normal noise of standard deviation 0.45."""
    return x + 0.45 * torch.randn(x.shape, generator=generator)


def impulse(x: Tensor, generator: torch.Generator) -> Tensor:
    """14 % of pixels black, 14 % white."""
    draw = torch.rand(x.shape, generator=generator)
    return torch.where(draw < 0.14, 0.0, torch.where(draw > 0.86, 1.0, x))


def blur(x: Tensor, generator: torch.Generator) -> Tensor:
    """A Gaussian of 1.7 pixels."""
    return gaussian_blur(x, 1.7)


def motion(x: Tensor, generator: torch.Generator) -> Tensor:
    """The mean of seven neighbours in a row."""
    return F.avg_pool2d(F.pad(x, (3, 3, 0, 0), mode="replicate"), (1, 7), stride=1)


def contrast(x: Tensor, generator: torch.Generator) -> Tensor:
    """A fifth of the contrast."""
    return (x - 0.5) * 0.2 + 0.5


def bright(x: Tensor, generator: torch.Generator) -> Tensor:
    """Overexposed."""
    return (x * 0.6 + 0.55).clamp(max=1.2)


def fog(x: Tensor, generator: torch.Generator) -> Tensor:
    """A smooth bright field, thick and thin."""
    field = gaussian_blur(torch.randn(x.shape, generator=generator), 3.0)
    return 0.6 * x + 0.35 * field / field.std((1, 2, 3), keepdim=True) + 0.3


def rotate(x: Tensor, generator: torch.Generator) -> Tensor:
    """Turned by 25 degrees."""
    cos, sin = math.cos(math.radians(25)), math.sin(math.radians(25))
    return warp(x, torch.tensor([[cos, -sin, 0.0], [sin, cos, 0.0]]).expand(len(x), 2, 3))


def pixelate(x: Tensor, generator: torch.Generator) -> Tensor:
    """Means of blocks of 4 × 4."""
    return F.avg_pool2d(x, 4).repeat_interleave(4, -1).repeat_interleave(4, -2)


def stripe(x: Tensor, generator: torch.Generator) -> Tensor:
    """Bright stripes about four columns apart."""
    period, phase = 3.5 + torch.rand(len(x), 1, generator=generator), torch.rand(len(x), 1, generator=generator)
    wave = ((torch.arange(x.shape[-1]) / period + phase) % 1 < 0.5).to(x.dtype)
    return x + 0.6 * wave[:, None, None, :]


def elastic(x: Tensor, generator: torch.Generator) -> Tensor:
    """Every pixel taken from about a pixel away, neighbours from alike places."""
    moved = 9 * gaussian_blur(torch.randn(len(x), 2, *x.shape[-2:], generator=generator), 2.0)
    identity = torch.eye(2, 3).expand(len(x), 2, 3)
    grid = F.affine_grid(identity, [len(x), 1, *x.shape[-2:]], align_corners=False)
    half = torch.tensor([x.shape[-1] / 2, x.shape[-2] / 2])
    return F.grid_sample(x, grid + moved.permute(0, 2, 3, 1) / half, padding_mode="border", align_corners=False)


CORRUPTIONS: dict[str, Corruption] = {
    function.__name__: function
    for function in (noise, impulse, blur, motion, contrast, bright, fog, rotate, pixelate, stripe, elastic)
}
"""By name, in the order of a stream."""
