"""Drift: hand-computed statistics, quiet on the same kind of text, loud on another."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.errors import InputError
from tutelage.evaluation.drift import NAMES, DriftMonitor, Reference, psi, word_numbers, word_profile

SPORT = ["goal", "match", "team", "cup", "player", "league", "coach", "season", "striker", "keeper"]
MARKET = ["oil", "price", "bank", "shares", "profit", "market", "rate", "fund", "trader", "bond"]


def texts_of(words: list[str], n: int, seed: int) -> list[str]:
    rng = np.random.default_rng(seed)
    return [" ".join(rng.choice(words, 8)) for _ in range(n)]


def said_of(n: int, seed: int, first: float = 0.5) -> tuple[np.ndarray, np.ndarray]:
    """Probabilities of two labels, the first of which wins with the given rate; and the labels given."""
    rng = np.random.default_rng(seed)
    sure = rng.uniform(0.7, 0.99, n)
    wins = rng.random(n) < first
    probs = np.where(wins[:, None], np.stack([sure, 1 - sure], 1), np.stack([1 - sure, sure], 1))
    return probs, probs == probs.max(1, keepdims=True)


def reference(window: int = 100) -> Reference:
    probs, labels = said_of(600, 1)
    return Reference.learn(texts_of(SPORT, 500, 0), texts_of(SPORT, 600, 1), probs, labels, window=window)


def test_psi_by_hand():
    expected = (0.6 - 0.5) * np.log(0.6 / 0.5) + (0.4 - 0.5) * np.log(0.4 / 0.5)
    assert psi(np.array([0.6, 0.4]), np.array([0.5, 0.5])) == pytest.approx(expected)


@given(
    st.lists(st.floats(0.01, 1), min_size=2, max_size=6).flatmap(lambda a: st.tuples(st.just(a), st.permutations(a)))
)
def test_psi_is_symmetric_and_zero_only_for_equal_shares(pair):
    a, b = (np.array(side) / sum(side) for side in pair)
    assert psi(a, b) == pytest.approx(psi(b, a))
    assert psi(a, b) >= 0
    assert psi(a, a) == 0


def test_a_profile_has_length_one_and_ignores_case():
    assert np.linalg.norm(word_profile(word_numbers("One two, two"))) == pytest.approx(1)
    assert (word_numbers("GOAL!") == word_numbers("goal")).all()
    assert word_profile(word_numbers("…")).sum() == 0


def test_fresh_windows_of_the_same_kind_raise_no_alarm():
    monitor = DriftMonitor(reference())
    for seed in range(10, 30):
        probs, labels = said_of(100, seed)
        assert monitor.add(texts_of(SPORT, 100, seed), probs, labels) == []
    assert monitor.windows == 20


@pytest.mark.parametrize(
    ("words", "first", "sure", "expected"),
    [(MARKET, 0.5, 1.0, {"words", "unknown"}), (SPORT, 0.95, 1.0, {"labels"}), (SPORT, 0.5, 0.8, {"confidence"})],
)
def test_what_changes_is_what_leaves_its_band(words, first, sure, expected):
    probs, labels = said_of(100, 7, first)
    assert set(reference().measure(texts_of(words, 100, 7), probs * sure, labels).outside) == expected


def test_one_odd_window_wakes_nobody_and_two_of_three_do():
    monitor = DriftMonitor(reference())
    probs, labels = said_of(100, 3)
    usual, odd = texts_of(SPORT, 100, 3), texts_of(MARKET, 100, 3)
    assert monitor.add(odd, probs, labels) == []
    assert monitor.add(usual, probs, labels) == []
    assert monitor.add(odd, probs, labels) == odd
    assert "words" in monitor.alarm


def test_windows_are_cut_wherever_requests_end():
    monitor, (probs, labels) = DriftMonitor(reference(window=100)), said_of(250, 5)
    monitor.add(texts_of(SPORT, 250, 5), probs, labels)
    assert monitor.windows == 2


def test_several_labels_a_text():
    rng = np.random.default_rng(0)
    probs = rng.random((300, 3))
    learned = Reference.learn(texts_of(SPORT, 100, 0), texts_of(SPORT, 300, 1), probs, probs > 0.5)
    more = np.clip(probs + 0.4, 0, 1)
    assert learned.measure(texts_of(SPORT, 300, 1), probs, probs > 0.5).outside == []
    assert "confidence" in learned.measure(texts_of(SPORT, 300, 2), more, more > 0.5).outside


def test_it_survives_a_file_and_refuses_a_damaged_one():
    learned = reference()
    again = Reference.from_arrays(learned.arrays(), 2)
    probs, labels = said_of(100, 9)
    texts = texts_of(MARKET, 100, 9)
    assert again.measure(texts, probs, labels) == learned.measure(texts, probs, labels)
    with pytest.raises(InputError, match="'shares'"):
        Reference.from_arrays(learned.arrays(), 3)
    with pytest.raises(InputError, match="'bands'"):
        Reference.from_arrays({**learned.arrays(), "bands": np.zeros(3)}, 2)


def test_the_bands_stand_in_the_order_of_the_names():
    assert len(reference().bands) == len(NAMES)


def test_no_texts_no_reference():
    with pytest.raises(InputError, match="got 0"):
        Reference.learn(["a"], [], np.zeros((0, 2)), np.zeros((0, 2), bool))
