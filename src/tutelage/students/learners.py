"""Simulated learners who answer questions: a cohort whose hidden knowledge is known, to try tracers on.

`dynamics="bkt"` is Bayesian knowledge tracing: each learner knows a concept or does not, and after every try learns it
with a personal chance,

    P(known_{t+1}) = known_t + (1 − known_t) · T,      P(right) = 1 − slip if known, else guess

`dynamics="ou"` lets the knowledge z of each concept drift like an Ornstein–Uhlenbeck process between answers that lie d
apart, towards a personal mean that is lifted by its prerequisites j → k, the edges of a random acyclic graph:

    m_k = μ + γ · mean over prerequisites j of z_j,      z_k ← m_k + e^{−α d} (z_k − m_k) + N(0, v_k² (1 − e^{−2 α d}) / (2 α))
    P(right) = σ(1.6 z_k)

with α = exp N(−1, .5²) how fast one forgets, μ ~ N(0, .35²), γ ~ U(.8, 1.4), v = .8 for concepts without prerequisites and
.3 for others; times between answers are exponential with mean .3. Every learner is asked concepts at random.

Sources: Corbett and Anderson, "Knowledge Tracing", 1995; Zhou et al., "Predictive, scalable and interpretable knowledge tracing
    on structured domains", 2024 (arXiv:2403.13179). The figures are ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np

from tutelage.data.knowledge_tracing import AnswerLog
from tutelage.errors import InputError

SLOPE = 1.6
"""How steeply the chance of a right answer rises with z."""


class Cohort(NamedTuple):
    """Learners, their answers, and what only a scorer may look at.

    Attributes: log: S sequences of L answers with times; chance: (N,) the true P(right) of each answer; knowledge: (S, K) known
        (0 or 1) or z at the end; traits: (S, ·) T, or α, μ, γ; edges: (K, K) bool, j → k a prerequisite.
    """

    log: AnswerLog
    chance: np.ndarray
    knowledge: np.ndarray
    traits: np.ndarray
    edges: np.ndarray


@dataclass(frozen=True)
class Learners:
    """A world of learners; all randomness comes from the seed of `cohort`.

    Args: learners, concepts, answers: S, K and answers of each learner; dynamics: "bkt" or "ou"; guess, slip: of "bkt".

    >>> cohort = Learners(learners=3, concepts=2, answers=5).cohort(seed=0)
    >>> len(cohort.log), cohort.log.answers, cohort.knowledge.shape
    (3, 15, (3, 2))

    Raises: InputError: sizes below 1, other dynamics, or guess and slip outside [0, 0.5).
    """

    learners: int = 200
    concepts: int = 6
    answers: int = 40
    dynamics: Literal["bkt", "ou"] = "ou"
    guess: float = 0.2
    slip: float = 0.1

    def __post_init__(self) -> None:
        if min(self.learners, self.concepts, self.answers) < 1 or self.dynamics not in ("bkt", "ou"):
            raise InputError("need at least one learner, concept and answer, and dynamics 'bkt' or 'ou'")
        if not 0 <= self.guess < 0.5 or not 0 <= self.slip < 0.5:
            raise InputError(f"guess and slip are in [0, 0.5); got {self.guess} and {self.slip}")

    def log(self, seed: int) -> AnswerLog:
        """The answers alone."""
        return self.cohort(seed).log

    def cohort(self, seed: int) -> Cohort:
        """Learners, answers and hidden truth of a seed."""
        rng = np.random.default_rng(seed)
        asked = rng.integers(self.concepts, size=(self.learners, self.answers))
        time = np.cumsum(rng.exponential(0.3, size=asked.shape), axis=1)
        chance, knowledge, traits, edges = (self._bkt if self.dynamics == "bkt" else self._ou)(rng, asked, time)
        right = rng.random(asked.shape) < chance
        log = AnswerLog(
            tuple(f"learner {n}" for n in range(1, self.learners + 1)),
            tuple(f"concept {n}" for n in range(1, self.concepts + 1)),
            np.arange(self.learners + 1) * self.answers,
            asked.ravel(),
            right.ravel(),
            time.ravel(),
        )
        return Cohort(log, chance.ravel(), knowledge, traits, edges)

    def _bkt(self, rng: np.random.Generator, asked: np.ndarray, time: np.ndarray) -> tuple[np.ndarray, ...]:
        rows = np.arange(self.learners)
        rate = rng.uniform(0.05, 0.35, self.learners)
        known = rng.random((self.learners, self.concepts)) < 0.3
        chance = np.empty(asked.shape)
        for step in range(self.answers):
            now = rows, asked[:, step]
            chance[:, step] = np.where(known[now], 1 - self.slip, self.guess)
            known[now] |= rng.random(self.learners) < rate
        return chance, known.astype(float), rate[:, None], np.zeros((self.concepts, self.concepts), bool)

    def _ou(self, rng: np.random.Generator, asked: np.ndarray, time: np.ndarray) -> tuple[np.ndarray, ...]:
        alpha = np.exp(rng.normal(-1, 0.5, (self.learners, 1)))
        mu = rng.normal(0, 0.35, (self.learners, 1))
        gamma = rng.uniform(0.8, 1.4, (self.learners, 1))
        edges = np.triu(rng.random((self.concepts, self.concepts)) < 0.4, 1)
        parents = edges / np.maximum(edges.sum(0), 1)
        spread = np.where(edges.any(0), 0.3, 0.8) / np.sqrt(2 * alpha)
        z = mu + rng.normal(size=(self.learners, self.concepts)) * spread
        gaps = np.diff(time, axis=1, prepend=0.0)
        chance = np.empty(asked.shape)
        for step in range(self.answers):
            kept = np.exp(-alpha * gaps[:, [step]])
            mean = mu + gamma * (z @ parents)
            z = mean + kept * (z - mean) + rng.normal(size=z.shape) * spread * np.sqrt(1 - kept**2)
            chance[:, step] = 1 / (1 + np.exp(-SLOPE * z[np.arange(self.learners), asked[:, step]]))
        return chance, z, np.hstack([alpha, mu, gamma]), edges
