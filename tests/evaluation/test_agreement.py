"""Agreement: published values, the package as reference for every resample, and what is undefined."""

from __future__ import annotations

import math
import time

import krippendorff
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from tutelage.evaluation.agreement import Level, _sums, alpha, alpha_per_label, kappa, masi, reading

NA = None
# Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), example C: four observers, twelve units, missing data
PUBLISHED = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, NA, NA, NA],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, NA, 3],
    [NA, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, NA],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, NA],
]
RATINGS = st.integers(2, 12).flatmap(
    lambda n: st.lists(
        st.lists(st.one_of(st.none(), st.integers(0, 3)), min_size=n, max_size=n), min_size=2, max_size=4
    )
)


@pytest.mark.parametrize("level, value", [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_the_published_example(level: Level, value: float) -> None:
    result = alpha(PUBLISHED, level=level)
    assert round(result.value, 3) == value
    assert result.n == 11  # the last unit has one label
    assert result.interval[0] < result.value < result.interval[1] <= 1


def test_nan_and_the_named_value_are_missing_too() -> None:
    as_nan = [[float("nan") if v is None else float(v) for v in row] for row in PUBLISHED]
    as_minus_one = np.array([[-1 if v is None else v for v in row] for row in PUBLISHED])
    as_scalars = [list(row) for row in np.array(as_nan, np.float32)]
    expected = alpha(PUBLISHED).value
    assert alpha(as_scalars, level="ordinal").value == pytest.approx(alpha(PUBLISHED, level="ordinal").value)
    assert alpha(as_nan).value == pytest.approx(expected)
    assert alpha(as_minus_one, missing=-1).value == pytest.approx(expected)


@given(RATINGS, st.sampled_from(["nominal", "ordinal", "interval"]))
def test_the_sums_give_what_the_package_gives(table: list[list[int | None]], level: Level) -> None:
    result = alpha(table, level=level, resamples=5)
    rated = [unit for unit in zip(*table, strict=True) if sum(v is not None for v in unit) >= 2]
    values = {v for unit in rated for v in unit if v is not None}
    if len(values) < 2:
        assert math.isnan(result.value)
        assert result.reason
        return
    data = [[np.nan if v is None else v for v in row] for row in table]
    assert result.value == pytest.approx(krippendorff.alpha(reliability_data=data, level_of_measurement=level))


@given(RATINGS, st.randoms(), st.sampled_from(["nominal", "ordinal", "interval"]))
def test_order_of_units_and_of_raters_does_not_matter(table: list, random: object, level: Level) -> None:
    value = alpha(table, level=level, resamples=2).value
    assume(not math.isnan(value))
    units = list(zip(*table, strict=True))
    random.shuffle(units)  # type: ignore[attr-defined]
    raters = list(zip(*units, strict=True))
    random.shuffle(raters)  # type: ignore[attr-defined]
    assert alpha(raters, level=level, resamples=2).value == pytest.approx(value)


@given(st.lists(st.integers(0, 3), min_size=2, max_size=20), st.sampled_from(["nominal", "ordinal", "interval"]))
def test_equal_raters_agree_fully(row: list[int], level: Level) -> None:
    assume(len(set(row)) > 1)
    assert alpha([row, row, row], level=level, resamples=20).value == pytest.approx(1)
    assert kappa(row, row, resamples=20).value == pytest.approx(1)


def test_independent_raters_agree_by_chance_only() -> None:
    rng = np.random.default_rng(0)
    result = alpha(rng.integers(4, size=(2, 4_000)))
    assert result.value == pytest.approx(0, abs=0.03)
    assert result.interval[0] < 0 < result.interval[1]


@pytest.mark.parametrize("level", ["nominal", "ordinal", "interval"])
def test_a_resample_is_the_alpha_of_its_units(level: Level) -> None:
    """The vectorised bootstrap against the plain one: draw units, ask the package."""
    rng = np.random.default_rng(0)
    first = rng.integers(1, 5, size=150)
    table = np.stack([first, np.where(rng.random(150) < 0.7, first, rng.integers(1, 5, size=150))]).astype(float)
    plain = []
    for _ in range(400):
        drawn = table[:, rng.integers(150, size=150)]
        plain.append(krippendorff.alpha(reliability_data=drawn, level_of_measurement=level))
    result = alpha(table, level=level, resamples=4_000)
    assert result.interval == pytest.approx(tuple(np.quantile(plain, [0.025, 0.975])), abs=0.025)


def test_clusters_of_copies_widen_the_interval() -> None:
    rng = np.random.default_rng(0)
    a = rng.integers(3, size=60)
    b = np.where(rng.random(60) < 0.8, a, rng.integers(3, size=60))
    table, cluster = [np.repeat(a, 6), np.repeat(b, 6)], np.repeat(np.arange(60), 6)
    plain, clustered = alpha(table), alpha(table, cluster=cluster)
    assert clustered.value == plain.value
    width = [r.interval[1] - r.interval[0] for r in (plain, clustered)]
    assert width[1] / width[0] == pytest.approx(np.sqrt(6), rel=0.2)


def test_a_thousand_resamples_of_two_thousand_units_take_less_than_two_seconds() -> None:
    rng = np.random.default_rng(0)
    names = np.array([f"label {k}" for k in range(17)])
    table = [names[rng.integers(17, size=2_000)] for _ in range(2)]
    alpha([row[:20] for row in table])
    begin = time.process_time()
    alpha(table)
    alpha_per_label(table, names.tolist())
    assert time.process_time() - begin < 2


def test_large_tables_are_computed_from_the_sums() -> None:
    counts = np.array([[2, 0, 1], [0, 2, 0], [1, 1, 1]])
    contributions, statistic = _sums(counts, 1 - np.eye(3))
    expected = krippendorff.alpha(value_counts=counts, level_of_measurement="nominal")
    assert statistic(contributions.sum(axis=0, keepdims=True))[0] == pytest.approx(expected)


def test_masi_by_hand() -> None:
    a, ab, bc, c = map(frozenset, ("a", "ab", "bc", "c"))
    assert masi(ab, ab) == 0
    assert masi(ab, bc) == pytest.approx(1 - 1 / 3 * 1 / 3)
    assert masi(a, c) == 1
    assert masi(frozenset(), frozenset()) == 0
    assert masi(frozenset(), a) == 1
    # two units {a}{a} and {a}{ab}: D_o = (1/4) · 2 · 2/3, values a (3 times) and ab (once): D_e = 2·3·1·(2/3) / 12
    assert alpha([[a, a], [a, ab]], level="masi").value == pytest.approx(1 - (1 / 3) / (1 / 3))


def test_masi_is_kinder_to_half_right_sets_and_takes_indicators() -> None:
    first = np.array([[1, 0, 0], [0, 1, 1], [0, 0, 1], [1, 1, 0]])
    second = np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 0]])
    sets = [[frozenset(np.flatnonzero(r).tolist()) for r in rows] for rows in (first, second)]
    by_sets = alpha(sets, level="masi").value
    assert alpha([first, second], level="masi").value == pytest.approx(by_sets)
    assert 1 > by_sets > alpha([[str(s) for s in row] for row in sets]).value


