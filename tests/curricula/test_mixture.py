"""Mixtures: shares, order, cycles, and going on from a state."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.curricula.mixture import MixtureSampler
from tutelage.errors import InputError

SIZES = st.lists(st.integers(1, 9), min_size=1, max_size=5)


def named(sizes: list[int]) -> dict[str, int]:
    return {f"s{i}": size for i, size in enumerate(sizes)}


def test_shares_by_hand():
    sizes = {"a": 1, "b": 4, "c": 4}
    assert MixtureSampler(sizes).shares.tolist() == pytest.approx([1 / 9, 4 / 9, 4 / 9])
    assert MixtureSampler(sizes, temperature=2.0).shares.tolist() == pytest.approx([0.2, 0.4, 0.4])
    assert MixtureSampler(sizes, temperature=math.inf).shares.tolist() == pytest.approx([1 / 3] * 3)
    assert MixtureSampler(sizes, [0, 0, 1], floor=0.1).shares.tolist() == pytest.approx([0.1, 0.1, 0.8])
    assert MixtureSampler(sizes, [0, 0, 1], floor=1 / 3).shares.tolist() == pytest.approx([1 / 3] * 3)
    assert MixtureSampler({"a": 1, "b": 1}, [1e-300, 1e-300], temperature=0.5).shares.tolist() == [0.5, 0.5]


@given(SIZES, st.integers(0, 50), st.floats(0.1, 5), st.floats(0, 1))
def test_shares_are_probabilities_above_the_floor(sizes: list[int], seed: int, temperature: float, floor: float):
    least = floor / len(sizes)
    mix = MixtureSampler(named(sizes), temperature=temperature, floor=least, seed=seed)
    assert mix.shares.sum() == pytest.approx(1)
    assert (mix.shares >= least - 1e-12).all()


@given(SIZES, st.lists(st.integers(0, 12), min_size=1, max_size=4), st.integers(0, 50))
def test_every_source_comes_in_order_and_from_the_front_again(sizes: list[int], counts: list[int], seed: int):
    mix = MixtureSampler(named(sizes), seed=seed)
    drawn = [mix.draw(n) for n in counts]
    for number, size in enumerate(sizes):
        rows = np.concatenate([row[source == number] for source, row in drawn])
        assert rows.tolist() == [i % size for i in range(len(rows))]


def test_frequencies_follow_the_weights_that_stand():
    mix = MixtureSampler({"a": 100, "b": 300}, seed=3)
    assert np.mean(mix.draw(20_000).source) == pytest.approx(0.75, abs=0.01)
    mix.weights = [3, 1]
    assert np.mean(mix.draw(20_000).source) == pytest.approx(0.25, abs=0.01)


def test_a_plan_moves_nothing_and_a_state_goes_on():
    mix = MixtureSampler({"a": 3, "b": 5}, seed=1)
    mix.draw(7)
    mix.weights = [1, 2]
    planned, again = mix.plan(9), mix.plan(9)
    assert np.array_equal(planned, again)
    other = MixtureSampler({"a": 3, "b": 5}, seed=1)
    other.load_state(mix.state())
    assert np.array_equal(mix.draw(9), planned)
    assert np.array_equal(other.draw(9), planned)
    assert np.array_equal(other.draw(4), mix.draw(4))
    assert not np.array_equal(
        MixtureSampler({"a": 3, "b": 5}, seed=2).plan(30), MixtureSampler({"a": 3, "b": 5}).plan(30)
    )


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: MixtureSampler({}), "at least one source"),
        (lambda: MixtureSampler({"a": 1, "b": 0}), "source 'b' is empty"),
        (lambda: MixtureSampler({"a": 1}, temperature=0), "temperature > 0"),
        (lambda: MixtureSampler({"a": 1, "b": 1}, floor=0.6), "floor <= 1/2"),
        (lambda: MixtureSampler({"a": 1, "b": 1}, [1]), "need 2 weights"),
        (lambda: MixtureSampler({"a": 1, "b": 1}, [0, 0]), "not all 0"),
        (lambda: MixtureSampler({"a": 1, "b": 1}, [1, -1]), "not negative"),
        (lambda: MixtureSampler({"a": 1, "b": 1}, [1, math.nan]), "finite"),
    ],
)
def test_what_does_not_fit_is_refused(call, words: str):
    with pytest.raises(InputError, match=words):
        call()
