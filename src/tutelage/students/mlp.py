"""The multilayer perceptron: the smallest student, and the teacher of many studies."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Literal

from torch import Tensor, nn

from tutelage.errors import InputError


class Mlp(nn.Module):
    """Linear layers with a nonlinearity between: [B, d] → logits [B, K]; `features` stops before the last layer.

    Inputs with more axes are flattened. Attributes: body (all but the last layer), head (the last layer).
    """

    def __init__(
        self, widths: Sequence[int], norm: str | None, dropout: float, activation: Callable[[], nn.Module]
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for fan_in, fan_out in pairwise(widths[:-1]):
            layers.append(nn.Linear(fan_in, fan_out))
            if norm == "layer":
                layers.append(nn.LayerNorm(fan_out))
            elif norm == "batch":
                layers.append(nn.BatchNorm1d(fan_out))
            layers.append(activation())
            if dropout:
                layers.append(nn.Dropout(dropout))
        self.body = nn.Sequential(*layers)
        self.head = nn.Linear(widths[-2], widths[-1])

    def features(self, x: Tensor) -> Tensor:
        """[B, d] → [B, last hidden width]."""
        return self.body(x.flatten(1))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


def mlp(
    *widths: int,
    norm: Literal["layer", "batch"] | None = None,
    dropout: float = 0.0,
    activation: Callable[[], nn.Module] = nn.ReLU,
) -> Mlp:
    """A perceptron of these widths, PyTorch's initialisation (uniform in ± 1/√fan_in).

    Raises: InputError: fewer than two widths, or an unknown norm.

    >>> import torch
    >>> student = mlp(64, 16, 10)
    >>> sum(p.numel() for p in student.parameters()), student.features(torch.zeros(2, 1, 8, 8)).shape
    (1210, torch.Size([2, 16]))
    """
    if len(widths) < 2 or min(widths) < 1:
        raise InputError(f"an mlp needs at least two positive widths, as mlp(64, 16, 10); got {widths}")
    if norm not in {None, "layer", "batch"}:
        raise InputError(f"norm is 'layer', 'batch' or None; got {norm!r}")
    return Mlp(widths, norm, dropout, activation)
