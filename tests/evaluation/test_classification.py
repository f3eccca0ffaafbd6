"""Accuracy and F1: hand-computed cases, scikit-learn as the reference, and what the intervals promise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn import metrics

from tutelage.evaluation import classification as c

PAIRS = st.lists(st.tuples(st.integers(0, 4), st.integers(-1, 4)), min_size=1, max_size=40)
SETS = st.integers(1, 12).flatmap(
    lambda n: st.tuples(*(st.lists(st.lists(st.booleans(), min_size=3, max_size=3), min_size=n, max_size=n),) * 2)
)


def test_macro_f1_by_hand() -> None:
    gold, predicted = [0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 2, 2]
    # label 0: P 1, R 2/3, F1 .8; label 1: P 1/2, R 1/2, F1 .5; label 2: P 1/2, R 1, F1 2/3
    assert c.macro_f1(gold, predicted) == pytest.approx((0.8 + 0.5 + 2 / 3) / 3)
    assert c.micro_f1(gold, predicted) == pytest.approx(4 / 6)
    table = c.per_label(gold, predicted, ["a", "b", "c"])
    assert (table["b"].precision, table["b"].recall, table["b"].f1, table["b"].support) == (0.5, 0.5, 0.5, 2)


def test_labels_absent_from_gold_do_not_count() -> None:
    assert c.macro_f1([0, 0], [0, 4]) == pytest.approx(2 / 3)
    assert c.labels_present([4, 0, 0]) == [0, 4]
    absent = c.per_label([0], [1], ["a", "b", "c"])
    assert absent["b"].f1 is None
    assert absent["c"].precision is None


@given(PAIRS)
def test_single_label_figures_are_those_of_scikit_learn(pairs: list[tuple[int, int]]) -> None:
    gold, predicted = map(np.array, zip(*pairs, strict=True))
    present = c.labels_present(gold)
    reference = metrics.f1_score(gold, predicted, labels=present, average="macro", zero_division=0)
    assert c.macro_f1(gold, predicted) == pytest.approx(reference)
    assert c.micro_f1(gold, predicted) == pytest.approx(metrics.accuracy_score(gold, predicted))


@given(SETS)
def test_multi_label_figures_are_those_of_scikit_learn(sets: tuple[list[list[bool]], list[list[bool]]]) -> None:
    gold, predicted = map(np.array, sets)
    for average, theirs in (("micro", "micro"), ("texts", "samples")):
        reference = metrics.f1_score(gold, predicted, average=theirs, zero_division=1 if theirs == "samples" else 0)
        assert c.multilabel_f1(gold, predicted, average=average) == pytest.approx(reference)  # type: ignore[arg-type]
    present = c.labels_present(gold)
    if present:
        reference = metrics.f1_score(gold, predicted, labels=present, average="macro", zero_division=0)
        assert c.multilabel_f1(gold, predicted) == pytest.approx(reference)


@given(PAIRS, st.randoms())
def test_order_of_texts_does_not_matter(pairs: list[tuple[int, int]], random: object) -> None:
    gold, predicted = map(np.array, zip(*pairs, strict=True))
    random.shuffle(pairs)  # type: ignore[attr-defined]
    gold2, predicted2 = map(np.array, zip(*pairs, strict=True))
    assert c.macro_f1(gold, predicted) == pytest.approx(c.macro_f1(gold2, predicted2))


@given(PAIRS)
def test_weight_two_is_having_the_text_twice(pairs: list[tuple[int, int]]) -> None:
    gold, predicted = map(np.array, zip(*pairs, strict=True))
    weights = np.ones(len(gold))
    weights[0] = 2
    twice = np.append(gold, gold[0]), np.append(predicted, predicted[0])
    assert c.macro_f1(gold, predicted, weights=weights) == pytest.approx(c.macro_f1(*twice))
    assert c.accuracy(gold, predicted, weights=weights) == pytest.approx(c.accuracy(*twice))


def test_the_interval_holds_the_value_and_narrows_with_texts() -> None:
    rng = np.random.default_rng(0)
    gold = rng.integers(4, size=1600)
    predicted = np.where(rng.random(1600) < 0.8, gold, rng.integers(4, size=1600))
    small, large = c.scores(gold[:100], predicted[:100], list("abcd")), c.scores(gold, predicted, list("abcd"))
    for s in (small, large):
        assert s.macro_f1_ci[0] < s.macro_f1 < s.macro_f1_ci[1]
        assert s.micro_f1_ci[0] < s.micro_f1 < s.micro_f1_ci[1]
    width = [s.micro_f1_ci[1] - s.micro_f1_ci[0] for s in (small, large)]
    assert width[0] / width[1] == pytest.approx(4, rel=0.35)
    assert width[1] == pytest.approx(2 * 1.96 * np.sqrt(large.micro_f1 * (1 - large.micro_f1) / 1600), rel=0.1)


def test_perfect_labels_have_a_narrow_interval_even_when_a_label_is_rare() -> None:
    s = c.scores([0] * 50 + [1] * 20, [0] * 50 + [1] * 20, ["a", "b"])
    assert (s.macro_f1, s.macro_f1_ci, s.micro_f1_ci) == (1.0, (1.0, 1.0), (1.0, 1.0))


def test_the_difference_is_paired() -> None:
    rng = np.random.default_rng(1)
    gold = rng.integers(3, size=500)
    worse = np.where(rng.random(500) < 0.7, gold, (gold + 1) % 3)
    better = np.where(rng.random(500) < 0.3, gold, worse)
    d = c.macro_f1_difference(gold, better, worse, resamples=2_000)
    assert d.value == pytest.approx(c.macro_f1(gold, better) - c.macro_f1(gold, worse))
    assert d.interval[0] > 0
    assert d.p < 0.01
    assert c.macro_f1_difference(gold, worse, worse, resamples=100).interval == (0.0, 0.0)


def test_confusion_rows_are_gold_and_refusals_are_in_no_column() -> None:
    table = c.confusion([0, 1, 1, 1], [1, 1, 1, -1], 3)
    assert table.tolist() == [[0, 1, 0], [0, 2, 0], [0, 0, 0]]


def test_the_dummies_never_read() -> None:
    train = [1] * 70 + [0] * 30
    assert c.dummy(train, 5).tolist() == [1] * 5
    drawn = c.dummy(train, 10_000, strategy="stratified")
    assert drawn.mean() == pytest.approx(0.7, abs=0.02)
    assert (drawn == c.dummy(train, 10_000, strategy="stratified")).all()
    assert c.dummy([[1, 0], [1, 0], [0, 1]], 2).tolist() == [[1, 0], [1, 0]]


def test_prevalence_weights_undo_balanced_sampling() -> None:
    strata = np.repeat([0, 1], 50)
    right = np.concatenate([np.ones(50), np.zeros(50)]).astype(int)  # all right in stratum 0, all wrong in 1
    weights = c.prevalence_weights(strata, [0.9, 0.1])
    assert c.accuracy(np.ones(100, int), right, weights=weights) == pytest.approx(0.9)
    assert weights.mean() == pytest.approx(1)


def test_faults_name_the_row() -> None:
    with pytest.raises(ValueError, match=r"gold labels must be in \[0, 2\); found 5 in row 1"):
        c.scores([0, 5], [0, 1], ["a", "b"])
    with pytest.raises(ValueError, match="found -1 in row 0"):
        c.macro_f1([-1], [0])
    with pytest.raises(ValueError, match="must be two"):
        c.accuracy([0, 1], [0])
    with pytest.raises(ValueError, match="must be two"):
        c.accuracy([], [])
