"""Ranking figures: by hand, with ties, with cutoffs, and against scikit-learn where it defines the same."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tutelage.errors import InputError
from tutelage.evaluation.ranking import ap_lift, ap_lift_resampled, hit_at_k, mrr, ndcg, recall_at_k

GRADES = arrays(np.int64, (3, 6), elements=st.integers(0, 3))
SCORES = arrays(np.int64, (3, 6), elements=st.integers(-100, 100), unique=True).map(lambda a: a / 7)


def test_by_hand() -> None:
    scores, relevance = [[0.1, 0.9, 0.5, 0.3]], [[3, 0, 1, 0]]
    assert mrr(scores, relevance).tolist() == [1 / 2]
    best = 7 / math.log2(2) + 1 / math.log2(3)
    assert ndcg(scores, relevance)[0] == pytest.approx((1 / math.log2(3) + 7 / math.log2(5)) / best)
    assert ndcg(scores, relevance, 2)[0] == pytest.approx((1 / math.log2(3)) / best)
    assert recall_at_k(scores, relevance, 2).tolist() == [0.5]
    assert hit_at_k(scores, relevance, 1).tolist() == [0.0]
    assert mrr(scores, relevance, k=1).tolist() == [0.0]


def test_equal_scores_share_their_mean_rank_wherever_the_relevant_one_stands() -> None:
    scores = np.zeros((2, 3))
    relevance = [[1, 0, 0], [0, 0, 1]]
    assert mrr(scores, relevance).tolist() == [0.5, 0.5]
    assert ndcg(scores, relevance).tolist() == [1 / math.log2(3)] * 2
    assert recall_at_k(scores, relevance, 1).tolist() == [0.0, 0.0]


def test_what_is_out_of_the_ranking_takes_no_rank() -> None:
    scores, relevance = [[5.0, -np.inf, 1.0]], [[0, 0, 1]]
    assert mrr(scores, relevance).tolist() == [0.5]
    assert mrr([[-np.inf, 1.0, 2.0]], [[1, 0, 0]]).tolist() == [0.0]


def test_a_query_without_relevant_documents_has_no_figure() -> None:
    for figure in (mrr, ndcg, lambda s, r: recall_at_k(s, r, 2), lambda s, r: hit_at_k(s, r, 2)):
        found = figure([[1.0, 2.0], [1.0, 2.0]], [[0, 0], [0, 1]])
        assert np.isnan(found[0])
        assert found[1] == 1


@settings(deadline=None, max_examples=50)
@given(SCORES, GRADES)
def test_figures_depend_on_order_alone_and_lie_between_0_and_1(scores: np.ndarray, grades: np.ndarray) -> None:
    for k in (None, 3):
        for figure in (mrr, ndcg):
            found = figure(scores, grades, k)
            np.testing.assert_allclose(found, figure(2 * scores + 5, grades, k))
            assert ((found >= 0) & (found <= 1 + 1e-12))[~np.isnan(found)].all()
    permutation = np.random.default_rng(0).permutation(6)
    np.testing.assert_allclose(ndcg(scores, grades, 3), ndcg(scores[:, permutation], grades[:, permutation], 3))
    perfect = ndcg(grades.astype(float) + 1e-3 * scores / 100, grades)
    assert np.allclose(perfect[~np.isnan(perfect)], 1)


@settings(deadline=None, max_examples=50)
@given(SCORES, GRADES)
def test_ndcg_is_scikit_learn_s_with_exponential_gains(scores: np.ndarray, grades: np.ndarray) -> None:
    from sklearn.metrics import ndcg_score

    for row, gains in zip(scores, grades, strict=True):
        if gains.any():
            expected = ndcg_score([2.0**gains - 1], [row], k=4)
            assert ndcg(row[None], gains[None], 4)[0] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("scores", "relevance", "k", "message"),
    [
        ([[1.0]], [[1, 0]], 1, "one shape"),
        ([1.0], [1], 1, "one shape"),
        ([[1.0], [np.nan]], [[1], [1]], 1, "row 1 has a score that is not a number"),
        ([[1.0]], [[-1]], 1, "not negative"),
        ([[1.0]], [[1]], 0, "at least 1"),
    ],
)
def test_refusals(scores: object, relevance: object, k: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        recall_at_k(scores, relevance, k)  # type: ignore[arg-type]


@given(arrays(np.int64, 30, elements=st.integers(0, 5)), arrays(np.bool_, 30))
def test_lift_is_scikit_learns_average_precision_over_the_share_of_relevant_items(scores, relevance) -> None:
    from sklearn.metrics import average_precision_score

    if not relevance.any():
        with pytest.raises(InputError, match="something relevant"):
            ap_lift(scores, relevance)
        return
    expected = average_precision_score(relevance, scores) / relevance.mean()
    assert ap_lift(scores, relevance) == pytest.approx(expected)


def test_a_constant_score_has_lift_one_in_every_resample() -> None:
    relevance = np.arange(20) < 5
    assert np.allclose(ap_lift_resampled(np.zeros(20), relevance, resamples=50), 1)


def test_a_resample_is_the_lift_of_the_items_drawn() -> None:
    from tutelage.evaluation.bootstrap import draws

    rng = np.random.default_rng(0)
    scores, relevance = rng.integers(0, 9, 40), rng.random(40) < 0.3
    (weights,) = draws(40, resamples=20, seed=3)
    drawn = [np.repeat(np.arange(40), row.astype(int)) for row in weights]
    expected = [ap_lift(scores[items], relevance[items]) for items in drawn]
    assert np.allclose(ap_lift_resampled(scores, relevance, resamples=20, seed=3), expected)
    assert np.isnan(ap_lift_resampled([1.0, 2.0], [0, 1], resamples=50)).any(), "nothing relevant was drawn"


def test_lift_refuses_a_score_that_is_no_number() -> None:
    with pytest.raises(InputError, match="item 1"):
        ap_lift([1.0, np.nan], [1, 0])
