"""Simplicial closure: the table against plain enumeration and published counts, scores by hand, the model, what is refused."""

from __future__ import annotations

import math
import os
from itertools import combinations
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.data.events import TimedEvents, read_simplices
from tutelage.data.projection import Projection, held
from tutelage.errors import InputError
from tutelage.methods.graphs.simplicial_closure import (
    CLASSES,
    SCORES,
    Closure,
    ClosureModel,
    closure_table,
    features,
    generalised_mean,
    rank_open_triangles,
)
from tutelage.studies.graphs.simplicial_closure import PUBLISHED

groups = st.lists(st.sets(st.integers(0, 6), min_size=1, max_size=4), min_size=2, max_size=16)

KITE = TimedEvents.from_groups(["ab", "ab", "bc", "ac", "ac", "ac", "ad", "bd", "cd", "abz"], range(10))
"""a, b, c, d have all met in pairs; W_ab = 3, W_bc = 1, W_ac = 3, W_ad = W_bd = W_cd = 1; z met a and b at once."""


@settings(deadline=None)
@given(groups, st.integers(1, 15))
def test_the_table_is_what_enumerating_all_threes_gives(sets: list[set[int]], cut: int):
    cut = min(cut, len(sets) - 1)
    events = TimedEvents.from_groups(sets, range(len(sets)))
    old, new = events.part(0, cut), events.part(cut, len(events))
    before, after = ([set(part[e].tolist()) for e in range(len(part))] for part in (old, new))
    expected = dict.fromkeys(CLASSES, (0, 0))
    for three in combinations(np.flatnonzero(old.seen).tolist(), 3):
        if any(set(three) <= row for row in before):
            continue
        met = sorted(min(2, sum(set(pair) <= row for row in before)) for pair in combinations(three, 2))
        name = "".join(map(str, met))
        opened, closed = expected[name]
        expected[name] = opened + 1, closed + any(set(three) <= row for row in after)
    assert {name: tuple(cell) for name, cell in closure_table(old, new).items()} == expected


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_table_has_the_published_counts(name: str):
    folder = os.environ.get("TUTELAGE_DATA")
    if folder is None or not (Path(folder) / "simplices" / name).exists():
        pytest.skip(f"TUTELAGE_DATA has no simplices/{name}")
    table = closure_table(*read_simplices(Path(folder) / "simplices" / name).split(0.8))
    assert {key: tuple(table[key]) for key in PUBLISHED[name]} == PUBLISHED[name]


def test_a_mail_to_all_changes_nothing_but_a_warning():
    groups = ["ab", "bc", "ac", "ab", "cd", "bd", "abc", "ad"]
    small = TimedEvents.from_groups(groups, range(8)).split(0.7)
    letters = "abcdefghijklmnopqrstuvwxyz"
    large = TimedEvents.from_groups([*groups[:6], letters, *groups[6:]], [*range(6), 5, *range(6, 8)]).split(0.6)
    with pytest.warns(UserWarning, match="1 events have more than 25 members and are left out") as warned:
        assert closure_table(*large) == closure_table(*small)
    assert len(warned) == 1
    with pytest.warns(UserWarning, match="left out") as warned:
        assert rank_open_triangles(large[0]) == rank_open_triangles(small[0])
    assert len(warned) == 1


def test_a_probability_is_the_share_that_closed():
    assert Closure(40, 10).probability == 0.25
    assert Closure(0, 0).probability == 0


@given(st.lists(st.integers(1, 1000), min_size=3, max_size=3), st.sampled_from([-4, -1, -0.5, 0, 0.5, 1, 4]))
def test_means_grow_with_p_between_the_least_and_the_greatest_weight(row: list[int], p: float):
    weights = np.array([row])
    low, value, higher, high = (generalised_mean(weights, q)[0] for q in (-math.inf, p, p + 0.5, math.inf))
    assert low * (1 - 1e-9) <= value <= higher * (1 + 1e-9) <= high * (1 + 2e-9)
    assert generalised_mean(weights * 7, p)[0] == pytest.approx(7 * value)
    assert (low, high) == (min(row), max(row))


