"""A small convolutional network for signals and pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn

from tutelage.errors import InputError


class SmallCnn(nn.Module):
    """Convolutions with a nonlinearity, then a linear head: [B, C, L] or [B, C, H, W] → logits [B, K].

    Args:
        channels: input channels, then the width of each convolution.
        classes: K.
        dims: 1 for signals, 2 for pictures.
        kernels, strides, dilations, padding: one number for all, or one for each convolution; padding None keeps the
            size at stride 1.
        norm: "batch", "group" (up to 8 groups) or None.
        pool: "mean" over the last map (shift-robust), or "flatten" (then `size` is the input's side or length).

    Attributes: body (to the last map), head. Raises: InputError: settings that do not fit one another.

    >>> net = SmallCnn((1, 15, 15, 15), 10, dims=1, kernels=(5, 3, 3), strides=2, padding=1, pool="flatten", size=40)
    >>> net(torch.zeros(2, 1, 40)).shape, sum(p.numel() for p in net.parameters())
    (torch.Size([2, 10]), 2230)
    """

    def __init__(
        self,
        channels: Sequence[int],
        classes: int,
        *,
        dims: Literal[1, 2] = 2,
        kernels: int | Sequence[int] = 3,
        strides: int | Sequence[int] = 1,
        dilations: int | Sequence[int] = 1,
        padding: int | None = None,
        norm: Literal["batch", "group"] | None = None,
        pool: Literal["mean", "flatten"] = "mean",
        size: int | None = None,
    ) -> None:
        super().__init__()
        depth = len(channels) - 1
        if depth < 1 or dims not in {1, 2} or norm not in {None, "batch", "group"}:
            raise InputError(f"SmallCnn: channels {tuple(channels)}, dims {dims}, norm {norm!r} do not make a network")
        each = zip(
            _each("kernels", kernels, depth),
            _each("strides", strides, depth),
            _each("dilations", dilations, depth),
            strict=True,
        )
        layers: list[nn.Module] = []
        for fan_in, fan_out, (kernel, stride, dilation) in zip(channels[:-1], channels[1:], each, strict=True):
            pad = dilation * (kernel - 1) // 2 if padding is None else padding
            convolution = nn.Conv1d if dims == 1 else nn.Conv2d
            layers.append(convolution(fan_in, fan_out, kernel, stride, pad, dilation, bias=norm is None))
            if norm == "batch":
                layers.append(nn.BatchNorm1d(fan_out) if dims == 1 else nn.BatchNorm2d(fan_out))
            elif norm == "group":
                layers.append(nn.GroupNorm(max(g for g in range(1, 9) if fan_out % g == 0), fan_out))
            layers.append(nn.ReLU())
        self.body, self.dims, self.pool = nn.Sequential(*layers), dims, pool
        self.head = nn.Linear(channels[-1] * self._cells(channels[0], size), classes)

    def _cells(self, channels: int, size: int | None) -> int:
        match self.pool:
            case "mean":
                return 1
            case "flatten" if size is not None:
                with torch.no_grad():
                    return self.body.eval()(torch.zeros(1, channels, *(size,) * self.dims)).flatten(2).shape[2]
        raise InputError("pool is 'mean', or 'flatten' with the input's size")

    def map(self, x: Tensor) -> Tensor:
        """The last map: [B, width, L'] or [B, width, H', W']."""
        return self.body(x)

    def features(self, x: Tensor) -> Tensor:
        """What the head reads: [B, width] after the mean, [B, width · cells] flattened."""
        cells = self.map(x).flatten(2)
        return cells.mean(2) if self.pool == "mean" else cells.flatten(1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


def _each(what: str, value: int | Sequence[int], depth: int) -> Sequence[int]:
    values = [value] * depth if isinstance(value, int) else value
    if len(values) != depth:
        raise InputError(f"{what} has {len(values)} entries for {depth} convolutions")
    return values
