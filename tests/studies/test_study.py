"""A study that is put together wrongly says so before it runs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tutelage.studies import Arm, Bar, Budget, Metric, NotRunnable, Paper, Part, Setup, Study, exactly

BAR = Bar("always", lambda results: exactly(True, 1.0))
PART = Part(
    data=lambda setup: None,
    arms=(Arm("ours", "method", lambda data, trial: {"score": 1.0}),),
    metrics=(Metric("score"),),
    bars=(BAR,),
    settings=None,
    fast=None,
)
PAPER = Paper("A Toy", "Nobody", 2020)
METHOD = PART.arms[0]


@pytest.mark.parametrize(
    "change, words",
    [
        ({"arms": (replace(METHOD, role="baseline"),)}, "no method arm"),
        ({"arms": (METHOD, METHOD)}, "two arms of one name"),
        ({"metrics": (Metric("score"), Metric("score"))}, "two metrics of one name"),
        ({"arms": (replace(METHOD, run=None),)}, "needs `run`"),
        ({"stacked": lambda data, trials: []}, "not both"),
        ({"arms": (replace(METHOD, grid=({"lr": 1}, {"lr": 2})),)}, "`tuned_by` names no metric"),
        ({"tuned_by": "loss"}, "not one of its metrics"),
        ({"unequal": {"seconds": "slow"}}, r"unequal names \['seconds'\]"),
        ({"seeds": 0}, "at least 1"),
    ],
)
def test_a_part_that_cannot_be_run_is_refused(change, words):
    with pytest.raises(ValueError, match=words):
        replace(PART, **change)


def test_grids_of_different_sizes_are_unequal_tuning_unless_declared():
    grid = ({"lr": 1.0}, {"lr": 2.0})
    arms = (replace(METHOD, name="base", role="baseline"), replace(METHOD, grid=grid))
    with pytest.raises(ValueError, match="different numbers of settings"):
        replace(PART, arms=arms, tuned_by="score")
    replace(PART, arms=arms, tuned_by="score", unequal={"trials": "the baseline has nothing to tune"})


def test_a_study_needs_a_slug_a_gated_bar_and_parts_with_names():
    with pytest.raises(ValueError, match="slug"):
        Study("Not A Slug", PAPER, "claim", (PART,))
    with pytest.raises(ValueError, match="no gated bar"):
        Study("toy", PAPER, "claim", (replace(PART, bars=(replace(BAR, gated=False),)),))
    with pytest.raises(ValueError, match="two parts"):
        Study("toy", PAPER, "claim", (PART, PART))


def test_settings_follow_the_mode():
    part = replace(PART, settings=1, fast=2, full=3)
    assert [part.settings_for(mode) for mode in ("standard", "fast", "full")] == [1, 2, 3]
    assert replace(part, full=None).settings_for("full") == 1


def test_a_budget_only_grows():
    budget = Budget()
    budget.count(steps=2, examples=10)
    budget.count(steps=1, trials=1)
    assert budget == Budget(steps=3, examples=10, trials=2)
    with pytest.raises(ValueError, match="only grows"):
        budget.count(steps=-1)


def test_a_missing_file_says_which_and_what_to_do(tmp_path: Path):
    (tmp_path / "here.csv").touch()
    assert Setup(0, None, tmp_path, tmp_path).file("here.csv") == tmp_path / "here.csv"
    with pytest.raises(NotRunnable, match=r"gone.csv is not in"):
        Setup(0, None, tmp_path, tmp_path).file("gone.csv")
    with pytest.raises(NotRunnable, match="--data"):
        Setup(0, None, tmp_path).file("gone.csv")
