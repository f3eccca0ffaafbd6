"""Splits: nobody is torn apart, nobody is lost, shares are kept, the same seed gives the same parts."""

from __future__ import annotations

import hashlib
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.data.split import drop_classes, few_per_class, group_split, hash_split, nested_sizes

labels = st.lists(st.sampled_from("abcdef"), min_size=1, max_size=60)
shares = st.sampled_from([[0.8, 0.2], [0.5, 0.5], [0.7, 0.1, 0.2], [1.0], [1.0, 0.0], [0.2] * 5, [0.99, 0.01]])
seeds = st.integers(0, 1000)


@given(st.lists(st.integers(0, 8), max_size=40), shares, seeds, st.booleans())
def test_groups_stay_whole_and_every_row_is_in_one_part(
    keys: list[int], parts: list[float], seed: int, strata: bool
) -> None:
    stratify = [key % 3 for key in keys] if strata else None
    split = group_split(keys, parts, seed=seed, stratify=stratify)
    assert len(split) == len(parts)
    assert sorted(np.concatenate(split).tolist()) == list(range(len(keys)))
    sides = [{keys[row] for row in part} for part in split]
    assert sum(map(len, sides)) == len(set(keys))
    assert all(part.dtype == np.int64 and part.tolist() == sorted(part) for part in split)
    assert all(len(part) == 0 for part, share in zip(split, parts, strict=True) if share == 0)
    again = group_split(keys, parts, seed=seed, stratify=stratify)
    assert all((a == b).all() for a, b in zip(split, again, strict=True))


@given(labels, st.sampled_from([[0.8, 0.2], [0.5, 0.5], [0.9, 0.1]]), seeds)
def test_plain_rows_keep_the_shares_of_the_whole_and_of_each_label(y: list[str], parts: list[float], seed: int) -> None:
    split = group_split(range(len(y)), parts, seed=seed, stratify=y)
    for part, share in zip(split, parts, strict=True):
        assert abs(len(part) - share * len(y)) <= 1
        held = Counter(y[row] for row in part)
        for label, count in Counter(y).items():
            assert abs(held[label] - share * count) < 2


def test_even_shares_are_exact() -> None:
    y = ["en"] * 30 + ["de"] * 10 + ["fr"] * 10
    small = group_split(range(50), [0.8, 0.2], seed=5, stratify=y)[1]
    assert Counter(y[row] for row in small) == {"en": 6, "de": 2, "fr": 2}


def test_rare_labels_do_not_all_end_in_the_largest_part() -> None:
    y = [f"label {i}" for i in range(50)]
    assert [len(part) for part in group_split(range(50), [0.8, 0.2], stratify=y)] == [40, 10]
    assert [len(part) for part in group_split(range(50), [0.2] * 5, stratify=y)] == [10] * 5


def test_another_seed_gives_another_split() -> None:
    one, two = (group_split(range(100), [0.5, 0.5], seed=seed)[0].tolist() for seed in (0, 1))
    assert one != two


@pytest.mark.parametrize("fractions", [[], [0.5, 0.4], [1.5, -0.5]])
def test_fractions_must_sum_to_one(fractions: list[float]) -> None:
    with pytest.raises(ValueError, match="sum to 1"):
        group_split(["a", "b"], fractions)


def test_strata_must_be_as_many_as_rows() -> None:
    with pytest.raises(ValueError, match="1 entries for 2 rows"):
        group_split(["a", "b"], [1.0], stratify=["x"])


@given(st.lists(st.text(max_size=5)))
def test_hash_split_is_the_documented_formula(keys: list[str]) -> None:
    def part(key: str) -> str:
        digit = int(hashlib.sha1(key.encode()).hexdigest(), 16) % 10
        return "train" if digit < 7 else "val" if digit == 7 else "test"

    keys = [key for key in keys if key.isprintable()]
    assert hash_split(keys).tolist() == [part(key) for key in keys]


def test_hash_split_takes_any_string_and_gives_about_its_shares() -> None:
    parts = Counter(hash_split([f"package-{i}" for i in range(5000)]).tolist())
    assert parts["train"] / 5000 == pytest.approx(0.7, abs=0.03)
    assert parts["val"] / 5000 == pytest.approx(0.1, abs=0.02)
    assert len(hash_split(["\ud800"])) == 1


@given(labels, st.integers(1, 8), seeds)
def test_few_per_class_takes_so_many_of_each_where_there_are_so_many(y: list[str], n: int, seed: int) -> None:
    rows = few_per_class(y, n, seed=seed)
    assert rows.tolist() == sorted(set(rows.tolist()))
    assert Counter(y[row] for row in rows) == {label: min(n, count) for label, count in Counter(y).items()}


@given(labels, st.sampled_from([0.1, 0.5, 0.9]), seeds)
def test_few_per_class_takes_a_share_of_each_and_at_least_one(y: list[str], share: float, seed: int) -> None:
    chosen = Counter(y[row] for row in few_per_class(y, share, seed=seed))
    assert chosen == {label: max(1, round(share * count)) for label, count in Counter(y).items()}


def test_few_per_class_refuses_nothing_and_less() -> None:
    for n in (0, -1):
        with pytest.raises(ValueError, match="positive"):
            few_per_class(["a"], n)
    assert few_per_class([], 3).shape == (0,)


@given(labels, st.sets(st.sampled_from("abcxyz")))
def test_drop_classes_keeps_the_others_in_order(y: list[str], gone: set[str]) -> None:
    assert drop_classes(y, list(gone)).tolist() == [row for row, label in enumerate(y) if label not in gone]


@given(labels, seeds, st.data())
def test_nested_sizes_are_prefixes_with_the_shares_of_the_whole(y: list[str], seed: int, data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, len(y)), min_size=1, max_size=4))
    samples = nested_sizes(y, sizes, seed=seed)
    longest = max(samples, key=len)
    for size, sample in zip(sizes, samples, strict=True):
        assert len(set(sample.tolist())) == size
        assert sample.tolist() == longest[:size].tolist()
        held = Counter(y[row] for row in sample)
        for label, count in Counter(y).items():
            assert abs(held[label] - size * count / len(y)) <= len(set(y))


def test_nested_sizes_follow_the_shares_closely() -> None:
    y = ["a"] * 500 + ["b"] * 300 + ["c"] * 200
    for seed in range(5):
        for sample in nested_sizes(y, [10, 100, 500], seed=seed):
            held = Counter(y[row] for row in sample)
            for label, share in (("a", 0.5), ("b", 0.3), ("c", 0.2)):
                assert abs(held[label] - share * len(sample)) <= 2


@pytest.mark.parametrize("size", [0, 4])
def test_nested_sizes_lie_within_the_rows(size: int) -> None:
    with pytest.raises(ValueError, match=r"\[1, 3\]"):
        nested_sizes(["a", "b", "a"], [1, size])
