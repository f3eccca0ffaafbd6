"""Schedules of sizes: the published sequences, one budget for all, and that no presentation is lost."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.curricula.pacing import cycle_sizes, grow_sizes, phase_counts, sharp_sizes, shrink_sizes
from tutelage.errors import InputError

SCHEDULES = [cycle_sizes, sharp_sizes, grow_sizes, shrink_sizes]


def test_a_cycle_goes_up_and_down_between_its_ends():
    assert cycle_sizes(0.25, 1.0, 0.5, budget=5) == [0.25, 0.5, 1.0, 0.5, 0.25, 0.5, 1.0, 0.5, 0.25, 0.5]
    assert cycle_sizes(0.3, 1.0, 0.5, budget=4.7) == pytest.approx([0.3, 0.6, 1.0, 0.5, 0.3, 0.6, 1.0, 0.5])
    assert cycle_sizes(0.1, 0.9, 0.3, budget=2.5) == pytest.approx([0.1, 1 / 3, 0.9, 0.27, 0.1, 1 / 3, 0.9])


def test_twenty_epochs_take_about_thirty_six_phases():
    sizes = cycle_sizes(budget=20)
    assert len(sizes) == 36
    assert sum(sizes) == 20.25


def test_the_others_hold_or_drop():
    assert sharp_sizes(budget=4) == [0.25, 0.5, 1.0, 0.25, 0.5, 1.0, 0.25, 0.5]
    grown = grow_sizes(budget=20)
    assert grown == sorted(grown)
    assert grown.count(0.25) == grown.count(0.5) == 12
    shrunk = shrink_sizes(budget=20)
    assert shrunk == sorted(shrunk, reverse=True)
    assert shrunk.count(1.0) == 12


@given(st.sampled_from(SCHEDULES), st.floats(0.05, 0.7), st.floats(0.1, 0.9), st.floats(0.5, 40))
def test_every_schedule_spends_its_budget_and_at_most_one_phase_more(schedule, start, multiplier, budget):
    sizes = schedule(start, 0.9, multiplier, budget=budget)
    assert all(start - 1e-9 <= size <= 0.9 for size in sizes)
    assert sum(sizes) >= budget - 1e-6
    assert sum(sizes[:-1]) < budget


@given(st.lists(st.floats(0.1, 1.0), min_size=1, max_size=50), st.integers(10, 1000))
def test_counts_add_up_to_the_budget_to_the_example(sizes: list[float], examples: int):
    counts = phase_counts(sizes, examples)
    assert sum(counts) == math.floor(sum(sizes) * examples + 1e-6)
    assert all(abs(count - size * examples) <= 1 for count, size in zip(counts, sizes, strict=True))
    assert max(counts) <= examples


def test_thirds_of_a_hundred_lose_nothing():
    assert phase_counts([1 / 3] * 3, 100) == [33, 33, 34]


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize(
    "settings", [(0.0, 1.0, 0.5), (0.25, 1.1, 0.5), (0.5, 0.5, 0.5), (0.25, 1.0, 1.0), (0.25, 1.0, 0.0)]
)
def test_refuses_sizes_that_are_no_shares(schedule, settings: tuple[float, float, float]):
    with pytest.raises(InputError, match="0 < start < end <= 1"):
        schedule(*settings, budget=3)


@pytest.mark.parametrize("budget", [0, -1.0, math.inf, math.nan])
def test_refuses_a_budget_that_is_none(budget: float):
    with pytest.raises(InputError, match="budget"):
        cycle_sizes(budget=budget)


@pytest.mark.parametrize(
    ("sizes", "message"),
    [([0.5, 0.0], "phase 1 has 0"), ([1.5], "phase 0 has 1.5"), ([0.01], "less than one"), ([], "no phases")],
)
def test_refuses_phases_without_examples(sizes: list[float], message: str):
    with pytest.raises(InputError, match=message):
        phase_counts(sizes, 10)
