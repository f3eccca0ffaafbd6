"""Calibration: hand-computed cases, bin edges, invariants, and thresholds that do not judge themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from tutelage.evaluation import calibration as c


def binary(confidence: list[float] | np.ndarray) -> np.ndarray:
    """Probabilities of two labels where label 0 has the given one."""
    p = np.asarray(confidence, float)
    return np.stack([p, 1 - p], axis=1)


def noisy(n: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Calibrated binary probabilities and gold drawn from them."""
    rng = np.random.default_rng(seed)
    p = rng.uniform(0.5, 1, n)
    return binary(p), (rng.random(n) > p).astype(int)


def test_nll_and_brier_by_hand() -> None:
    p = [[0.7, 0.2, 0.1], [0.1, 0.3, 0.6]]
    assert c.nll(p, [0, 1]) == pytest.approx(-(np.log(0.7) + np.log(0.3)) / 2)
    assert c.brier(p, [0, 1]) == pytest.approx((0.09 + 0.04 + 0.01 + 0.01 + 0.49 + 0.36) / 2)
    assert np.isfinite(c.nll([[1.0, 0.0]], [1]))


def test_bins_are_open_below_and_closed_above() -> None:
    bins = c.reliability([[0.5, 0.5], [0.6, 0.4], [0.61, 0.39]], [0, 0, 0])
    assert [(b.upper, b.n) for b in bins if b.n] == [(0.5, 1), (0.6, 1), (0.7, 1)]
    assert c.reliability(np.zeros((1, 2)), [0])[0].n == 1


def test_ece_by_hand() -> None:
    p, gold = binary([0.75, 0.75, 0.95, 0.95]), [0, 1, 0, 0]
    assert c.ece(p, gold) == pytest.approx(0.5 * 0.25 + 0.5 * 0.05)


def test_calibrated_probabilities_have_a_small_ece() -> None:
    assert c.ece(*noisy(20_000)) < 0.02


@given(hnp.arrays(np.float64, st.tuples(st.integers(1, 30), st.just(3)), elements=st.floats(0.01, 1)), st.data())
def test_order_does_not_matter_and_figures_have_their_range(p: np.ndarray, data: st.DataObject) -> None:
    p /= p.sum(axis=1, keepdims=True)
    gold = np.array(data.draw(st.lists(st.integers(0, 2), min_size=len(p), max_size=len(p))))
    order = np.array(data.draw(st.permutations(range(len(p)))))
    assert 0 <= c.ece(p, gold) <= 1
    assert 0 <= c.brier(p, gold) <= 2
    confidence, hit = c.decisions(p, gold)
    for measure in (c.nll, c.brier, c.ece):
        assert measure(p, gold) == pytest.approx(measure(p[order], gold[order]))
    assert c.aurc(confidence, hit) == pytest.approx(c.aurc(confidence[order], hit[order]))
    assert c.excess_aurc(confidence, hit) >= -1e-12
    assert c.coverage_curve(p, gold) == c.coverage_curve(p[order], gold[order])


def test_the_coverage_curve_ends_with_everything_kept() -> None:
    p, gold = noisy(500)
    curve = c.coverage_curve(p, gold)
    assert (curve[-1].coverage, curve[-1].accuracy) == (1.0, pytest.approx((gold == 0).mean()))
    assert [x.coverage for x in curve] == sorted(x.coverage for x in curve)
    thinned = c.coverage_curve(p, gold, points=20)
    assert len(thinned) <= 20
    assert thinned[-1] == curve[-1]
    assert set(thinned) <= set(curve)


def test_aurc_by_hand() -> None:
    assert c.aurc([0.9, 0.8, 0.7], [True, False, True]) == pytest.approx((0 + 1 / 2 + 1 / 3) / 3)
    assert c.aurc([0.5, 0.5], [True, False]) == 0.5  # equal confidence: both or none
    assert c.excess_aurc([0.9, 0.8, 0.7], [True, False, True]) == pytest.approx((5 / 6 - 1 / 3) / 3)


def test_several_labels_are_several_decisions() -> None:
    p, gold = np.array([[0.9, 0.6], [0.2, 0.3]]), np.array([[1, 0], [0, 0]])
    assert c.nll(p, gold) == pytest.approx(-(np.log([0.9, 0.4]).sum() + np.log([0.8, 0.7]).sum()) / 2)
    first = c.coverage_curve(p, gold)[0]
    assert (first.threshold, first.coverage, first.accuracy) == (0.9, 0.5, 1.0)
    assert c.coverage_curve(p, gold)[-1] == c.CoveragePoint(0.2, 1.0, 0.25)


def test_the_threshold_keeps_its_promise_on_new_texts() -> None:
    p, gold = noisy(4_000)
    found = c.threshold_for(p, gold, 0.9)
    assert found.threshold is not None
    assert found.accuracy is not None
    new_p, new_gold = noisy(4_000, seed=1)
    kept = new_p.max(axis=1) >= found.threshold
    assert found.coverage == pytest.approx(kept.mean(), abs=0.05)
    assert found.accuracy == pytest.approx((new_gold[kept] == 0).mean(), abs=0.03)
    assert found.accuracy == pytest.approx(0.9, abs=0.03)


def test_cross_fitting_removes_the_optimism_of_choosing_on_the_same_gold() -> None:
    """Confidence that means nothing: the chosen threshold looks good on its own gold and not on held-out folds."""
    own, held = [], []
    for seed in range(30):
        rng = np.random.default_rng(seed)
        p, gold = binary(rng.uniform(0.5, 1, 60)), (rng.random(60) > 0.7).astype(int)
        confidence, hit = c.decisions(p, gold)
        threshold = c.lowest_threshold(confidence, hit, 0.85)
        found = c.threshold_for(p, gold, 0.85, seed=seed)
        if threshold is not None and found.accuracy is not None:
            own.append(hit[confidence >= threshold].mean())
            held.append(found.accuracy)
    assert np.mean(own) >= 0.85
    assert np.mean(held) <= 0.72  # the true accuracy at any threshold is 0.7


def test_an_unreachable_precision_keeps_nothing() -> None:
    p, gold = binary([0.9] * 20), [1] * 20
    assert c.threshold_for(p, gold, 0.9) == c.Threshold(0.9, None, 0.0, None)


def test_a_threshold_rests_on_ten_decisions_or_more() -> None:
    assert c.lowest_threshold([0.9] * 9 + [0.6] * 11, [True] * 9 + [False] * 11, 0.9) is None


def test_thresholds_work_for_several_labels() -> None:
    rng = np.random.default_rng(0)
    p = rng.uniform(0, 1, (2_000, 3))
    found = c.threshold_for(p, rng.random((2_000, 3)) < p, 0.8)
    assert found.threshold == pytest.approx(0.6, abs=0.05)  # the mean of what is kept is (t + 1) / 2
    assert found.accuracy == pytest.approx(0.8, abs=0.03)
    assert found.coverage == pytest.approx(1 - 0.6**3, abs=0.05)


def test_faults() -> None:
    with pytest.raises(ValueError, match=r"must be in \[0, 2\); found 2 in row 1"):
        c.nll(binary([0.5, 0.5]), [0, 2])
    with pytest.raises(ValueError, match="lie in"):
        c.nll([[1.5, -0.5]], [0])
    with pytest.raises(ValueError, match="precision must be"):
        c.threshold_for(binary([0.5, 0.5]), [0, 1], 0.0)
    with pytest.raises(ValueError, match="at least two"):
        c.threshold_for(binary([0.5]), [0], 0.9)
