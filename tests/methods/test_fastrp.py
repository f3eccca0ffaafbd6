"""FastRP: its formula with dense matrices, what must not change a result, its limits, and what it refuses."""

from __future__ import annotations

import math
import warnings

import networkx as nx
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from tutelage.errors import InputError
from tutelage.methods.graphs.fastrp import FastRP, fastrp, tune, unit, very_sparse_projection
from tutelage.students import propagation
from tutelage.studies.graphs._deepwalk import walks

KARATE = nx.to_scipy_sparse_array(nx.karate_club_graph())
OPTIONS = [
    {},
    {"weights": (1.0,)},
    {"weights": (0.5, 0, -1.0, 2.0, 0.25)},
    {"weights": (0, 1.0, 0, 0)},
    {"normalise": False},
    {"beta": -1.0},
    {"beta": 0.0},
]


def formula(a: np.ndarray, r: np.ndarray, weights=(0, 0, 1, 6), beta=-0.6, normalise=True) -> np.ndarray:
    """The module's equations, in double precision with powers of a dense matrix."""
    degrees = a.sum(axis=1)
    walk, total = a / degrees[:, None], 0
    for power, weight in enumerate(weights, 1):
        u = np.linalg.matrix_power(walk, power) @ (degrees[:, None] ** beta * r)
        total = total + weight * (u / np.linalg.norm(u, axis=1, keepdims=True) if normalise else u)
    return (total - total.mean(axis=0)) / total.std(axis=0)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_the_formula(options: dict):
    r = very_sparse_projection(34, 6, seed=3)
    z = fastrp(KARATE, 6, seed=3, **options)
    assert z.dtype == np.float32
    assert np.allclose(z, formula(KARATE.toarray(), r.toarray(), **options), atol=1e-4)


def test_a_path_by_hand():
    """0 — 1 — 2 with R = identity of node 0: U_1 = (0, ½, 0), U_2 = (½, 0, ½); standardised (1, −2, 1) / √2."""
    first = np.array([[1.0], [0.0], [0.0]], np.float32)
    z = fastrp([[0, 1], [1, 2]], projection=first, weights=(0, 1), beta=0, normalise=False)
    assert np.allclose(z[:, 0], np.array([1, -2, 1]) / math.sqrt(2), atol=1e-6)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_threads_and_blocks_change_no_bit(monkeypatch: pytest.MonkeyPatch, options: dict):
    alone = fastrp(KARATE, 6, threads=1, **options)
    assert np.array_equal(alone, fastrp(KARATE, 6, threads=3, **options))
    monkeypatch.setattr(propagation, "BLOCK", 32)
    assert np.allclose(alone, fastrp(KARATE, 6, threads=3, **options), atol=1e-5)


def test_a_graph_is_the_same_as_a_matrix_and_as_edges():
    edges = np.array(nx.karate_club_graph().edges).T
    plain = (KARATE > 0).astype(np.float64)
    assert np.array_equal(fastrp(plain, 4), fastrp(edges, 4))
    assert np.array_equal(FastRP(4).fit_transform(edges, nodes=34), fastrp(plain, 4))


def test_the_scale_of_weights_and_of_the_projection_is_nothing():
    r = very_sparse_projection(34, 5)
    assert np.allclose(
        fastrp(KARATE, projection=r), fastrp(KARATE * 7, projection=r * 3, weights=(0, 0, 2, 12)), atol=1e-4
    )


def test_seeds_decide():
    assert np.array_equal(fastrp(KARATE, 4, seed=1), fastrp(KARATE, 4, seed=1))
    assert not np.allclose(fastrp(KARATE, 4, seed=1), fastrp(KARATE, 4, seed=2))


def test_with_features_of_the_nodes_it_propagates_them():
    labels = np.eye(2, dtype=np.float32)[[int(club == "Officer") for _, club in nx.karate_club_graph().nodes("club")]]
    z = fastrp(KARATE, projection=labels, weights=(0, 1))
    assert (np.sign(z[:, 1]) == np.sign(labels[:, 1] - 0.5)).mean() > 0.9


def test_directions_count_where_they_are_asked_for():
    chain = sparse.csr_array(np.array([[0, 1, 0], [0, 0, 1], [0, 0, 0]], np.float32))
    start = np.eye(3, dtype=np.float32)
    with pytest.warns(UserWarning, match="1 of 3 nodes"):
        z = fastrp(chain, projection=start, weights=(1,), beta=0, normalise=False, directed=True)
    reached = z > 0
    assert reached.tolist() == [[False, True, False], [False, False, True], [False, False, False]]


