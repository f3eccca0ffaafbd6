"""Graphs come out as checked symmetric matrices, from edge lists, matrices and files; what is no graph is refused."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from random import Random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import io, sparse

from tutelage.data.graphs import adjacency, blogcatalog, read_edges, shape_of
from tutelage.errors import InputError

pairs = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), min_size=1, max_size=30)


def dense(*args: object, **options: object) -> list[list[float]]:
    return adjacency(*args, **options).toarray().tolist()


@given(pairs)
def test_an_edge_counts_once_however_often_and_in_whichever_direction_it_is_listed(edges: list[tuple[int, int]]):
    index = np.array(edges).T
    once = dense(index, nodes=7)
    assert once == dense(np.hstack([index, index[::-1], index]), nodes=7)
    expected = np.zeros((7, 7))
    expected[index[0], index[1]] = expected[index[1], index[0]] = 1
    assert once == expected.tolist()


def test_weights_of_a_repeated_pair_are_added_in_whichever_direction():
    for ends in ([[0, 0], [1, 1]], [[0, 1], [1, 0]]):
        assert dense(ends, weights=[1, 2]) == [[0, 3], [3, 0]]
    assert dense([[0, 0], [1, 1]], weights=[1, 2], directed=True) == [[0, 3], [0, 0]]
    assert dense([[0, 1], [1, 0]], weights=[1, 2], directed=True) == [[0, 1], [2, 0]]
    assert dense([[0, 0, 1, 2], [0, 1, 0, 1]], weights=[5, 1, 2, 4]) == [[5, 3, 0], [3, 0, 4], [0, 4, 0]]


def test_a_list_of_all_edges_in_both_directions_has_each_once():
    assert dense([[0, 1], [1, 0]], weights=[2, 2]) == [[0, 2], [2, 0]]
    assert dense([[0, 1, 1, 2, 2], [1, 0, 2, 1, 2]], weights=[2, 2, 3, 3, 5]) == [[0, 2, 0], [2, 0, 3], [0, 3, 5]]


@given(pairs, st.randoms(use_true_random=False))
def test_the_direction_in_which_a_weighted_edge_is_listed_is_nothing(edges: list[tuple[int, int]], luck: Random):
    """Weights are powers of two, so that no two directions are alike by accident."""
    weights = [2.0**n for n in range(min(len(edges), 20))]
    index = np.array(edges[:20]).T
    turned = np.array([pair if luck.random() < 0.5 else pair[::-1] for pair in edges[:20]]).T
    made = adjacency(index, weights=weights, nodes=7)
    assert made.toarray().tolist() == dense(turned, weights=weights, nodes=7)
    expected = np.zeros((7, 7))
    for (a, b), weight in zip(edges, weights, strict=False):
        expected[a, b] += weight
        expected[b, a] += weight * (a != b)
    assert made.toarray().tolist() == expected.tolist()
    assert made.nnz == np.count_nonzero(expected)


def test_direction_self_loops_and_nodes_without_edges_are_as_asked():
    assert dense([[0], [1]], directed=True, nodes=3) == [[0, 1, 0], [0, 0, 0], [0, 0, 0]]
    assert dense([[0, 0], [0, 1]]) == [[1, 1], [1, 0]]
    assert dense([[0, 0], [0, 1]], self_loops=False) == [[0, 1], [1, 0]]


def test_a_matrix_is_taken_as_it_is_and_left_alone():
    given_matrix = sparse.coo_matrix(([1.0, 1.0, 0.0, 2.0], ([0, 1, 2, 2], [1, 0, 0, 2])), shape=(3, 3))
    made = adjacency(given_matrix)
    assert made.toarray().tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 2]]
    assert (made.dtype, made.nnz, made.has_sorted_indices) == (np.float32, 3, True)
    assert given_matrix.nnz == 4
    csr = sparse.csr_array(np.ones((2, 2), np.float32))
    adjacency(csr, self_loops=False)
    assert csr.toarray().tolist() == [[1, 1], [1, 1]]


def test_tensors_are_edge_indices():
    torch = pytest.importorskip("torch")
    assert dense(torch.tensor([[0], [1]])) == [[0, 1], [1, 0]]


@pytest.mark.parametrize(
    ("graph", "options", "message"),
    [
        ([[0, 1], [1, 2], [2, 3]], {}, "give its transpose"),
        ([0, 1], {}, r"edge index \(2, E\); got shape \(2,\)"),
        ([[0.5], [1.0]], {}, "node numbers; got float64"),
        ([[0, 1], [1, 5]], {"nodes": 3}, r"in \[0, 3\); edge 1 is \[1, 5\]"),
        ([[-1], [1]], {}, r"edge 0 is \[-1, 1\]"),
        ([[0], [1]], {"weights": [1, 2]}, "one weight an edge"),
        ([[0], [1]], {"weights": [-1]}, "not negative; found -1"),
        ([[0], [1]], {"weights": [np.nan]}, "found nan"),
        (sparse.csr_array((2, 3)), {}, r"square; got \(2, 3\)"),
        (sparse.csr_array([[0, 1], [0, 0]]), {}, "directed=True"),
        (sparse.csr_array([[0, 1], [2, 0]]), {}, "not symmetric"),
        (sparse.csr_array([[0, 1], [1, 0]]), {"nodes": 2}, "belong to an edge index"),
    ],
)
def test_refuses_what_is_no_graph(graph: object, options: dict[str, object], message: str):
    with pytest.raises(InputError, match=message):
        adjacency(graph, **options)


@pytest.mark.parametrize("mark", ["\t", ",", " "])
def test_a_file_of_edges(tmp_path: Path, mark: str):
    path = tmp_path / "edges.txt"
    path.write_text("# a comment\n% another\n" + "".join(f"{mark.join(row)}\n" for row in ("ab", "bc", "ba")))
    graph = read_edges(path)
    assert sorted(graph.names) == ["a", "b", "c"]
    place = [graph.names.index(name) for name in "abc"]
    assert graph.adjacency.toarray()[np.ix_(place, place)].tolist() == [[0, 1, 0], [1, 0, 1], [0, 1, 0]]


def test_a_packed_file_with_weights_and_a_header(tmp_path: Path):
    path = tmp_path / "edges.csv.gz"
    path.write_bytes(gzip.compress(b"from,to,weight\nx,y,2.5\n"))
    graph = read_edges(path, header=True, directed=True)
    assert graph.names == ["x", "y"]
    assert graph.adjacency.toarray().tolist() == [[0, 2.5], [0, 0]]


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file"), (b"", "cannot read|no edges"), (b"a b\nc\n", "cannot read"), (b"a b x\n", "cannot read")],
)
def test_refuses_a_file_that_holds_no_edges(tmp_path: Path, content: bytes | None, message: str):
    path = tmp_path / "edges.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_edges(path)


def test_a_damaged_archive_is_refused(tmp_path: Path):
    path = tmp_path / "edges.txt.gz"
    path.write_bytes(gzip.compress(b"a b\n" * 100)[:-10])
    with pytest.raises(InputError, match="cannot read"):
        read_edges(path)


def test_a_matlab_file_of_another_kind_is_refused(tmp_path: Path):
    path = tmp_path / "graph.mat"
    with pytest.raises(InputError, match="no such file"):
        blogcatalog(path)
    path.write_bytes(b"not a MATLAB file, " * 20)
    with pytest.raises(InputError, match="cannot read"):
        blogcatalog(path)
    io.savemat(path, {"network": sparse.csc_matrix(np.eye(2))})
    with pytest.raises(InputError, match="`network` and `group`"):
        blogcatalog(path)
    io.savemat(path, {"network": sparse.csc_matrix(np.eye(2)), "group": sparse.csc_matrix(np.eye(3))})
    with pytest.raises(InputError, match="3 rows for 2 nodes"):
        blogcatalog(path)


def test_blogcatalog_has_the_published_counts():
    folder = os.environ.get("TUTELAGE_DATA")
    if folder is None or not (Path(folder) / "blogcatalog.mat").exists():
        pytest.skip("TUTELAGE_DATA has no blogcatalog.mat")
    graph = blogcatalog(Path(folder) / "blogcatalog.mat")
    assert shape_of(graph.adjacency) == (10312, 10312)
    assert graph.adjacency.nnz == 2 * 333_983
    assert graph.labels.shape == (10312, 39)
    assert graph.labels.any(axis=1).all()
