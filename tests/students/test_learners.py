"""Simulated learners: the answers follow the hidden truth, knowledge is never lost under BKT, and a seed decides everything."""

from __future__ import annotations

import numpy as np
import pytest

from tutelage.errors import InputError
from tutelage.students.learners import Learners


@pytest.mark.parametrize("dynamics", ["bkt", "ou"])
def test_answers_come_as_often_right_as_their_chance_says(dynamics: str):
    log, chance, *_ = Learners(400, 3, 50, dynamics).cohort(0)  # type: ignore[arg-type]
    for low, high in ((0.0, 0.35), (0.35, 0.65), (0.65, 1.0)):
        those = (chance >= low) & (chance < high)
        if those.sum() > 500:
            assert log.correct[those].mean() == pytest.approx(chance[those].mean(), abs=0.03)


def test_a_seed_decides_everything():
    first, again, other = (Learners(5, 3, 10).cohort(seed) for seed in (1, 1, 2))
    assert np.array_equal(first.log.correct, again.log.correct)
    assert np.array_equal(first.knowledge, again.knowledge)
    assert not np.array_equal(first.chance, other.chance)


def test_what_is_known_stays_known_and_practice_teaches():
    log, chance, *_ = Learners(300, 2, 40, "bkt").cohort(0)
    padded = chance.reshape(300, 40)
    asked = log.concept.reshape(300, 40)
    for concept in range(2):
        for row in range(300):
            curve = padded[row][asked[row] == concept]
            assert (np.diff(curve) >= 0).all()
    assert padded[:, -5:].mean() > padded[:, :5].mean() + 0.2


def test_prerequisites_lift_and_point_forward():
    cohort = Learners(4000, 5, 30, "ou").cohort(3)
    assert not np.tril(cohort.edges).any()
    assert cohort.edges.any()
    related = np.corrcoef(cohort.knowledge.T - cohort.traits[:, 1])
    linked, apart = related[cohort.edges], related[np.triu(~cohort.edges, 1)]
    assert linked.mean() > apart.mean()
    assert linked.min() > 0.1


def test_who_forgets_fast_keeps_less_of_what_came_before():
    cohort = Learners(3000, 1, 60, "ou").cohort(0)
    z = np.log(cohort.chance / (1 - cohort.chance)).reshape(3000, 60)
    steps = np.abs(np.diff(z - z.mean(1, keepdims=True), axis=1)).mean(1) / z.std(1)
    fast = cohort.traits[:, 0] > np.median(cohort.traits[:, 0])
    assert steps[fast].mean() > 1.2 * steps[~fast].mean()


@pytest.mark.parametrize("options", [{"learners": 0}, {"dynamics": "irt"}, {"guess": 0.5}])
def test_refuses_what_is_no_world(options: dict[str, object]):
    with pytest.raises(InputError):
        Learners(**options)  # type: ignore[arg-type]
