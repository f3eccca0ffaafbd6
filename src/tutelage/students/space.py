"""A space of students: what may be chosen, and how a choice becomes a network."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tutelage.errors import InputError

if TYPE_CHECKING:
    from torch import nn

Architecture = tuple[Any, ...]
"""One option of every choice, in order."""


class Space:
    """Choices, each with at least one option; an architecture takes one option of each.

    Args:
        choices: what is chosen → its options.
        make: architecture → network with fresh weights.

    Attributes: choices; size: number of architectures.

    Raises: InputError: a choice without options, or with the same one twice.

    >>> space = Space({"depth": (1, 3), "width": (8, 16, 32)})
    >>> space.size, list(space.enumerate())[:2], space.encode((3, 16)).tolist()
    (6, [(1, 8), (1, 16)], [1, 1])
    """

    def __init__(
        self, choices: Mapping[str, Sequence[Any]], make: Callable[[Architecture], nn.Module] | None = None
    ) -> None:
        self.choices = {name: tuple(options) for name, options in choices.items()}
        for name, options in self.choices.items():
            if not options or len(set(options)) < len(options):
                raise InputError(f"choice {name!r} needs options that differ; got {options}")
        self.size = math.prod(map(len, self.choices.values()))
        self._make = make

    def enumerate(self) -> Iterator[Architecture]:
        """All architectures, the last choice changing fastest."""
        return itertools.product(*self.choices.values())

    def sample(self, rng: np.random.Generator) -> Architecture:
        """One architecture, all equally likely."""
        return tuple(options[rng.integers(len(options))] for options in self.choices.values())

    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture:
        """Another option for one choice. Raises: InputError: nothing can be chosen."""
        self.encode(architecture)
        free = [place for place, options in enumerate(self.choices.values()) if len(options) > 1]
        if not free:
            raise InputError("a space of one architecture has no mutations")
        place = free[rng.integers(len(free))]
        others = [o for o in list(self.choices.values())[place] if o != architecture[place]]
        return (*architecture[:place], others[rng.integers(len(others))], *architecture[place + 1 :])

    def encode(self, architecture: Architecture) -> np.ndarray:
        """Positions of the options: (choices,) int64. Raises: InputError: it is not of this space."""
        if len(architecture) != len(self.choices):
            raise InputError(f"an architecture has {len(self.choices)} entries; got {architecture}")
        for option, (name, options) in zip(architecture, self.choices.items(), strict=True):
            if option not in options:
                raise InputError(f"{name} is one of {options}; got {option!r}")
        pairs = zip(architecture, self.choices.values(), strict=True)
        return np.array([options.index(option) for option, options in pairs], np.int64)

    def build(self, architecture: Architecture) -> nn.Module:
        """The network, with fresh weights. Raises: InputError: not of this space, or the space makes no networks."""
        self.encode(architecture)
        if self._make is None:
            raise InputError("this space does not say how a network is made; give it `make`")
        return self._make(architecture)