@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=2, max_size=25))
def test_per_label_is_alpha_of_one_against_the_rest(pairs: list[tuple[str, str]]) -> None:
    table = list(zip(*pairs, strict=True))
    for label, result in alpha_per_label(table, list("abc"), resamples=5).items():
        recoded = alpha([[v == label for v in row] for row in table], resamples=5)
        assert result.value == pytest.approx(recoded.value, nan_ok=True)
        assert result.n == recoded.n
        assert (result.reason is None) == (recoded.reason is None)


def test_per_label_takes_missing_ratings_sets_and_indicators() -> None:
    codes = alpha_per_label([[0, 1, -1, 1], [0, 0, 1, 1]], [0, 1], missing=-1)
    assert codes[0].n == 3
    indicators = [np.array([[1, 0], [1, 1]]), np.array([[1, 1], [0, 1]])]
    by_array = alpha_per_label(indicators, ["x", "y"])
    by_set = alpha_per_label([[{"x"}, {"x", "y"}], [{"x", "y"}, {"y"}]], ["x", "y"])
    assert by_array["x"].value == pytest.approx(by_set["x"].value)


def test_undefined_is_nan_with_a_reason() -> None:
    assert "every rater gave 'a'" in (alpha([["a", "a"], ["a", "a"]]).reason or "")
    assert alpha([["a", None], [None, "b"]]).reason == "no unit was rated twice"
    assert "every rater gave" in (kappa(["a", "a"], ["a", "a"]).reason or "")
    assert math.isnan(kappa(["a"], [None]).value)
    constant = alpha_per_label([["a", "a"], ["a", "a"]], ["a", "b"])
    assert "every rater gave 'a'" in (constant["a"].reason or "")
    assert constant["b"].reason == "no rater gave 'b'"


def test_kappa_is_that_of_scikit_learn_with_an_interval() -> None:
    from sklearn.metrics import cohen_kappa_score

    rng = np.random.default_rng(0)
    a = rng.integers(4, size=300)
    b = np.clip(a + rng.integers(-1, 2, size=300), 0, 3)
    for weights in (None, "linear", "quadratic"):
        result = kappa(a, b, weights=weights)  # type: ignore[arg-type]
        assert result.value == pytest.approx(cohen_kappa_score(a, b, weights=weights))
        assert result.interval[0] < result.value < result.interval[1]
    assert kappa(list("ba"), list("ba"), values=["b", "a", "unused"]).value == 1


def test_reading() -> None:
    assert [reading(x) for x in (0.9, 0.8, 0.7, 0.5, math.nan, None)] == [
        "reliable", "reliable", "acceptable", "too low", "undefined", "undefined",
    ]  # fmt: skip


def test_faults() -> None:
    with pytest.raises(ValueError, match="two or more raters"):
        alpha([["a", "b"]])
    with pytest.raises(ValueError, match="two or more raters"):
        alpha([["a", "b"], ["a"]])
    with pytest.raises(ValueError, match="'z' is not among"):
        alpha([["a", "z"], ["a", "b"]], values=["a", "b"])
    with pytest.raises(ValueError, match="need values="):
        alpha([["low", "high"], ["low", "low"]], level="ordinal")
    with pytest.raises(ValueError, match="as one array"):
        alpha([list(np.eye(2)), list(np.eye(2))], level="masi")
    with pytest.raises(ValueError, match="'z' of unit 0"):
        alpha_per_label([["z"], ["a"]], ["a", "b"])
