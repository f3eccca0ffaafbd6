"""Views of pictures: geometric ones that can be undone and carried over to points and boxes, and photometric ones.

A teacher and a student often see different views of one picture. What the teacher says must then be mapped into the
student's frame, so a geometric view is an object that knows its inverse. Coordinates: pixels, (x, y), (0, 0) in the
centre of the first pixel; sampling is bilinear with background 0 (`align_corners=False`).

Shapes: pictures [B, C, H, W], points [B, N, 2], boxes [B, N, 4] as (x1, y1, x2, y2), matrices [B, 2, 3] from old to
    new coordinates relative to the picture's centre.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from tutelage.errors import InputError


def warp(pictures: Tensor, matrix: Tensor) -> Tensor:
    """Sample pictures at θ · (x, y, 1), coordinates in [−1, 1]: [B, C, H, W], [B, 2, 3] → [B, C, H, W].

    `matrix` maps *new* to *old* coordinates, as `torch.nn.functional.affine_grid` has it; gradients flow through both.

    >>> x = torch.tensor([[[[1.0, 0.0], [0.0, 0.0]]]])
    >>> warp(x, torch.tensor([[[-1.0, 0.0, 0.0], [0.0, 1.0, 0.0]]]))[0, 0].tolist()  # a flip
    [[0.0, 1.0], [0.0, 0.0]]
    """
    grid = F.affine_grid(matrix, list(pictures.shape), align_corners=False)
    return F.grid_sample(pictures, grid, mode="bilinear", padding_mode="zeros", align_corners=False)


@dataclass(frozen=True)
class GeometricView:
    """An invertible affine view of a batch of pictures.

    Args: matrix: [B, 2, 3], old → new pixel coordinates relative to the centre; size: (H, W); flipped: [B] (bool),
        pictures that were mirrored, so that left and right points change names; pairs: index pairs (left, right) of
        points.

    >>> view = GeometricView.draw(1, (8, 8), torch.Generator().manual_seed(0), rotate=30.0, shift=0.1)
    >>> points = torch.tensor([[[1.0, 2.0], [6.0, 3.0]]])
    >>> torch.allclose(view.inverse().apply_points(view.apply_points(points)), points, atol=1e-5)
    True
    """

    matrix: Tensor
    size: tuple[int, int]
    flipped: Tensor
    pairs: tuple[tuple[int, int], ...] = ()

    @classmethod
    def draw(
        cls,
        batch: int,
        size: tuple[int, int],
        generator: torch.Generator,
        *,
        rotate: float = 0.0,
        shift: float = 0.0,
        scale: float = 0.0,
        flip: float = 0.0,
        pairs: Sequence[tuple[int, int]] = (),
    ) -> GeometricView:
        """Uniform draws: degrees in ± rotate, shares of the side in ± shift, factors in 1 ± scale; mirrored with
        probability flip."""
        device = generator.device
        angle, dx, dy, factor = (2 * torch.rand(4, batch, generator=generator, device=device) - 1).unbind()
        angle, factor = angle * math.radians(rotate), 1 + scale * factor
        flipped = torch.rand(batch, generator=generator, device=device) < flip
        mirror = torch.where(flipped, -1.0, 1.0)
        cos, sin = factor * angle.cos(), factor * angle.sin()
        dx, dy = dx * shift * size[1], dy * shift * size[0]
        rows = [torch.stack([cos * mirror, -sin, dx], -1), torch.stack([sin * mirror, cos, dy], -1)]
        return cls(torch.stack(rows, 1), size, flipped, tuple(pairs))

    def inverse(self) -> GeometricView:
        """The view that undoes this one."""
        linear = torch.linalg.inv(self.matrix[:, :, :2])
        return GeometricView(
            torch.cat([linear, -linear @ self.matrix[:, :, 2:]], 2), self.size, self.flipped, self.pairs
        )

    def at(self, size: tuple[int, int]) -> GeometricView:
        """The same view of maps of another size (H, W) that cover the same field, a network's answer say."""
        ratio = torch.tensor([size[1] / self.size[1], size[0] / self.size[0]], device=self.matrix.device)
        linear, moved = self.matrix[:, :, :2] * ratio.view(1, 2, 1) / ratio, self.matrix[:, :, 2:] * ratio.view(1, 2, 1)
        return GeometricView(torch.cat([linear, moved], 2), size, self.flipped, self.pairs)

    def apply_image(self, pictures: Tensor) -> Tensor:
        """[B, C, H, W] → the same shape."""
        if tuple(pictures.shape[-2:]) != self.size or len(pictures) != len(self.matrix):
            raise InputError(f"a view of {len(self.matrix)} pictures {self.size}; got {tuple(pictures.shape)}")
        back = self.inverse().matrix
        half = torch.tensor([self.size[1] / 2, self.size[0] / 2], device=back.device)
        linear = back[:, :, :2] * half / half.unsqueeze(1)
        return warp(pictures, torch.cat([linear, (back[:, :, 2] / half).unsqueeze(2)], 2))

    def apply_map(self, maps: Tensor) -> Tensor:
        """[B, K, H, W]: as a picture; where the view mirrors, channels of paired points change places."""
        return self._swap(self.apply_image(maps))

    def apply_points(self, points: Tensor) -> Tensor:
        """[B, N, 2] → [B, N, 2]; where the view mirrors, paired points change places."""
        centre = torch.tensor([(self.size[1] - 1) / 2, (self.size[0] - 1) / 2], device=points.device)
        moved = (points - centre) @ self.matrix[:, :, :2].transpose(1, 2) + self.matrix[:, None, :, 2] + centre
        return self._swap(moved)

    def apply_boxes(self, boxes: Tensor) -> Tensor:
        """[B, N, 4] → the upright boxes around the moved corners."""
        corners = boxes[..., [0, 1, 2, 1, 0, 3, 2, 3]].unflatten(-1, (4, 2))
        plain = GeometricView(self.matrix, self.size, self.flipped)
        moved = plain.apply_points(corners.flatten(1, 2)).unflatten(1, corners.shape[1:3])
        return torch.cat([moved.amin(2), moved.amax(2)], -1)

    def _swap(self, value: Tensor) -> Tensor:
        if not self.pairs:
            return value
        order = list(range(value.shape[1]))
        for left, right in self.pairs:
            order[left], order[right] = right, left
        return torch.where(self.flipped.view(-1, *(1,) * (value.ndim - 1)), value[:, order], value)


