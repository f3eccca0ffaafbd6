"""Simplicial closure: three who meet in pairs, and whether they will ever meet all together.

Benson et al., "Simplicial Closure and Higher-order Link Prediction", 2018 (arXiv:1802.06916).

Events among groups (a mail to three people, a meeting of five) leave a graph of pairs: W_ij events held both i and j. Three
nodes with all three weights above 0 are a triangle, closed if one event held all three, else open. Two questions:

- `closure_table`: of all threes whose pairs have met never (0), once (1) or more often (2), how many meet in the future?
- `rank_open_triangles`: which open triangles will close? Local scores are generalised means of the three weights,

      M_p = ((W_ij^p + W_jk^p + W_ik^p) / 3)^(1/p),      p = −1 harmonic, 0 geometric, 1 arithmetic, ∓∞ min and max:

  the smaller p is, the more all three pairs have to be strong. The classics of pairwise link prediction stand beside them:
  what three have in common (c_uv shared neighbours of two, c of all three; d neighbours of a node), and sums over the three
  pairs of what Katz and PageRank say. `ClosureModel` learns a mixture from an earlier window.

Shapes: triangles (T, 3) node numbers; weights (T, 3); scores (T,), larger is likelier to close.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from tutelage.data.events import TimedEvents
from tutelage.data.projection import Projection, held, triples
from tutelage.errors import InputError
from tutelage.students.node_similarity import katz, pagerank

Score = Callable[[Projection, np.ndarray], np.ndarray]
"""Scores triangles (T, 3) by the graph that they are in: → (T,)."""

CLASSES = tuple("".join(map(str, c)) for c in combinations_with_replacement(range(3), 3))
"""The ten classes of threes: how often each pair has met, 0, 1 or 2 for more, ascending."""


class Closure(NamedTuple):
    """How many threes of a class were not closed, and how many of these met since."""

    open: int
    closed: int

    @property
    def probability(self) -> float:
        """closed / open; 0 where there are none."""
        return self.closed / self.open if self.open else 0.0


class Ranked(NamedTuple):
    """Three nodes by their names, and their score."""

    names: tuple[Hashable, ...]
    score: float


def closure_table(old: TimedEvents, new: TimedEvents) -> dict[str, Closure]:
    """For each of the ten classes: threes of nodes seen in `old` and not closed there, and those of them that `new` holds.

    Events of more than 25 members are left out of both, with a warning. Threes with a pair that never met are counted from
    wedges, edges and triangles, not listed.

    >>> old, new = TimedEvents.from_groups(["ab", "bc", "ac", "ab", "cd", "abc", "ad"], range(7)).split(0.7)
    >>> table = closure_table(old, new)
    >>> table["112"], table["001"].open, table["011"].open
    (Closure(open=1, closed=1), 0, 2)
    """
    graph = Projection(old)
    met, seen = np.minimum(graph.weights.data, 2), graph.source.seen
    n, edges = int(seen.sum()), {k: int((met == k).sum()) // 2 for k in (1, 2)}
    rows = np.repeat(np.arange(len(graph.neighbours)), graph.neighbours)
    ones, twos = (np.bincount(rows[met == k], minlength=len(graph.neighbours)).astype(np.int64) for k in (1, 2))
    every = _by_class(graph, graph.triangles)
    full = {name: every.get(name, 0) for name in ("111", "112", "122", "222")}
    count = dict(_by_class(graph, graph.open_triangles))
    count["011"] = int((ones * (ones - 1) // 2).sum()) - 3 * full["111"] - full["112"]
    count["012"] = int((ones * twos).sum()) - 2 * full["112"] - 2 * full["122"]
    count["022"] = int((twos * (twos - 1) // 2).sum()) - full["122"] - 3 * full["222"]
    ends = {1: 3 * full["111"] + 2 * full["112"] + full["122"], 2: full["112"] + 2 * full["122"] + 3 * full["222"]}
    for k, double in ((1, "011"), (2, "022")):
        count[f"00{k}"] = edges[k] * (n - 2) - count["012"] - 2 * count[double] - ends[k]
    others = sum(count[name] for name in ("001", "002", "011", "012", "022")) + len(graph.triangles)
    count["000"] = n * (n - 1) * (n - 2) // 6 - others
    future = triples(new)
    future = future[seen[future].all(axis=1)]
    met_since = _by_class(graph, future[~held(future, graph.source)])
    return {name: Closure(count.get(name, 0), met_since.get(name, 0)) for name in CLASSES}


def generalised_mean(weights: np.ndarray, p: float) -> np.ndarray:
    """M_p of each row of positive weights: (T, 3) → (T,).

    >>> [generalised_mean(np.array([[1.0, 4.0, 16.0]]), p).round(3).tolist() for p in (-np.inf, -1, 0, 1, np.inf)]
    [[1.0], [2.286], [4.0], [7.0], [16.0]]
    """
    w = np.asarray(weights, np.float64)
    if p == 0:
        return np.exp(np.log(w).mean(axis=1))
    if np.isinf(p):
        return w.max(axis=1) if p > 0 else w.min(axis=1)
    return (w**p).mean(axis=1) ** (1 / p)


def mean_weight(p: float) -> Score:
    """The generalised mean of the three weights as a score."""
    return lambda graph, triangles: generalised_mean(graph.at(graph.weights, triangles), p)


def common_neighbours(graph: Projection, triangles: np.ndarray) -> np.ndarray:
    """c: nodes that are neighbours of all three."""
    return np.asarray(graph.common(triangles).sum(axis=1), np.float64)


def jaccard(graph: Projection, triangles: np.ndarray) -> np.ndarray:
    """c over the neighbours of any of the three, counted by inclusion and exclusion."""
    c = common_neighbours(graph, triangles)
    pairs = graph.at(graph.shared, triangles).sum(axis=1)
    return c / (graph.neighbours[triangles].sum(axis=1) - pairs + c)


def adamic_adar(graph: Projection, triangles: np.ndarray) -> np.ndarray:
    """Σ 1 / ln d_z over the common neighbours z, who each have three neighbours at least."""
    return np.asarray(graph.common(triangles) @ (1 / np.log(np.maximum(graph.neighbours, 2))), np.float64)


def preferential_attachment(graph: Projection, triangles: np.ndarray) -> np.ndarray:
    """d_i d_j d_k."""
    return graph.neighbours[triangles].astype(np.float64).prod(axis=1)


def by_paths(similarity: Callable[..., np.ndarray], *, weighted: bool) -> Score:
    """Σ over the three pairs, in both directions, of `katz` or `pagerank` on W or on its 0/1 pattern."""

    def score(graph: Projection, triangles: np.ndarray) -> np.ndarray:
        s = similarity(graph.weights if weighted else graph.pattern)
        return graph.at(s + s.T, triangles).sum(axis=1)

    return score


SCORES: dict[str, Score] = {
    "harmonic": mean_weight(-1),
    "geometric": mean_weight(0),
    "arithmetic": mean_weight(1),
    "minimum": mean_weight(-np.inf),
    "maximum": mean_weight(np.inf),
    "common neighbours": common_neighbours,
    "jaccard": jaccard,
    "adamic-adar": adamic_adar,
    "preferential attachment": preferential_attachment,
    "katz": by_paths(katz, weighted=False),
    "weighted katz": by_paths(katz, weighted=True),
    "pagerank": by_paths(pagerank, weighted=False),
    "weighted pagerank": by_paths(pagerank, weighted=True),
}


class ClosureModel(BaseEstimator):
    """A logistic regression over 26 features of a triangle, learned from which ones closed before. It is a `Score`.

    Features: weights, d and events of the three nodes or pairs and their logarithms, shared neighbours of pairs and of all
    three with log(1 + ·); each three sorted, for a triangle has no order.

    >>> old, new = TimedEvents.from_groups(["ab", "bc", "ac", "ad", "cd", "abc", "ad"], range(7)).split(0.7)
    >>> ClosureModel().fit(old, new)(Projection(old), np.array([[0, 1, 2]])).shape
    (1,)
    """

    def fit(self, before: TimedEvents, after: TimedEvents) -> ClosureModel:
        """Learn which open triangles of `before` close in `after`. Raises: InputError: all of them do, or none does."""
        graph = Projection(before)
        closes = held(graph.open_triangles, after)
        if closes.all() or not closes.any():
            raise InputError(
                f"{int(closes.sum())} of {len(closes)} open triangles close: the model needs some that do and some that do not"
            )
        self.model_ = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
        self.model_.fit(features(graph, graph.open_triangles), closes)
        return self

    def __call__(self, graph: Projection, triangles: np.ndarray) -> np.ndarray:
        """Log odds of closing: (T, 3) → (T,)."""
        return self.model_.decision_function(features(graph, triangles))


def features(graph: Projection, triangles: np.ndarray) -> np.ndarray:
    """What `ClosureModel` sees: (T, 3) → (T, 26)."""
    sizes = [graph.at(graph.weights, triangles), graph.neighbours[triangles], graph.events[triangles]]
    sizes = np.column_stack([np.sort(part, axis=1) for part in sizes])
    shared = np.column_stack([np.sort(graph.at(graph.shared, triangles), axis=1), common_neighbours(graph, triangles)])
    return np.column_stack([sizes, shared, np.log(sizes), np.log1p(shared)]).astype(np.float64)


def rank_open_triangles(events: TimedEvents, score: str | Score = "harmonic", top: int | None = None) -> list[Ranked]:
    """The open triangles, likeliest to close first; equals in the order of their nodes.

    Events of more than 25 members are left out, with a warning.

    Args: score: a name from `SCORES`, a function like those, or a fitted `ClosureModel`; top: how many, None for all.

    Raises: InputError: no such score, no open triangle.

    >>> events = TimedEvents.from_groups(["ab", "bc", "ac", "ab", "bd", "cd", "cd"], range(7))
    >>> [(ranked.names, round(ranked.score, 2)) for ranked in rank_open_triangles(events)]
    [(('a', 'b', 'c'), 1.2), (('b', 'c', 'd'), 1.2)]
    """
    if isinstance(score, str) and score not in SCORES:
        raise InputError(f"no score {score!r}; there are {', '.join(SCORES)}")
    graph = Projection(events)
    triangles = graph.open_triangles
    if not len(triangles):
        raise InputError("no open triangle: no three nodes have met in all pairs and never together")
    values = (SCORES[score] if isinstance(score, str) else score)(graph, triangles)
    best = np.argsort(-values, kind="stable")[:top]
    return [Ranked(tuple(events.names[i] for i in triangles[t]), float(values[t])) for t in best]


def _by_class(graph: Projection, rows: np.ndarray) -> dict[str, int]:
    """How many threes there are of each class."""
    met = np.sort(np.minimum(graph.at(graph.weights, rows), 2).astype(int), axis=1)
    names, counts = np.unique(met @ [100, 10, 1], return_counts=True)
    return {f"{name:03d}": int(count) for name, count in zip(names, counts, strict=True)}
