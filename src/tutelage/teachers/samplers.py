"""Samplers: noise → data, by following the velocity of a flow (or the denoiser of a diffusion model) in a few steps.

    Euler   x ← x + h v(x, t),      h = 1 / steps,  t = 0, h, …, 1 − h                        one evaluation a step
    Heun    x ← x + h/2 (v(x, t) + v(x + h v(x, t), t + h))                                   two

Time runs from 0 (noise) to 1 (data). Many code bases run it the other way: `reversed_time` turns a net round. A denoiser
D(y, σ) of y = x1 + σ x0 becomes a velocity by x = t y and σ = (1 − t) / t:

    v(x, t) = (D(x / t, (1 − t) / t) − x) / (1 − t)

Karras et al., "Elucidating the Design Space of Diffusion-Based Generative Models", 2022 (arXiv:2206.00364).

Shapes: noise x0 [B, …] → samples [B, …]; times and noise levels [B].
"""

from __future__ import annotations

import torch
from torch import Tensor

from tutelage.errors import InputError
from tutelage.objectives.flow import Velocity, over_example, velocity_at


@torch.no_grad()
def euler_sample(velocity: Velocity, x0: Tensor, steps: int) -> Tensor:
    """Noise [B, …] → samples [B, …] in `steps` evaluations; one step is x0 + v(x0, 0).

    Raises: InputError: fewer than one step.

    >>> euler_sample(lambda x, t: x, torch.ones(1, 1), steps=2)  # (1 + 1/2)²
    tensor([[2.2500]])
    """
    x, h = x0, 1 / _positive(steps)
    for k in range(steps):
        x = x + h * velocity_at(velocity, x, x.new_full(x.shape[:1], k * h))
    return x


@torch.no_grad()
def heun_sample(velocity: Velocity, x0: Tensor, steps: int) -> Tensor:
    """Noise [B, …] → samples [B, …] in 2 `steps` evaluations, with an error of second order.

    Raises: InputError: fewer than one step.

    >>> heun_sample(lambda x, t: x, torch.ones(1, 1), steps=1)  # 1 + (1 + 2) / 2
    tensor([[2.5000]])
    """
    x, h = x0, 1 / _positive(steps)
    for k in range(steps):
        now, then = x.new_full(x.shape[:1], k * h), x.new_full(x.shape[:1], (k + 1) * h)
        slope = velocity_at(velocity, x, now)
        x = x + h / 2 * (slope + velocity(x + h * slope, then))
    return x


def reversed_time(velocity: Velocity) -> Velocity:
    """The same flow for a net that puts data at t = 0 and noise at t = 1, or back.

    >>> to_noise = lambda x, t: x - 3  # moves away from the data 3
    >>> euler_sample(reversed_time(to_noise), torch.zeros(1, 1), steps=1)
    tensor([[3.]])
    """
    return lambda x, t: -velocity(x, 1 - t)


def denoiser_velocity(denoiser: Velocity, *, sigma_min: float = 0.002, sigma_max: float = 80.0) -> Velocity:
    """The velocity of a denoiser (y [B, …], σ [B]) → estimate of x1 [B, …].

    Args: sigma_min, sigma_max: the noise levels that the denoiser knows; it is never asked about others.

    Raises: InputError: levels that are not 0 < sigma_min < sigma_max.

    >>> to_three = lambda y, sigma: torch.full_like(y, 3.0)
    >>> euler_sample(denoiser_velocity(to_three), torch.randn(1, 2), steps=4).round(decimals=1)
    tensor([[3., 3.]])
    """
    if not 0 < sigma_min < sigma_max:
        raise InputError(f"need 0 < sigma_min < sigma_max; got {sigma_min} and {sigma_max}")

    def velocity(x: Tensor, t: Tensor) -> Tensor:
        t = t.clamp(1 / (1 + sigma_max), 1 / (1 + sigma_min))
        share = over_example(t, x)
        return (denoiser(x / share, (1 - t) / t) - x) / (1 - share)

    return velocity


def _positive(steps: int) -> int:
    if steps < 1:
        raise InputError(f"a sampler takes at least one step; got {steps}")
    return steps
