"""The gate by hand, the relation against all permutations, and students that refuse too few examples."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest

from tutelage.errors import InputError
from tutelage.evaluation.agreement import Agreement
from tutelage.evaluation.raters import Reliability
from tutelage.methods.labelling.sight import CategoryGate, RubricStudents, choose_version, digest, relation

NAN = math.nan


def line(people: float, model: float | None, category: str = "c") -> Reliability:
    both = [None if value is None else Agreement(value, (value, value), 100) for value in (people, model)]
    assert both[0] is not None
    return Reliability(category, both[0], both[1], 0.1, 10)


@pytest.mark.parametrize(
    ("people", "model", "outcome"),
    [
        (0.8, 0.65, "ready"),
        (0.79, 0.9, "needs a better rubric"),
        (0.95, 0.64, "needs a better model"),
        (0.95, None, "unknown"),
        (0.95, NAN, "unknown"),
        (NAN, 0.9, "unknown"),
    ],
)
def test_the_gate(people: float, model: float | None, outcome: str):
    assert CategoryGate().outcome(line(people, model)) == outcome


def test_the_gate_selects_in_order():
    report = [line(0.9, 0.7, "a"), line(0.7, 0.9, "b"), line(0.9, 0.9, "c")]
    assert CategoryGate().select(report) == ["a", "c"]
    assert CategoryGate(people=0.6).select(report) == ["a", "b", "c"]


def test_the_relation_is_exact_over_all_pairings():
    people, model = np.array([0.7, 0.75, 0.9, 0.95, 0.8]), np.array([0.3, 0.5, 0.7, 0.8, 0.2])
    found = relation([line(p, m) for p, m in zip(people, model, strict=True)] + [line(NAN, 0.5), line(0.5, None)])
    r = float(np.corrcoef(people, model)[0, 1])
    orders = [np.corrcoef(people[list(order)], model)[0, 1] for order in itertools.permutations(range(5))]
    assert found.n == 5
    assert found.pearson == pytest.approx(r)
    assert found.p == pytest.approx(np.mean([x >= r - 1e-12 for x in orders]))
    assert found.interval[0] < r < found.interval[1]


def test_a_relation_beyond_nine_categories_is_sampled_and_repeatable():
    report = [line(0.5 + i / 30, 0.4 + i / 40) for i in range(12)]
    assert relation(report, seed=3) == relation(report, seed=3)
    assert relation(report).p == pytest.approx(1 / 20_001)


@pytest.mark.parametrize(
    ("report", "message"),
    [([line(0.9, 0.8)] * 3, "at least four"), ([line(0.9, 0.1 * i) for i in range(5)], "the same kappa")],
)
def test_there_may_be_no_relation(report: list[Reliability], message: str):
    with pytest.raises(InputError, match=message):
        relation(report)


def test_a_wording_is_chosen_on_one_part_and_scored_on_another():
    person = np.array([0.0, 1, 0, 1, 0, 1, 0, 1])
    lucky = np.array([0.0, 1, 0, 1, 1, 0, 1, 0])  # right where it is chosen, wrong elsewhere
    steady = np.array([0.0, 1, 0, 0, 0, 1, 0, 1])
    undefined = np.zeros(8)
    best = choose_version(
        {"lucky": lucky, "steady": steady, "never": undefined}, [person], choose=np.arange(4), test=np.arange(4, 8)
    )
    assert (best.name, best.chosen_on.value, best.tested_on.value) == ("lucky", 1.0, -1.0)
    with pytest.raises(InputError, match="must not overlap"):
        choose_version({"a": steady}, [person], choose=np.arange(4), test=np.arange(3, 8))
    with pytest.raises(InputError, match="no wording has a defined kappa"):
        choose_version({"a": undefined}, [undefined], choose=np.arange(4), test=np.arange(4, 8))


def codes(n: int) -> tuple[list[str], np.ndarray]:
    """Comments of which a fifth is about the board, and a fifth asks."""
    texts = [
        ("the chalk and the board squeak" if i % 5 == 0 else "lovely talk") + f" {i}" + "?" * (i % 5 == 1)
        for i in range(n)
    ]
    return texts, np.array([[i % 5 == 0, i % 5 == 1] for i in range(n)], float)


def test_students_learn_each_category_and_leave_open_cells_out():
    texts, table = codes(100)
    table[7:30, 1] = NAN
    students = RubricStudents(["setup", "asks"], least=10).fit(texts, table)
    said = students.predict(["chalk on the board", "lovely talk"])
    assert said[:, 0].tolist() == [1, 0]
    assert students.predict_proba(texts).shape == (100, 2)


@pytest.mark.parametrize(
    ("n", "shape", "message"),
    [
        (100, (100, 2), r"fewer than 50 texts with one of the answers in setup \(20\), asks \(20\)"),
        (100, (100, 3), r"codes must be \(100, 2\); got \(100, 3\)"),
    ],
)
def test_students_refuse_what_they_cannot_learn_from(n: int, shape: tuple[int, int], message: str):
    texts, table = codes(n)
    with pytest.raises(InputError, match=message):
        RubricStudents(["setup", "asks"]).fit(texts, np.resize(table, shape))


def test_students_say_nothing_before_they_have_learned():
    for ask in (RubricStudents(["setup"]).predict, RubricStudents(["setup"]).predict_proba):
        with pytest.raises(InputError, match="RubricStudents have not learned anything yet: call fit first"):
            ask(["more chalk"])


def test_the_digest_masks_handles_but_no_addresses():
    rows = digest(
        ["@ann.b louder", "mail me@x.org", "louder!", "fine"], ["one", "one", "two", "two"],
        np.array([[1], [1], [1], [NAN]]), ["setup"], examples=2,
    )  # fmt: skip
    assert [row["count"] for row in rows] == [2, 1]
    assert rows[0]["examples"] == ["@… louder", "mail me@x.org"]
    assert rows[1]["of"] == 2
