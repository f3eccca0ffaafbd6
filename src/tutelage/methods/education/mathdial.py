"""Tutoring with moves (MathDial): recognise and plan what a tutor does, and measure solving against telling.

Macina et al., "MathDial: A Dialogue Tutoring Dataset with Rich Pedagogical Properties Grounded in Math Reasoning Problems",
2023 (arXiv:2305.14536).

Every turn of a teacher is one of four moves: focus, probing, telling, generic. Human teachers labelled theirs, so that a
small model can learn to tell the moves of a turn (`MoveClassifier`: word pairs of the turn, of the pupil's turn before it,
and five plain signs), and another to choose the next move before anything is said (`MovePolicy`). `PlannedTutor` makes a
turn of the chosen move; a guard keeps the answer out of it.

A tutor is good when pupils find the answer and bad when it gives the answer away. With s and t the first turns, counted
from 0 for each side, in which pupil and teacher say the right number (∞ where they never do),

    Success@k = mean of [s ≤ k],      Telling@k = mean of [t ≤ min(s, k)]

Turn 0 is the opening, so k counts the rounds after it. Both are to be read together: a pupil who repeats what was told
succeeds too.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, NamedTuple, Self

import numpy as np

from tutelage.data.dialogue import MOVES, Dialogue, Move, Role, Speaker, Turn, TutoringProblem
from tutelage.data.draws import keyed_uniform
from tutelage.errors import InputError
from tutelage.teachers.tutoring import AnswerGuard, Plan

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix

OPENING = Turn("teacher", "Hi, please talk me through your solution.", "generic")
NEVER = float("inf")
_FIGURE = re.compile(r"\d+(?:\.\d+)?")
_RESULT = re.compile(r"(?:answer|total|result|so)\b[^.!?]*?\b(?:is|are|equals|be)\b[^.!?\d]*$|=\s*\$?$", re.IGNORECASE)


def says(text: str, problem: TutoringProblem, *, strict: bool = False) -> bool:
    """Whether a text holds the answer, as the paper counts it: any figure that equals it, signs and fractions aside.

    `strict`: the figure must stand in the last sentence, or where a result is stated ("… so the total is 12").

    >>> problem = TutoringProblem("1", "3 bags of 4 apples?", "12")
    >>> says("4 + 4 = 8, and 8 + 4 = 12.", problem), says("Is 12 right? Hm, no.", problem, strict=True)
    (True, False)

    Raises: InputError: an answer that is not a number.
    """
    try:
        answer = float(problem.answer.replace(",", ""))
    except ValueError:
        raise InputError(f"problem {problem.id}: answer must be numeric; found {problem.answer!r}") from None
    plain = text.replace(",", "")
    found = [match for match in _FIGURE.finditer(plain) if abs(float(match.group()) - abs(answer)) < 1e-7]
    if not strict:
        return bool(found)
    last = max((match.end() for match in re.finditer(r"[.!?]\s", plain)), default=0)
    return any(match.start() >= last or _RESULT.search(plain[: match.start()]) for match in found)


def first_said(dialogue: Dialogue, role: Role, *, strict: bool = False) -> float:
    """The first turn of one side, counted from 0 over its own turns, that says the answer; ∞ where there is none."""
    turns = dialogue.of(role)
    return next((n for n, turn in enumerate(turns) if says(turn.text, dialogue.problem, strict=strict)), NEVER)


def solved_and_told(dialogues: Sequence[Dialogue], k: int, *, strict: bool = False) -> np.ndarray:
    """[s ≤ k] and [t ≤ min(s, k)] of every dialogue: (N, 2) bool; `strict` concerns the pupil."""
    s = np.array([first_said(dialogue, "pupil", strict=strict) for dialogue in dialogues])
    t = np.array([first_said(dialogue, "teacher") for dialogue in dialogues])
    return np.column_stack([s <= k, t <= np.minimum(s, k)])


def success_telling_curve(dialogues: Sequence[Dialogue], k_max: int = 7, *, strict: bool = False) -> np.ndarray:
    """Success@k and Telling@k for k = 1 … k_max: (k_max, 2).

    >>> problem = TutoringProblem("1", "3 bags of 4 apples?", "12")
    >>> said = [("teacher", "Go on."), ("pupil", "7"), ("teacher", "It is 12."), ("pupil", "Ah, 12.")]
    >>> success_telling_curve([Dialogue(problem, tuple(Turn(who, text) for who, text in said))], 2).tolist()
    [[1.0, 1.0], [1.0, 1.0]]
    """
    return np.array([solved_and_told(dialogues, k, strict=strict).mean(0) for k in range(1, k_max + 1)])


class Moment(NamedTuple):
    """A teacher's turn in its place: the turn, the pupil's turn and the teacher's move before it, its number from 0."""

    text: str
    previous: str = ""
    before: Move | None = None
    number: int = 0
    move: Move | None = None


