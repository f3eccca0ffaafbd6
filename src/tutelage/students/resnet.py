"""Residual networks of basic blocks for small pictures (He et al. 2016), with a depth and a width a stage,
and the space of their depths.

Shapes: x [B, C, H, W] → logits [B, K]; every stage but the first halves H and W.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn
from torch.nn import functional as F

from tutelage.errors import InputError
from tutelage.students.space import Space


class BasicBlock(nn.Module):
    """relu(conv–norm–relu–conv–norm(x) + x), with a 1 × 1 convolution on the shortcut where shapes change."""

    def __init__(self, fan_in: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(fan_in, width, 3, stride, 1, bias=False)
        self.norm1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, 1, 1, bias=False)
        self.norm2 = nn.BatchNorm2d(width)
        self.shortcut = nn.Sequential()
        if stride != 1 or fan_in != width:
            self.shortcut = nn.Sequential(nn.Conv2d(fan_in, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: Tensor) -> Tensor:
        inner = self.norm2(self.conv2(F.relu(self.norm1(self.conv1(x)))))
        return F.relu(inner + self.shortcut(x))


class ResNet(nn.Module):
    """A 3 × 3 convolution, stages of basic blocks, the mean over the map, a linear head.

    Args: depths: blocks a stage; (9, 9, 9) is ResNet-56. widths: channels a stage. classes: K. channels: of the input.

    Attributes: body (to the last map), head. Raises: InputError: not one width ≥ 1 and depth ≥ 1 a stage.

    >>> import torch
    >>> net = ResNet((1, 1, 1), classes=100)
    >>> net(torch.zeros(2, 3, 32, 32)).shape, sum(p.numel() for p in net.parameters())
    (torch.Size([2, 100]), 83892)
    """

    def __init__(
        self, depths: Sequence[int], *, classes: int, widths: Sequence[int] = (16, 32, 64), channels: int = 3
    ) -> None:
        super().__init__()
        if len(depths) != len(widths) or not depths or min(*depths, *widths) < 1:
            raise InputError(f"need a depth and a width, at least 1, for every stage; got {depths} and {widths}")
        layers: list[nn.Module] = [
            nn.Conv2d(channels, widths[0], 3, 1, 1, bias=False), nn.BatchNorm2d(widths[0]), nn.ReLU()
        ]  # fmt: skip
        fan_in = widths[0]
        for stage, (depth, width) in enumerate(zip(depths, widths, strict=True)):
            for block in range(depth):
                layers.append(BasicBlock(fan_in, width, 2 if stage and not block else 1))
                fan_in = width
        self.body, self.head = nn.Sequential(*layers), nn.Linear(fan_in, classes)

    def map(self, x: Tensor) -> Tensor:
        """The last map: [B, width, H', W']."""
        return self.body(x)

    def features(self, x: Tensor) -> Tensor:
        """What the head reads: [B, width]."""
        return self.map(x).flatten(2).mean(2)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


class StageDepthSpace(Space):
    """Residual networks with a depth a stage: architectures are tuples of depths.

    >>> StageDepthSpace(depths=(1, 3), widths=(8, 16), classes=5).size
    4
    """

    def __init__(
        self,
        depths: Sequence[int] = (1, 3, 5, 7),
        widths: Sequence[int] = (16, 32, 64),
        *,
        classes: int,
        channels: int = 3,
    ) -> None:
        make = lambda depths: ResNet(depths, classes=classes, widths=widths, channels=channels)
        super().__init__({f"stage {i}": tuple(depths) for i in range(1, len(widths) + 1)}, make)
