"""Category by category: against scikit-learn and krippendorff, by hand, and where nothing can be said."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import cohen_kappa_score

from tutelage.errors import InputError
from tutelage.evaluation.agreement import alpha
from tutelage.evaluation.raters import kappa_gain, mean_agreement, reliability_report

NAN = math.nan


@settings(max_examples=30, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0, 1, NAN]), st.sampled_from([0, 1, NAN])), min_size=4, max_size=40))
def test_a_pair_is_what_the_libraries_say(cells: list[tuple[float, float]]):
    a, b = np.array(cells, float).T
    both = np.isfinite(a) & np.isfinite(b)
    found = mean_agreement([(a, b)], resamples=5)
    other = mean_agreement([(a, b)], measure="alpha", resamples=5)
    assert found.n == both.sum()
    expected = alpha([a, b], resamples=5)
    if math.isnan(expected.value):
        assert math.isnan(other.value)
        assert other.reason
    else:
        assert other.value == pytest.approx(expected.value)
    if len(set(a[both])) > 1 or len(set(b[both])) > 1:
        assert found.value == pytest.approx(cohen_kappa_score(a[both].astype(int), b[both].astype(int)))
    else:
        assert math.isnan(found.value) != (len({*a[both], *b[both]}) > 1)


def test_means_are_over_pairs_that_are_defined():
    a, b, zero = np.array([0.0, 0, 1, 1]), np.array([0.0, 0, 1, 0]), np.zeros(4)
    assert mean_agreement([(a, b), (zero, zero), (a, a)]).value == pytest.approx(0.75)
    nobody = mean_agreement([(zero, zero)])
    assert math.isnan(nobody.value)
    assert nobody.reason == "nobody gave it"
    assert mean_agreement([(np.ones(3), np.ones(3))]).reason == "no rater varies"
    assert mean_agreement([(np.array([1, NAN]), np.array([NAN, 1]))]).reason == "no unit was coded by both"
    assert mean_agreement([]).n == 0


def test_the_report_counts_what_at_least_one_person_gave():
    ann = np.array([[1, 0], [0, NAN], [0, 0], [1, 0]], float)
    ben = np.array([[1, 0], [1, NAN], [0, 0], [NAN, 0]], float)
    first, second = reliability_report({"ann": ann, "ben": ben}, ["a", "b"], model=ann)
    assert (first.positives, first.positive, first.people.n) == (3, 0.75, 3)
    assert first.model is not None
    assert first.model.value == pytest.approx((1 + first.people.value) / 2), "the model is a copy of ann"
    assert (second.positives, second.people.reason) == (0, "nobody gave it")
    alone = reliability_report({"ann": ann}, ["a", "b"])[0]
    assert alone.people.reason == "there is no pair of raters"
    assert alone.model is None


def test_a_gain_is_paired_over_units():
    rng = np.random.default_rng(0)
    person = rng.integers(2, size=200).astype(float)
    good = np.where(rng.random(200) < 0.9, person, 1 - person)
    bad = np.where(rng.random(200) < 0.6, person, 1 - person)
    gains = kappa_gain([(person, good)], [(person, bad)], resamples=500)
    assert gains.shape == (500,)
    assert (gains > 0).mean() > 0.99
    assert not kappa_gain([(person, good)], [(person, good)], resamples=20).any()
    low, high = mean_agreement([(person, good)], resamples=500).interval
    assert low < mean_agreement([(person, good)]).value < high


@pytest.mark.parametrize(
    ("people", "model", "message"),
    [
        ({"ann": np.zeros((2, 3))}, None, r"ann has codes of shape \(2, 3\); 1 categories need \(N, 1\)"),
        ({"ann": np.zeros((2, 1))}, np.zeros((3, 1)), "different numbers of units"),
        ({"ann": np.full((2, 1), 2.0), "ben": np.zeros((2, 1))}, None, "found others"),
    ],
)
def test_refuses_what_are_no_codes(people: dict, model: np.ndarray | None, message: str):
    with pytest.raises(InputError, match=message):
        reliability_report(people, ["a"], model)
