"""The table of questions: its size, its answers, and parts that share no question."""

from __future__ import annotations

import pytest
import torch

from tutelage.errors import InputError
from tutelage.worlds.modular import ModularArithmetic


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_an_unordered_table_asks_every_pair_once():
    x, y = ModularArithmetic(53).table()
    assert len(x) == 53 * 54 // 2
    assert bool((x[:, 0] <= x[:, 1]).all())
    assert len(x.unique(dim=0)) == len(x)
    assert torch.equal(y, x.sum(1) % 53)


def test_an_ordered_table_asks_both_ways_round():
    x, _ = ModularArithmetic(7, unordered=False).table()
    assert len(x) == len(x.unique(dim=0)) == 49


@pytest.mark.parametrize(
    ("operation", "unordered", "answer"), [("add", True, 6), ("subtract", False, 3), ("quadratic", True, 3)]
)
def test_the_answers_by_hand(operation, unordered: bool, answer: int):
    """1 and 5 mod 7: 6, −4 = 3, and 1 + 5 + 25 = 31 = 3."""
    world = ModularArithmetic(7, operation, unordered)
    assert world.answers(torch.tensor([[1, 5]])).tolist() == [answer]


@pytest.mark.parametrize("operation", ["add", "quadratic"])
def test_symmetric_operations_are_symmetric(operation):
    world = ModularArithmetic(11, operation, unordered=False)
    x, y = world.table()
    assert torch.equal(world.answers(x.flip(1)), y)


def test_the_parts_share_no_question_and_are_the_whole_table():
    world = ModularArithmetic(11)
    train, test = world.split(0.45, generator())
    assert (len(train["x"]), len(test["x"])) == (29, 37)
    both = torch.cat([train["x"], test["x"]])
    assert len(both.unique(dim=0)) == 66
    assert torch.equal(torch.cat([train["y"], test["y"]]), both.sum(1) % 11)


def test_the_generator_decides_the_parts():
    world = ModularArithmetic(11)
    first, again, other = (world.split(0.5, generator(seed))[0]["x"] for seed in (0, 0, 1))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_a_batch_is_drawn_from_the_table():
    world = ModularArithmetic(5, "quadratic")
    batch = world.batch(200, generator())
    assert batch["x"].shape == (200, 2)
    assert torch.equal(batch["y"], world.answers(batch["x"]))
    assert len(batch["x"].unique(dim=0)) == 15
    assert "memorised" in world.card()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"p": 51}, "prime"),
        ({"p": 1}, "prime"),
        ({"operation": "divide"}, "operation is one of add"),
        ({"operation": "subtract"}, "unordered=False"),
    ],
)
def test_refuses_tables_that_make_no_sense(settings: dict, message: str):
    with pytest.raises(InputError, match=message):
        ModularArithmetic(**settings)


@pytest.mark.parametrize("share", [0.0, 1.0, 0.001, -1.0])
def test_refuses_parts_without_questions(share: float):
    with pytest.raises(InputError, match="share for training"):
        ModularArithmetic(5).split(share, generator())
