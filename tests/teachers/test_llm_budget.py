"""Budgets have units, prices have currencies, and spending stays within."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.errors import InputError
from tutelage.teachers.llm.budget import Budget, Estimate, Meter, Price


@pytest.mark.parametrize(
    ("text", "budget"),
    [
        ("5usd", Budget(5, "usd")),
        ("0.5 EUR", Budget(0.5, "eur")),
        ("200000tok", Budget(2e5, "tok")),
        ("1_000tokens", Budget(1000, "tok")),
    ],
)
def test_budgets(text: str, budget: Budget) -> None:
    assert Budget.parse(text) == budget


@pytest.mark.parametrize("text", ["5", "5.0", "usd", "", "-5usd", "0usd", "5 dollars", "5usd!", "1e3usd", "5gbp"])
def test_a_budget_without_a_unit_or_amount_is_refused(text: str) -> None:
    with pytest.raises(InputError) as error:
        Budget.parse(text)
    assert "\n" not in str(error.value)


def test_a_bare_number_is_told_about_limit() -> None:
    with pytest.raises(InputError, match="--limit"):
        Budget.parse("500")


@pytest.mark.parametrize("text", ["0.15", "0.15/", "/1", "a/b", "-1/2", "1/2 dollars"])
def test_a_price_has_two_numbers(text: str) -> None:
    with pytest.raises(InputError, match="IN/OUT"):
        Price.parse(text)


def test_an_unknown_price_or_another_currency_is_refused_and_says_how_to_give_one() -> None:
    with pytest.raises(InputError, match=r"--price IN/OUT in usd.*0\.15/0\.60usd"):
        Budget(5, "usd").check(None, "openai:x")
    with pytest.raises(InputError, match=r"in usd only.*--price IN/OUT in eur"):
        Budget(5, "eur").check(Price(1, 2, "usd"), "openai:x")
    Budget(5, "eur").check(Price(1, 2, "eur"), "openai:x")
    Budget(5, "tok").check(None, "openai:x")


def test_a_price_is_per_million_tokens() -> None:
    assert Price(1.0, 10.0).of(2_000_000, 500_000) == 7.0


@given(st.lists(st.tuples(st.integers(1, 50), st.integers(1, 50), st.integers(0, 80)), max_size=60))
def test_the_meter_is_passed_only_by_what_is_in_flight(steps: list[tuple[int, int, int]]) -> None:
    meter = Meter(Budget(500, "tok"))
    open_requests: list[tuple[Estimate, int]] = []
    for estimated, settle_every, excess in steps:
        estimate = Estimate(estimated, 0, None)
        if meter.admits(estimate):
            meter.reserve(estimate)
            open_requests.append((estimate, excess))
            assert meter.spent <= 500 + sum(e for _, e in open_requests) + excess
        if settle_every % 3 == 0 and open_requests:
            done, over = open_requests.pop()
            meter.settle(done, done.tokens_in + over, 0)
        assert meter.reserved == pytest.approx(sum(e.tokens_in for e, _ in open_requests))
    if all(excess == 0 for *_, excess in steps):
        assert meter.spent + meter.reserved <= 500


def test_estimates_learn_from_replies() -> None:
    meter = Meter(price=Price(1.0, 1.0))
    messages = [{"role": "user", "content": "x" * 984}]
    before = meter.estimate(messages)  # type: ignore[arg-type]
    assert (before.tokens_in, before.tokens_out) == (334, 32)
    meter.learn(messages, 500, 10)  # type: ignore[arg-type]
    after = meter.estimate(messages, n=2)  # type: ignore[arg-type]
    assert (after.tokens_in, after.tokens_out) == (500, 20)
    assert after.cost == pytest.approx(520e-6)
