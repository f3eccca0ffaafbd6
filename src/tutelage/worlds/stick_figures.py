"""Stick figures: people of a few strokes, whose left and right limbs differ only in brightness.

Strokes are soft: a pixel at distance d of a segment is covered by clip(w + ½ − d, 0, 1), w half the stroke's width. They are
painted one over the other: distractors, legs, torso, head, arms; then something may stand in front.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from tutelage.errors import InputError

POINTS = ("head", "neck", "left elbow", "right elbow", "left hand", "right hand", "pelvis", "left foot", "right foot")
"""Names of the key points, in order."""
PAIRS = ((2, 3), (4, 5), (7, 8))
"""Left and right of the same joint."""
SIDE = 48
"""Pixels of a picture's side; all lengths are in them."""


def paint(
    picture: Tensor, start: Tensor, end: Tensor, half_width: Tensor | float, brightness: Tensor | float
) -> Tensor:
    """One soft stroke over every picture: [B, H, W], [B, 2], [B, 2] as (x, y) → [B, H, W]. A stroke of no length is a disc.

    >>> paint(torch.zeros(1, 3, 3), torch.tensor([[0.0, 1.0]]), torch.tensor([[2.0, 1.0]]), 0.5, 1.0)[0].tolist()
    [[0.0, 0.0, 0.0], [1.0, 1.0, 1.0], [0.0, 0.0, 0.0]]
    """
    y, x = torch.meshgrid(*(torch.arange(side, dtype=picture.dtype) for side in picture.shape[1:]), indexing="ij")
    place = torch.stack([x, y], -1) - start[:, None, None]
    along = (end - start)[:, None, None]
    share = ((place * along).sum(-1) / along.square().sum(-1).clamp(min=1e-6)).clamp(0, 1)
    distance = (place - share.unsqueeze(-1) * along).norm(dim=-1)
    width, light = (torch.as_tensor(v, dtype=picture.dtype).view(-1, 1, 1) for v in (half_width, brightness))
    return torch.lerp(picture, light.expand_as(picture), (width + 0.5 - distance).clamp(0, 1))


@dataclass(frozen=True)
class StickFigures:
    """People of nine key points on a 48 × 48 grey picture.

    The torso leans, arms bend any way, legs spread; left limbs are bright (0.95), right ones dim (0.60), which is the only
    cue to tell them apart. Behind are stripes and strokes that look like limbs; a rectangle may hide a part.

    Args: distractors: strokes behind; occlusion: probability of a rectangle in front; noise: standard deviation.

    Raises: InputError: a negative number, a probability above 1.

    >>> people = StickFigures().batch(4, torch.Generator().manual_seed(0))
    >>> people["x"].shape, people["joints"].shape, people["truth"].dtype
    (torch.Size([4, 1, 48, 48]), torch.Size([4, 9, 2]), torch.bool)
    """

    distractors: int = 3
    occlusion: float = 0.5
    noise: float = 0.05

    def __post_init__(self) -> None:
        if self.distractors < 0 or self.noise < 0 or not 0 <= self.occlusion <= 1:
            raise InputError(f"need distractors and noise >= 0 and occlusion in [0, 1]; got {self}")

    def batch(self, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        """`n` people.

        Returns: x [n, 1, 48, 48] in [0, 1]; joints [n, 9, 2] as (x, y), also where hidden or outside the picture; truth
            [n, 9] (bool): hidden by the rectangle.
        """

        def uniform(low: float, high: float, *shape: int) -> Tensor:
            return low + (high - low) * torch.rand(n, *shape, generator=generator)

        joints = _skeleton(n, generator)
        grid = torch.arange(SIDE, dtype=torch.float32)
        wave, phase = uniform(0.1, 0.5, 2), uniform(0, 2 * math.pi, 1, 1)
        stripes = (wave[:, :1, None] * grid + wave[:, 1:, None] * grid.view(-1, 1) + phase).sin()
        picture = uniform(0.1, 0.4, 1, 1) + 0.1 * stripes
        for _ in range(self.distractors):
            start, turn, length = uniform(0, SIDE - 1, 2), uniform(0, 2 * math.pi), uniform(6, 16)
            end = start + length.unsqueeze(1) * torch.stack([turn.cos(), turn.sin()], -1)
            picture = paint(picture, start, end, 1.1, uniform(0.4, 0.95))
        head, neck, left_elbow, right_elbow, left_hand, right_hand, pelvis, left_foot, right_foot = joints.unbind(1)
        radius = (head - neck).norm(dim=-1) * (3 / 4.5)
        strokes = (
            (pelvis, right_foot, 1.1, 0.60), (pelvis, left_foot, 1.1, 0.95), (pelvis, neck, 1.1, 0.8), (head, head, radius, 0.8),
            (neck, right_elbow, 1.1, 0.60), (right_elbow, right_hand, 1.1, 0.60),
            (neck, left_elbow, 1.1, 0.95), (left_elbow, left_hand, 1.1, 0.95),
        )  # fmt: skip
        for start, end, width, light in strokes:
            picture = paint(picture, start, end, width, light)
        corner, sides, light = uniform(0, SIDE - 6, 2), uniform(6, 14, 2), uniform(0.1, 0.9, 1, 1)
        there = uniform(0, 1) < self.occlusion
        inside = [(grid >= corner[:, i : i + 1]) & (grid < (corner + sides)[:, i : i + 1]) for i in (0, 1)]
        front = there[:, None, None] & inside[0].unsqueeze(1) & inside[1].unsqueeze(2)
        picture = torch.where(front, light, picture)
        hidden = ((joints >= corner.unsqueeze(1)) & (joints < (corner + sides).unsqueeze(1))).all(-1)
        picture = picture + self.noise * torch.randn(picture.shape, generator=generator)
        return {"x": picture.clamp(0, 1).unsqueeze(1), "joints": joints, "truth": hidden & there.unsqueeze(1)}

    def card(self) -> str:
        """Sizes, what is random, and why the structure matters."""
        return (
            f"{SIDE} × {SIDE} grey pictures of one person with {len(POINTS)} key points; pose, size and place are random, "
            f"{self.distractors} strokes lie behind, a rectangle hides a part in {self.occlusion:.0%}: left and right look "
            f"alike, so a labeller that is sure of a joint may be sure of the wrong side"
        )


def _skeleton(n: int, generator: torch.Generator) -> Tensor:
    """Key points of `n` people: [n, 9, 2]."""

    def uniform(low: float, high: float) -> Tensor:
        return low + (high - low) * torch.rand(n, generator=generator)

    def towards(degrees: Tensor) -> Tensor:
        """The unit vector that is turned so far from straight down."""
        turn = degrees.deg2rad()
        return torch.stack([turn.sin(), turn.cos()], -1)

    size = uniform(0.75, 1.2).unsqueeze(1)
    pelvis = torch.stack([24 + uniform(-6, 6), 28 + uniform(-6, 6)], -1)
    up = -towards(20 * torch.randn(n, generator=generator))
    neck = pelvis + 11 * size * up
    head = neck + 4.5 * size * up
    arms, legs = [], []
    for side in (-1, 1):
        upper = uniform(-150, 150)
        elbow = neck + 6 * size * towards(upper)
        arms.append((elbow, elbow + 6 * size * towards(upper + uniform(-100, 100))))
        legs.append(pelvis + 12 * size * towards(15.0 * side + 25 * torch.randn(n, generator=generator)))
    (left_elbow, left_hand), (right_elbow, right_hand) = arms
    points = (head, neck, left_elbow, right_elbow, left_hand, right_hand, pelvis, *legs)
    return torch.stack(points, 1)
