"""Tutoring dialogues: the readers keep moves apart from text, know pupils by name, and say what they left out."""

from __future__ import annotations

import csv
import json
import os
from collections import Counter
from pathlib import Path

import pytest

from tutelage.data.dialogue import MOVES, Dialogue, Speaker, Turn, TutoringProblem, bridge, mathdial
from tutelage.errors import InputError, Paused

ROW = {
    "qid": "7",
    "question": "Three bags of 4 apples?",
    "ground_truth": "3 * 4 = 12\\n 12",
    "student_incorrect_solution": "3 + 4 = 7\n 7",
    "student_profile": "Cody is a 7th grade student.",
    "teacher_described_confusion": "adds",
    "self-correctness": "Yes",
    "conversation": "Teacher: (generic)Hi Cody|EOM|Cody: I add: 7.|EOM|Teacher: (focus) How many bags?|EOM|Student: 3|EOM|noise",
}


def written(folder: Path, **change: str) -> Path:
    path = folder / "mathdial.csv"
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*ROW])
        writer.writeheader()
        writer.writerow(ROW | change)
    return path


def test_reads_problem_moves_and_turns(tmp_path: Path):
    (dialogue,) = mathdial(written(tmp_path))
    assert (dialogue.problem.id, dialogue.problem.answer, dialogue.problem.pupil) == ("7", "12", "Cody")
    assert dialogue.problem.profile == "The pupil is a 7th grade student."
    assert dialogue.turns == (
        Turn("teacher", "Hi Cody", "generic"),
        Turn("pupil", "I add: 7."),
        Turn("teacher", "How many bags?", "focus"),
        Turn("pupil", "3"),
    )
    assert (dialogue.outcome, dialogue.skipped) == ("solved", 1)
    assert [turn.text for turn in dialogue.of("pupil")] == ["I add: 7.", "3"]


def test_the_authors_reading_leaves_named_pupils_out(tmp_path: Path):
    (dialogue,) = mathdial(written(tmp_path), named_pupils=False)
    assert [turn.text for turn in dialogue.of("pupil")] == ["3"]
    assert dialogue.skipped == 2


def test_nothing_said_about_the_outcome_is_not_a_no(tmp_path: Path):
    assert mathdial(written(tmp_path, **{"self-correctness": ""}))[0].outcome is None


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"self-correctness": "Maybe"}, "row 1: unknown outcome 'Maybe'"),
        ({"conversation": "Teacher: (singing)La"}, "row 1: a teacher's turn has the move 'singing'; moves are focus"),
        ({"conversation": "Teacher: La"}, "the move None"),
    ],
)
def test_names_the_row_that_is_wrong(tmp_path: Path, change: dict[str, str], message: str):
    with pytest.raises(InputError, match=message):
        mathdial(written(tmp_path, **change))


def test_refuses_other_files(tmp_path: Path):
    path = tmp_path / "other.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match="not MathDial's table: it lacks conversation"):
        mathdial(path)
    with pytest.raises(InputError, match="cannot read"):
        mathdial(tmp_path / "nothing.csv")


def test_bridge_joins_what_belongs_together(tmp_path: Path):
    entry = {
        "c_id": "1", "lesson_topic": "Shapes", "c_h": [{"user": "student", "text": "hexagon"}],
        "c_r": [{"user": "tutor", "text": "Good"}, {"user": "tutor", "text": "try."}],
        "c_r_": [{"user": "tutor", "text": "Count the sides."}], "e": "guess", "z_what": "hint", "z_why": "think",
    }  # fmt: skip
    path = tmp_path / "bridge.json"
    path.write_text(json.dumps([entry]))
    (case,) = bridge(path)
    assert case.turns == (Turn("pupil", "hexagon"),)
    assert (case.novice, case.expert, case.strategy) == ("Good try.", "Count the sides.", "hint")
    path.write_text(json.dumps([{"c_id": "1"}]))
    with pytest.raises(InputError, match="not Bridge's file: KeyError 'lesson_topic'"):
        bridge(path)


def test_a_speaker_that_fails_says_so():
    class Silent(Speaker):
        def replies(self, dialogues):
            return [None for _ in dialogues]

    with pytest.raises(Paused, match="problem 1"):
        Silent().reply([], TutoringProblem("1", "1 + 1", "2"))


needs_data = pytest.mark.skipif("TUTELAGE_DATA" not in os.environ, reason="needs the data folder")


@needs_data
def test_the_published_dialogues_have_their_published_counts():
    path = Path(os.environ["TUTELAGE_DATA"]) / "mathdial_test.csv"
    dialogues = mathdial(path)
    moves = Counter(turn.move for dialogue in dialogues for turn in dialogue.of("teacher"))
    assert (len(dialogues), len({d.problem.id for d in dialogues})) == (599, 394)
    assert {move: moves[move] for move in MOVES} == {"focus": 1259, "probing": 952, "telling": 598, "generic": 890}
    assert sum(d.skipped for d in dialogues) == 0
    assert sum(d.skipped for d in mathdial(path, named_pupils=False)) == 234
    assert Counter(d.outcome for d in dialogues) == {"solved": 433, "revealed": 94, "unsolved": 68, None: 4}


@needs_data
def test_bridge_has_its_published_size():
    folder = Path(os.environ["TUTELAGE_DATA"])
    assert sum(len(bridge(folder / f"bridge_{part}.json")) for part in ("train", "validation", "test")) == 700


def test_a_dialogue_goes_on_without_changing():
    dialogue = Dialogue(TutoringProblem("1", "1 + 1", "2"), ())
    longer = dialogue.and_then(Turn("teacher", "Hi"))
    assert (len(dialogue.turns), len(longer.turns)) == (0, 1)