def test_scores_by_hand():
    graph = Projection(KITE)
    number = {name: i for i, name in enumerate(KITE.names)}
    three = np.sort([[number[name] for name in "abc"]], axis=1)
    score = {name: float(f(graph, three)[0]) for name, f in SCORES.items()}
    assert score["harmonic"] == pytest.approx(3 / (1 / 3 + 1 / 3 + 1))
    assert score["geometric"] == pytest.approx(9 ** (1 / 3))
    assert (score["arithmetic"], score["minimum"], score["maximum"]) == (pytest.approx(7 / 3), 1, 3)
    assert score["common neighbours"] == 1, "d"
    assert score["jaccard"] == 1 / 5, "d alone of a, b, c, d, z"
    assert score["adamic-adar"] == pytest.approx(1 / math.log(3))
    assert score["preferential attachment"] == 4 * 4 * 3


def test_paths_add_up_over_the_pairs_in_both_directions():
    graph = Projection(KITE)
    triangles = graph.open_triangles
    from tutelage.students.node_similarity import pagerank

    s = pagerank(graph.weights.toarray())
    expected = [sum(s[i, j] for i in t for j in t if i != j) for t in triangles.tolist()]
    assert np.allclose(SCORES["weighted pagerank"](graph, triangles), expected)
    assert not np.allclose(SCORES["pagerank"](graph, triangles), expected)


def test_forgetting_the_weights_leaves_a_mean_without_opinion():
    graph = Projection(KITE)
    assert set(generalised_mean(graph.at(graph.pattern, graph.open_triangles), -1).tolist()) == {1.0}


def test_the_best_come_first_under_their_names():
    ranked = rank_open_triangles(KITE, top=2)
    assert {*ranked[0].names} == {"a", "b", "c"}
    assert ranked[0].score == pytest.approx(9 / 5)
    assert len(ranked) == 2
    everything = rank_open_triangles(KITE, lambda graph, triangles: -triangles.sum(axis=1))
    assert len(everything) == 4
    assert [row.score for row in everything] == sorted((row.score for row in everything), reverse=True)
    assert not any("z" in row.names for row in everything), "z met a and b together"


def past(seed: int) -> TimedEvents:
    """Pairs meet, some more often than others; threes whose pairs have all met often meet together in the end."""
    rng = np.random.default_rng(seed)
    pairs = [tuple(pair) for pair in combinations(range(14), 2) for _ in range(rng.integers(1, 6))]
    counts = {pair: pairs.count(pair) for pair in pairs}
    strong = [t for t in combinations(range(14), 3) if min(counts[pair] for pair in combinations(t, 2)) >= 3]
    events = [*rng.permutation(pairs).tolist(), *strong]
    times = [*range(len(pairs)), *([len(pairs) + 1] * len(strong))]
    return TimedEvents.from_groups(events, times)


def test_the_model_learns_what_closes_and_tells_it_of_other_events():
    parts = []
    for seed in (0, 1):
        events = past(seed)
        whole = int((events.sizes == 2).sum())
        parts.append((events.part(0, whole), events))
    model = ClosureModel().fit(*parts[0])
    old, everything = parts[1]
    graph = Projection(old)
    closes = held(graph.open_triangles, everything)
    scores = model(graph, graph.open_triangles)
    assert scores[closes].min() > np.median(scores[~closes])
    assert rank_open_triangles(old, model, top=1)[0].score == pytest.approx(scores.max())


def test_features_do_not_know_the_order_of_the_nodes():
    graph = Projection(KITE)
    triangles = graph.open_triangles
    assert features(graph, triangles).shape == (4, 26)
    assert np.allclose(features(graph, triangles), features(graph, triangles[:, [2, 0, 1]]))


def test_refuses_what_has_no_answer():
    with pytest.raises(InputError, match="no score 'best'; there are harmonic, geometric"):
        rank_open_triangles(KITE, "best")
    with pytest.raises(InputError, match="no open triangle"):
        rank_open_triangles(TimedEvents.from_groups(["abc", "ab"], [1, 2]))
    with pytest.raises(InputError, match="0 of 4 open triangles close"):
        ClosureModel().fit(KITE, TimedEvents.from_groups(["ab"], [1]))
