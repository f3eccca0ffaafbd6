"""Chains modulo 10: solutions, notations, facts, errors, and rows of one length."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.errors import InputError
from tutelage.worlds.mod_chains import (
    ALPHABET,
    NOTATIONS,
    ModChains,
    apply,
    err,
    first_wrong,
    solve,
    text,
    write_question,
    write_steps,
)


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_a_solution_by_hand_in_every_notation():
    digits, operations = torch.tensor([[7, 3, 2, 5]]), torch.tensor([[0, 2, 1]])
    totals = solve(digits, operations)
    assert totals.tolist() == [[0, 0, 5]]
    assert text(write_question(digits, operations)[0]) == "7+3*2-5?"
    written = [text(write_steps(digits, operations, totals, torch.tensor([n]))[0]) for n in range(3)]
    assert dict(zip(NOTATIONS, written, strict=True)) == {
        "totals": "7+3=0;0*2=0;0-5=5;", "prefix": "+73=0;*02=0;-05=5;", "letters": "h+d=a;a*c=a;a-f=f;",
    }  # fmt: skip


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 4), st.integers(0, 1000), st.sampled_from(NOTATIONS), st.floats(0, 1))
def test_rows_have_one_length_and_mean_what_they_say(steps: int, seed: int, notation, corrupt: float):
    world = ModChains(steps=steps, notation=notation, given=0.5, corrupt=corrupt)
    rows = world.batch(20, seeded(seed))
    assert rows["ids"].shape == rows["mask"].shape == (20, 2 * steps + 2 + 6 * steps + 2)
    assert int(rows["ids"].min()) > 0
    for ids, mask, truth in zip(rows["ids"], rows["mask"], rows["truth"], strict=True):
        row = text(ids)
        last = row[-4]
        value = "abcdefghij".index(last) if notation == "letters" else int(last)
        assert row[-2:] == ("#y" if value > 4 else "#n")
        if int(mask.sum()) > 1:  # its own solution
            assert value == int(truth[-1])
            assert int(mask.sum()) == 6 * steps + 2
        else:
            assert bool(mask[-1])


def test_solutions_use_known_facts_only_and_shares_are_met():
    world = ModChains((0.9, 0.5, 0.2), steps=3, facts_seed=4)
    known = world.facts()
    assert known.flatten(1).sum(1).tolist() == [90, 50, 20]
    digits, operations = world.questions(2000, seeded(0), known=True)
    totals = torch.cat([digits[:, :1], solve(digits, operations)[:, :-1]], 1)
    used = known[operations, totals, digits[:, 1:]]
    stuck = ~known.any(2).all(0)[totals]  # a total after which an operation has no known fact
    assert used[~stuck].all()
    anything = world.questions(2000, seeded(0))
    assert len(torch.stack([anything[1].flatten(), anything[0][:, 1:].flatten()]).unique(dim=1).T) == 30


def test_errors_have_their_rates_and_their_first_place_is_found():
    digits, operations = ModChains(steps=3).questions(4000, seeded(1))
    truth = solve(digits, operations)
    assert torch.equal(err(digits, operations, torch.zeros(3), seeded(2)), truth)
    assert (first_wrong(digits, operations, truth) == 3).all()
    totals = err(digits, operations, torch.tensor([0.0, 0.0, 0.5]), seeded(2))
    place = first_wrong(digits, operations, totals)
    wrong = place < 3
    assert (operations[wrong, place[wrong]] == 2).all()
    expected = 1 - 0.5 ** (operations == 2).sum(1)
    assert wrong.float().mean().item() == pytest.approx(expected.mean().item(), abs=0.03)


def test_operations_stay_in_ten_and_seeds_decide():
    grid = torch.cartesian_prod(torch.arange(3), torch.arange(10), torch.arange(10))
    results = apply(*grid.T)
    assert int(results.min()) == 0
    assert int(results.max()) == 9
    world = ModChains((0.5, 0.5, 0.5))
    assert torch.equal(world.batch(5, seeded(1))["ids"], world.batch(5, seeded(1))["ids"])
    assert not torch.equal(world.facts(), ModChains((0.5, 0.5, 0.5), facts_seed=1).facts())
    assert len(ALPHABET) == len(set(ALPHABET))


@pytest.mark.parametrize(
    "options", [{"known": (0, 0, 0)}, {"known": (1, 2, 1)}, {"steps": 0}, {"notation": "roman"}, {"given": -0.1}]
)
def test_refuses_worlds_that_are_not_there(options: dict):
    with pytest.raises(InputError):
        ModChains(**options)
