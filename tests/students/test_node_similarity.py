"""Katz and PageRank: their series, their limits, and what they refuse."""

from __future__ import annotations

import networkx as nx
import numpy as np
import pytest
from scipy import sparse

from tutelage.errors import InputError
from tutelage.students.node_similarity import katz, pagerank

KARATE = nx.to_numpy_array(nx.karate_club_graph())


@pytest.mark.parametrize("matrix", [KARATE, KARATE > 0, sparse.csr_array(KARATE)], ids=["weighted", "0/1", "sparse"])
def test_katz_is_the_sum_over_paths_of_every_length(matrix: np.ndarray):
    m = np.asarray(matrix.toarray() if sparse.issparse(matrix) else matrix, np.float64)
    damping = min(0.25 / np.linalg.svd(m)[1][0], 0.5)
    paths = sum(np.linalg.matrix_power(damping * m, length) for length in range(1, 30))
    assert np.allclose(katz(matrix), paths)


def test_katz_of_no_edges_is_zero():
    assert not katz(np.zeros((3, 3))).any()


def test_pagerank_is_the_personalised_one():
    graph, s = nx.karate_club_graph(), pagerank(KARATE)
    assert np.allclose(s.sum(axis=0), 1)
    expected = nx.pagerank(graph, alpha=0.85, personalization={5: 1}, tol=1e-12, max_iter=1000)
    assert np.allclose(s[:, 5], [expected[node] for node in graph])
    assert np.allclose(pagerank(KARATE, damping=0), np.eye(34))


def test_refuses_what_it_cannot_invert():
    with pytest.raises(InputError, match="square"):
        katz(np.zeros((2, 3)))
    with pytest.raises(InputError, match=r"in \[0, 1\)"):
        pagerank(KARATE, damping=1)
    with pytest.raises(InputError, match="local scores"):
        katz(sparse.csr_array((20_001, 20_001)))
