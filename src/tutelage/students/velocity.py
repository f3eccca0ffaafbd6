"""A small velocity net: the generator of points and of tiny pictures.

    v(x, t) = mlp(x, φ(t)) + g(φ(t)) x,      φ(t) = (sin ω_k t, cos ω_k t),  ω_k = 2^k π / 2,  k = 0 … K − 1

with g linear. The second term matters where the hidden layers are narrower than x: a jump from noise, v(x, 0) = x1 − x, has
to take all of the noise away, and what does not fit through a hidden layer would stay in the picture.

Shapes: x [B, …] with d elements an example, t [B] → [B, …].
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from tutelage.errors import InputError
from tutelage.objectives.flow import over_example
from tutelage.students.mlp import mlp


class VelocityMlp(nn.Module):
    """A perceptron with time features: (x [B, …], t [B]) → velocity [B, …].

    Args: dim: elements of an example, d; widths: hidden layers; frequencies: K.

    Raises: InputError: no hidden layer, sizes below 1; examples with another number of elements.

    >>> net = VelocityMlp(64, 48, 48, 48)
    >>> net(torch.zeros(2, 1, 8, 8), torch.tensor([0.0, 1.0])).shape, sum(p.numel() for p in net.parameters())
    (torch.Size([2, 1, 8, 8]), 11353)
    """

    omega: Tensor

    def __init__(self, dim: int, *widths: int, frequencies: int = 4) -> None:
        super().__init__()
        if not widths or min(dim, frequencies, *widths) < 1:
            raise InputError(f"need positive sizes and a hidden layer; got {dim}, {widths}, {frequencies} frequencies")
        self.register_buffer("omega", 2.0 ** torch.arange(frequencies) * math.pi / 2)
        self.dim = dim
        self.net = mlp(dim + 2 * frequencies, *widths, dim, activation=nn.SiLU)
        self.gain = nn.Linear(2 * frequencies, 1)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        if x[0].numel() != self.dim:
            raise InputError(f"this net moves {self.dim} elements an example; got examples {tuple(x.shape[1:])}")
        angle = t.unsqueeze(-1) * self.omega
        time = torch.cat([angle.sin(), angle.cos()], -1)
        moved = self.net(torch.cat([x.flatten(1), time], 1)).view_as(x)
        return moved + over_example(self.gain(time).squeeze(-1), x) * x
