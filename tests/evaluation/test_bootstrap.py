"""The bootstrap draws units with replacement, whole clusters together, and is fixed by its seed."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.evaluation.bootstrap import by_cluster, draws, percentile_interval, resampled_sums


@given(st.integers(1, 40), st.integers(1, 30), st.integers(0, 5))
def test_every_resample_draws_n_units(n: int, resamples: int, seed: int) -> None:
    weights = np.concatenate(list(draws(n, resamples=resamples, seed=seed)))
    assert weights.shape == (resamples, n)
    assert (weights.sum(axis=1) == n).all()


def test_sums_are_those_of_the_drawn_rows() -> None:
    x = np.array([[1.0, 10.0], [2.0, 20.0], [4.0, 40.0]])
    sums = resampled_sums(x, resamples=500, seed=1)
    assert np.allclose(sums[:, 1], 10 * sums[:, 0])
    assert set(np.unique(sums[:, 0])) <= {a + b + c for a in (1, 2, 4) for b in (1, 2, 4) for c in (1, 2, 4)}


def test_the_mean_has_its_known_standard_error() -> None:
    x = np.random.default_rng(0).normal(size=(400, 1))
    means = resampled_sums(x, resamples=4_000) / 400
    assert means.std() == pytest.approx(x.std() / 20, rel=0.05)
    low, high = percentile_interval(means)
    assert low == pytest.approx(x.mean() - 1.96 * x.std() / 20, abs=0.01)
    assert high == pytest.approx(x.mean() + 1.96 * x.std() / 20, abs=0.01)


def test_a_cluster_is_drawn_whole() -> None:
    sums = resampled_sums([[1.0, 0.0], [0.0, 1.0], [5.0, 0.0]], resamples=50, cluster=["a", "a", "b"])
    assert {tuple(s) for s in sums} <= {(2.0, 2.0), (6.0, 1.0), (10.0, 0.0)}


def test_clusters_keep_the_order_of_their_first_row() -> None:
    assert by_cluster([[1.0], [2.0], [4.0]], ["z", "a", "z"]).tolist() == [[5.0], [2.0]]


def test_large_inputs_are_drawn_in_blocks_with_the_same_sums() -> None:
    x = np.ones((3_000_000, 1))
    assert resampled_sums(x, resamples=3).ravel().tolist() == [3e6] * 3


def test_undefined_resamples_are_left_out_of_the_interval() -> None:
    assert percentile_interval([np.nan, 1.0, 1.0]) == (1.0, 1.0)
    assert all(np.isnan(percentile_interval([np.nan])))


@pytest.mark.parametrize("bad", [np.zeros((0, 2)), np.zeros(3)])
def test_contributions_must_be_a_table_with_rows(bad: np.ndarray) -> None:
    with pytest.raises(ValueError, match="contributions must be"):
        resampled_sums(bad)
