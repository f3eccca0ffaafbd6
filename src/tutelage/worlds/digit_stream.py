"""A stream of real digits that never stops changing: one corruption after the other, and round again."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, TypedDict

import torch
from torch import Tensor

from tutelage.data.digits import TOTAL, Part, digits
from tutelage.errors import InputError
from tutelage.worlds.corruptions import CORRUPTIONS


class Moment(TypedDict):
    """One batch of a stream. A model sees `x` alone; the rest is for whoever scores it."""

    x: Tensor
    y: Tensor
    domain: str
    cycle: int


@dataclass(frozen=True)
class CorruptedDigitStream:
    """Clean digits to train on, and an unlabelled stream of other digits whose corruption changes every few batches.

    Pictures are 16 × 16, the pixels of scikit-learn's digits each four times. Every corruption lasts `batches` batches; the
    eleven of `CORRUPTIONS` make a cycle, and cycles follow one another without a sign.

    Args:
        split: seed of the division into `source` clean pictures and the others, which feed the stream.
        cycles, batches, size: length of the stream: cycles, batches a corruption, pictures a batch.
        order: the corruptions in their fixed order, or shuffled anew in each cycle.
        temporal: the pictures of a corruption come sorted by class, so that a batch holds few classes: the hard mode.

    Raises: InputError: sizes that do not fit the 1797 pictures.

    >>> world = CorruptedDigitStream(cycles=1, batches=1)
    >>> moments = list(world.stream(torch.Generator().manual_seed(0)))
    >>> [moment["domain"] for moment in moments][:3], moments[0]["x"].shape
    (['noise', 'impulse', 'blur'], torch.Size([50, 1, 16, 16]))
    """

    split: int = 0
    cycles: int = 6
    batches: int = 6
    size: int = 50
    source: int = 900
    order: Literal["fixed", "shuffled"] = "fixed"
    temporal: bool = False

    def __post_init__(self) -> None:
        held = TOTAL - self.source
        if min(self.cycles, self.batches, self.size, self.source) < 1 or self.batches * self.size > held:
            raise InputError(f"a corruption shows {self.batches} × {self.size} of {held} pictures: no picture twice")
        if self.order not in ("fixed", "shuffled"):
            raise InputError(f"order is 'fixed' or 'shuffled'; got {self.order!r}")

    def clean(self) -> Part:
        """The labelled pictures [source, 1, 16, 16]: none of them is in the stream."""
        return self._parts()[0]

    def stream(self, generator: torch.Generator) -> Iterator[Moment]:
        """The batches in their order."""
        x, y = self._parts()[1]
        names = list(CORRUPTIONS)
        for cycle in range(self.cycles):
            shuffled = torch.randperm(len(names), generator=generator).tolist()
            for number in shuffled if self.order == "shuffled" else range(len(names)):
                chosen = torch.randperm(len(x), generator=generator)[: self.batches * self.size]
                if self.temporal:
                    chosen = chosen[y[chosen].argsort(stable=True)]
                for rows in chosen.split(self.size):
                    corrupted = CORRUPTIONS[names[number]](x[rows], generator)
                    yield {"x": corrupted, "y": y[rows], "domain": names[number], "cycle": cycle}

    def batch(self, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        """`n` pictures of the stream's, the corruptions taking turns: x [n, 1, 16, 16], y [n], `truth` [n]: which corruption."""
        x, y = self._parts()[1]
        rows = torch.randint(len(x), (n,), generator=generator)
        kind = torch.arange(n) % len(CORRUPTIONS)
        corrupted = torch.empty(n, *x.shape[1:])
        for number, corruption in enumerate(CORRUPTIONS.values()):
            if len(chosen := rows[kind == number]):
                corrupted[kind == number] = corruption(x[chosen], generator)
        return {"x": corrupted, "y": y[rows], "truth": kind}

    def card(self) -> str:
        """Sizes, what is random, and why the structure matters."""
        return (
            f"{self.source} clean digits to train on; then {self.cycles} cycles of {len(CORRUPTIONS)} corruptions, "
            f"{self.batches} batches of {self.size} other digits each{', sorted by class' if self.temporal else ''}: what is "
            f"learnt on one corruption is tried on the next, and errors that a model teaches itself have cycles to add up"
        )

    def _parts(self) -> tuple[Part, ...]:
        return digits(self.split, self.source, TOTAL - self.source, flat=False, size=16)
