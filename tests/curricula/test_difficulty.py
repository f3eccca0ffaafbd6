"""Scores of easiness by hand, the law of the weighted draw, and what cannot be drawn by."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tutelage.curricula.difficulty import easiness, weighted_subset
from tutelage.errors import InputError


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_the_three_scores_by_hand():
    logits, y = torch.tensor([[math.log(3.0), 0.0], [math.log(3.0), 0.0]]), torch.tensor([0, 1])
    assert easiness(logits, y, floor=0.02).tolist() == pytest.approx([0.77, 0.27], abs=1e-6)
    losses = [math.log(4 / 3), math.log(4)]
    expected = [1 / (loss + 0.01) for loss in losses]
    assert easiness(logits, y, "inverse_loss", floor=0.01).tolist() == pytest.approx(expected, rel=1e-6)
    assert easiness(logits, y, "loss", floor=0.01).tolist() == pytest.approx([v + 0.01 for v in losses], rel=1e-6)


@given(st.lists(st.floats(-60, 60), min_size=4, max_size=4), st.sampled_from(["prob", "inverse_loss"]))
def test_what_is_likelier_is_easier_and_nothing_is_impossible(values: list[float], kind):
    logits, y = torch.tensor(values, dtype=torch.float64).view(2, 2), torch.tensor([0, 0])
    scores = easiness(logits, y, kind, floor=0.01)
    margins = logits[:, 0] - logits[:, 1]
    assert bool((scores > 0).all())
    assert bool(torch.isfinite(scores).all())
    assert (scores[0] - scores[1]) * (margins[0] - margins[1]) >= 0
    assert scores.max() <= {"prob": 1.01, "inverse_loss": 100.0}[kind] + 1e-9


def test_the_first_of_a_draw_is_taken_in_proportion_to_its_score():
    scores, draws = torch.tensor([1.0, 2.0, 5.0, 0.0]), generator()
    first = torch.cat([weighted_subset(scores, 1, draws) for _ in range(4000)])
    assert torch.bincount(first, minlength=4).div(4000).tolist() == pytest.approx([0.125, 0.25, 0.625, 0.0], abs=0.03)


def test_two_of_three_are_drawn_one_after_the_other():
    """P({0, 1}) = p0 p1 / (1 − p0) + p1 p0 / (1 − p1) with p = (1, 2, 5) / 8."""
    draws = generator()
    pairs = torch.stack([weighted_subset(torch.tensor([1.0, 2.0, 5.0]), 2, draws).sort().values for _ in range(4000)])
    share = (pairs == torch.tensor([0, 1])).all(1).float().mean().item()
    assert share == pytest.approx(1 / 8 * 2 / 7 + 2 / 8 * 1 / 6, abs=0.015)


def test_the_order_of_presentation_says_nothing_about_the_scores():
    draws, scores = generator(), torch.tensor([1.0, 1000.0])
    leads = torch.stack([weighted_subset(scores, 2, draws)[0] for _ in range(1000)])
    assert leads.float().mean().item() == pytest.approx(0.5, abs=0.06)


@given(st.lists(st.floats(0.01, 100), min_size=1, max_size=20), st.data())
def test_a_draw_has_no_example_twice_and_a_seed_decides_it(scores: list[float], data):
    count = data.draw(st.integers(1, len(scores)))
    drawn = weighted_subset(torch.tensor(scores), count, generator(3))
    assert len(set(drawn.tolist())) == count == len(drawn)
    assert torch.equal(drawn, weighted_subset(torch.tensor(scores), count, generator(3)))


def test_zeros_are_lifted_where_there_are_too_few_others():
    with pytest.warns(UserWarning, match="only 1 of 3"):
        drawn = weighted_subset(torch.tensor([0.0, 2.0, 0.0]), 3, generator())
    assert sorted(drawn.tolist()) == [0, 1, 2]


@pytest.mark.parametrize("scores", [[1.0, -0.1], [1.0, math.nan], [1.0, math.inf], [0.0, 0.0], [[1.0, 1.0]]])
def test_refuses_scores_that_are_no_weights(scores):
    with pytest.raises(InputError, match="one finite number an example"):
        weighted_subset(torch.tensor(scores), 1, generator())


@pytest.mark.parametrize("count", [0, 3])
def test_refuses_a_draw_of_more_than_there_is(count: int):
    with pytest.raises(InputError, match=f"cannot draw {count} of 2"):
        weighted_subset(torch.ones(2), count, generator())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"floor": 0.0}, "floor must be positive"),
        ({"kind": "margin"}, "kind is 'prob'"),
        ({"y": torch.tensor([0, 2])}, r"labels must be in \[0, 2\); found 2 in row 1"),
        ({"y": torch.tensor([0])}, r"labels \[N\]"),
        ({"logits": torch.tensor([[0.0, 1.0], [math.nan, 0.0]])}, "row 1 is not"),
    ],
)
def test_refuses_what_has_no_score(change: dict, message: str):
    with pytest.raises(InputError, match=message):
        easiness(**{"logits": torch.zeros(2, 2), "y": torch.tensor([0, 1]), **change})
