"""Events among groups, projected to the graph of their pairs, and the threes within it.

With A_ei = 1 where node i is in event e, the projection is W = Aᵀ A without its diagonal: W_ij counts the events that hold
both i and j. Three nodes whose pairs all have W > 0 are a triangle. It is *closed* if one event held all three, else *open*.
Events of more than 25 members are left out of both, of pairs and of threes: who was at a conference has not met everybody.
Source: Benson et al. 2018 (arXiv:1802.06916).

Shapes: W (n, n) CSR; triangles and triples (T, 3) node numbers, ascending in a row, rows sorted.
"""

from __future__ import annotations

import warnings
from functools import cached_property
from itertools import combinations

import numpy as np
from scipy.sparse import csr_array

from tutelage.data.events import TimedEvents

LARGEST = 25
"""Members of an event beyond which it is left out (25 have 2,300 threes already)."""


class Projection:
    """The weighted graph of pairs behind events.

    Events of more than 25 members are left out, with a warning.

    Attributes: source: the events that count; weights: W (n, n) float32; neighbours, events (n,): how many of them each
        node has.

    >>> graph = Projection(TimedEvents.from_groups(["ab", "ab", "bc", "ac", "cd"], range(5)))
    >>> graph.triangles.tolist(), graph.at(graph.weights, graph.triangles).tolist()
    ([[0, 1, 2]], [[2.0, 1.0, 1.0]])
    """

    def __init__(self, events: TimedEvents) -> None:
        events = _listed(events)
        incidence = events.incidence()
        weights = csr_array(incidence.T @ incidence)
        weights.setdiag(0)
        weights.eliminate_zeros()
        weights.sort_indices()
        self.source, self.weights = events, weights
        self.neighbours = np.diff(weights.indptr)
        self.events = np.asarray(incidence.sum(axis=0), np.int64)

    @cached_property
    def pattern(self) -> csr_array:
        """W with every weight 1."""
        w = self.weights
        return csr_array((np.ones_like(w.data), w.indices, w.indptr), shape=w.shape)

    @cached_property
    def triangles(self) -> np.ndarray:
        """All triangles, open and closed: (T, 3). Each is found once, at its corner with the fewest neighbours."""
        rank = np.argsort(np.argsort(self.neighbours, kind="stable"))
        found = [np.empty((0, 3), np.int64)]
        for node in range(len(rank)):
            near = self.pattern.indices[self.pattern.indptr[node] : self.pattern.indptr[node + 1]]
            near = near[rank[near] > rank[node]].astype(np.int64)
            pairs = near[np.column_stack(np.triu_indices(len(near), 1))]
            linked = pairs[self.at(self.pattern, pairs) > 0]
            found.append(np.column_stack([np.full(len(linked), node), linked]))
        return np.unique(np.sort(np.concatenate(found), axis=1), axis=0)

    @cached_property
    def open_triangles(self) -> np.ndarray:
        """The triangles that no event held whole: (T, 3)."""
        return self.triangles[~held(self.triangles, self.source)]

    @cached_property
    def shared(self) -> csr_array:
        """Common neighbours of every two nodes: (n, n)."""
        counts = csr_array(self.pattern @ self.pattern)
        counts.sort_indices()
        return counts

    def common(self, triangles: np.ndarray) -> csr_array:
        """Which nodes are neighbours of all three: (T, 3) → (T, n) of 0 and 1."""
        i, j, k = (self.pattern[column] for column in triangles.T)
        return csr_array(i.multiply(j).multiply(k))

    def at(self, matrix: csr_array | np.ndarray, rows: np.ndarray) -> np.ndarray:
        """Entries of a matrix at pairs (P, 2) → (P,), or at the pairs ij, jk, ik of triples (T, 3) → (T, 3)."""
        if rows.shape[1] == 3:
            return np.stack([self.at(matrix, rows[:, pair]) for pair in ([0, 1], [1, 2], [0, 2])], axis=1)
        if isinstance(matrix, np.ndarray):
            return matrix[rows[:, 0], rows[:, 1]]
        n = len(self.neighbours)
        if not matrix.nnz:
            return np.zeros(len(rows), matrix.dtype)
        cells = np.repeat(np.arange(n), np.diff(matrix.indptr)) * n + matrix.indices
        wanted = rows[:, 0] * n + rows[:, 1]
        places = np.minimum(np.searchsorted(cells, wanted), len(cells) - 1)
        return np.where(cells[places] == wanted, matrix.data[places], matrix.dtype.type(0))


def triples(events: TimedEvents) -> np.ndarray:
    """Every three nodes that some event held: (C, 3), each once; events of more than 25 members are left out, with a warning.

    >>> triples(TimedEvents.from_groups(["abc", "bc", "bcd"], range(3))).tolist()
    [[0, 1, 2], [1, 2, 3]]
    """
    events = _listed(events)
    sizes = events.sizes
    found = [np.empty((0, 3), np.int64)]
    for size in np.unique(sizes[sizes > 2]):
        groups = events.members[events.starts[:-1][sizes == size][:, None] + np.arange(size)]
        picked = np.array(list(combinations(range(size), 3)))
        found.append(np.unique(np.sort(groups, axis=1), axis=0)[:, picked].reshape(-1, 3))
    return np.unique(np.concatenate(found), axis=0)


def held(rows: np.ndarray, events: TimedEvents) -> np.ndarray:
    """Whether some event held all three: (T, 3) → (T,) bool."""
    return np.isin(_keys(rows, len(events.names)), _keys(triples(events), len(events.names)))


def _listed(events: TimedEvents) -> TimedEvents:
    """The events without the large ones, of which the caller's caller is warned."""
    small = events.sizes <= LARGEST
    if small.all():
        return events
    large = int((~small).sum())
    warnings.warn(f"{large} events have more than {LARGEST} members and are left out", stacklevel=3)
    starts = np.concatenate([[0], np.cumsum(events.sizes[small])])
    return TimedEvents(events.times[small], starts, events.members[np.repeat(small, events.sizes)], events.names)


def _keys(rows: np.ndarray, n: int) -> np.ndarray:
    return (rows[:, 0] * n + rows[:, 1]) * n + rows[:, 2]
