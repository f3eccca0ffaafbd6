"""The surroundings of points in pictures: read, written, blanked.

Shapes: pictures [B, C, H, W], points [B, K, 2] as (x, y) in pixels, places [B, P, 2] (long), values [B, C, P].
"""

from __future__ import annotations

import torch
from torch import Tensor


def inside(points: Tensor, pictures: Tensor) -> Tensor:
    """Which points lie in their picture: [B, …, 2] → [B, …] (bool); NaN does not.

    >>> inside(torch.tensor([[[0.0, 2.0], [3.0, 0.0]]]), torch.zeros(1, 1, 3, 3)).tolist()
    [[True, False]]
    """
    side = torch.tensor([pictures.shape[-1], pictures.shape[-2]], device=points.device)
    return ((points >= 0) & (points <= side - 1)).all(-1)


def surroundings(points: Tensor, chosen: Tensor, patch: int) -> Tensor:
    """The places of a square around one point a picture: [B, K, 2], [B] → [B, patch², 2], also outside the picture.

    >>> surroundings(torch.tensor([[[4.0, 7.0]]]), torch.tensor([0]), 2).tolist()
    [[[3, 6], [4, 6], [3, 7], [4, 7]]]
    """
    reach = torch.arange(patch, device=points.device) - patch // 2
    offsets = torch.stack(torch.meshgrid(reach, reach, indexing="xy"), -1).flatten(0, 1)
    centre = points[torch.arange(len(points), device=points.device), chosen].nan_to_num().round().long()
    return centre.unsqueeze(1) + offsets


def read_places(pictures: Tensor, places: Tensor) -> Tensor:
    """What is there, at the nearest place inside: [B, C, P]."""
    return pictures.flatten(2).gather(2, _index(pictures, places))


def write_places(pictures: Tensor, places: Tensor, values: Tensor, usable: Tensor) -> Tensor:
    """A copy with `values` at those places that are `usable` [B, P] and inside."""
    spare = pictures.shape[-1] * pictures.shape[-2]
    index = torch.where((usable & inside(places, pictures)).unsqueeze(1), _index(pictures, places), spare)
    room = torch.cat([pictures.flatten(2), pictures.new_zeros(*pictures.shape[:2], 1)], 2)
    return room.scatter(2, index, values.to(pictures.dtype))[..., :-1].view_as(pictures)


def two_of(usable: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Two different random points a picture, usable ones first: [B, K] (bool) → [B], [B]; K is at least 2 for a second."""
    draw = torch.rand(usable.shape, generator=generator, device=usable.device).masked_fill(~usable, 2.0)
    order = draw.argsort(1)
    return order[:, 0], order[:, min(1, order.shape[1] - 1)]


def joint_cutout(
    pictures: Tensor, joints: Tensor, sure: Tensor, *, patch: int, count: int, generator: torch.Generator
) -> Tensor:
    """Set the surroundings of `count` random joints (some perhaps twice) to the picture's mean.

    Args: sure: [B, K] (bool), joints that may be hidden; patch: side of the square.

    >>> x = torch.zeros(1, 1, 3, 3); x[..., 1, 1] = 9.0
    >>> joint_cutout(x, torch.ones(1, 1, 2), torch.ones(1, 1).bool(), patch=1, count=1, generator=torch.Generator()).max()
    tensor(1.)
    """
    mean = pictures.flatten(2).mean(2, keepdim=True).expand(-1, -1, patch**2)
    for _ in range(count):
        chosen, _ = two_of(sure, generator)
        usable = sure.any(1, keepdim=True).expand(-1, patch**2)
        pictures = write_places(pictures, surroundings(joints, chosen, patch), mean, usable)
    return pictures


def _index(pictures: Tensor, places: Tensor) -> Tensor:
    height, width = pictures.shape[-2:]
    index = places[..., 1].clamp(0, height - 1) * width + places[..., 0].clamp(0, width - 1)
    return index.unsqueeze(1).expand(-1, pictures.shape[1], -1)
