"""Paired tests: exact small cases, coverage of the interval, and the units that are kept together."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.evaluation.significance import bh, paired_bootstrap, permutation_test, sign_test

FLOATS = st.lists(st.floats(-5, 5), min_size=1, max_size=20)


@given(FLOATS)
def test_swapping_the_arms_mirrors_the_value(values: list[float]) -> None:
    forward = paired_bootstrap(values, [0.0] * len(values), resamples=200)
    backward = paired_bootstrap([0.0] * len(values), values, resamples=200)
    assert forward.value == pytest.approx(-backward.value)
    assert forward.interval == pytest.approx((-backward.interval[1], -backward.interval[0]))
    assert forward.p == backward.p


def test_the_interval_is_the_normal_one_for_many_pairs() -> None:
    d = np.random.default_rng(3).normal(0.1, 1, 2_000)
    result = paired_bootstrap(d)
    error = d.std() / np.sqrt(2_000)
    assert result.interval == pytest.approx((d.mean() - 1.96 * error, d.mean() + 1.96 * error), abs=0.003)


def test_clusters_of_copies_widen_the_interval() -> None:
    d = np.repeat(np.random.default_rng(0).normal(size=40), 10)
    plain, clustered = paired_bootstrap(d), paired_bootstrap(d, cluster=np.repeat(np.arange(40), 10))
    width = [r.interval[1] - r.interval[0] for r in (plain, clustered)]
    assert width[1] / width[0] == pytest.approx(np.sqrt(10), rel=0.15)


def test_nested_resampling_sees_the_spread_between_seeds() -> None:
    rng = np.random.default_rng(0)
    seeds = [rng.normal(shift, 0.1, 500) for shift in (-1.0, 0.0, 1.0)]
    nested = paired_bootstrap(seeds, resamples=2_000)
    pooled = paired_bootstrap(np.concatenate(seeds), resamples=2_000)
    assert nested.value == pytest.approx(pooled.value)
    assert nested.interval[1] - nested.interval[0] > 5 * (pooled.interval[1] - pooled.interval[0])


def test_seeds_may_hold_different_numbers_of_items_and_count_the_same() -> None:
    assert paired_bootstrap([[1.0], [0.0, 0.0, 0.0]], resamples=10).value == 0.5


def test_sign_test_is_the_binomial() -> None:
    assert sign_test([1] * 9 + [-1], alternative="greater") == pytest.approx(11 / 1024)
    assert sign_test([1, 1, 1, 1, 1, 0], alternative="greater") == pytest.approx(1 / 32)  # the tie is left out
    assert sign_test([0.5, 0.5], [0.5, 0.5]) == 1.0


def test_permutation_is_exact_on_few_pairs_and_close_on_many() -> None:
    assert permutation_test([1, 2, 3], alternative="greater") == 1 / 8
    assert permutation_test([1, 2, 3], alternative="less") == 1.0
    d = np.random.default_rng(0).normal(0.3, 1, 12)
    assert permutation_test(d, resamples=4_000) == pytest.approx(permutation_test(d, resamples=5_000), abs=0.02)


def test_clusters_are_flipped_together() -> None:
    assert permutation_test([1.0, 1.0, 1.0, 1.0], cluster=["a", "a", "b", "b"]) == 2 / 4


@given(st.lists(st.floats(0, 1), min_size=1, max_size=20))
def test_adjusted_p_values_keep_their_order_and_never_shrink(p: list[float]) -> None:
    adjusted = bh(p)
    assert (adjusted >= np.array(p) - 1e-12).all()
    assert (np.diff(adjusted[np.argsort(p, kind="stable")]) >= -1e-12).all()


def test_bh_by_hand() -> None:
    assert bh([0.01, 0.04, 0.03]).tolist() == pytest.approx([0.03, 0.04, 0.04])


def test_faults() -> None:
    with pytest.raises(ValueError, match="paired values"):
        paired_bootstrap([1.0, 2.0], [1.0])
    with pytest.raises(ValueError, match="finite"):
        paired_bootstrap([1.0, float("nan")])
    with pytest.raises(ValueError, match="several seeds"):
        paired_bootstrap([[1.0], [2.0]], cluster=["a"])
