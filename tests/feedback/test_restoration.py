"""Which weights go back: against the quantile, with ties, at random, and in place."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.errors import InputError
from tutelage.feedback.restoration import FisherRestore, StochasticRestore, put_back, smallest


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@given(n=st.integers(1, 60), share=st.floats(0, 1), seed=st.integers(0, 20))
@settings(max_examples=80, deadline=None)
def test_without_ties_it_is_what_lies_below_the_quantile(n: int, share: float, seed: int):
    scores = torch.randperm(n, generator=generator(seed)).double()
    place = share * (n - 1)
    if abs(place - round(place)) < 1e-6:  # the quantile is an entry: rounding would decide
        share = round(place) / max(n - 1, 1)
        expected = scores < round(place)
    else:
        expected = scores < torch.quantile(scores, share)
    assert torch.equal(smallest(scores, share), expected)


def test_of_equal_scores_the_first_ones_are_taken_where_a_strict_quantile_takes_none():
    scores = torch.tensor([0.0, 5.0, 0.0, 0.0, 0.0, 1.0])
    assert not (scores < scores.quantile(0.4)).any()
    assert smallest(scores, 0.4).tolist() == [True, False, True, False, False, False]
    assert smallest(torch.zeros(11), 0.5).sum().item() == 5


def test_the_share_is_taken_over_the_whole_network_by_the_square_of_the_gradient():
    gradients = [torch.tensor([[-5.0, 0.1], [4.0, -3.0]]), torch.tensor([-0.2, 6.0, 7.0])]
    masks = FisherRestore(1 / 3)(gradients, generator())
    assert masks[0].tolist() == [[False, True], [False, False]]
    assert masks[1].tolist() == [True, False, False]


def test_restoration_at_random_has_its_share_and_ignores_the_gradient():
    shapes = [torch.zeros(200, 300), torch.ones(40_000)]
    masks = StochasticRestore(0.01)(shapes, generator())
    assert [mask.shape for mask in masks] == [shape.shape for shape in shapes]
    assert torch.cat([m.flatten() for m in masks]).float().mean().item() == pytest.approx(0.01, rel=0.1)
    assert all(torch.equal(a, b) for a, b in zip(masks, StochasticRestore(0.01)(shapes, generator()), strict=True))
    assert not torch.equal(masks[1], StochasticRestore(0.01)(shapes, generator(1))[1])


@pytest.mark.parametrize("rule", [FisherRestore, StochasticRestore])
def test_none_and_all(rule: type[FisherRestore] | type[StochasticRestore]):
    gradients = [torch.randn(3, 4), torch.randn(5)]
    assert not any(mask.any() for mask in rule(0.0)(gradients, generator()))
    kept = sum(int((~mask).sum()) for mask in rule(1.0)(gradients, generator()))
    assert kept == (1 if rule is FisherRestore else 0), "the largest entry is not below the largest quantile"
    for share in (-0.1, 1.1):
        with pytest.raises(InputError, match=r"\[0, 1\]"):
            rule(share)


def test_putting_back_is_in_place_and_only_where_the_mask_says():
    weight, source = torch.nn.Parameter(torch.tensor([1.0, 2.0])), torch.tensor([8.0, 9.0])
    held = weight.data_ptr()
    put_back([weight], [source], [torch.tensor([False, True])])
    assert weight.tolist() == [1.0, 9.0]
    assert weight.data_ptr() == held
    assert source.tolist() == [8.0, 9.0]
