"""Chains of sums modulo 10: questions that are reasoned out step by step, by solvers who know some of the facts.

`7+3*2-5?` is read from left to right, every result modulo 10. A solution writes each step and ends in the answer to "is the
result above 4?", for instance `7+3=0;0*2=0;0-5=5;#y`. A fact is one (operation, total, digit); a student who never saw
some of them errs on the same questions again and again, and reading someone else's steps helps it.

All rows have one length, so that a batch is one tensor of character ids:

    question  2 characters a step, and 2       digits and operations, then ?
    steps     6 characters each                in one of three notations
    answer    2 characters                     #y or #n
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import torch
from torch import Tensor

from tutelage.errors import InputError

Notation = Literal["totals", "prefix", "letters"]
NOTATIONS: tuple[Notation, ...] = get_args(Notation)
ALPHABET = " 0123456789+-*=;?#ynabcdefghij"
"""Characters; an id is a position in it. The first is padding, which full rows do not need."""
OPERATIONS = "+-*"
DIGITS, SIGNS, LETTERS = (ALPHABET.index(c) for c in "0+a")
STEP = 6
"""Characters of a step."""


def apply(operations: Tensor, totals: Tensor, digits: Tensor) -> Tensor:
    """The result modulo 10 of operations 0 (+), 1 (−), 2 (×) on totals and digits, element by element.

    >>> apply(torch.tensor([0, 1, 2]), torch.tensor([7, 3, 4]), torch.tensor([5, 8, 6])).tolist()
    [2, 5, 4]
    """
    results = torch.stack([totals + digits, totals - digits, totals * digits]) % 10
    return results.gather(0, operations[None])[0]


def solve(digits: Tensor, operations: Tensor) -> Tensor:
    """The total after every step: digits [B, n + 1], operations [B, n] → [B, n]."""
    total, totals = digits[:, 0], []
    for operation, digit in zip(operations.T, digits.T[1:], strict=True):
        total = apply(operation, total, digit)
        totals.append(total)
    return torch.stack(totals, 1)


def err(digits: Tensor, operations: Tensor, rates: Tensor, generator: torch.Generator) -> Tensor:
    """Totals of someone who gets a step of operation o wrong with probability rates[o], and goes on from there: [B, n]."""
    total, totals = digits[:, 0], []
    for operation, digit in zip(operations.T, digits.T[1:], strict=True):
        total = apply(operation, total, digit)
        shift = torch.randint(1, 10, total.shape, generator=generator)
        wrong = torch.rand(total.shape, generator=generator) < rates[operation]
        total = torch.where(wrong, (total + shift) % 10, total)
        totals.append(total)
    return torch.stack(totals, 1)


def first_wrong(digits: Tensor, operations: Tensor, totals: Tensor) -> Tensor:
    """The first step that does not follow from the total before it, n where all do: [B, n + 1], [B, n], [B, n] → [B].

    >>> first_wrong(torch.tensor([[7, 3, 2]]), torch.tensor([[0, 2]]), torch.tensor([[0, 5]])).tolist()  # 7+3=0, 0*2=5
    [1]
    """
    before = torch.cat([digits[:, :1], totals[:, :-1]], 1)
    right = apply(operations.flatten(), before.flatten(), digits[:, 1:].flatten()).view_as(totals) == totals
    return right.long().cumprod(1).sum(1)


def write_question(digits: Tensor, operations: Tensor) -> Tensor:
    """Ids of `7+3*2?`: [B, n + 1], [B, n] → [B, 2 n + 2]."""
    pairs = torch.stack([digits[:, 1:], operations], 2).flip(2)  # operation, digit
    pairs = pairs + torch.tensor([SIGNS, DIGITS])
    end = torch.full_like(digits[:, :1], ALPHABET.index("?"))
    return torch.cat([digits[:, :1] + DIGITS, pairs.flatten(1), end], 1)


def write_steps(digits: Tensor, operations: Tensor, totals: Tensor, notations: Tensor) -> Tensor:
    """Ids of the steps with these totals, right or wrong, row i in notation `NOTATIONS[notations[i]]`: → [B, 6 n]."""
    before = torch.cat([digits[:, :1], totals[:, :-1]], 1)
    shift = torch.where(notations == NOTATIONS.index("letters"), LETTERS, DIGITS)[:, None]
    left, sign, right = before + shift, operations + SIGNS, digits[:, 1:] + shift
    prefix = (notations == NOTATIONS.index("prefix"))[:, None]
    first, second = torch.where(prefix, sign, left), torch.where(prefix, left, sign)
    equals, end = (torch.full_like(totals, ALPHABET.index(c)) for c in "=;")
    return torch.stack([first, second, right, equals, totals + shift, end], 2).flatten(1)


def write_answer(above: Tensor) -> Tensor:
    """Ids of `#y` and `#n`: [B] bool → [B, 2]."""
    said = torch.where(above, ALPHABET.index("y"), ALPHABET.index("n"))
    return torch.stack([torch.full_like(said, ALPHABET.index("#")), said], 1)


def text(ids: Tensor) -> str:
    """One row as characters.

    >>> text(write_question(torch.tensor([[7, 3, 2]]), torch.tensor([[0, 2]]))[0])
    '7+3*2?'
    """
    return "".join(ALPHABET[i] for i in ids.tolist())


@dataclass(frozen=True)
class ModChains:
    """Questions with solutions in one notation, by someone who knows some facts.

    A part of the rows shows steps that are already there, perhaps wrong, and asks for the answer only: that is how help is
    read.

    Args:
        known: shares of the facts of +, − and × that occur in solutions; which ones belongs to `facts_seed`.
        steps: 1 to 9. notation: of the steps. given: share of rows with steps that are already there; any facts occur in
            them, and a step is wrong with probability `corrupt`.

    Raises: InputError: shares outside [0, 1], steps or a notation that is not there.

    >>> rows = ModChains(steps=2, given=0.0).batch(2, torch.Generator().manual_seed(0))
    >>> text(rows["ids"][0]), rows["mask"][0].sum().item()
    ('3*0-2?3*0=0;0-2=8;#y', 14)
    """

    known: tuple[float, float, float] = (1.0, 1.0, 1.0)
    steps: int = 3
    notation: Notation = "totals"
    given: float = 0.25
    corrupt: float = 0.2
    facts_seed: int = 0

    def __post_init__(self) -> None:
        shares = (*self.known, self.given, self.corrupt)
        if len(self.known) != 3 or not all(0 <= share <= 1 for share in shares) or max(self.known) == 0:
            raise InputError(f"shares are in [0, 1], three of known facts and not all 0; got {shares}")
        if not 1 <= self.steps <= 9 or self.notation not in NOTATIONS:
            raise InputError(
                f"need 1 to 9 steps in one of {', '.join(NOTATIONS)}; got {self.steps} in {self.notation!r}"
            )

    def facts(self) -> Tensor:
        """Which facts are known: [3, 10, 10] bool, over (operation, total, digit)."""
        generator = torch.Generator().manual_seed(self.facts_seed)
        order = torch.rand(3, 100, generator=generator).argsort(1).argsort(1)
        return (order < torch.tensor(self.known)[:, None] * 100).view(3, 10, 10)

    def questions(self, n: int, generator: torch.Generator, *, known: bool = False) -> tuple[Tensor, Tensor]:
        """Digits [n, steps + 1] and operations [n, steps]; with `known` of known facts only, as far as there are any."""
        digits = [torch.randint(10, (n,), generator=generator)]
        operations: list[Tensor] = []
        allowed = self.facts().float() if known else torch.ones(3, 10, 10)
        weights = allowed / allowed.sum(2, keepdim=True).clamp(min=1)  # operations alike, whatever their facts
        weights = weights.permute(1, 0, 2).flatten(1) + 1e-12
        total = digits[0]
        for _ in range(self.steps):
            drawn = torch.multinomial(weights[total], 1, generator=generator)[:, 0]
            operations.append(drawn // 10)
            digits.append(drawn % 10)
            total = apply(operations[-1], total, digits[-1])
        return torch.stack(digits, 1), torch.stack(operations, 1)

    def batch(self, n: int, generator: torch.Generator) -> dict[str, Tensor]:
        """`ids` [n, length], `mask` [n, length]: where a model is to predict, and under `truth` the right totals [n, steps]."""
        given = torch.rand(n, generator=generator) < self.given
        own, any_facts = (self.questions(n, generator, known=known) for known in (True, False))
        digits, operations = (torch.where(given[:, None], b, a) for a, b in zip(own, any_facts, strict=True))
        truth = solve(digits, operations)
        shown = err(digits, operations, torch.full((3,), self.corrupt), generator)
        totals = torch.where(given[:, None], shown, truth)
        notations = torch.full((n,), NOTATIONS.index(self.notation))
        question, steps = write_question(digits, operations), write_steps(digits, operations, totals, notations)
        ids = torch.cat([question, steps, write_answer(totals[:, -1] > 4)], 1)
        mask = torch.ones_like(ids, dtype=torch.bool)
        mask[:, : question.shape[1]] = False
        mask[given, :-1] = False
        return {"ids": ids, "mask": mask, "truth": truth}

    @staticmethod
    def card() -> str:
        """What is random here, and why it matters."""
        return (
            "Random: digits, operations, which facts are known, wrong steps. Ignorance is by facts, so errors are systematic "
            "and can be foreseen from the question; notations differ, so help can be unreadable."
        )
