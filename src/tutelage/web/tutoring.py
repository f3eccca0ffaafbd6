"""Tutoring in the classroom page: problems, who plays the other side, and what the moves were.

The other side is a language model behind an endpoint, or offline a simulated learner (`HazardPupils`) and a tutor that
plans its moves as human teachers did (`MovePolicy`) and says them in fixed words. Both learn from MathDial where it is in
the data folder, else from a few dialogues that were written for this page: enough to show how it works, not what is true.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache, partial
from importlib import resources
from pathlib import Path

from tutelage.data.dialogue import MOVES, Dialogue, Move, Speaker, Turn, TutoringProblem, mathdial
from tutelage.data.draws import keyed_uniform
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
)
from tutelage.students.pupils import HazardPupils

MATHDIAL = "mathdial_test.csv"
MOST_TURNS, MOST_CHARACTERS = 60, 2_000

WORDS: dict[Move, tuple[str, ...]] = {
    "focus": ("Which part of the exercise have you not used yet?", "What would you have to know first?",
              "Look at the units of your numbers: do they fit together?"),
    "probing": ("Can you explain how you got there?", "What does that number stand for?", "How could you check your result?"),
    "telling": ("Let us do one step together.",),
    "generic": ("I see. Go on, please.", "Thank you, that helps me to understand.", "You are on a good way."),
}  # fmt: skip


@dataclass(frozen=True)
class Materials:
    """What the page teaches with: problems, the two models of moves, the simulated pupils, and where they learned."""

    problems: dict[str, TutoringProblem]
    classifier: MoveClassifier
    policy: MovePolicy
    pupils: HazardPupils
    source: str


@lru_cache(maxsize=2)
def materials(data: Path | None) -> Materials:
    """Problems and models; from MathDial where `data` holds it. Raises: InputError: a damaged file."""
    written = json.loads(resources.files("tutelage.web").joinpath("tutoring.json").read_text("utf-8"))
    problems = {entry["id"]: TutoringProblem(**entry) for entry in written["problems"]}
    if data is not None and (data / MATHDIAL).is_file():
        dialogues, source = mathdial(data / MATHDIAL), "MathDial"
    else:
        source = "a few dialogues written for this page"
        dialogues = [
            Dialogue(
                problems[entry["problem"]], tuple(Turn(who, text, move or None) for who, move, text in entry["turns"])
            )
            for entry in written["dialogues"]
        ]
    every = moments(dialogues)
    return Materials(
        problems, MoveClassifier().fit(every), MovePolicy().fit(every), HazardPupils(says).fit(dialogues), source
    )  # fmt: skip


def move_of(models: Materials, dialogue: Dialogue, text: str) -> Move:
    """The move that a tutor's next turn makes, as the classifier reads it."""
    return models.classifier.predict([moments([dialogue.and_then(Turn("teacher", text))])[-1]])[0]


def expected(models: Materials, dialogue: Dialogue) -> list[tuple[Move, float]]:
    """How often teachers made each move at such a point, likeliest first."""
    asked: Moment = moments([dialogue.and_then(Turn("teacher", ""))])[-1]
    shares = models.policy.predict_proba([asked])[0].tolist()
    return sorted(zip(MOVES, shares, strict=True), key=lambda pair: -pair[1])


def offline_tutor(models: Materials) -> Speaker:
    """A tutor that plans its moves and says them in fixed words; telling gives one line of the solution."""
    return PlannedTutor(models.policy, _words)


def started(problem: TutoringProblem, teaching: bool) -> Dialogue:
    """A dialogue to begin with: a pupil whose solution is wrong, or a tutor who asks for it."""
    if teaching:
        return Dialogue(problem, (Turn("pupil", problem.wrong),))
    return Dialogue(problem, (OPENING,))


def turns_from(text: str) -> tuple[Turn, ...]:
    """The turns that the form carries. Raises: InputError: they are none of ours, or too many."""
    try:
        entries = json.loads(text)
        turns = tuple(Turn(entry["role"], str(entry["text"]), entry["move"]) for entry in entries)
        "".join(turn.text for turn in turns).encode()  # half of a surrogate pair cannot be shown
    except (ValueError, KeyError, TypeError, RecursionError):
        raise InputError("the dialogue cannot be read; begin a new one") from None
    good = all(
        t.role in ("teacher", "pupil") and t.move in (None, *MOVES) and len(t.text) <= MOST_CHARACTERS for t in turns
    )
    if not turns or len(turns) > MOST_TURNS or not good:
        raise InputError(
            f"a dialogue has 1 to {MOST_TURNS} turns of up to {MOST_CHARACTERS:,} characters; begin a new one"
        )
    return turns


def turns_to(turns: Sequence[Turn]) -> str:
    """The inverse of `turns_from`.

    >>> turns_from(turns_to([Turn("pupil", "7")]))
    (Turn(role='pupil', text='7', move=None),)
    """
    return json.dumps([vars(turn) for turn in turns], ensure_ascii=False)


def outcome(dialogue: Dialogue) -> str:
    """What has happened to the answer so far: "", "solved", or "told" where the tutor said it first."""
    solved, told = (first_said(dialogue, role) for role in ("pupil", "teacher"))
    if told < solved or (told == solved and told != float("inf")):
        return "told"
    return "solved" if solved != float("inf") else ""


def _words(dialogue: Dialogue, move: Move) -> str:
    """What the offline tutor says: another sentence every round."""
    round_ = len(dialogue.of("teacher"))
    draw = partial(keyed_uniform, 0, dialogue.problem.id, round_)
    line = WORDS[move][int(draw("words") * len(WORDS[move]))]
    if move != "telling":
        return line
    steps = [step for step in dialogue.problem.solution.splitlines() if step.strip()]
    told = sum(turn.move == "telling" for turn in dialogue.of("teacher"))
    return f"{line} {steps[min(told, len(steps) - 1)]}" if steps else line
