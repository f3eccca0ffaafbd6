"""The graph of pairs behind events: weights, triangles and what is shared, against plain counting."""

from __future__ import annotations

from itertools import combinations

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.data.events import TimedEvents
from tutelage.data.projection import Projection, held, triples

groups = st.lists(st.sets(st.integers(0, 6), min_size=1, max_size=4), min_size=1, max_size=14)


def made(sets: list[set[int]]) -> tuple[TimedEvents, list[set[int]]]:
    """The events, and their groups as sets of node numbers."""
    events = TimedEvents.from_groups(sets, range(len(sets)))
    return events, [set(events[e].tolist()) for e in range(len(events))]


@settings(deadline=None)
@given(groups)
def test_weights_triangles_and_shared_neighbours_are_what_counting_gives(sets: list[set[int]]):
    events, rows = made(sets)
    graph, n = Projection(events), len(events.names)
    weights = np.array([[sum({i, j} <= row for row in rows) if i != j else 0 for j in range(n)] for i in range(n)])
    assert graph.weights.toarray().tolist() == weights.tolist()
    linked = weights > 0
    threes = [t for t in combinations(range(n), 3) if all(linked[a, b] for a, b in combinations(t, 2))]
    assert [tuple(t) for t in graph.triangles.tolist()] == threes
    closed = [any(set(t) <= row for row in rows) for t in threes]
    assert [tuple(t) for t in graph.open_triangles.tolist()] == [
        t for t, c in zip(threes, closed, strict=True) if not c
    ]
    assert held(graph.triangles, events).tolist() == closed
    assert graph.events.tolist() == [sum(i in row for row in rows) for i in range(n)]
    assert graph.neighbours.tolist() == linked.sum(axis=1).tolist()
    expected = [[(linked[i] & linked[j]).sum() for i, j in ((a, b), (b, c), (a, c))] for a, b, c in threes]
    assert graph.at(graph.shared, graph.triangles).tolist() == expected
    if threes:
        assert graph.common(graph.triangles).sum(axis=1).tolist() == [
            (linked[list(t)].all(axis=0)).sum() for t in threes
        ]


def test_every_triangle_is_found_in_a_graph_of_some_size():
    graph = nx.gnp_random_graph(60, 0.2, seed=0)
    found = Projection(TimedEvents.from_pairs(*zip(*graph.edges, strict=True), range(graph.size()))).triangles
    assert len(found) == sum(nx.triangles(graph).values()) // 3


def test_entries_of_dense_and_sparse_matrices_are_the_same():
    graph = Projection(TimedEvents.from_groups(["ab", "bc", "ac", "cd"], range(4)))
    rows = np.array([[0, 1], [0, 3], [2, 3]])
    assert graph.at(graph.weights, rows).tolist() == graph.at(graph.weights.toarray(), rows).tolist() == [1, 0, 1]
    alone = Projection(TimedEvents.from_groups(["a", "b"], range(2)))
    assert alone.at(alone.weights, np.array([[0, 1]])).tolist() == [0]
    assert alone.triangles.shape == (0, 3)


def test_large_events_are_left_out_and_said_to_be():
    events = TimedEvents.from_groups([range(26), range(3), range(1, 3)], [1, 2, 3])
    with pytest.warns(UserWarning, match="1 events have more than 25 members and are left out"):
        assert triples(events).tolist() == [[0, 1, 2]]
    with pytest.warns(UserWarning, match="1 events have more than 25 members and are left out"):
        graph = Projection(events)
    assert graph.weights.toarray()[:3, :3].tolist() == [[0, 1, 1], [1, 0, 2], [1, 2, 0]]
    assert graph.weights.nnz == 6, "nobody else has met"
    assert len(graph.open_triangles) == 0
    assert len(graph.source) == 2


def test_where_every_event_is_large_there_is_no_graph():
    with pytest.warns(UserWarning, match="left out"):
        graph = Projection(TimedEvents.from_groups([range(26)], [1]))
    assert (graph.weights.nnz, graph.triangles.shape, graph.events.tolist()) == (0, (0, 3), [0] * 26)
