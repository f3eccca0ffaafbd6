"""Worlds made of scikit-learn's real digits (`tutelage.data.digits`)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from tutelage.data.digits import TOTAL, digits
from tutelage.errors import InputError


@dataclass(frozen=True)
class DigitBags:
    """Bags of noisy digits, one label a bag: does it hold a positive instance?

    Positive instances are rare and of two kinds: easy ones (a 0, like nothing else) and hard ones (an 8, like a 3, 9 or 1).
    In `easy_share` of the positive bags both kinds take turns, easy first; the others hold hard ones only. A model that
    looks for 0 alone solves most bags where that share is high, and fails where it is low.

    Args:
        easy, hard: the digits of the two kinds; all other digits are negative.
        easy_share: of positive bags that hold easy instances.
        sizes: instances a bag, from and to (excluded).
        rate: share of instances that are positive in a positive bag, from and to; at least one.
        noise: standard deviation, on pixels in [0, 1].
        half: which half of the pictures is drawn from; the halves share none.
        split: seed of the halves.

    Raises: InputError: ranges that are empty, equal digits, shares outside [0, 1].

    >>> world = DigitBags()
    >>> bags = world.batch(6, torch.Generator().manual_seed(0))
    >>> bags["x"].shape, bags["mask"].shape, bags["y"].tolist()
    (torch.Size([6, 80, 64]), torch.Size([6, 80]), [0, 1, 0, 1, 0, 1])
    >>> bool(((bags["truth"] > 0).any(1) == bags["y"].bool()).all())
    True
    """

    easy: int = 0
    hard: int = 8
    easy_share: float = 0.8
    sizes: tuple[int, int] = (40, 81)
    rate: tuple[float, float] = (0.03, 0.15)
    noise: float = 0.15
    half: Literal[0, 1] = 0
    split: int = 0

    def __post_init__(self) -> None:
        if self.easy == self.hard or not 0 <= self.easy_share <= 1 or self.half not in (0, 1):
            raise InputError(f"need two digits, a share in [0, 1] and half 0 or 1; got {self}")
        if not (1 <= self.sizes[0] < self.sizes[1] and 0 < self.rate[0] <= self.rate[1] <= 1):
            raise InputError(f"need sizes and rates from low to high; got {self.sizes} and {self.rate}")

    def batch(self, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        """`n` bags, every second one positive.

        Returns: x [n, longest, 64], mask [n, longest], y [n], and `truth` [n, longest]: 0 negative, 1 easy, 2 hard; the
            places behind a bag's end are 0.
        """
        longest = self.sizes[1] - 1
        y = torch.arange(n) % 2
        size = torch.randint(*self.sizes, (n,), generator=generator)
        rate = self.rate[0] + (self.rate[1] - self.rate[0]) * torch.rand(n, generator=generator)
        positives = (size * rate).round().clamp(min=1).long() * y
        both = torch.rand(n, generator=generator) < self.easy_share
        place = torch.arange(longest)
        positive = place < positives.unsqueeze(1)
        kind = torch.where(both.unsqueeze(1) & (place % 2 == 0), 1, 2) * positive
        part = digits(self.split, TOTAL // 2, TOTAL - TOTAL // 2)[self.half]
        draw = torch.rand(n, longest, generator=generator)
        x = torch.zeros(n, longest, part.x.shape[1])
        chosen = ((part.y != self.easy) & (part.y != self.hard), part.y == self.easy, part.y == self.hard)
        for value, among in enumerate(chosen):
            pictures = part.x[among]
            here = kind == value
            x[here] = pictures[(draw[here] * len(pictures)).long()]
        x += self.noise * torch.randn(x.shape, generator=generator)
        mask = place < size.unsqueeze(1)
        order = torch.rand(n, longest, generator=generator).masked_fill(~mask, 2.0).argsort(1)
        x = x.gather(1, order.unsqueeze(2).expand_as(x)) * mask.unsqueeze(2)
        return {"x": x, "mask": mask, "y": y, "truth": kind.gather(1, order) * mask}

    def card(self) -> str:
        """Sizes, what is random, and why the structure matters."""
        return (
            f"bags of {self.sizes[0]} to {self.sizes[1] - 1} noisy digits; {self.rate[0]:.0%} to {self.rate[1]:.0%} of a "
            f"positive bag are {self.easy} (easy) or {self.hard} (hard), {1 - self.easy_share:.0%} of positive bags hold only "
            f"hard ones: attending to the easy kind alone is a shortcut that pays in training"
        )
