"""Episodes: one group each, support and query apart, every group as often as the others."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tutelage.curricula.episodes import EpisodeBatches, EpisodeSampler
from tutelage.errors import InputError


@given(st.lists(st.integers(5, 9), min_size=1, max_size=4), st.integers(1, 3), st.integers(1, 2), st.integers(0, 10**6))
def test_an_episode_is_of_one_group_and_its_two_sets_share_nothing(
    sizes: list[int], support: int, query: int, seed: int
):
    groups = torch.arange(len(sizes)).repeat_interleave(torch.tensor(sizes))
    groups = groups[torch.randperm(len(groups), generator=torch.Generator().manual_seed(seed))]
    sampler = EpisodeSampler(groups, support=support, query=query)
    drawn = sampler.draw(2 * len(sizes), torch.Generator().manual_seed(seed))
    assert torch.equal(groups[drawn.support], drawn.group.unsqueeze(1).expand(-1, support))
    assert torch.equal(groups[drawn.query], drawn.group.unsqueeze(1).expand(-1, query))
    for episode in torch.cat([drawn.support, drawn.query], 1).tolist():
        assert len(set(episode)) == support + query
    assert drawn.group.bincount().tolist() == [2] * len(sizes)


def test_the_generator_decides_everything():
    groups = torch.arange(3).repeat_interleave(10)
    first, second, third = (
        EpisodeSampler(groups, support=3, query=3).draw(5, torch.Generator().manual_seed(seed)) for seed in (1, 1, 2)
    )
    assert all(torch.equal(a, b) for a, b in zip(first, second, strict=True))
    assert not torch.equal(first.support, third.support)


def test_batches_carry_the_pool_s_columns_and_labels_of_queries_only():
    x, groups = torch.arange(40.0).view(20, 2), torch.arange(2).repeat_interleave(10)
    batches = EpisodeBatches(
        x, torch.arange(20), EpisodeSampler(groups, support=4, query=2), episodes=3, length=5, seed=0
    )
    held = list(batches)
    assert len(held) == len(batches) == 5
    for batch in held:
        assert {name: tuple(value.shape) for name, value in batch.items()} == {
            "x": (3, 4, 2),
            "query": (3, 2, 2),
            "y": (3, 2),
            "group": (3,),
        }
        assert torch.equal(batch["query"], x[batch["y"]])
        assert torch.equal(groups[batch["y"]], batch["group"].unsqueeze(1).expand(-1, 2))


@pytest.mark.parametrize(
    ("groups", "options", "message"),
    [
        ([0, 0, 0, 1, 1], {"support": 2, "query": 1}, "group 1 has 2"),
        ([0, 0, 2, 2], {"support": 1, "query": 1}, "group 1 has 0"),
        ([0, 0], {"support": 0, "query": 1}, "support >= 1"),
        ([], {"support": 1, "query": 1}, "a group a row"),
    ],
)
def test_refuses_pools_that_cannot_give_an_episode(groups: list[int], options: dict[str, int], message: str):
    with pytest.raises(InputError, match=message):
        EpisodeSampler(torch.tensor(groups, dtype=torch.long), **options)


def test_refuses_batches_without_episodes():
    sampler = EpisodeSampler(torch.zeros(4, dtype=torch.long), support=1, query=1)
    with pytest.raises(InputError, match="at least one episode"):
        EpisodeBatches(torch.zeros(4, 1), torch.zeros(4), sampler, episodes=0, length=1)
