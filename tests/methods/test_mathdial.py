"""MathDial: the metric's pinned cases, moves told from words, a policy that listens, tutors that do not leak."""

from __future__ import annotations

import math
from collections import Counter

import numpy as np
import pytest

from tutelage.data.dialogue import MOVES, Dialogue, Speaker, Turn, TutoringProblem
from tutelage.errors import InputError
from tutelage.methods.education.mathdial import (
    OPENING,
    Moment,
    MoveClassifier,
    MovePolicy,
    PlannedTutor,
    first_said,
    moments,
    says,
    simulate,
    solved_and_told,
    success_telling_curve,
)
from tutelage.students.pupils import HazardPupils
from tutelage.teachers.llm.asking import Asking
from tutelage.teachers.llm.base import Request, ScriptedChat, TextFault
from tutelage.teachers.tutoring import LLMPupil, LLMTutor

PROBLEM = TutoringProblem("1", "3 bags of 4 apples?", "12", "3 * 4 = 12", "3 + 4 = 7")


def dialogue(*texts: str, problem: TutoringProblem = PROBLEM) -> Dialogue:
    """Teacher and pupil in turn, the teacher first."""
    return Dialogue(problem, tuple(Turn("pupil" if n % 2 else "teacher", text) for n, text in enumerate(texts)))


def test_a_pupil_who_is_first_is_solved_and_not_told():
    log = [dialogue("Hi", "7", "Why?", "8", "And now?", "12")]
    assert success_telling_curve(log, 3).tolist() == [[0, 0], [1, 0], [1, 0]]


def test_a_pupil_who_repeats_the_teacher_is_solved_and_told():
    log = [dialogue("Hi", "7", "Why?", "8", "It is 12", "8?", "12!", "Then 12")]
    assert success_telling_curve(log, 3).tolist() == [[0, 0], [0, 1], [1, 1]]


def test_turns_are_counted_by_side():
    log = dialogue("Hi", "7", "12 it is", "12")
    assert (first_said(log, "teacher"), first_said(log, "pupil")) == (1, 1)
    assert first_said(dialogue("Hi", "7"), "pupil") == math.inf
    assert solved_and_told([log], 0).tolist() == [[False, False]]


@pytest.mark.parametrize(
    ("text", "answer", "held"),
    [
        ("1,200 apples", "1200", True),
        ("it is 12.0", "12", True),
        ("112", "12", False),
        ("-5", "5", True),
        ("5", "-5", True),
        ("twelve", "12", False),
    ],
)
def test_the_paper_s_match_sees_figures_only(text: str, answer: str, held: bool):
    assert says(text, TutoringProblem("1", "", answer)) is held


def test_the_strict_match_wants_a_result():
    assert says("8 + 4 = 12. Then I stop.", PROBLEM, strict=True)
    assert says("So the total is 12 apples. Right?", PROBLEM, strict=True)
    assert not says("I saw 12 on the page. It is 7.", PROBLEM, strict=True)
    with pytest.raises(InputError, match="problem x: answer must be numeric; found 'blue'"):
        says("12", TutoringProblem("x", "", "blue"))


def test_moments_know_what_came_before():
    log = Dialogue(PROBLEM, (Turn("teacher", "Hi", "generic"), Turn("pupil", "7"), Turn("teacher", "Why?", "probing")))
    assert moments([log]) == [Moment("Hi", "", None, 0, "generic"), Moment("Why?", "7", "generic", 1, "probing")]


WORDS = {"focus": "look at step", "probing": "why did you", "telling": "you must add", "generic": "well done friend"}


def labelled(n: int = 40) -> list[Moment]:
    return [Moment(f"{WORDS[MOVES[i % 4]]} {i}", "seven", None, i % 3, MOVES[i % 4]) for i in range(n)]


def test_moves_are_told_from_words():
    classifier = MoveClassifier().fit([*labelled(), Moment("no label")])
    assert classifier.predict([Moment(words) for words in WORDS.values()]) == list(MOVES)
    p = classifier.predict_proba([Moment("why did you")])
    assert p.shape == (1, 4)
    assert p.sum() == pytest.approx(1)


def test_context_tells_moves_that_words_cannot():
    same = [
        Moment("okay", reply, None, 1, move) for reply, move in (("I do not know", "telling"), ("I see it", "generic"))
    ] * 10
    asked = [Moment("okay", "I do not know"), Moment("okay", "I see it")]
    assert MoveClassifier().fit(same).predict(asked) == ["telling", "generic"]
    assert len(set(MoveClassifier(context=False).fit(same).predict(asked))) == 1


def test_a_move_never_seen_gets_no_chance():
    few = [Moment("why", move="probing"), Moment("look", move="focus")] * 3
    assert MoveClassifier().fit(few).predict_proba([Moment("why")])[0, 2:].tolist() == [0, 0]
    with pytest.raises(InputError, match="fewer than two different moves"):
        MoveClassifier().fit(few[:1])