def moments(dialogues: Iterable[Dialogue]) -> list[Moment]:
    """All turns of teachers, in order."""
    found = []
    for dialogue in dialogues:
        previous, before, number = "", None, 0
        for turn in dialogue.turns:
            if turn.role == "pupil":
                previous = turn.text
            else:
                found.append(Moment(turn.text, previous, before, number, turn.move))
                before, number = turn.move, number + 1
    return found


class _MoveModel:
    """Logistic regression over word pairs and signs: p(move), (N, 4) in the order of `MOVES`."""

    scales: tuple[float, ...] = (1.0,)

    def __init__(self, c: float = 3.0) -> None:
        self.c = c

    def fit(self, labelled: Sequence[Moment]) -> Self:
        """Learn from moments whose move is known; others are left out. Raises: InputError: fewer than two moves."""
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression

        known = [moment for moment in labelled if moment.move is not None]
        if len({moment.move for moment in known}) < 2:
            raise InputError("the labelled turns show fewer than two different moves: there is nothing to learn")
        options = {"ngram_range": (1, 2), "min_df": 2 if len(known) > 50 else 1, "sublinear_tf": True}
        self.words_ = [TfidfVectorizer(**options).fit(texts) for texts in self._texts(known)]
        self.model_ = LogisticRegression(C=self.c, class_weight="balanced", max_iter=1000)
        self.model_.fit(self._matrix(known), [str(moment.move) for moment in known])
        return self

    def predict_proba(self, asked: Sequence[Moment]) -> np.ndarray:
        """p(move): (N, 4); a move that was never seen has 0. Raises: InputError: before `fit`."""
        if not hasattr(self, "model_"):
            raise InputError(f"this {type(self).__name__} has not learned anything yet: call fit first")
        p = np.zeros((len(asked), len(MOVES)))
        if len(asked):
            p[:, [MOVES.index(move) for move in self.model_.classes_]] = self.model_.predict_proba(self._matrix(asked))
        return p

    def predict(self, asked: Sequence[Moment]) -> list[Move]:
        """The most likely move of each."""
        return [MOVES[k] for k in self.predict_proba(asked).argmax(1)]

    def _matrix(self, asked: Sequence[Moment]) -> csr_matrix:
        from scipy.sparse import csr_matrix, hstack

        blocks = [w.transform(t) * s for w, t, s in zip(self.words_, self._texts(asked), self.scales, strict=True)]
        signs = csr_matrix(np.array([self._signs(moment) for moment in asked]))
        return csr_matrix(hstack([*blocks, signs]))

    def _texts(self, asked: Sequence[Moment]) -> list[list[str]]:
        raise NotImplementedError

    def _signs(self, moment: Moment) -> list[float]:
        raise NotImplementedError


