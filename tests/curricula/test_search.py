"""Proposers: nothing twice, nothing that is not allowed, better over time, and an end where the space ends."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.curricula.search import Evolution, HillClimb, RandomSearch, rank_sum
from tutelage.errors import InputError
from tutelage.students.space import Space

SPACE = Space({"a": range(6), "b": range(6)})


def run(proposer, steps: int, batch: int = 1, criteria: int = 1):
    """Every architecture asked, where the reward is a + b."""
    asked = []
    for _ in range(steps):
        tried = proposer.ask(batch)
        proposer.tell(tried, [a + b if criteria == 1 else (a + b, 10 * (a + b)) for a, b in tried])
        asked += tried
    return asked


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 10**6), st.sampled_from([RandomSearch, HillClimb, Evolution]), st.integers(1, 4))
def test_every_architecture_once_and_only_allowed_ones(seed: int, kind: type, batch: int):
    allowed = lambda a: a[0] != 3
    options = {"population": 5, "tournament": 2} if kind is Evolution else {}
    asked = run(kind(SPACE, seed=seed, accept=allowed, **options), 8, batch)
    assert len(asked) == len(set(asked)) == 8 * batch <= 30 or batch > 3
    assert all(map(allowed, asked))


def test_the_whole_space_and_then_nothing():
    search = RandomSearch(SPACE, seed=0)
    assert set(search.ask(40)) == set(SPACE.enumerate())
    assert search.ask(1) == []


def test_a_seed_decides():
    assert run(RandomSearch(SPACE, seed=1), 9) == run(RandomSearch(SPACE, seed=1), 9)
    assert run(RandomSearch(SPACE, seed=1), 9) != run(RandomSearch(SPACE, seed=2), 9)


@pytest.mark.parametrize("criteria", [1, 2])
def test_evolution_and_climbing_find_more_than_chance(criteria: int):
    space = Space({"a": range(20), "b": range(20)})

    def mean(make, n: int) -> float:
        return float(np.mean([sum(a) for seed in range(10) for a in run(make(seed), 60, criteria=n)[-5:]]))

    chance = mean(lambda s: RandomSearch(space, seed=s), 1)
    assert mean(lambda s: Evolution(space, population=8, tournament=5, seed=s), criteria) > chance + 3
    climbs = [max(map(sum, run(HillClimb(space, seed=seed), 60))) for seed in range(10)]
    draws = [max(map(sum, run(RandomSearch(space, seed=seed), 60))) for seed in range(10)]
    assert np.mean(climbs) > np.mean(draws) + 1


def test_the_oldest_leaves_the_population():
    search = Evolution(SPACE, population=2, tournament=1)
    search.tell([(0, 0), (1, 1), (2, 2)], [3.0, 2.0, 1.0])
    assert [a for a, _ in search.population] == [(1, 1), (2, 2)]


def test_ranks_count_criteria_alike_and_ties_share():
    assert rank_sum([[1, 0], [1, 5], [2, 9]]).tolist() == [2.5, 3.5, 6.0]


def test_refuses_a_tournament_that_is_no_part_of_the_population():
    with pytest.raises(InputError, match="tournament <= population"):
        Evolution(SPACE, population=3, tournament=4)
    search = Evolution(SPACE, population=2, tournament=1)
    search.ask(2)
    with pytest.raises(InputError, match="rewards"):
        search.ask(1)
