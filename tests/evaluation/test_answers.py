"""Answers as people write them: one number in many spellings, and what is no number."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.evaluation.answers import Quantity, answers_match, normalise_answer, quantities


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("$1,200.00", 1200, "dollar"),
        ("1200 dollars", 1200, "dollar"),
        ("twelve hundred", 1200, ""),
        ("two thousand and five", 2005, ""),
        ("ten", 10, ""),
        ("twenty-five %", 25, "percent"),
        ("-5", -5, ""),
        ("−5", -5, ""),
        ("-$3.50", Fraction(-7, 2), "dollar"),
        ("3/4", Fraction(3, 4), ""),
        (".5", Fraction(1, 2), ""),
        ("12.", 12, ""),
        ("x = 7 apples", 7, ""),
        ("hundred", 100, ""),
    ],
)
def test_spellings_of_one_number(text: str, value: Fraction, unit: str):
    assert normalise_answer(text) == Quantity(Fraction(value), unit)


@pytest.mark.parametrize("text", ["", "none", "5 or 6", "someone", "often"])
def test_what_is_not_one_number(text: str):
    assert normalise_answer(text) is None


def test_a_minus_between_numbers_is_no_sign():
    assert [int(q.value) for q in quantities("12-3 = 9, then 9 - 4 is (5)")] == [12, 3, 9, 9, -4, 5]


@given(st.integers(-(10**9), 10**9))
def test_figures_are_read_back(number: int):
    assert normalise_answer(f"{number:,}") == Quantity(Fraction(number))
    assert answers_match(str(number), f"{number}.0")


@pytest.mark.parametrize(
    ("given_", "expected", "same"),
    [
        ("$5", "5", True),
        ("$5", "5 %", False),
        ("5 cents", "5 dollars", False),
        ("1/2", "0.5", True),
        ("B)", "b", True),
        ("yes", "no", False),
        ("5", "yes", False),
        ("", "", True),
    ],
)
def test_units_decide_only_where_both_say_one(given_: str, expected: str, same: bool):
    assert answers_match(given_, expected) is same
