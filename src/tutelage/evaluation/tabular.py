"""Searches that can be replayed: a table of trained networks, what a search asked of it, and how well scores rank it.

A table holds every network of a small space, trained several times. A search then costs nothing and can be repeated with
a hundred seeds. What it is told is one of the stored runs, drawn anew each time, so that it sees the noise of real
training; the test column is for the scorer.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from tutelage.errors import InputError

Architecture = tuple[Any, ...]


@dataclass(frozen=True)
class Row:
    """One architecture: accuracies of each trained run, in [0, 1], and its size."""

    validation: tuple[float, ...]
    test: tuple[float, ...]
    parameters: int


class TabularBenchmark:
    """Architecture → what its trained runs reached.

    Attributes: rows; about: how the table was made (data, epochs, versions), as plain values.

    Raises: InputError: no rows, or numbers of runs that differ.

    >>> table = TabularBenchmark({(1,): Row((0.5, 0.75), (0.5, 0.5), 10), (2,): Row((1.0, 1.0), (0.75, 0.75), 20)})
    >>> table.ask((2,), np.random.default_rng(0)), table.test((1,)), table.best(), table.regret((1,))
    (1.0, 0.5, (2,), 0.25)
    """

    def __init__(self, rows: Mapping[Architecture, Row], about: Mapping[str, Any] | None = None) -> None:
        self.rows, self.about = dict(rows), dict(about or {})
        if len({(len(row.validation), len(row.test)) for row in self.rows.values()}) != 1:
            raise InputError("a table needs rows, all of them with the same number of runs")

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, architecture: Architecture) -> Row:
        """The row. Raises: InputError: the architecture is not in the table."""
        if architecture not in self.rows:
            raise InputError(f"{architecture} is not one of the table's {len(self)} architectures")
        return self.rows[architecture]

    def ask(self, architecture: Architecture, rng: np.random.Generator) -> float:
        """Validation accuracy of one stored run, drawn at random."""
        runs = self[architecture].validation
        return runs[rng.integers(len(runs))]

    def test(self, architecture: Architecture) -> float:
        """Mean test accuracy of the stored runs; for the scorer only."""
        return float(np.mean(self[architecture].test))

    def best(self) -> Architecture:
        """The architecture with the highest mean test accuracy."""
        return max(self.rows, key=self.test)

    def regret(self, architecture: Architecture) -> float:
        """What the best of the table has more."""
        return self.test(self.best()) - self.test(architecture)

    def save(self, path: str | Path) -> None:
        """Write as JSON, a row a line."""
        lines = [json.dumps({"architecture": a, **asdict(row)}) for a, row in self.rows.items()]
        body = ",\n".join(lines)
        Path(path).write_text(f'{{"about": {json.dumps(self.about)},\n"rows": [\n{body}\n]}}\n', encoding="utf-8")

    @classmethod
    def load(cls, path: str | Path) -> TabularBenchmark:
        """Read what `save` wrote. Raises: InputError: there is no such file, or it is not a table."""
        try:
            stored = json.loads(Path(path).read_text(encoding="utf-8"))
            rows = {
                _tuple(r["architecture"]): Row(tuple(r["validation"]), tuple(r["test"]), int(r["parameters"]))
                for r in stored["rows"]
            }
            return cls(rows, stored["about"])
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is not a table of trained networks: {error}") from error


def _tuple(value: Any) -> Any:
    """Lists of JSON as the tuples that they were."""
    return tuple(map(_tuple, value)) if isinstance(value, list) else value


@dataclass
class SearchLog:
    """What a search asked, in order, and what it was told.

    Attributes: asked: every architecture, repeats too; rewards: of each; seconds: spent on evaluations; epochs: of
        training that they took.
    """

    asked: list[Architecture] = field(default_factory=list)
    rewards: list[float] = field(default_factory=list)
    seconds: float = 0.0
    epochs: int = 0

    @property
    def distinct(self) -> int:
        """Number of different architectures."""
        return len(set(self.asked))

    @property
    def best(self) -> Architecture:
        """The architecture with the highest reward. Raises: InputError: nothing was asked."""
        if not self.asked:
            raise InputError("nothing was evaluated")
        return self.asked[int(np.argmax(self.rewards))]

    def new(self) -> list[int]:
        """Positions at which an architecture was asked for the first time."""
        first = {architecture: i for i, architecture in reversed(list(enumerate(self.asked)))}
        return sorted(first.values())

    def add(self, architecture: Architecture, evaluate: Callable[[Architecture], float], *, epochs: int = 0) -> float:
        """Evaluate, or give the stored reward of what was asked before.

        >>> log = SearchLog()
        >>> [log.add((size,), lambda a: a[0] / 2, epochs=5) for size in (1, 2, 1)], log.distinct, log.epochs, log.best
        ([0.5, 1.0, 0.5], 2, 10, (2,))
        """
        if architecture in self.asked:
            reward = self.rewards[self.asked.index(architecture)]
        else:
            started = time.perf_counter()
            reward = float(evaluate(architecture))
            self.seconds += time.perf_counter() - started
            self.epochs += epochs
        self.asked.append(architecture)
        self.rewards.append(reward)
        return reward


class Proposer(Protocol):
    """Asks for architectures and is told what they are worth."""

    def ask(self, n: int) -> list[Architecture]: ...
    def tell(self, architectures: Sequence[Architecture], rewards: Sequence[float]) -> None: ...


def explore(
    proposer: Proposer,
    evaluate: Callable[[Architecture], float],
    *,
    distinct: int,
    batch: int = 1,
    most: int = 10_000,
    epochs: int = 0,
) -> SearchLog:
    """Ask, evaluate and tell until `distinct` architectures were evaluated, `most` were asked or nothing new is found.

    Args: batch: how many are asked before the proposer is told; epochs: that one evaluation costs.
    """
    log = SearchLog()
    while log.distinct < distinct and len(log.asked) < most and (asked := proposer.ask(batch)):
        proposer.tell(asked, [log.add(architecture, evaluate, epochs=epochs) for architecture in asked])
    return log


@dataclass(frozen=True)
class RankReport:
    """How well scores order what they were given for: Kendall's tau-b, Spearman's rho, and the truth lost by the pick."""

    kendall: float
    spearman: float
    regret: float


def rank_report(scores: Sequence[float] | np.ndarray, truth: Sequence[float] | np.ndarray) -> RankReport:
    """Compare scores with the truth: (N,), (N,). Raises: InputError: fewer than two, lengths that differ, no numbers.

    >>> rank_report([1, 2, 4, 3], [1, 2, 3, 5]).regret
    2.0
    """
    from scipy.stats import kendalltau, spearmanr

    a, b = np.asarray(scores, np.float64), np.asarray(truth, np.float64)
    if a.shape != b.shape or a.ndim != 1 or len(a) < 2 or not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise InputError("need one finite score and one finite truth each, of two or more")
    regret = float(b.max() - b[int(np.argmax(a))])
    kendall, spearman = (float(np.asarray(measure(a, b))[0]) for measure in (kendalltau, spearmanr))
    return RankReport(kendall, spearman, regret)