def test_nothing_asked_is_nothing_said_and_nothing_learned_is_said():
    for model in (MoveClassifier(), MovePolicy()):
        with pytest.raises(
            InputError, match=f"this {type(model).__name__} has not learned anything yet: call fit first"
        ):
            model.predict([Moment("why")])
        model.fit(labelled())
        assert model.predict_proba([]).shape == (0, 4)
        assert model.predict([]) == []
    assert MovePolicy().fit(labelled())([]) == []


def talks(n: int = 30) -> list[Dialogue]:
    """Teachers who probe after a seven and tell after a cry for help."""
    logs = []
    for i in range(n):
        said, move = ("it is seven", "probing") if i % 2 else ("help me please", "telling")
        problem = TutoringProblem(str(i), "3 bags of 4 apples?", "12")
        logs.append(
            Dialogue(problem, (Turn("teacher", "Hi", "generic"), Turn("pupil", said), Turn("teacher", "…", move)))
        )
    return logs


def test_the_policy_listens_to_the_pupil_and_knows_how_to_open():
    policy = MovePolicy().fit(moments(talks()))
    asked = [Dialogue(d.problem, d.turns[:2]) for d in talks()]
    made = policy(asked)
    hits = [move == ("probing" if n % 2 else "telling") for n, move in enumerate(made)]
    assert np.mean(hits) > 0.7
    opening = policy([Dialogue(d.problem, ()) for d in talks()])
    assert Counter(opening).most_common(1)[0][0] == "generic"


def test_the_policy_draws_as_often_as_it_believes():
    policy = MovePolicy().fit(moments(talks()))
    asked = [Dialogue(TutoringProblem(str(n), "", "1"), talks()[0].turns[:2]) for n in range(2000)]
    believed = policy.predict_proba([Moment("", "help me please", "generic", 1)])[0]
    made = Counter(policy(asked))
    assert [made[move] / 2000 for move in MOVES] == pytest.approx(believed, abs=0.04)
    assert policy(asked) == policy(asked)


class Echo(Speaker):
    """Says what a script says, by round."""

    def __init__(self, *said: str) -> None:
        self.said = said

    def replies(self, dialogues):
        return [Turn("pupil", self.said[len(d.of("pupil"))]) for d in dialogues]


def test_a_planned_tutor_says_its_move_and_keeps_the_answer():
    realise = lambda dialogue, move: f"{move}: think. The answer is {dialogue.problem.answer}."
    guarded = PlannedTutor(lambda dialogues: ["focus"] * len(dialogues), realise)
    assert guarded.reply([], PROBLEM) == Turn("teacher", "focus: think.", "focus")
    open_ = PlannedTutor(lambda dialogues: ["focus"] * len(dialogues), realise, guard=False)
    assert "12" in open_.reply([], PROBLEM).text


def test_a_lesson_opens_alternates_and_ends_with_the_answer():
    tutor = PlannedTutor(lambda dialogues: ["focus"] * len(dialogues), lambda dialogue, move: "Go on.")
    (log,), failed = simulate(tutor, Echo("7", "8", "12", "never said"), [PROBLEM], rounds=5)
    assert failed == 0
    assert log.turns[0] == OPENING
    assert [turn.role for turn in log.turns] == ["teacher", "pupil"] * 3
    assert log.turns[-1].text == "12"
    (short,), _ = simulate(tutor, Echo("7", "8", "12"), [PROBLEM], rounds=1)
    assert len(short.of("pupil")) == 2


def test_telling_more_never_helps_the_guarded_tutor_to_tell():
    pupils = HazardPupils(says).fit(talks())
    leaks = PlannedTutor(lambda dialogues: ["telling"] * len(dialogues), lambda d, move: f"It is {d.problem.answer}.")
    done, _ = simulate(leaks, pupils, [d.problem for d in talks()], rounds=3)
    assert success_telling_curve(done, 3)[:, 1].tolist() == [0, 0, 0]


def test_two_chat_models_hold_a_lesson_and_a_refused_one_is_counted():
    def tutor(request: Request) -> str | Exception:
        return TextFault("blocked", "no") if "oranges" in request.messages[0]["content"] else "What is 3 times 4?"

    pupil = ScriptedChat(lambda request: "It is 12." if len(request.messages) > 2 else "I say 7.")
    problems = [PROBLEM, TutoringProblem("2", "3 oranges?", "3"), TutoringProblem("3", "2 bags of 6?", "12")]
    done, failed = simulate(LLMTutor(Asking(ScriptedChat(tutor))), LLMPupil(Asking(pupil)), problems, rounds=2)
    assert failed == 1
    assert [log.problem.id for log in done] == ["1", "3"]
    assert success_telling_curve(done, 2).tolist() == [[1.0, 0.0], [1.0, 0.0]]
