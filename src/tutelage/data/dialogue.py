"""Tutoring dialogues: who said what, with which move, about which problem; and the readers of public ones.

A `Speaker` is whoever plays one side of a dialogue: a tutor, a simulated pupil, a person. It is asked about many
dialogues at once, so that a language model can be asked in parallel and simulated pupils are arrays.
"""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from tutelage.errors import InputError, Paused

Move = Literal["focus", "probing", "telling", "generic"]
Role = Literal["teacher", "pupil"]
Outcome = Literal["solved", "revealed", "unsolved"]

MOVES: tuple[Move, ...] = ("focus", "probing", "telling", "generic")
"""Focus narrows down to the next step, probing asks the pupil to explain, telling gives a step or the answer away, generic is
greeting, praise and closing. (Macina et al. 2023)"""


@dataclass(frozen=True)
class Turn:
    """One utterance; `move` where somebody labelled it."""

    role: Role
    text: str
    move: Move | None = None


@dataclass(frozen=True)
class TutoringProblem:
    """What a dialogue is about.

    Attributes: id; text: the exercise; answer: the right answer as it is written; solution: how one gets there; wrong: the
        pupil's own solution; profile: who the pupil is; confusion: what they got wrong, in a teacher's words; pupil: their
        name, which no model is told.
    """

    id: str
    text: str
    answer: str
    solution: str = ""
    wrong: str = ""
    profile: str = ""
    confusion: str = ""
    pupil: str = ""


@dataclass(frozen=True)
class Dialogue:
    """Turns about a problem; outcome: what the teacher said of it afterwards, None where nothing was said."""

    problem: TutoringProblem
    turns: tuple[Turn, ...]
    outcome: Outcome | None = None
    skipped: int = 0
    """Turns of the file that were left out."""

    def of(self, role: Role) -> tuple[Turn, ...]:
        """The turns of one side."""
        return tuple(turn for turn in self.turns if turn.role == role)

    def and_then(self, turn: Turn) -> Dialogue:
        """The dialogue with one more turn."""
        return Dialogue(self.problem, (*self.turns, turn), self.outcome, self.skipped)


class Speaker:
    """One side of a dialogue. Write `replies`.

    >>> class Parrot(Speaker):
    ...     def replies(self, dialogues):
    ...         return [Turn("pupil", dialogue.turns[-1].text) for dialogue in dialogues]
    >>> Parrot().reply([Turn("teacher", "Why?")], TutoringProblem("1", "1 + 1", "2")).text
    'Why?'
    """

    def replies(self, dialogues: Sequence[Dialogue]) -> list[Turn | None]:
        """The next turn of each dialogue; None where there is none to be had (a dialogue that failed)."""
        raise NotImplementedError(f"{type(self).__name__} does not say anything: write replies()")

    def reply(self, history: Sequence[Turn], problem: TutoringProblem) -> Turn:
        """The next turn of one dialogue. Raises: Paused: there is none to be had."""
        (turn,) = self.replies([Dialogue(problem, tuple(history))])
        if turn is None:
            raise Paused(f"no reply about problem {problem.id}: try again later")
        return turn


_NAMED: dict[str, Move] = {move: move for move in MOVES}
_OUTCOMES: dict[str, Outcome | None] = {
    "Yes": "solved",
    "Yes, but I had to reveal the answer": "revealed",
    "No": "unsolved",
    "": None,
}
_COLUMNS = {
    "qid", "question", "ground_truth", "student_incorrect_solution", "student_profile", "teacher_described_confusion",
    "self-correctness", "conversation",
}  # fmt: skip


def mathdial(path: str | Path, *, named_pupils: bool = True) -> list[Dialogue]:
    """MathDial (Macina et al. 2023) as published, CSV: problems with their dialogues, in the order of the file.

    Some pupils' turns stand under the pupil's name ("Mariana: …") instead of "Student: …". They are pupils' turns; the authors'
    own figures leave them out, which `named_pupils=False` does too, counting them in `skipped`.

    Raises: InputError: no such file, columns that are missing, an outcome or a move that the data set does not have.
    """
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"cannot read {path}: {getattr(error, 'strerror', None) or error}") from None
    if missing := _COLUMNS - set(rows[0] if rows else ()):
        raise InputError(f"{path} is not MathDial's table: it lacks {', '.join(sorted(missing))}")
    return [_dialogue(row, f"{path}: row {number}", named_pupils) for number, row in enumerate(rows, 1)]


def _dialogue(row: dict[str, str], where: str, named_pupils: bool) -> Dialogue:
    solution = row["ground_truth"].replace("\\n", "\n").strip()
    name, _, profile = row["student_profile"].strip().partition(" ")
    problem = TutoringProblem(
        row["qid"],
        row["question"].strip(),
        solution.splitlines()[-1].strip() if solution else "",
        solution,
        row["student_incorrect_solution"].replace("\\n", "\n").strip(),
        f"The pupil {profile}",
        row["teacher_described_confusion"].strip(),
        name,
    )
    if row["self-correctness"] not in _OUTCOMES:
        raise InputError(f"{where}: unknown outcome {row['self-correctness']!r}")
    turns: list[Turn] = []
    said = [part for part in row["conversation"].split("|EOM|") if part.strip()]
    for part in said:
        match = re.match(r"\s*(?P<who>[^:(]+):\s*(?:\((?P<move>\w+)\))?(?P<text>.*)", part, re.DOTALL)
        if match and match["who"].strip() == "Teacher":
            move = _NAMED.get(match["move"])
            if move is None:
                raise InputError(
                    f"{where}: a teacher's turn has the move {match['move']!r}; moves are {', '.join(MOVES)}"
                )
            turns.append(Turn("teacher", match["text"].strip(), move))
        elif match and match["who"].strip() in ("Student", name if named_pupils else "Student"):
            turns.append(Turn("pupil", part.partition(":")[2].strip()))
    return Dialogue(problem, tuple(turns), _OUTCOMES[row["self-correctness"]], len(said) - len(turns))


class BridgeCase(NamedTuple):
    """A moment at which a pupil is wrong: the turns so far, what a novice said, and what an expert would have said and why.

    Attributes: error, strategy, intention: the expert's three decisions, as codes of the data set.
    """

    id: str
    topic: str
    turns: tuple[Turn, ...]
    novice: str
    expert: str
    error: str
    strategy: str
    intention: str


def bridge(path: str | Path) -> list[BridgeCase]:
    """Bridge (Wang et al. 2024) as published, JSON: expert decisions about pupils' mistakes, in the order of the file.

    Raises: InputError: no such file, or entries of another form.
    """
    try:
        entries = json.loads(Path(path).read_text(encoding="utf-8"))
        return [
            BridgeCase(
                entry["c_id"],
                entry["lesson_topic"],
                tuple(Turn("pupil" if t["user"] == "student" else "teacher", t["text"]) for t in entry["c_h"]),
                " ".join(t["text"] for t in entry["c_r"]),
                " ".join(t["text"] for t in entry["c_r_"]),
                entry["e"],
                entry["z_what"],
                entry["z_why"],
            )
            for entry in entries
        ]
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is not Bridge's file: {type(error).__name__} {error}") from None
