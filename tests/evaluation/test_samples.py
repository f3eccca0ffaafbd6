"""Distances between clouds: closed forms of Gaussians, translations by hand, and what makes a distance."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.linalg import sqrtm
from scipy.stats import wasserstein_distance

from tutelage.errors import InputError
from tutelage.evaluation.samples import frechet_distance, random_directions, sliced_wasserstein


def cloud(seed: int, n: int = 60, d: int = 3) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(n, d)) @ rng.normal(size=(d, d)) + rng.normal(size=d)


def test_frechet_by_hand_in_one_dimension():
    """Means 1 and 4, standard deviations √2 and 2√2 (of n − 1): 9 + (√2 − 2√2)²."""
    assert frechet_distance([[0.0], [2.0]], [[2.0], [6.0]]) == pytest.approx(9 + 2)


@given(st.integers(0, 1000), st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_frechet_is_the_textbook_form_and_symmetric(a: int, b: int):
    x, y = cloud(a), cloud(b, n=80)
    p, q = np.cov(x.T), np.cov(y.T)
    textbook = ((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(p + q - 2 * np.real(sqrtm(p @ q)))
    assert frechet_distance(x, y) == pytest.approx(textbook, abs=1e-4, rel=1e-4)
    assert frechet_distance(x, y) == pytest.approx(frechet_distance(y, x), abs=1e-6)
    assert frechet_distance(x, x) == pytest.approx(0, abs=1e-6)


def test_frechet_of_features_that_never_vary_is_finite():
    x = np.c_[cloud(0), np.zeros(60)]
    assert frechet_distance(x, x + 1) == pytest.approx(4)


def test_sliced_is_the_mean_over_directions_of_the_distance_in_one_dimension():
    x, y, along = cloud(0), cloud(1), random_directions(7, 3, seed=5)
    each = [wasserstein_distance(x @ w, y @ w) for w in along]
    assert sliced_wasserstein(x, y, along) == pytest.approx(np.mean(each))


@given(st.integers(0, 1000))
@settings(max_examples=20, deadline=None)
def test_sliced_knows_no_order_and_moves_with_a_shift(seed: int):
    x, along = cloud(seed), random_directions(5, 3, seed=seed)
    shift = np.array([1.0, -2.0, 0.5])
    assert sliced_wasserstein(x, x[::-1], along) == pytest.approx(0)
    assert sliced_wasserstein(x, x + shift, along) == pytest.approx(np.abs(along @ shift).mean())
    assert sliced_wasserstein(x, cloud(seed + 1), along) == pytest.approx(sliced_wasserstein(cloud(seed + 1), x, along))


def test_directions_belong_to_a_seed_and_cover_the_sphere():
    along = random_directions(4000, 3, seed=1)
    assert np.array_equal(along, random_directions(4000, 3, seed=1))
    assert not np.array_equal(along, random_directions(4000, 3, seed=2))
    assert np.abs(along.mean(0)).max() < 0.05
    assert np.allclose(along.T @ along / 4000, np.eye(3) / 3, atol=0.03)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((3, 2)), np.zeros((3, 4)), "one d"),
        (np.zeros(3), np.zeros(3), "one d"),
        (np.zeros((0, 2)), np.zeros((3, 2)), "one d"),
        (np.full((3, 2), np.nan), np.zeros((3, 2)), "finite"),
        (np.zeros((1, 2)), np.zeros((3, 2)), "two samples"),
    ],
)
def test_refuses_clouds_that_have_no_distance(x, y, message: str):
    with pytest.raises(InputError, match=message):
        frechet_distance(x, y)


def test_sliced_refuses_other_numbers_and_other_directions():
    with pytest.raises(InputError, match="as many samples"):
        sliced_wasserstein(np.zeros((3, 2)), np.zeros((4, 2)), np.eye(2))
    with pytest.raises(InputError, match="directions must be"):
        sliced_wasserstein(np.zeros((3, 2)), np.zeros((3, 2)), np.eye(3))
