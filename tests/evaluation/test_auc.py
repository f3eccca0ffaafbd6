"""AUC: hand-counted pairs, scikit-learn as witness, and values by learner whose mean it is."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score

from tutelage.evaluation.auc import auc, auc_by_group

CASES = st.lists(st.tuples(st.booleans(), st.integers(0, 5), st.sampled_from("abc")), min_size=2, max_size=30)


def test_counts_pairs_and_half_of_ties():
    # pairs (positive, negative): (2, 1) won, (2, 2) tied, (1, 1) tied, (1, 2) lost
    assert auc([1, 1, 0, 0], [2, 1, 1, 2]) == 0.5
    assert auc([1, 1, 0], [3, 2, 1]) == 1.0


def test_one_kind_of_case_has_no_area():
    assert math.isnan(auc([0, 0], [0.1, 0.2]))
    with pytest.raises(ValueError, match="positive and negative"):
        auc_by_group([0, 0], [0.1, 0.2], ["a", "b"])


@given(CASES)
def test_agrees_with_scikit_learn_and_is_the_mean_over_groups(cases: list[tuple[bool, int, str]]):
    gold, scores, group = map(np.array, zip(*cases, strict=True))
    if gold.all() or not gold.any():
        return
    expected = roc_auc_score(gold, scores)
    assert auc(gold, scores) == pytest.approx(expected)
    assert auc_by_group(gold, scores, group).mean() == pytest.approx(expected)


def test_the_spread_over_groups_is_that_of_drawing_learners_anew():
    rng = np.random.default_rng(0)
    learner = np.repeat(np.arange(200), 8)
    skill = rng.normal(size=200)[learner]
    gold = rng.random(1600) < 1 / (1 + np.exp(-skill))
    scores = skill + rng.normal(size=1600)
    predicted = auc_by_group(gold, scores, learner).std(ddof=1) / math.sqrt(200)
    drawn = []
    for _ in range(300):
        rows = np.concatenate([np.arange(8 * n, 8 * n + 8) for n in rng.integers(200, size=200)])
        drawn.append(auc(gold[rows], scores[rows]))
    assert predicted == pytest.approx(np.std(drawn), rel=0.15)


@pytest.mark.parametrize("scores", [[0.1, math.nan], [0.1]])
def test_refuses_scores_that_are_none(scores: list[float]):
    with pytest.raises(ValueError, match="finite"):
        auc([0, 1], scores)
