"""Real digits seen from many places: turned, or through cameras that each have their own background, gain and habits.

A domain is a view of scikit-learn's digits (`tutelage.data.digits`). Rotation makes domains contradict one another: a 6
upside down is a 9, a 5 is nearly a 2. Cameras do not: one network could be right for all of them, and what they add to the
picture is gone when the domain's mean is subtracted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from tutelage.data.digits import TOTAL, Part, digits
from tutelage.data.domains import DomainSet
from tutelage.data.views import warp
from tutelage.errors import InputError

CLASSES = 10


@dataclass(frozen=True)
class DigitViews:
    """One domain of digits.

    Args:
        rotate: degrees, counter-clockwise.
        camera: the number of a camera: a smooth background, a gain, for every second one light and dark swapped, and
            digits that it sees more often than others. None: no camera.
        background: how strong cameras' backgrounds are, on pixels in [0, 1].
        split: seed of the order of the pictures.

    Raises: InputError: a camera that is negative.

    >>> world = DigitViews(rotate=90.0)
    >>> seen = world.batch(4, torch.Generator().manual_seed(0))
    >>> seen["x"].shape, torch.allclose(world.view(world.view(world.view(world.view(seen["x"])))), seen["x"], atol=1e-5)
    (torch.Size([4, 64]), True)
    """

    rotate: float = 0.0
    camera: int | None = None
    background: float = 0.7
    split: int = 0

    def __post_init__(self) -> None:
        if self.camera is not None and self.camera < 0:
            raise InputError(f"cameras are numbered from 0; got {self.camera}")

    def view(self, x: Tensor) -> Tensor:
        """Pictures [n, 64] as this domain shows them, [n, 64]."""
        angle = math.radians(self.rotate)
        turn = x.new_tensor([[math.cos(angle), -math.sin(angle), 0.0], [math.sin(angle), math.cos(angle), 0.0]])
        x = warp(x.view(-1, 1, 8, 8), turn.expand(len(x), 2, 3)).flatten(1)
        if self.camera is None:
            return x
        generator = torch.Generator().manual_seed(self.camera)
        coarse = torch.rand(1, 1, 3, 3, generator=generator)
        gain = 0.5 + 0.7 * torch.rand((), generator=generator)
        light = 1 - x if self.camera % 2 else x
        return self.background * F.interpolate(coarse, (8, 8), mode="bilinear").flatten() + gain * light

    def prior(self) -> Tensor:
        """How often this domain sees each digit: [10], sums to 1."""
        if self.camera is None:
            return torch.full((CLASSES,), 1 / CLASSES)
        generator = torch.Generator().manual_seed(self.camera + 10_000)
        return (1.2 * torch.randn(CLASSES, generator=generator)).softmax(0)

    def choose(self, y: Tensor, n: int, generator: torch.Generator) -> Tensor:
        """`n` of the pictures with labels y, as often as the prior has it, with replacement: row numbers [n]."""
        share = self.prior()[y] / torch.bincount(y, minlength=CLASSES)[y]
        return torch.multinomial(share, n, replacement=True, generator=generator)

    def batch(self, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        """`n` pictures of this domain: x [n, 64] and y [n]; `truth` [n] is the picture's number among all digits."""
        (every,) = digits(self.split, TOTAL)
        chosen = self.choose(every.y, n, generator)
        return {"x": self.view(every.x[chosen]), "y": every.y[chosen], "truth": chosen}

    def card(self) -> str:
        """What is random, and why the structure matters."""
        return (
            f"digits turned by {self.rotate:g}°, camera {self.camera}: pictures are drawn, the view is fixed; turned digits "
            "contradict one another between domains (6 and 9), cameras differ by what is added and by their priors"
        )


def rotated_digits(
    seed: int,
    *,
    sizes: tuple[int, int, int] = (1200, 200, 397),
    domains: int = 12,
    shared: bool = False,
) -> DomainSet:
    """Source domains at 0°, 30°, … (for twelve), targets half-way between them, validation domains at a quarter of the way.

    Pictures of the three roles are disjoint.

    Args: sizes: pictures of source, validation and target; shared: every source domain shows all source pictures; else each
        shows its own part of them.

    >>> places = rotated_digits(0, domains=4, sizes=(40, 10, 10))
    >>> [domain.name for domain in places.target], len(places.source[0])
    (['45.0°', '135.0°', '225.0°', '315.0°'], 10)
    """
    step = 360 / domains
    source, val, target = digits(seed, *sizes)
    cut = _cut(source, domains, shared)
    views = {kind: [DigitViews(rotate=step * (i + share)) for i in range(domains)] for kind, share in _SHARES.items()}
    return DomainSet(
        {f"{v.rotate:.1f}°": (v.view(part.x), part.y) for v, part in zip(views["source"], cut, strict=True)},
        {f"{v.rotate:.1f}°": (v.view(val.x), val.y) for v in views["val"]},
        {f"{v.rotate:.1f}°": (v.view(target.x), target.y) for v in views["target"]},
    )


def camera_digits(
    seed: int,
    *,
    sizes: tuple[int, int, int] = (1200, 200, 397),
    domains: int = 12,
    shown: int = 200,
) -> DomainSet:
    """Cameras of their own for each role; each shows `shown` pictures, drawn by its prior from its role's pictures.

    >>> places = camera_digits(0, domains=3, sizes=(60, 20, 20), shown=30)
    >>> len(list(places)), len(places.target[0])
    (9, 30)
    """
    generator = torch.Generator().manual_seed(seed)
    parts = digits(seed, *sizes)
    held: list[dict[str, tuple[Tensor, Tensor]]] = []
    for role, part in enumerate(parts):
        cameras = [DigitViews(camera=1000 * seed + role * domains + i) for i in range(domains)]
        chosen = [camera.choose(part.y, shown, generator) for camera in cameras]
        held.append(
            {f"camera {c.camera}": (c.view(part.x[i]), part.y[i]) for c, i in zip(cameras, chosen, strict=True)}
        )
    return DomainSet(*held)


_SHARES = {"source": 0.0, "val": 7 / 30, "target": 0.5}


def _cut(part: Part, domains: int, shared: bool) -> Sequence[Part]:
    if shared:
        return [part] * domains
    each = len(part.x) // domains
    return [Part(part.x[i * each : (i + 1) * each], part.y[i * each : (i + 1) * each]) for i in range(domains)]
