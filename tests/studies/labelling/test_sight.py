"""The bars that this study computes by itself."""

from __future__ import annotations

import numpy as np
import pytest

from tutelage.studies import Results
from tutelage.studies.labelling._sight_data import PEOPLE, STYLES, VERSIONS
from tutelage.studies.labelling.sight import RELIABILITY, STUDENTS, follows, passes_on_pedagogy, replicated


def test_every_style_has_a_figure_and_a_prompt_for_every_category():
    assert set(STYLES) == set(VERSIONS)
    assert {tuple(table) for table in (*STYLES.values(), *VERSIONS.values())} == {tuple(PEOPLE)}


def test_one_kappa_that_is_off_is_no_replication():
    measured = {"people": [dict(PEOPLE)], **{style: [dict(table)] for style, table in STYLES.items()}}
    assert replicated(Results(RELIABILITY.metrics, [100], measured)).outcome == "holds"
    measured["3-shot"][0]["na"] += 0.002
    found = replicated(Results(RELIABILITY.metrics, [100], measured))
    assert (found.outcome, found.effect) == ("fails", 35)


@pytest.mark.parametrize(
    ("pearson", "p", "outcome"),
    [(0.8, 0.01, "holds"), (0.5, 0.01, "inconclusive"), (0.8, 0.06, "inconclusive"), (-0.1, 0.6, "fails")],
)
def test_the_relation_s_bar(pearson: float, p: float, outcome: str):
    figures = {"zero-shot": [{"Pearson": pearson, "p": p, "low": 0.0, "high": 1.0}]}
    assert follows(Results(RELIABILITY.metrics, [100], figures)).outcome == outcome


def test_the_student_is_compared_with_its_teacher_comment_by_comment():
    rng = np.random.default_rng(0)
    person = (rng.random(200) < 0.3).astype(float)
    poor = np.where(rng.random(200) < 0.6, person, 1 - person)

    def results(student: np.ndarray, teacher: np.ndarray) -> Results:
        people = {"pedagogy 0": person.tolist(), "pedagogy 1": [-1.0, *person[1:]]}
        said = {"student": student, "GPT-3.5": teacher}
        arms = {name: [{"pedagogy": 0.5, "pedagogy codes": codes.tolist()}] for name, codes in said.items()}
        return Results(STUDENTS.metrics, [100], {"people": [people], **arms})

    assert passes_on_pedagogy(results(person, poor)).outcome == "holds"
    assert passes_on_pedagogy(results(poor, person)).outcome == "fails"
    assert passes_on_pedagogy(results(person, np.append(1 - person[:1], person[1:]))).outcome == "inconclusive"
