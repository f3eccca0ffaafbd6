"""Curves: the power law is found again, flat means flat, areas and crossings by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.evaluation.curves import (
    LearningCurve,
    PowerLaw,
    abruptness,
    area_under,
    first_crossing,
    fit_power_law,
    learning_curve,
    transfer_matrix,
)

SIZES = (100, 200, 400, 800, 1600)


@given(st.floats(0.5, 1.0), st.floats(0.1, 3.0), st.floats(0.1, 1.5))
def test_a_curve_that_is_a_power_law_is_extrapolated(a: float, b: float, c: float) -> None:
    law = PowerLaw(a, b, c)
    fitted = fit_power_law(SIZES, [law(n) for n in SIZES])
    for n in (*SIZES, 3200):
        assert fitted(n) == pytest.approx(law(n), abs=2e-3)


@given(st.lists(st.floats(0, 1), min_size=3, max_size=5))
def test_the_fit_is_bounded(scores: list[float]) -> None:
    law = fit_power_law(SIZES[: len(scores)], scores)
    assert law.a <= 1
    assert law.b >= 0
    assert law.gain_of_doubling(1600) >= 0
    assert law(10**9) <= 1


def test_a_falling_curve_is_fitted_by_a_line_without_gain() -> None:
    assert fit_power_law([1, 2, 3], [0.5, 0.4, 0.3]).gain_of_doubling(3) == 0


def test_pays_until_is_where_a_doubling_adds_that_much() -> None:
    law = PowerLaw(0.9, 2.0, 0.6)
    n = law.pays_until(0.01)
    assert law.gain_of_doubling(n) == pytest.approx(0.01)
    assert law.gain_of_doubling(2 * n) < 0.01
    assert PowerLaw(0.9, 0.0, 1.0).pays_until() == 0


def test_flat_needs_three_sizes_a_flat_law_and_a_flat_last_doubling() -> None:
    still = LearningCurve(SIZES, tuple((0.8,) for _ in SIZES))
    rising = LearningCurve(SIZES, tuple((PowerLaw(0.9, 1.0, 0.4)(n),) for n in SIZES))
    jump = LearningCurve(SIZES, ((0.80,), (0.805,), (0.80,), (0.80,), (0.82,)))
    assert still.flat()
    assert not rising.flat()
    assert not jump.flat()
    assert not LearningCurve((100, 200), ((0.8,), (0.8,))).flat()


def test_advice_names_the_next_size_and_the_gain() -> None:
    law = PowerLaw(0.9, 1.0, 0.4)
    rising = LearningCurve(SIZES, tuple((law(n),) for n in SIZES))
    gain = 100 * law.gain_of_doubling(1600)
    assert f"Doubling the labels to 3,200 would add about {gain:.1f} points of macro-F1" in rising.advice()
    assert "more labels pay up to about" in rising.advice()
    steep = LearningCurve((100, 200, 400), ((0.1,), (0.2,), (0.3,)))
    assert "labels still pay beyond 6,400" in steep.advice()
    assert LearningCurve(SIZES, tuple((0.8,) for _ in SIZES)).advice().startswith("More labels no longer pay")
    assert "Three or more sizes" in LearningCurve((100,), ((0.5,),)).advice()


def test_noise_is_pooled_between_seeds() -> None:
    assert LearningCurve((1, 2), ((0.0, 2.0), (1.0, 1.0))).noise == pytest.approx(1.0)
    assert LearningCurve((1,), ((0.5,),)).noise == 0


def test_learning_curve_asks_every_size_with_every_seed() -> None:
    asked = []
    curve = learning_curve(lambda n, seed: asked.append((n, seed)) or 0.5, [10, 20], seeds=[1, 2])
    assert asked == [(10, 1), (10, 2), (20, 1), (20, 2)]
    assert curve.scores == ((0.5, 0.5), (0.5, 0.5))


def test_transfer_rows_are_trained_on() -> None:
    matrix = transfer_matrix(lambda train, test: {"en": 1.0, "de": 0.5}[train] if train == test else 0.5, ["en", "de"])
    assert matrix.scores.tolist() == [[1.0, 0.5], [0.5, 0.5]]
    assert matrix.ratios() == {"en": 0.5, "de": 1.0}


def test_area_is_the_average_height() -> None:
    assert area_under([0, 1, 3], [0.0, 2.0, 2.0]) == pytest.approx(5 / 3)
    assert area_under([5], [0.3]) == 0.3


def test_crossings_and_their_censoring() -> None:
    assert first_crossing([1, 2, 4], [3, 2, 1], 2, falling=True).step == 2
    never = first_crossing([1, 2, 4], [0.1, 0.2, 0.3], 0.5)
    assert (never.step, never.censored) == (4, True)


def test_a_jump_is_abrupt_and_a_line_is_not() -> None:
    steps = np.arange(101.0)
    assert abruptness(steps, steps) == pytest.approx(0.8 / 0.9)
    assert abruptness(steps, (steps >= 60).astype(float)) == 0
    assert abruptness(steps, -steps) == pytest.approx(0.8 / 0.9)


def test_faults() -> None:
    with pytest.raises(ValueError, match="three or more"):
        fit_power_law([1, 2], [0.1, 0.2])
    with pytest.raises(ValueError, match="ascending"):
        LearningCurve((2, 1), ((0.1,), (0.2,)))
    with pytest.raises(ValueError, match="as many"):
        LearningCurve((1, 2), ((0.1,),))
    with pytest.raises(ValueError, match="ascending steps"):
        area_under([1, 1], [0, 1])