class MoveClassifier(_MoveModel):
    """Which move a turn is. Args: c; context: read the pupil's turn and the signs too, not the words of the turn alone.

    >>> asks, tells = Moment("Why did you add 5?", move="probing"), Moment("You must take 5 away.", move="telling")
    >>> MoveClassifier().fit([asks, tells] * 3).predict([Moment("Why 5?")])
    ['probing']
    """

    def __init__(self, c: float = 3.0, *, context: bool = True) -> None:
        super().__init__(c)
        self.context, self.scales = context, (1.0, 0.5) if context else (1.0,)

    def _texts(self, asked: Sequence[Moment]) -> list[list[str]]:
        both = [[moment.text for moment in asked], [moment.previous or "(none)" for moment in asked]]
        return both[: len(self.scales)]

    def _signs(self, moment: Moment) -> list[float]:
        if not self.context:
            return [0.0]
        text = moment.text
        digit = any(character.isdigit() for character in text)
        return [float("?" in text), len(text) / 100, float(digit), float(moment.number == 0), moment.number / 5]


class MovePolicy(_MoveModel):
    """Which move comes next, before it is said: from the pupil's last turn, the move before and the round. A `Plan`.

    Moves are drawn as often as human teachers made them; luck belongs to problem and round. Args: c, seed.
    """

    def __init__(self, c: float = 3.0, seed: int = 0) -> None:
        super().__init__(c)
        self.seed = seed

    def __call__(self, dialogues: Sequence[Dialogue]) -> list[Move]:
        """The next move of each dialogue."""
        asked = [moments([dialogue.and_then(Turn("teacher", ""))])[-1] for dialogue in dialogues]
        shares = self.predict_proba(asked).cumsum(1)
        draws = [
            keyed_uniform(self.seed, d.problem.id, m.number, "move") for d, m in zip(dialogues, asked, strict=True)
        ]
        return [MOVES[int((row < draw * row[-1]).sum())] for row, draw in zip(shares, draws, strict=True)]

    def _texts(self, asked: Sequence[Moment]) -> list[list[str]]:
        return [[moment.previous or "(none)" for moment in asked]]

    def _signs(self, moment: Moment) -> list[float]:
        return [*(float(moment.before == move) for move in MOVES), moment.number / 5, float(moment.number == 0)]


class PlannedTutor(Speaker):
    """A tutor that chooses a move first and then says it.

    Args: plan: the next moves; realise: a dialogue and a move → what is said; guard: cut what gives the answer away.
    """

    def __init__(self, plan: Plan, realise: Callable[[Dialogue, Move], str], *, guard: bool = True) -> None:
        self.plan, self.realise, self.guard = plan, realise, guard

    def replies(self, dialogues: Sequence[Dialogue]) -> list[Turn | None]:
        turns: list[Turn | None] = []
        for dialogue, move in zip(dialogues, self.plan(dialogues), strict=True):
            text = self.realise(dialogue, move)
            guard = AnswerGuard(dialogue.problem) if self.guard else None
            turns.append(Turn("teacher", guard.redact(text) if guard and guard.leaks(text) else text, move))
        return turns


def simulate(
    tutor: Speaker, pupil: Speaker, problems: Sequence[TutoringProblem], *, rounds: int = 5
) -> tuple[list[Dialogue], int]:
    """Let tutor and pupil talk until the pupil says the answer, `rounds` rounds after the opening at most.

    Returns: the dialogues that went through, in order, and the number of those that failed (a refused text).
    """
    running = dict(enumerate(Dialogue(problem, (OPENING,)) for problem in problems))
    finished: dict[int, Dialogue] = {}
    for turn in range(2 * rounds + 1):
        if not running:
            break
        speaker = tutor if turn % 2 else pupil
        said = speaker.replies(list(running.values()))
        running = {n: d.and_then(t) for (n, d), t in zip(running.items(), said, strict=True) if t is not None}
        finished |= {
            n: d for n, d in running.items() if d.turns[-1].role == "pupil" and says(d.turns[-1].text, d.problem)
        }
        running = {n: d for n, d in running.items() if n not in finished}
    done = finished | running
    return [done[n] for n in sorted(done)], len(problems) - len(done)
