"""Which architecture to try next: at random, from the best so far, or from a population that ages.

A proposer has two verbs: `ask(n)` gives up to n architectures, fewer where it finds no new ones, and `tell` says what
they were worth. It works on anything with `sample(rng)` and `mutate(architecture, rng)`, such as `students.space.Space`.
No proposer asks the same architecture twice.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import numpy as np

from tutelage.errors import InputError

Architecture = tuple[Any, ...]
TRIES = 1000
"""Draws without a new architecture after which a proposer gives up."""


class Searchable(Protocol):
    """What a proposer needs of a space."""

    def sample(self, rng: np.random.Generator) -> Architecture: ...
    def mutate(self, architecture: Architecture, rng: np.random.Generator) -> Architecture: ...


def rank_sum(criteria: np.ndarray | Sequence[Sequence[float]]) -> np.ndarray:
    """Sum of the ranks of each row over all columns, ties at their mean rank: (N, c) → (N,), larger is better.

    Criteria of different scales count alike.

    >>> rank_sum([[0.1, 300.0], [0.2, 100.0], [0.3, 200.0]]).tolist()
    [4.0, 3.0, 5.0]
    """
    from scipy.stats import rankdata

    values = np.asarray(criteria, np.float64)
    return np.asarray(rankdata(values, axis=0)).sum(axis=1)


class RandomSearch:
    """Architectures at random, none twice.

    Args: space; seed; accept: whether an architecture is allowed, for instance small enough.
    """

    def __init__(
        self, space: Searchable, *, seed: int = 0, accept: Callable[[Architecture], bool] | None = None
    ) -> None:
        self.space, self.rng, self.accept = space, np.random.default_rng(seed), accept
        self.seen: set[Architecture] = set()

    def propose(self) -> Architecture:
        """A draw, which may be one that was seen."""
        return self.space.sample(self.rng)

    def ask(self, n: int) -> list[Architecture]:
        """Up to n architectures that were not asked before."""
        found: list[Architecture] = []
        for _ in range(n):
            for _ in range(TRIES):
                drawn = self.propose()
                if drawn not in self.seen and (self.accept is None or self.accept(drawn)):
                    self.seen.add(drawn)
                    found.append(drawn)
                    break
            else:
                break
        return found

    def tell(self, architectures: Sequence[Architecture], rewards: Sequence[Any] | np.ndarray) -> None:
        """Nothing is learnt."""


class HillClimb(RandomSearch):
    """One choice changed in the best architecture so far.

    >>> from tutelage.students.space import Space
    >>> climb = HillClimb(Space({"a": range(10)}), seed=1)
    >>> for _ in range(10):
    ...     tried = climb.ask(1)
    ...     climb.tell(tried, [float(a[0]) for a in tried])
    >>> climb.best
    (9,)
    """

    def __init__(
        self, space: Searchable, *, seed: int = 0, accept: Callable[[Architecture], bool] | None = None
    ) -> None:
        super().__init__(space, seed=seed, accept=accept)
        self.best: Architecture | None = None
        self.reward = -np.inf
        self._stuck = 0

    def propose(self) -> Architecture:
        """A neighbour of the best; anything, where all neighbours seem to be seen."""
        self._stuck += 1
        if self.best is None or self._stuck > TRIES // 2:
            return super().propose()
        return self.space.mutate(self.best, self.rng)

    def ask(self, n: int) -> list[Architecture]:
        """Up to n neighbours of the best that were not asked before."""
        found: list[Architecture] = []
        for _ in range(n):
            self._stuck = 0
            found += super().ask(1)
        return found

    def tell(self, architectures: Sequence[Architecture], rewards: Sequence[Any] | np.ndarray) -> None:
        """Keep what is better than the best."""
        for architecture, reward in zip(architectures, rewards, strict=True):
            if float(reward) > self.reward:
                self.best, self.reward = architecture, float(reward)


class Evolution(RandomSearch):
    """Regularised evolution (Real et al. 2019): mutate a tournament's winner; the oldest leaves.

    Args:
        population: how many live; the first ones are drawn at random.
        tournament: how many of them are compared; with several criteria the winner has the highest sum of ranks.

    Raises: InputError: not 1 ≤ tournament ≤ population.
    """

    def __init__(
        self,
        space: Searchable,
        *,
        population: int = 50,
        tournament: int = 10,
        seed: int = 0,
        accept: Callable[[Architecture], bool] | None = None,
    ) -> None:
        if not 1 <= tournament <= population:
            raise InputError(f"need 1 <= tournament <= population; got {tournament} and {population}")
        super().__init__(space, seed=seed, accept=accept)
        self.tournament, self.size = tournament, population
        self.population: deque[tuple[Architecture, np.ndarray]] = deque(maxlen=population)

    def propose(self) -> Architecture:
        """A draw until the population is full, then a mutation."""
        if len(self.population) < self.size and len(self.seen) < self.size:
            return super().propose()
        if not self.population:
            raise InputError("tell the first population's rewards before more is asked")
        drawn = self.rng.choice(len(self.population), min(self.tournament, len(self.population)), replace=False)
        winner = int(np.argmax(rank_sum(np.stack([self.population[i][1] for i in drawn]))))
        return self.space.mutate(self.population[drawn[winner]][0], self.rng)

    def tell(self, architectures: Sequence[Architecture], rewards: Sequence[Any] | np.ndarray) -> None:
        """Add to the population: one reward or several criteria an architecture."""
        for architecture, reward in zip(architectures, rewards, strict=True):
            self.population.append((architecture, np.atleast_1d(np.asarray(reward, np.float64))))
