"""Mixtures: which of several sources (domains, tasks, languages) the next example comes from.

The shares p of the sources follow weights w that may be set anew at any time:

    p_i = floor + (1 − N floor) · w_i^(1/T) / Σ_j w_j^(1/T)

Weights are the sizes of the sources where none are given; T = 1 keeps their proportions, T → ∞ makes the sources equal
(Arivazhagan et al., "Massively Multilingual Neural Machine Translation in the Wild", 2019, arXiv:1907.05019). The source of
every example is drawn from p; within a source examples come in order, and from the front again when they are used up.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypedDict

import numpy as np

from tutelage.errors import InputError


class Drawn(NamedTuple):
    """Where examples come from: number of the source (n,), number of the row in that source (n,)."""

    source: np.ndarray
    row: np.ndarray


class MixtureState(TypedDict):
    """What a sampler needs to go on."""

    weights: list[float]
    positions: list[int]
    draws: int


class MixtureSampler:
    """Deal out examples of N named sources in shares that can be changed between draws.

    What is dealt depends on the sizes, the seed, the weights and the draws so far, and on nothing else.

    Args:
        sizes: source → number of examples. weights: (N,), not all 0; None: the sizes.
        temperature: T > 0, `inf` for equal shares. floor: least share of a source, at most 1 / N.

    Attributes: names; weights (N,), which can be set; shares (N,), which follow.

    Raises: InputError: an empty source, weights that are not N finite numbers >= 0, settings out of range.

    >>> mix = MixtureSampler({"law": 2, "code": 6})
    >>> mix.shares.tolist()
    [0.25, 0.75]
    >>> mix.weights = [1, 0]
    >>> mix.draw(5).row.tolist()  # in order, then from the front again
    [0, 1, 0, 1, 0]
    """

    def __init__(
        self,
        sizes: Mapping[str, int],
        weights: Sequence[float] | np.ndarray | None = None,
        *,
        temperature: float = 1.0,
        floor: float = 0.0,
        seed: int = 0,
    ) -> None:
        self.names, self.sizes = tuple(sizes), np.array([*sizes.values()], np.int64)
        if not self.names or (self.sizes < 1).any():
            empty = [name for name, size in sizes.items() if size < 1]
            raise InputError(f"source '{empty[0]}' is empty" if empty else "a mixture needs at least one source")
        if not temperature > 0 or not 0 <= floor * len(self.names) <= 1:
            raise InputError(
                f"need temperature > 0 and 0 <= floor <= 1/{len(self.names)}; got {temperature} and {floor}"
            )
        self.temperature, self.floor, self.seed = temperature, floor, seed
        self.positions, self.draws = np.zeros_like(self.sizes), 0
        self.weights = self.sizes if weights is None else weights

    @property
    def weights(self) -> np.ndarray:
        return self._weights

    @weights.setter
    def weights(self, values: Sequence[float] | np.ndarray) -> None:
        weights = np.array(values, np.float64)
        if weights.shape != self.sizes.shape or not (np.isfinite(weights) & (weights >= 0)).all() or not weights.any():
            raise InputError(f"need {len(self.sizes)} weights, finite, not negative and not all 0; got {values}")
        self._weights = weights

    @property
    def shares(self) -> np.ndarray:
        """Probability of each source: (N,), sum 1."""
        # Divided by the largest first, so that no power over- or underflows as a whole.
        powers = (self.weights / self.weights.max()) ** (1 / self.temperature)
        return self.floor + (1 - len(powers) * self.floor) * powers / powers.sum()

    def plan(self, n: int) -> Drawn:
        """What the next `draw(n)` deals out; nothing moves."""
        rng = np.random.default_rng((self.seed, self.draws))
        source = rng.choice(len(self.sizes), size=n, p=self.shares)
        before = np.cumsum(np.eye(len(self.sizes), dtype=np.int64)[source], axis=0)[np.arange(n), source] - 1
        return Drawn(source, (self.positions[source] + before) % self.sizes[source])

    def take(self, dealt: Drawn) -> None:
        """Go on behind what `plan` dealt out."""
        counts = np.bincount(dealt.source, minlength=len(self.sizes))
        self.positions, self.draws = (self.positions + counts) % self.sizes, self.draws + 1

    def draw(self, n: int) -> Drawn:
        """The next n examples."""
        dealt = self.plan(n)
        self.take(dealt)
        return dealt

    def state(self) -> MixtureState:
        """Weights, positions and draws so far."""
        return {"weights": self.weights.tolist(), "positions": self.positions.tolist(), "draws": self.draws}

    def load_state(self, state: MixtureState) -> None:
        """Go on from what `state` returned."""
        self.weights, self.draws = state["weights"], state["draws"]
        self.positions = np.array(state["positions"], np.int64)
