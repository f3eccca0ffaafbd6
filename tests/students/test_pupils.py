"""Simulated pupils: hazards counted by hand, luck that belongs to pupil and round, and no answer by accident."""

from __future__ import annotations

import pytest

from tutelage.data.dialogue import Dialogue, Turn, TutoringProblem
from tutelage.errors import InputError
from tutelage.students.pupils import HazardPupils, bucket


def says(text: str, problem: TutoringProblem) -> bool:
    return problem.answer in text.split()


def talk(number: int, *said: tuple[str, str]) -> Dialogue:
    turns = tuple(Turn("teacher", "…", who) if who != "pupil" else Turn("pupil", text) for who, text in said)  # type: ignore[arg-type]
    return Dialogue(TutoringProblem(str(number), "6 + 6?", "12"), turns)


def test_counts_turns_at_unsolved_problems_only():
    pupils = HazardPupils(says).fit(
        [
            talk(
                1,
                ("generic", ""),
                ("pupil", "7"),
                ("focus", ""),
                ("pupil", "12 !"),
                ("focus", ""),
                ("pupil", "12 again"),
            ),
            talk(2, ("focus", ""), ("pupil", "8"), ("focus", ""), ("pupil", "9"), ("focus", ""), ("pupil", "12 now")),
        ]
    )
    assert pupils.hazard_["generic", 0] == pytest.approx(1 / 3)
    assert pupils.hazard_["focus", 0] == pytest.approx((1 + 1) / (2 + 3))
    assert pupils.hazard_["focus", 1] == pytest.approx((1 + 1) / (2 + 1)), (
        "what follows a solved problem does not count"
    )
    assert pupils.hazard_["telling", 2] == 0.5
    assert pupils.words_[False, 0] == ("7", "8", "9")


def test_rounds_are_in_three_groups():
    assert [bucket(n) for n in (0, 1, 2, 3, 4, 9)] == [0, 0, 1, 1, 2, 2]


def fitted(seed: int = 0, **hazard: float) -> HazardPupils:
    pupils = HazardPupils(says, seed=seed).fit(
        [talk(1, ("focus", ""), ("pupil", "I have 12 of them"), ("focus", ""), ("pupil", "7"))]
    )
    pupils.hazard_ = {
        (move, r): hazard.get(move, 0.0) for move in ("focus", "probing", "telling", "generic") for r in range(3)
    }
    return pupils


def asked(number: int, move: str = "focus", text: str = "How?") -> Dialogue:
    return Dialogue(TutoringProblem(str(number), "6 + 6?", "12"), (Turn("teacher", text, move),))  # type: ignore[arg-type]


def test_solves_as_often_as_the_table_says():
    replies = fitted(focus=0.3).replies([asked(n) for n in range(2000)])
    share = sum(says(turn.text.rstrip("."), asked(0).problem) for turn in replies if turn) / 2000
    assert share == pytest.approx(0.3, abs=0.03)


def test_luck_belongs_to_the_pupil_and_not_to_the_order_of_questions():
    pupils, dialogues = fitted(focus=0.5), [asked(n) for n in range(50)]
    assert pupils.replies(dialogues) == pupils.replies(dialogues[::-1])[::-1]
    assert pupils.replies(dialogues) != fitted(1, focus=0.5).replies(dialogues)
    more = fitted(focus=0.9).replies(dialogues)
    for before, after in zip(pupils.replies(dialogues), more, strict=True):
        assert "So the answer" not in before.text or "So the answer" in after.text, "a kinder table loses nobody"


def test_a_tutor_who_says_the_answer_has_told():
    pupils = fitted(focus=0.0, telling=1.0)
    assert "So the answer is 12." in pupils.replies([asked(1, text="It is 12 of course")])[0].text
    assert "So the answer" not in pupils.replies([asked(1)])[0].text


def test_borrowed_words_never_hold_the_answer():
    pupils = fitted()
    pupils.words_ = dict.fromkeys(pupils.words_, ("it is 12",))
    assert pupils.replies([asked(1)])[0].text == "Okay."


def test_who_has_solved_it_does_not_solve_it_again():
    dialogue = asked(1).and_then(Turn("pupil", "it is 12 then")).and_then(Turn("teacher", "Sure?", "focus"))
    assert "So the answer" not in fitted(focus=1.0).replies([dialogue])[0].text


def test_refuses_dialogues_without_moves():
    with pytest.raises(InputError, match="nothing to count"):
        HazardPupils(says).fit([Dialogue(TutoringProblem("1", "", "2"), (Turn("pupil", "2"),))])
