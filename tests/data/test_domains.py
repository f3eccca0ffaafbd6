"""Domains: roles, labels that cannot be read, and the score."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from tutelage.data.domains import Domain, DomainSet
from tutelage.errors import InputError

PLACES = DomainSet(
    {"a": ([[0.0], [1.0]], [0, 1])},
    {"b": ([[2.0]], [1])},
    {"c": ([[3.0], [4.0], [5.0]], [1, 0, 1]), "d": ([[6.0]], None)},
)


def test_roles_in_the_order_in_which_they_were_given():
    assert [domain.name for domain in PLACES] == ["a", "b", "c", "d"]
    assert [[d.name for d in held] for held in (PLACES.source, PLACES.val, PLACES.target)] == [["a"], ["b"], ["c", "d"]]
    assert PLACES.source[0].y == [0, 1]
    assert len(PLACES.target[0]) == 3


def test_target_labels_are_for_the_score_only():
    with pytest.raises(InputError, match="target domain 'c'"):
        _ = PLACES.target[0].y
    asked: list[str] = []

    def answer(domain: Domain) -> list[int]:
        asked.append(domain.name)
        return [1] * len(domain)

    labelled = DomainSet({"a": ([1], [1])}, target={"c": ([1, 2, 3], [1, 0, 1])})
    assert labelled.score(answer) == {"c": pytest.approx(2 / 3)}
    assert asked == ["c"]
    assert labelled.score(answer, lambda gold, said: float(np.sum(gold)), role="source") == {"a": 1.0}


@pytest.mark.parametrize("kind", [bool, np.int32, np.uint8, np.int64])
def test_whole_numbers_are_classes(kind: type):
    (place,) = DomainSet({"a": ([1, 2, 3], np.array([0, 1, 1], kind))}).source
    assert place.classes.dtype == np.int64
    assert place.classes.tolist() == [0, 1, 1]


@pytest.mark.parametrize("labels", [["ill", "well"], [0.0, 1.0], [0, None]])
def test_other_labels_are_no_classes(labels: list):
    with pytest.raises(InputError, match=r"class numbers 0 … K − 1; encode them first: domain 'a' has "):
        _ = Domain("a", "source", [1, 2], labels).classes
    with pytest.raises(InputError, match="for the score only"):
        _ = Domain("a", "target", [1, 2], labels).classes


def test_refuses_to_score_without_labels_or_with_answers_of_another_length():
    with pytest.raises(InputError, match="'d' has no labels"):
        PLACES.score(lambda domain: [0] * len(domain))
    with pytest.raises(InputError, match="1 answers for the 2"):
        PLACES.score(lambda domain: [0], role="source")


def test_rows_of_a_table_by_the_column_that_names_the_place():
    table = pa.table(
        {"site": ["x", "y", "x", "z"], "u": [1, 2, 3, 4], "v": [0.5, 0.0, 1.5, 2.5], "label": list("abab")}
    )
    places = DomainSet.from_table(table, domain="site", x=["u", "v"], y="label", val=["y"], target=["z"])
    (source,) = places.source
    assert source.x.dtype == np.float32
    assert source.x.tolist() == [[1.0, 0.5], [3.0, 1.5]]
    assert source.y.tolist() == ["a", "a"]
    assert places.score(lambda domain: ["b"]) == {"z": 1.0}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"x": ["missing"]}, "cannot read domains"),
        ({"x": ["site"]}, "cannot read domains"),
        ({"target": ["w"]}, "no domain 'w' in column 'site'; there are x, y"),
        ({"target": ["x", "y"]}, "at least one source"),
    ],
)
def test_refuses_tables_that_do_not_fit(options: dict[str, list[str]], message: str):
    table = {"site": ["x", "y"], "u": [1, 2], "label": [0, 1]}
    with pytest.raises(InputError, match=message):
        DomainSet.from_table(table, **{"domain": "site", "x": ["u"], "y": "label", **options})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DomainSet({}), "at least one source"),
        (lambda: DomainSet({"a": ([1], [1])}, target={"a": ([1], [1])}), "'a' has two roles"),
        (lambda: DomainSet({"a": ([1, 2], [1])}), "2 inputs and 1 labels"),
        (lambda: DomainSet({"a": ([], [])}), "0 inputs"),
        (lambda: DomainSet({"a": ([1], [1])}, {"b": ([1], None)}), "for val and has no labels"),
    ],
)
def test_refuses_domains_that_cannot_be(make, message: str):
    with pytest.raises(InputError, match=message):
        make()
