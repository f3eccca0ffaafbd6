"""Level "service": prices, budgets, and the meter that keeps spending within them.

A budget has a unit: `5usd`, `5eur` or `200000tok`. Money needs a price, per million tokens in and out; where none is known,
the budget is refused rather than guessed. Before a request is sent its cost is estimated and reserved, so that spending
passes the budget by no more than what the requests in flight turn out dearer than estimated.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

from tutelage.errors import InputError
from tutelage.teachers.llm.data import Message


@dataclass(frozen=True)
class Price:
    """Cost of a million tokens in and of a million tokens out."""

    tokens_in: float
    tokens_out: float
    currency: str = "usd"

    @classmethod
    def parse(cls, text: str, currency: str = "usd") -> Price:
        """Read IN/OUT, with a currency behind it or the one given.

        >>> Price.parse("0.15/0.60"), Price.parse("2/8 eur")
        (Price(tokens_in=0.15, tokens_out=0.6, currency='usd'), Price(tokens_in=2.0, tokens_out=8.0, currency='eur'))

        Raises: InputError: it is something else.
        """
        match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*/\s*(\d+(?:\.\d+)?)\s*([a-zA-Z]{3})?\s*", text)
        if match is None:
            raise InputError(
                f"a price is IN/OUT per million tokens, for example 0.15/0.60 or 0.15/0.60eur; got {text!r}"
            )
        return cls(float(match[1]), float(match[2]), (match[3] or currency).lower())

    def of(self, tokens_in: float, tokens_out: float) -> float:
        """Cost of so many tokens."""
        return (tokens_in * self.tokens_in + tokens_out * self.tokens_out) / 1e6


@dataclass(frozen=True)
class Budget:
    """How much may be spent, in "tok" (tokens in and out) or in a currency.

    >>> Budget.parse("5usd"), Budget.parse("200_000 tok").amount
    (Budget(amount=5.0, unit='usd'), 200000.0)
    """

    amount: float
    unit: str

    @classmethod
    def parse(cls, text: str) -> Budget:
        """Read `5usd`, `5eur` or `200000tok`. Raises: InputError: a bare number, or something else."""
        match = re.fullmatch(r"\s*(\d[\d_]*(?:\.\d+)?)\s*(usd|eur|tok|tokens)?\s*", text, re.IGNORECASE)
        if match is None or match[2] is None:
            hint = "; for a number of texts use --limit" if match else ""
            raise InputError(f"a budget has a unit: 5usd, 5eur or 200000tok; got {text!r}{hint}")
        amount = float(match[1].replace("_", ""))
        if amount <= 0:
            raise InputError(f"a budget must be above zero; got {text!r}")
        unit = match[2].lower()
        return cls(amount, "tok" if unit.startswith("tok") else unit)

    def __str__(self) -> str:
        return f"{self.amount:,.0f} tokens" if self.unit == "tok" else f"{self.amount:g} {self.unit}"

    def check(self, price: Price | None, model: str) -> None:
        """Raises: InputError: the budget is in money and the price is not known in that currency."""
        if self.unit == "tok" or (price and price.currency == self.unit):
            return
        known = f"the price of {model} is known in {price.currency} only" if price else f"no price is known for {model}"
        raise InputError(
            f"the budget is in {self.unit}, but {known}: give it as --price IN/OUT in {self.unit} per million tokens, "
            f"for example --price 0.15/0.60{self.unit}"
        )


@dataclass(frozen=True)
class Estimate:
    """Expected tokens and cost of one request."""

    tokens_in: int
    tokens_out: int
    cost: float | None


class Meter:
    """Spending so far, with what is reserved for requests in flight; estimates learn from the replies.

    Args:
        budget: the bound, or None. price: or None where unknown. spent: in the budget's unit, from the ledger.
    """

    def __init__(self, budget: Budget | None = None, price: Price | None = None, spent: float = 0.0) -> None:
        self.budget = budget
        self.price = price
        self.spent = spent
        self.reserved = 0.0
        self._bytes, self._tokens_in = 0, 0
        self._replies, self._tokens_out = 0, 0

    def estimate(self, messages: Sequence[Message], n: int = 1) -> Estimate:
        """Tokens in: bytes by the ratio seen so far (before the first reply: a third). Out: the mean so far (32)."""
        size = sum(len(message["content"].encode("utf-8", "replace")) + 16 for message in messages)
        ratio = self._tokens_in / self._bytes if self._tokens_in else 1 / 3
        out = self._tokens_out / self._replies if self._replies else 32
        tokens_in, tokens_out = math.ceil(size * ratio), math.ceil(out * n)
        return Estimate(tokens_in, tokens_out, self.price.of(tokens_in, tokens_out) if self.price else None)

    def cost(self, tokens_in: int, tokens_out: int) -> float | None:
        """Cost of so many tokens, or None where no price is known."""
        return self.price.of(tokens_in, tokens_out) if self.price else None

    def _units(self, tokens_in: int, tokens_out: int, cost: float | None) -> float:
        if self.budget is None:
            return 0.0
        return float(tokens_in + tokens_out) if self.budget.unit == "tok" else cost or 0.0

    def admits(self, estimate: Estimate) -> bool:
        """Whether a request with that estimate still fits in."""
        if self.budget is None:
            return True
        wanted = self._units(estimate.tokens_in, estimate.tokens_out, estimate.cost)
        return self.spent + self.reserved + wanted <= self.budget.amount

    def reserve(self, estimate: Estimate) -> None:
        """Set the estimate aside while the request is in flight."""
        self.reserved += self._units(estimate.tokens_in, estimate.tokens_out, estimate.cost)

    def settle(self, estimate: Estimate, tokens_in: int, tokens_out: int) -> None:
        """Replace the reservation by what the request took."""
        self.reserved -= self._units(estimate.tokens_in, estimate.tokens_out, estimate.cost)
        self.spent += self._units(tokens_in, tokens_out, self.cost(tokens_in, tokens_out))

    def learn(self, messages: Sequence[Message], tokens_in: int, tokens_out: int, n: int = 1) -> None:
        """Note what a served request took."""
        self._bytes += sum(len(message["content"].encode("utf-8", "replace")) + 16 for message in messages)
        self._tokens_in += tokens_in
        self._tokens_out += tokens_out
        self._replies += n
