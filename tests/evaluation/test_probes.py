"""The multi-label probe is scikit-learn's logistic regression, a label at a time, and scores as DeepWalk did."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tutelage.errors import InputError
from tutelage.evaluation.probes import MultiLabelProbe


def problem(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((120, 5))
    return x, x @ rng.standard_normal((5, 3)) + rng.standard_normal((120, 3)) > [0, 1, -1]


@pytest.mark.parametrize("C", [0.05, 1.0, 20.0])
def test_every_label_is_a_logistic_regression_of_its_own(C: float):
    x, labels = problem()
    probe = MultiLabelProbe(C).fit(x, labels)
    for k in range(labels.shape[1]):
        alone = LogisticRegression(C=C, tol=1e-8, max_iter=2000).fit(x, labels[:, k])
        assert np.allclose(probe.weight[k], alone.coef_[0], atol=0.02 * np.abs(alone.coef_).max())
        assert probe.bias[k] == pytest.approx(alone.intercept_[0], abs=0.02)


def test_a_row_gets_as_many_labels_as_it_has():
    x, labels = problem()
    predicted = MultiLabelProbe().fit(x, labels).predict(x, [0, 1, 2, 3] * 30)
    assert predicted.sum(axis=1).tolist() == [0, 1, 2, 3] * 30


def test_figures_by_hand():
    probe = MultiLabelProbe()
    probe.weight, probe.bias = np.eye(3, dtype=np.float32), np.zeros(3, np.float32)
    x = [[3, 2, 1], [1, 3, 2]]  # rankings 0 1 2 and 1 2 0
    gold = [[1, 0, 1], [0, 1, 0]]  # predicted: 0 1 and 1
    figures = probe.f1(x, gold)
    assert figures["micro-F1"] == pytest.approx(2 / 3)
    assert figures["macro-F1"] == pytest.approx((1 + 2 / 3 + 0) / 3)


def test_a_label_that_nobody_has_and_one_that_everybody_has_are_no_trouble():
    x, labels = problem()
    labels = np.column_stack([labels, np.zeros(120), np.ones(120)])
    scores = MultiLabelProbe().fit(x, labels).scores(x)
    assert np.isfinite(scores).all()
    assert (scores[:, 3] < 0).all()
    assert (scores[:, 4] > 0).all()


@pytest.mark.parametrize(
    ("x", "labels", "message"),
    [
        (np.zeros((2, 2)), np.zeros((3, 2)), "same rows"),
        (np.zeros((2, 2)), np.zeros(2), "same rows"),
        (np.array([[0.0], [np.nan]]), np.zeros((2, 1)), "row 1 of the features"),
        (np.zeros((2, 2)), np.full((2, 2), 2), "0 or 1"),
    ],
)
def test_refuses_what_cannot_be_learned(x: np.ndarray, labels: np.ndarray, message: str):
    with pytest.raises(InputError, match=message):
        MultiLabelProbe().fit(x, labels)
    with pytest.raises(InputError, match="positive"):
        MultiLabelProbe(0)