@settings(max_examples=20, deadline=None)
@given(st.integers(2, 400), st.integers(1, 40), st.integers(0, 10**6))
def test_the_projection_has_entries_of_one_size_in_order(n: int, d: int, seed: int):
    r = very_sparse_projection(n, d, seed=seed)
    s = math.sqrt(n) if n >= 100 else min(3, math.sqrt(n))
    assert r.shape == (n, d)
    assert np.allclose(np.abs(r.data), math.sqrt(s / d))
    assert r.has_canonical_format
    expected, deviation = n * d / s, math.sqrt(n * d * (1 - 1 / s) / s)
    assert abs(r.nnz - expected) <= 6 * deviation + 1


def test_the_projection_keeps_lengths_in_expectation_and_fills_every_place_alike():
    n, d, s = 50, 20_000, 5.0
    dense = very_sparse_projection(n, d, s=s, seed=0).toarray()
    x = np.random.default_rng(0).standard_normal(n)
    assert (x @ dense) @ (x @ dense) == pytest.approx(x @ x, rel=0.05)
    assert np.allclose((dense != 0).mean(axis=1), 1 / s, atol=0.015)
    assert np.allclose((dense > 0).mean(axis=1), 0.5 / s, atol=0.012)


def test_communities_are_found_from_a_few_labels():
    graph = nx.planted_partition_graph(4, 50, 0.2, 0.01, seed=0)
    z, y = fastrp(nx.to_scipy_sparse_array(graph), 32), np.repeat(np.arange(4), 50)
    shown = np.arange(200) % 10 == 0
    assert LogisticRegression(C=0.1).fit(z[shown], y[shown]).score(z[~shown], y[~shown]) > 0.9


def test_it_is_an_estimator():
    model = clone(FastRP(8, weights=(1, 2), beta=-0.2, seed=5))
    assert model.fit(KARATE) is model
    assert model.n_features_in_ == 34
    assert np.array_equal(model.embedding_, fastrp(KARATE, 8, weights=(1, 2), beta=-0.2, seed=5))


def test_tuning_finds_what_the_score_asks_for_and_gives_it_back():
    target = fastrp(KARATE, 4, weights=(0, 0, 1, 4), beta=-0.5, seed=2)
    found = tune(KARATE, lambda z: -float(np.abs(z - target).max()), ratios=(1, 4, 16), betas=(-1, -0.5), dim=4, seed=2)
    assert (found.weights, found.beta) == ((0, 0, 1, 4), -0.5)
    assert found.score == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize("directed", [False, True])
def test_whatever_is_embedded_can_be_tuned(directed: bool):
    edges = np.array(nx.karate_club_graph().edges).T
    edges = np.hstack([edges, edges[::-1]]) if directed else edges
    how = {"edge_weights": np.arange(1, edges.shape[1] + 1), "nodes": 36, "directed": directed}
    seen: list[np.ndarray] = []
    with pytest.warns(UserWarning, match="2 of 36 nodes"):
        tune(edges, lambda z: seen.append(z.copy()) or 0.0, ratios=(6,), betas=(-0.6,), dim=4, **how)
    with pytest.warns(UserWarning, match="2 of 36 nodes"):
        expected = fastrp(edges, 4, **how)
    assert np.allclose(seen[0], expected, atol=1e-5)


def test_nodes_without_edges_are_warned_of_and_all_alike():
    with pytest.warns(UserWarning, match="2 of 5 nodes have no edge"):
        z = FastRP(3).fit_transform([[0, 1], [1, 2]], nodes=5)
    assert np.isfinite(z).all()
    assert np.array_equal(z[3], z[4])


def test_unit_rows_stay_zero_where_there_is_nothing():
    assert unit(np.zeros((2, 3), np.float32)).tolist() == [[0, 0, 0]] * 2


def test_warns_of_damping_that_amplifies():
    with pytest.warns(UserWarning, match="amplifies"):
        fastrp(KARATE, 4, beta=0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fastrp(KARATE, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dim": 0}, "dim=0"),
        ({"weights": (0, 0)}, "not all of them 0"),
        ({"weights": ()}, "not all of them 0"),
        ({"weights": (1, math.nan)}, "finite"),
        ({"beta": math.inf}, "beta must be finite"),
        ({"projection": np.zeros((3, 2))}, r"a row a node: 34; got shape \(3, 2\)"),
    ],
)
def test_refuses_settings_that_make_no_sense(options: dict, message: str):
    with pytest.raises(InputError, match=message):
        fastrp(KARATE, **options)


def test_walks_follow_edges_and_begin_everywhere():
    paths = walks(sparse.csr_array(KARATE), per_node=3, length=6, seed=0)
    assert np.array_equal(np.sort(paths[:, 0]), np.repeat(np.arange(34), 3))
    assert (KARATE.toarray()[paths[:, :-1], paths[:, 1:]] > 0).all()
