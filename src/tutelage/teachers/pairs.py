"""Pairs of noise and data: what a deterministic sampler makes of which noise, asked once.

A teacher of many steps is dear to ask; students learn from its stored answers. Both ends of a pair belong together, so what
is done to one (mirroring, cutting) is done to the other.

Shapes: noise x0, data x1 [N, …].
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from tutelage.errors import InputError
from tutelage.training.seeding import child_seed


@torch.no_grad()
def draw_pairs(
    sampler: Callable[[Tensor], Tensor], count: int, shape: Sequence[int], *, batch_size: int = 1000, seed: int = 0
) -> tuple[Tensor, Tensor]:
    """Noise [count, *shape] and what the teacher makes of it.

    Args: sampler: noise [B, *shape] → samples of the same shape, without chance in it (an ODE).

    Raises: InputError: no pair asked for, samples of another shape.

    >>> x0, x1 = draw_pairs(lambda z: 3 + z, 5, (2,))
    >>> torch.equal(x1, 3 + x0), x0.shape
    (True, torch.Size([5, 2]))
    """
    if count < 1:
        raise InputError(f"need at least one pair; got {count}")
    x0 = torch.randn(count, *shape, generator=torch.Generator().manual_seed(child_seed(seed, "pairs")))
    x1 = torch.cat([sampler(part) for part in x0.split(batch_size)])
    if x1.shape != x0.shape:
        raise InputError(f"the sampler made {tuple(x1.shape)} of noise {tuple(x0.shape)}; both must have one shape")
    return x0, x1


def check_pairs(x0: Tensor, x1: Tensor) -> None:
    """Refuse what cannot be pairs of noise and data.

    Raises: InputError: ends of different shapes, figures that are not finite, or noise whose mean and variance are not
        those of N(0, I): ends that were exchanged show here.

    >>> check_pairs(torch.full((100, 2), 0.5), torch.randn(100, 2))
    Traceback (most recent call last):
    tutelage.errors.InputError: the noise of pairs is N(0, I); this has mean 0.500 and variance 0.000 (ends exchanged?)
    """
    if x0.shape != x1.shape or x0.ndim < 2 or not len(x0):
        raise InputError(f"pairs are noise and data of one shape [N, …]; got {tuple(x0.shape)} and {tuple(x1.shape)}")
    if not bool(torch.isfinite(x0).all() and torch.isfinite(x1).all()):
        raise InputError("pairs must be finite: the sampler diverged")
    mean, variance = x0.double().mean().item(), x0.double().var(correction=0).item()
    slack = max(0.02, 5 / math.sqrt(x0.numel()))
    if abs(mean) > slack or abs(variance - 1) > 2 * slack:
        raise InputError(
            f"the noise of pairs is N(0, I); this has mean {mean:.3f} and variance {variance:.3f} (ends exchanged?)"
        )


def flip_pairs(x0: Tensor, x1: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Half of the pairs mirrored along the last axis, both ends alike: free pictures where left and right mean nothing.

    >>> x0, x1 = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]])
    >>> a, b = flip_pairs(x0, x1, torch.Generator().manual_seed(2))
    >>> bool((a == x0).all() and (b == x1).all()) or bool((a == x0.flip(-1)).all() and (b == x1.flip(-1)).all())
    True
    """
    drawn = torch.rand(len(x0), generator=generator, device=x0.device) < 0.5
    chosen = drawn.view(-1, *[1] * (x0.ndim - 1))
    return torch.where(chosen, x0.flip(-1), x0), torch.where(chosen, x1.flip(-1), x1)
