"""Key points by heat-maps: a small network with an answer after every block, and how a map is read.

Shapes: pictures [B, C, H, W], maps [B, K, H/2, W/2], points [B, K, 2] as (x, y) in pixels of the picture, (0, 0) in the centre
of its first pixel.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from tutelage.errors import InputError


class HeatmapNet(nn.Module):
    """A stem of stride 2 and J dilated residual blocks with a head each: pictures → J stage maps, the last is the answer.

    Nearly all of a map is background, so heads begin at 0; convolutions begin with He's variance, without which the hills are
    learned several times later.

    Args: points: K; channels: of the picture; stem, width: of the stem and of the blocks (a multiple of 4); dilations: one block
        each.

    >>> stages = HeatmapNet(9)(torch.zeros(2, 1, 48, 48))
    >>> len(stages), stages[-1].shape
    (3, torch.Size([2, 9, 24, 24]))
    """

    def __init__(
        self, points: int, *, channels: int = 1, stem: int = 16, width: int = 24, dilations: Sequence[int] = (1, 2, 4)
    ) -> None:
        super().__init__()
        if min(points, channels, stem, width, *dilations) < 1 or not dilations or width % 4:
            raise InputError(
                "a heat-map net needs positive sizes, a width that is a multiple of 4, and at least one block"
            )

        def block(convolution: nn.Module) -> nn.Module:
            return nn.Sequential(nn.GroupNorm(4, width), nn.ReLU(), convolution)

        self.stem = nn.Sequential(nn.Conv2d(channels, stem, 3, 2, 1), nn.ReLU(), nn.Conv2d(stem, width, 1))
        self.blocks = nn.ModuleList(block(nn.Conv2d(width, width, 3, padding=d, dilation=d)) for d in dilations)
        for part in self.modules():
            if isinstance(part, nn.Conv2d):
                nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
                nn.init.zeros_(part.bias)  # type: ignore[arg-type]
        self.heads = nn.ModuleList(block(_silent(nn.Conv2d(width, points, 1))) for _ in dilations)

    def forward(self, x: Tensor) -> list[Tensor]:
        hidden, stages = self.stem(x), []
        for block, head in zip(self.blocks, self.heads, strict=True):
            hidden = hidden + block(hidden)
            stages.append(head(hidden))
        return stages


def _silent(layer: nn.Conv2d) -> nn.Conv2d:
    """The layer with weights and bias 0."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


def read_maps(maps: Tensor, stride: float = 2.0) -> tuple[Tensor, Tensor]:
    """The highest cell of every map, moved by a quarter cell towards its higher neighbour: points [B, K, 2] and heights [B, K].

    >>> maps = torch.zeros(1, 1, 3, 4); maps[0, 0, 1, 2], maps[0, 0, 1, 3] = 1.0, 0.5
    >>> points, heights = read_maps(maps)
    >>> points.tolist(), heights.item()  # cell 2.25 lies at (2.25 + ½) · 2 − ½
    ([[[5.0, 2.5]]], 1.0)
    """
    width = maps.shape[-1]
    heights, best = maps.flatten(2).max(-1)
    y, x = best // width, best % width
    padded = nn.functional.pad(maps, (1, 1, 1, 1), value=-torch.inf).flatten(2)
    here = (y + 1) * (width + 2) + x + 1

    def side(step: int) -> Tensor:
        ahead, behind = (padded.gather(2, (here + sign * step).unsqueeze(2)).squeeze(2) for sign in (1, -1))
        return 0.25 * (ahead > behind).float() - 0.25 * (ahead < behind).float()

    cells = torch.stack([x + side(1), y + side(width + 2)], -1)
    return (cells + 0.5) * stride - 0.5, heights
