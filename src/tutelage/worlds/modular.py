"""Arithmetic modulo a prime as a table of questions: small enough to memorise, regular enough to understand.

Networks that are trained on a part of the table know that part long before they know the rest: they grok.

Power et al., "Grokking: Generalization Beyond Overfitting on Small Algorithmic Datasets", 2022 (arXiv:2201.02177).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from tutelage.errors import InputError

Operation = Literal["add", "subtract", "quadratic"]
"""i + j, i − j, or i² + ij + j², all mod p."""


@dataclass(frozen=True)
class ModularArithmetic:
    """Questions (i, j) and answers in 0 … p − 1.

    Args:
        p: the prime.
        operation: what is asked; "subtract" is not symmetric.
        unordered: only pairs with i ≤ j, so that no question is the mirror of another; p (p + 1) / 2 of them.

    Raises: InputError: p is no prime, an unknown operation, unordered differences.

    >>> world = ModularArithmetic(5)
    >>> x, y = world.table()
    >>> x[-2:].tolist(), y[-2:].tolist()
    ([[3, 4], [4, 4]], [2, 3])
    >>> train, test = world.split(0.4, torch.Generator().manual_seed(0))
    >>> len(train["x"]), len(test["x"])
    (6, 9)
    """

    p: int = 53
    operation: Operation = "add"
    unordered: bool = True

    def __post_init__(self) -> None:
        if self.p < 2 or any(self.p % d == 0 for d in range(2, int(self.p**0.5) + 1)):
            raise InputError(f"p must be a prime, as 53; got {self.p}")
        if self.operation not in get_args(Operation):
            raise InputError(f"operation is one of {', '.join(get_args(Operation))}; got {self.operation!r}")
        if self.operation == "subtract" and self.unordered:
            raise InputError("i - j and j - i are different questions: say unordered=False")

    def answers(self, x: Tensor) -> Tensor:
        """[n, 2] → [n]."""
        i, j = x.unbind(1)
        match self.operation:
            case "add":
                return (i + j) % self.p
            case "subtract":
                return (i - j) % self.p
        return (i * i + i * j + j * j) % self.p

    def table(self) -> tuple[Tensor, Tensor]:
        """All questions in order, [n, 2], and their answers [n]."""
        every = torch.cartesian_prod(torch.arange(self.p), torch.arange(self.p))
        x = every[every[:, 0] <= every[:, 1]] if self.unordered else every
        return x, self.answers(x)

    def split(self, share: float, generator: torch.Generator) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        """The table at random into ⌊share · n⌋ questions for training and the others, each as x [n, 2] and y [n].

        Raises: InputError: a share that leaves one of the parts empty.
        """
        x, y = self.table()
        count = int(share * len(x) + 1e-9)
        if not 0 < count < len(x):
            raise InputError(f"the share for training is in (0, 1), with an example on both sides; got {share}")
        order = torch.randperm(len(x), generator=generator)
        train, test = order[:count], order[count:]
        return {"x": x[train], "y": y[train]}, {"x": x[test], "y": y[test]}

    def batch(self, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        """`n` questions at random, with replacement: x [n, 2], y [n]."""
        x, y = self.table()
        drawn = torch.randint(len(x), (n,), generator=generator)
        return {"x": x[drawn], "y": y[drawn]}

    @staticmethod
    def card() -> str:
        """What is random here, and why it matters."""
        return (
            "Random: which questions are for training. The whole table is small, so it can be memorised; its rows are "
            "shifts of one another, so a few waves explain all of it. What is learnt of the unseen part is understood."
        )
