"""Rectified flow: a velocity that carries noise to data along straight lines.

Liu, Gong and Liu, "Flow Straight and Fast: Learning to Generate and Transfer Data with Rectified Flow", 2022
(arXiv:2209.03003).

Time runs from 0 (noise) to 1 (data). Of a pair (x0, x1) the net v sees a point of the line between and says its direction:

    x_t = (1 − t) x0 + t x1,      L = mean ‖ v(x_t, t) − (x1 − x0) ‖²

Pairs may be drawn apart (noise, a data point: a first flow) or belong together (noise, what a flow made of it: reflow).

Shapes: x0, x1 [B, …], t [B]; with stacked runs [R, B, …] and [R, B]: what t has are batch axes, the rest is the example.
"""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from tutelage.errors import InputError

Velocity = Callable[[Tensor, Tensor], Tensor]
"""(x [B, …], t [B]) → dx/dt [B, …]: any network; t is 0 at the noise and 1 at the data."""


def over_example(t: Tensor, x: Tensor) -> Tensor:
    """Times [B] with axes of length one, so that they multiply examples [B, …].

    >>> import torch
    >>> over_example(torch.zeros(4), torch.zeros(4, 3, 8, 8)).shape
    torch.Size([4, 1, 1, 1])
    """
    if t.shape != x.shape[: t.ndim]:
        raise InputError(f"need one time an example; got times {tuple(t.shape)} for examples {tuple(x.shape)}")
    return t.view(*t.shape, *[1] * (x.ndim - t.ndim))


def between(x0: Tensor, x1: Tensor, t: Tensor) -> Tensor:
    """The point (1 − t) x0 + t x1 of the line: [B, …], [B, …], [B] → [B, …].

    Raises: InputError: ends of different shapes, or not one time an example.

    >>> import torch
    >>> between(torch.tensor([[0.0, 4.0]]), torch.tensor([[1.0, 0.0]]), torch.tensor([0.25]))
    tensor([[0.2500, 3.0000]])
    """
    if x0.shape != x1.shape:
        raise InputError(f"both ends of a pair must have one shape; got {tuple(x0.shape)} and {tuple(x1.shape)}")
    share = over_example(t, x0)
    return (1 - share) * x0 + share * x1


def velocity_at(velocity: Velocity, x: Tensor, t: Tensor) -> Tensor:
    """What the net says at x [B, …] and t [B]. Raises: InputError: an answer of another shape than x.

    >>> import torch
    >>> velocity_at(lambda x, t: x[:, :1], torch.zeros(2, 3), torch.zeros(2))
    Traceback (most recent call last):
    tutelage.errors.InputError: a velocity has the shape of its input (2, 3); the net gave (2, 1)
    """
    answer = velocity(x, t)
    if answer.shape != x.shape:
        raise InputError(f"a velocity has the shape of its input {tuple(x.shape)}; the net gave {tuple(answer.shape)}")
    return answer


def rectified_flow_loss(velocity: Velocity, x0: Tensor, x1: Tensor, t: Tensor) -> Tensor:
    """What each example costs, the mean square over its elements: [B].

    At t = 0 this is the direct loss of a one-step generator: x0 + v(x0, 0) should be x1.

    Raises: InputError: shapes that do not fit, among them what the net returns.

    >>> import torch
    >>> still = lambda x, t: torch.zeros_like(x)
    >>> rectified_flow_loss(still, torch.zeros(2, 2), torch.tensor([[1.0, 1.0], [0.0, 2.0]]), torch.zeros(2))
    tensor([1., 2.])
    """
    missed = velocity_at(velocity, between(x0, x1, t), t) - (x1 - x0)
    return missed.square().flatten(t.ndim).mean(-1)
