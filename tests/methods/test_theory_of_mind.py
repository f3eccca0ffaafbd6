"""Theory of mind: scores and curves by hand, what never happens to a budget, and a class of pupils whose gap is known."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch import tensor

from tutelage.errors import InputError
from tutelage.methods.language.theory_of_mind import (
    TheoryOfMind,
    intervene,
    intervention_curve,
    intervention_scores,
    useful,
)
from tutelage.studies.language._chain_student import ChainTeacher, parsed, readings, results_above
from tutelage.teachers.mental_models import Demo, StatMentalModel
from tutelage.worlds.mod_chains import NOTATIONS, solve, text, write_steps

QUESTIONS = [f"{kind}{i}" for i in range(30) for kind in ("easy", "hard")]
ANSWERS = ["yes"] * 60


def student(questions: Sequence[str], explanations: Sequence[str] | None) -> list[str]:
    """Knows what is easy; reads French, and what it cannot read confuses it."""
    if explanations is None:
        return ["yes" if "easy" in q else "no" for q in questions]
    return ["yes" if "french" in e else "?" for e in explanations]


def teacher(questions: Sequence[str], examples: Sequence[Demo]) -> list[str]:
    """Explains in French every third time, and always once it has seen that this helps."""
    return ["french" if examples or i % 3 == 0 else "dutch" for i, _ in enumerate(questions)]


def features(question: str, answer: str, explanation: str | None) -> list[float]:
    return [float("hard" in question), float(explanation == "french")]


def mind(**options) -> TheoryOfMind:
    tom = TheoryOfMind(student, teacher, StatMentalModel(features), StatMentalModel(features), **options)
    tom.observe(QUESTIONS[:30], ANSWERS[:30])
    return tom


def test_scores_by_hand():
    p0, p1 = np.array([0.9, 0.1, 0.5]), np.array([0.9, 0.3, 0.9])
    assert intervention_scores("utility", p0, p1).tolist() == pytest.approx([0, 0.2, 0.4])
    assert intervention_scores("no_inter", p0, p1).argmax() == 1
    assert intervention_scores("inter", p0, p1).tolist() == p1.tolist()
    first, second = (intervention_scores("random", p0, p1, np.random.default_rng(1)) for _ in range(2))
    assert first.tolist() == second.tolist()
    with pytest.raises(InputError, match="strategy is utility"):
        intervention_scores("oracle", p0, p1)  # type: ignore[arg-type]


@given(st.lists(st.tuples(st.booleans(), st.booleans(), st.floats(-1, 1)), min_size=1, max_size=40), st.floats(0, 1))
def test_a_curve_begins_without_help_ends_with_it_and_no_ranking_beats_the_truth(rows: list, budget: float):
    alone, helped, scores = (np.array(column) for column in zip(*rows, strict=True))
    curve = intervention_curve(alone, helped, scores, [0, 1])
    assert curve.accuracy == (alone.mean(), helped.mean())
    truth = helped.astype(float) - alone
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        any_, best = (intervention_curve(alone, helped, s, [budget]).accuracy[0] for s in (scores, truth))
    assert best >= any_ - 1e-12


def test_a_budget_is_a_floor_and_one_that_explains_nothing_is_warned_of():
    assert len(intervene(np.zeros(10), 0.29)) == 2
    with pytest.warns(UserWarning, match="explains none"):
        assert len(intervene(np.zeros(4), 0.2)) == 0
    with pytest.raises(InputError, match="share"):
        intervene(np.zeros(4), 1.5)


def test_ties_do_not_follow_the_order_of_questions():
    chosen = [tuple(sorted(intervene(np.zeros(50), 0.2, seed=seed).tolist())) for seed in range(4)]
    assert len(set(chosen)) == 4
    assert tuple(range(10)) not in chosen


def test_only_what_help_changed_is_useful():
    alone = [Demo("a", "y", None, "n"), Demo("b", "y", None, "y"), Demo("c", "y", None, "n"), Demo("d", "y", None, "n")]
    helped = [Demo(d.question, "y", "e", said) for d, said in zip(alone, "yyny", strict=True)]
    assert [d.question for d in useful(alone, helped)] == ["a", "d"]
    assert [d.question for d in useful(alone, helped, 1)] == ["a"]


def test_help_goes_to_the_hard_questions_whose_explanation_can_be_read():
    tom = mind(personalised=False)
    explanations = tom.explain(QUESTIONS[30:])
    said, chosen = tom.answer(QUESTIONS[30:], ANSWERS[30:], 1 / 6)
    assert all("hard" in QUESTIONS[30 + i] and explanations[i] == "french" for i in chosen)
    assert said.count("yes") == 15 + len(chosen)


def test_personalised_help_is_in_the_language_of_the_student():
    plain, personal = (mind(personalised=p).curve(QUESTIONS[30:], ANSWERS[30:], [0, 0.5, 1]) for p in (False, True))
    assert plain.accuracy[0] == personal.accuracy[0] == 0.5
    assert personal.accuracy[1:] == (1.0, 1.0)
    assert plain.accuracy[1] < 1
    assert personal.area > plain.area


def test_what_cannot_be_read_is_wrong_and_stays():
    tom = mind(personalised=False)
    said, _ = tom.answer(QUESTIONS[30:], ANSWERS[30:], 1.0)
    assert len(said) == 30
    assert "?" in said


def test_strategies_are_the_class_s_too():
    utility, no_inter = (
        mind(personalised=False, strategy=s).curve(QUESTIONS[30:], ANSWERS[30:], [0.2]) for s in ("utility", "no_inter")
    )
    assert utility.accuracy > no_inter.accuracy


@pytest.mark.parametrize(("strategy", "written"), [("no_inter", 6), ("random", 6), ("utility", 30), ("inter", 30)])
def test_strategies_that_read_no_explanations_ask_for_the_chosen_ones_only(strategy, written: int):
    tom, asked, read = mind(strategy=strategy), list[str](), list[str]()

    def writer(questions: Sequence[str], examples: Sequence[Demo]) -> list[str]:
        asked.extend(questions)
        return [f"french {q}" for q in questions]

    def reader(questions: Sequence[str], explanations: Sequence[str] | None) -> list[str]:
        if explanations is None:
            return ["no"] * len(questions)
        assert list(explanations) == [f"french {q}" for q in questions]
        read.extend(questions)
        return ["yes"] * len(questions)

    tom.teacher, tom.student = writer, reader
    said, chosen = tom.answer(QUESTIONS[30:], ANSWERS[30:], 0.2)
    assert len(asked) == written
    assert read == [QUESTIONS[30 + i] for i in chosen]
    assert [i for i, word in enumerate(said) if word == "yes"] == sorted(chosen.tolist())


def test_without_a_budget_nothing_is_explained():
    tom = mind(strategy="no_inter")
    tom.teacher = lambda questions, examples: pytest.fail("asked for nothing")
    assert len(tom.answer(QUESTIONS[30:], ANSWERS[30:], 0.0)[1]) == 0


def test_what_is_wrong_is_said_before_anybody_is_asked():
    never = lambda *asked: pytest.fail("asked")
    with pytest.raises(InputError, match="strategy is utility, no_inter, inter or random; got 'utilty'"):
        TheoryOfMind(never, never, StatMentalModel(features), StatMentalModel(features), strategy="utilty")  # type: ignore[arg-type]
    tom = mind()
    tom.student = tom.teacher = never
    with pytest.raises(InputError, match=r"in \[0, 1\]; got 20"):
        tom.answer(QUESTIONS[30:], ANSWERS[30:], 20)
    tom = mind(strategy="inter")
    with pytest.raises(InputError, match="the strategy inter reads explanations"):
        tom.scores(QUESTIONS, ANSWERS)


def test_student_and_teacher_say_one_thing_a_question():
    tom = mind()
    tom.teacher = lambda questions, examples: ["french"]
    for ask in (tom.observe, tom.curve):
        with pytest.raises(InputError, match="the teacher gave 1 explanations for 60 questions"):
            ask(QUESTIONS, ANSWERS)
    tom.student = lambda questions, explanations: []
    with pytest.raises(InputError, match="the student gave 0 answers for 60 questions"):
        tom.observe(QUESTIONS, ANSWERS)


def test_the_study_s_teacher_writes_what_it_was_shown_and_reads_back():
    questions = ["7+3*2?", "1-0+3?", "4*4-9?"]
    answers = results_above(*parsed(questions))
    assert answers == ["n", "n", "y"]  # 0, 4, 7
    honest = ChainTeacher([0.0, 0.0, 0.0], seed=0)
    for notation in NOTATIONS:
        example = text(
            write_steps(*parsed(questions[:1]), solve(*parsed(questions[:1])), tensor([NOTATIONS.index(notation)]))[0]
        )
        said = honest(questions, [Demo(questions[0], "n", example, "n")])
        assert [readings(steps) for steps in said] == [(notation, answer) for answer in answers]
    misled = ChainTeacher([0.0, 0.0, 0.0], seed=0, misaligned=True)(questions, ())
    assert all(readings(steps)[1] != answer for steps, answer in zip(misled, answers, strict=True))