def jitter(
    pictures: Tensor, generator: torch.Generator, *, brightness: float = 0.2, contrast: float = 0.2, noise: float = 0.0
) -> Tensor:
    """Brightness, contrast and noise, drawn for each picture, kept in [0, 1]: [B, C, H, W] → [B, C, H, W]."""
    shape = (len(pictures), *(1,) * (pictures.ndim - 1))
    draw = 2 * torch.rand(2, *shape, generator=generator, device=pictures.device) - 1
    mean = pictures.flatten(1).mean(1).view(shape)
    new = (pictures - mean) * (1 + contrast * draw[0]) + mean + brightness * draw[1]
    if noise:
        new = new + noise * torch.randn(pictures.shape, generator=generator, device=pictures.device)
    return new.clamp(0, 1)


def rectangles(batch: int, size: tuple[int, int], generator: torch.Generator, share: float = 0.25) -> Tensor:
    """One random rectangle a picture, with about `share` of its area: [B, 1, H, W] (bool)."""
    height, width = (max(1, round(side * math.sqrt(share))) for side in size)
    draw = torch.rand(2, batch, 1, generator=generator, device=generator.device)
    top, left = (
        draw[i] * (side - extent + 1) for i, (side, extent) in enumerate(zip(size, (height, width), strict=True))
    )
    y, x = (torch.arange(side, device=generator.device).unsqueeze(0) for side in size)
    inside_y = (y >= top.floor()) & (y < top.floor() + height)
    inside_x = (x >= left.floor()) & (x < left.floor() + width)
    return (inside_y.unsqueeze(2) & inside_x.unsqueeze(1)).unsqueeze(1)


def cutout(pictures: Tensor, generator: torch.Generator, share: float = 0.25) -> tuple[Tensor, Tensor]:
    """Pictures with a rectangle set to 0, and the mask of what is left: [B, C, H, W] → same, [B, 1, H, W]."""
    kept = ~rectangles(len(pictures), (pictures.shape[-2], pictures.shape[-1]), generator, share)
    return pictures * kept, kept


def cutmix(first: Tensor, second: Tensor, mask: Tensor) -> Tensor:
    """`second` where the mask is true, else `first`: pictures, pixel labels [B, H, W] and weights are mixed alike."""
    return torch.where(mask if first.ndim == mask.ndim else mask.squeeze(1), second, first)


def classmix(labels: Tensor, generator: torch.Generator, classes: int) -> Tensor:
    """The mask of half of the classes that a picture shows: pixel labels [B, H, W] → [B, 1, H, W] (bool)."""
    present = F.one_hot(labels, classes).flatten(1, 2).any(1)
    draw = torch.rand(present.shape, generator=generator, device=labels.device).masked_fill(~present, 2.0)
    rank = draw.argsort(1).argsort(1)
    chosen = present & (rank < ((present.sum(1, keepdim=True) + 1) // 2))
    return chosen.gather(1, labels.flatten(1)).view_as(labels).unsqueeze(1)
