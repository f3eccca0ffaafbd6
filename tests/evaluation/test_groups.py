"""Scores by group: sums to the whole, the worst is found, small groups can be left out."""

from __future__ import annotations

import numpy as np
import pytest

from tutelage.evaluation.classification import macro_f1
from tutelage.evaluation.groups import by_group, mean_over_groups, worst_group


def test_groups_keep_their_order_and_nobody_is_counted_twice() -> None:
    table = by_group([1, 0, 1, 1], ["de", "en", "de", None])
    assert list(table) == ["de", "en"]
    assert (table["de"].score, table["de"].n) == (1.0, 2)


def test_a_score_that_is_no_mean_gets_the_rows() -> None:
    gold, predicted = np.array([0, 0, 1, 1]), np.array([0, 1, 1, 1])
    table = by_group(lambda rows: macro_f1(gold[rows], predicted[rows]), np.array(["a", "a", "b", "b"]))
    assert table["a"].score == pytest.approx(2 / 3)
    assert table["b"].score == 1


def test_worst_and_mean() -> None:
    table = by_group([1, 1, 0, 0.5, 0.5], ["a", "a", "b", "c", "c"])
    assert worst_group(table)[0] == "b"
    assert worst_group(table, at_least=2)[0] == "c"
    assert mean_over_groups(table) == pytest.approx(0.5)


def test_faults() -> None:
    with pytest.raises(ValueError, match="2 items"):
        by_group([1.0], ["a", "b"])
    with pytest.raises(ValueError, match="no group has 5"):
        worst_group(by_group([1.0], ["a"]), at_least=5)
    with pytest.raises(ValueError, match="no groups"):
        mean_over_groups({})
