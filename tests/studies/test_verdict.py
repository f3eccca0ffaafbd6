"""Bars decide as the protocol says: the sizes, the seeds and the accidents that they must tell apart."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.studies.results import Metric, Results
from tutelage.studies.verdict import at_least, at_most, beats, cap, decide, judge, not_worse

OUTCOMES = st.lists(st.sampled_from(["holds", "fails", "inconclusive"]), max_size=6)


def results(**arms: list[float]) -> Results:
    """One metric, `error` (lower is better) and one, `score` (higher), with equal figures."""
    seeds = range(100, 100 + len(next(iter(arms.values()))))
    metrics = [Metric("score"), Metric("error", higher_is_better=False)]
    return Results(metrics, list(seeds), {a: [{"score": v, "error": v} for v in vs] for a, vs in arms.items()})


def test_a_gain_on_every_seed_holds():
    finding = judge([0.5, 0.6, 0.7, 0.5, 0.6], by=0.5, wins=1.0)
    assert finding.outcome == "holds"
    assert finding.effect == pytest.approx(0.58)
    assert 0.5 <= finding.low <= finding.effect <= finding.high <= 0.7
    assert finding.note == "5/5 seeds, sign test p = .031"


def test_nine_of_ten_is_enough_for_nine_of_ten_and_not_for_ten_of_ten():
    gain = [1.0] * 9 + [-0.1]
    assert judge(gain, wins=0.9).outcome == "holds"
    assert judge(gain, wins=1.0).outcome == "fails"


def test_eight_of_ten_is_no_evidence_by_the_sign_test_but_may_be_by_the_interval():
    tiny = [0.01] * 8 + [-1.0] * 2
    assert judge(tiny).outcome == "inconclusive"
    assert judge([1.0] * 8 + [-0.01] * 2).outcome == "holds"


def test_a_loss_fails_and_a_gain_too_small_to_matter_fails():
    assert judge([-0.5, -0.6, -0.4, -0.5, -0.6]).outcome == "fails"
    assert judge([0.01, -0.01, 0.02, 0.0, -0.01], by=0.5).outcome == "fails"


def test_a_noisy_gain_that_could_be_nothing_or_enough_is_inconclusive():
    assert judge([2.0, -1.0, 1.5, -0.5, 0.2], by=0.5).outcome == "inconclusive"


def test_ties_are_dropped_from_the_sign_test_and_counted():
    assert judge([0.0, 1.0, 1.0, 1.0, 1.0, 1.0]).note == "5/6 seeds (1 tied), sign test p = .031"


def test_items_nested_in_seeds_widen_the_interval_that_seeds_alone_would_give():
    items = np.random.default_rng(0).normal(0.3, 1.0, size=(5, 40))
    nested, flat = judge(list(items)), judge(items.mean(axis=1))
    assert nested.effect == pytest.approx(flat.effect)
    assert nested.high - nested.low > flat.high - flat.low


def test_beats_follows_the_direction_of_the_metric():
    r = results(kd=[1.0, 1.0, 1.0, 1.0, 1.0], ours=[0.5, 0.4, 0.5, 0.6, 0.5])
    assert beats("ours", "kd", "error", by=0.4, wins=1.0).test(r).outcome == "holds"
    assert beats("ours", "kd", "score").test(r).outcome == "fails"


def test_beats_times_asks_for_a_share_of_the_baseline():
    r = results(kd=[1.0, 2.0, 1.0, 2.0, 1.0], ours=[0.39, 0.79, 0.38, 0.7, 0.3])
    assert beats("ours", "kd", "error", times=0.4, wins=1.0).test(r).outcome == "holds"
    assert beats("ours", "kd", "error", times=0.3, wins=1.0).test(r).outcome == "fails"
    assert beats("ours", "kd", "error", times=0.4).text == "ours beats 0.4 × kd on error"


def test_not_worse_allows_the_tolerance_and_no_more():
    r = results(ce=[0.80, 0.82, 0.81], ours=[0.79, 0.81, 0.80], wild=[0.60, 1.0, 0.75], bad=[0.5, 0.5, 0.5])
    assert not_worse("ours", "ce", "score", within=0.02).test(r).outcome == "holds"
    assert not_worse("wild", "ce", "score", within=0.02).test(r).outcome == "inconclusive"
    assert not_worse("bad", "ce", "score", within=0.02).test(r).outcome == "fails"
    assert not_worse("wild", "ce", "score", within=0.1, strict=True).test(r).outcome == "inconclusive"


def test_thresholds_on_the_mean_and_on_every_seed():
    r = results(a=[0.99, 1.0, 1.0], b=[0.2, 0.3, 0.25])
    assert at_least("a", "score", 0.995).test(r).outcome == "holds"
    assert at_least("a", "score", 0.995, every_seed=True).test(r).outcome == "fails"
    assert at_least("a", "score", 0.998).test(r).outcome == "inconclusive"
    assert at_most("b", "score", 0.3, every_seed=True).test(r).outcome == "holds"
    assert at_most("b", "score", 0.1).test(r).outcome == "fails"


def test_too_few_seeds_decide_nothing():
    finding = judge([1.0, 1.0, 1.0, 1.0, 1.0, 1.0])
    assert cap(finding, seeds=6, needed=6) is finding
    assert cap(finding, seeds=6, needed=10).outcome == "inconclusive"
    assert "6 of 10 seeds" in cap(finding, seeds=6, needed=10).note


@given(OUTCOMES, st.booleans())
def test_a_verdict_is_the_and_of_its_bars(outcomes, missing):
    verdict = decide(outcomes, missing)
    assert (verdict == "does not hold") == ("fails" in outcomes)
    assert (verdict == "holds") == (bool(outcomes) and not missing and set(outcomes) == {"holds"})
    assert decide(reversed(outcomes), missing) == verdict


@settings(max_examples=30, deadline=None)
@given(st.lists(st.floats(-1, 1), min_size=2, max_size=8), st.floats(0, 0.5))
def test_asking_for_more_never_turns_a_miss_into_a_hit(gain, by):
    order = {"holds": 2, "inconclusive": 1, "fails": 0}
    assert order[judge(gain, by=by).outcome] <= order[judge(gain).outcome]


def test_the_door():
    with pytest.raises(ValueError, match="not_worse"):
        judge([1.0], by=-0.1)
    with pytest.raises(KeyError, match="no 'auc' of arm 'kd'"):
        results(kd=[1.0])["kd", "auc"]
    with pytest.raises(KeyError, match="arms kd"):
        results(kd=[1.0])["ours", "score"]
