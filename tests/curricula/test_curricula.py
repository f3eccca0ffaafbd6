"""Selections, gates and negatives."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tutelage.curricula import confidence_gate, hard_negatives, sample_negatives, top_k_per_group, top_share
from tutelage.errors import InputError

SCORES = st.lists(st.floats(0, 1).map(lambda v: round(v, 2)), min_size=1, max_size=30)


@given(SCORES, st.floats(0, 1), st.integers(0, 9))
def test_the_chosen_share_is_the_best_and_exact(scores: list[float], share: float, seed: int) -> None:
    chosen = top_share(scores, share, seed=seed)
    assert len(chosen) == len(set(chosen.tolist())) == int(np.floor(share * len(scores) + 1e-9))
    rest = np.delete(scores, chosen)
    if len(chosen) and len(rest):
        assert np.asarray(scores)[chosen].min() >= rest.max()
    assert len(top_share(scores, 1.0, minimum=0.5)) == sum(s >= 0.5 for s in scores)


def test_ties_go_by_the_seed() -> None:
    draws = {tuple(top_share([0.5] * 6, 0.5, seed=seed).tolist()) for seed in range(20)}
    assert len(draws) > 5
    assert len(top_share([0.0] * 100, 0.29)) == 29


@given(SCORES, st.integers(1, 5))
def test_groups_keep_their_best(scores: list[float], k: int) -> None:
    groups = [i % 3 for i in range(len(scores))]
    chosen = top_k_per_group(scores, groups, k)
    for group in set(groups):
        mine = sorted((s for s, g in zip(scores, groups, strict=True) if g == group), reverse=True)
        kept = [scores[i] for i in chosen.index if groups[i] == group]
        assert kept == mine[:k]
        assert chosen.counts[group] == len(kept)
        assert chosen.lowest[group] == kept[-1]


def test_a_minimum_may_leave_a_group_empty() -> None:
    chosen = top_k_per_group(np.array([0.9, 0.2]), np.array([0, 1]), 5, minimum=0.5)
    assert chosen.counts == {0: 1, 1: 0}
    assert chosen.lowest == {0: 0.9}


def test_gates_say_what_they_kept() -> None:
    probabilities = torch.tensor([[0.9, 0.1], [0.2, 0.8], [0.55, 0.45], [0.5, 0.5]])
    gate = confidence_gate(probabilities, quantile=0.5)
    assert gate.weight.tolist() == [1, 1, 0, 0]
    assert [h.tolist() for h in gate.histogram] == [[1, 1], [3, 1]]
    assert confidence_gate(torch.tensor([0.1, 0.9]), 0.5, scores=True).histogram is None
    dense = confidence_gate(torch.rand(2, 4, 4, 3).softmax(-1), 0.2)
    assert dense.weight.shape == (2, 4, 4)


@given(st.integers(2, 12), st.integers(0, 99))
def test_random_negatives_were_not_seen(total: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    seen = [set(rng.integers(total, size=rng.integers(total)).tolist()) for _ in range(4)]
    n = total - max(map(len, seen))
    drawn = sample_negatives(seen, total, n, rng=rng)
    for known, row in zip(seen, drawn.tolist(), strict=True):
        assert len(set(row)) == n
        assert not known & set(row)


def test_hard_negatives_are_the_best_of_the_rest() -> None:
    scores = np.array([[0.1, 0.9, 0.9, 0.5], [0.4, 0.3, 0.2, 0.1]])
    assert hard_negatives(scores, [{1}, {0, 1, 2}], 2).tolist() == [[2, 3], [3, -1]]
    assert hard_negatives(scores, [set(), set()], 6).tolist()[1] == [0, 1, 2, 3, -1, -1]


@pytest.mark.parametrize(
    "call",
    [
        lambda: top_share([0.1], 1.5),
        lambda: top_share([float("nan")], 0.5),
        lambda: top_k_per_group([0.1], [0, 1], 1),
        lambda: top_k_per_group([0.1], [0], 0),
        lambda: confidence_gate(torch.rand(2, 2)),
        lambda: confidence_gate(torch.rand(2, 2), 0.5, quantile=0.5),
        lambda: sample_negatives([{0, 1}], 3, 2),
        lambda: hard_negatives(np.zeros(3), [{0}], 1),
    ],
)
def test_what_does_not_fit_is_refused(call) -> None:
    with pytest.raises(InputError):
        call()
