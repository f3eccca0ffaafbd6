"""Steps of a walk are means over neighbours, whatever the blocks and threads; standardising is what it says."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from tutelage.students import propagation
from tutelage.students.propagation import power_chain, standardise


def graph(n: int, density: float, seed: int) -> tuple[sparse.csr_array, np.ndarray]:
    """A random weighted graph, some of whose nodes have no edges, and its transitions."""
    rng = np.random.default_rng(seed)
    dense = np.triu(rng.random((n, n)) * (rng.random((n, n)) < density)).astype(np.float32)
    dense += np.triu(dense, 1).T
    degrees = dense.sum(axis=1, keepdims=True)
    return sparse.csr_array(dense), np.divide(dense, degrees, out=np.zeros_like(dense), where=degrees > 0)


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 30), st.integers(1, 9), st.floats(0, 1), st.integers(0, 99), st.booleans())
def test_powers_are_those_of_the_dense_matrix(n: int, d: int, density: float, seed: int, thin: bool):
    matrix, walk = graph(n, density, seed)
    start = np.random.default_rng(seed).standard_normal((n, d)).astype(np.float32)
    expected = start
    for u in power_chain(matrix, sparse.csr_array(start) if thin else start, 3):
        expected = walk @ expected
        assert np.allclose(u, expected, atol=1e-5)


@pytest.mark.parametrize("thin", [True, False])
def test_blocks_and_threads_change_no_bit(monkeypatch: pytest.MonkeyPatch, thin: bool):
    matrix, _ = graph(40, 0.3, 1)
    start = np.random.default_rng(0).standard_normal((40, 6)).astype(np.float32)
    first = [u.copy() for u in power_chain(matrix, sparse.csr_array(start) if thin else start, 3, threads=1)]
    monkeypatch.setattr(propagation, "BLOCK", 30)
    second = [u.copy() for u in power_chain(matrix, sparse.csr_array(start) if thin else start, 3, threads=3)]
    assert all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_the_last_two_powers_stay_as_they_were():
    matrix, walk = graph(20, 0.4, 2)
    start = np.eye(20, dtype=np.float32)
    *_, third, fourth = power_chain(matrix, start, 4)
    assert np.allclose(third, np.linalg.matrix_power(walk, 3), atol=1e-6)
    assert np.allclose(fourth, np.linalg.matrix_power(walk, 4), atol=1e-6)


def test_standardising_keeps_its_precision_where_the_mean_is_large(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(propagation, "BLOCK", 50)
    small = np.random.default_rng(0).standard_normal((400, 3))
    z = standardise((1000 + small).astype(np.float32))
    expected = (small - small.mean(axis=0)) / small.std(axis=0)
    assert np.abs(z - expected).max() < 1e-3
    assert np.allclose(z.mean(axis=0, dtype=np.float64), 0, atol=1e-4)


def test_a_constant_column_becomes_zero():
    z = standardise(np.full((7, 1), 0.1, np.float32))
    assert not z.any()
