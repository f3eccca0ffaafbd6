"""Simulated pupils in a tutoring dialogue: they answer, and what makes them find the solution is known.

`HazardPupils` are learned from real dialogues. The chance that a pupil who has not solved the problem does so in the next
turn depends on the tutor's move m and on the round r (0–1, 2–3, 4 and later), counted with one imaginary success and
failure:

    h(m, r) = (1 + solved next) / (2 + turns of tutors with move m in rounds r at unsolved problems)

A tutor who says the answer is taken to have told. Luck belongs to pupil and round (`keyed_uniform`), so that two tutors meet
the same pupils. What a simulated pupil says is what some real pupil said at that point, so that it can be read by models of
text; whether the answer stands in it is decided by the hazard alone.

These pupils repeat how often real ones came round, in dialogues with human teachers. They do not learn anything, and what
holds for them is a statement about those dialogues.

Source: Macina et al., "MathDial", 2023 (arXiv:2305.14536) for the dialogues; the hazard model is ours.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Sequence

from tutelage.data.dialogue import MOVES, Dialogue, Move, Speaker, Turn, TutoringProblem
from tutelage.data.draws import keyed_uniform
from tutelage.errors import InputError

Says = Callable[[str, TutoringProblem], bool]
"""Whether a text states the answer of a problem."""

LATEST = 2
"""The last of the three groups of rounds."""


def bucket(turn: int) -> int:
    """The group of rounds that a tutor's turn (counted from 0) belongs to: 0–1, 2–3, 4 and later.

    >>> [bucket(turn) for turn in range(6)]
    [0, 0, 1, 1, 2, 2]
    """
    return min(turn // 2, LATEST)


class HazardPupils(Speaker):
    """Pupils whose chance to solve is a table.

    Args: says: whether a text states the answer; seed: of their luck.

    Attributes: hazard_: (move, group of rounds) → chance; words_: (solved, group) → what real pupils said; after `fit`.

    >>> problem = TutoringProblem("1", "3 + 4?", "7")
    >>> turns = (Turn("teacher", "How?", "probing"), Turn("pupil", "I think it is 7"))
    >>> pupils = HazardPupils(lambda text, problem: problem.answer in text).fit([Dialogue(problem, turns)])
    >>> round(pupils.hazard_["probing", 0], 3), pupils.hazard_["telling", 0]
    (0.667, 0.5)
    """

    def __init__(self, says: Says, *, seed: int = 0) -> None:
        self.says, self.seed = says, seed

    def fit(self, dialogues: Sequence[Dialogue]) -> HazardPupils:
        """Count. Raises: InputError: no dialogue in which a pupil answers a labelled turn."""
        tries: Counter[tuple[Move, int]] = Counter()
        solved: Counter[tuple[Move, int]] = Counter()
        words: defaultdict[tuple[bool, int], list[str]] = defaultdict(list)
        for dialogue in dialogues:
            done, taught = False, 0
            for before, turn in zip(dialogue.turns, dialogue.turns[1:], strict=False):
                taught += before.role == "teacher"
                if turn.role != "pupil" or before.role != "teacher" or before.move is None:
                    continue
                states = self.says(turn.text, dialogue.problem)
                if not states:
                    words[done, bucket(taught - 1)].append(turn.text)
                if not done:
                    tries[before.move, bucket(taught - 1)] += 1
                    solved[before.move, bucket(taught - 1)] += states
                done = done or states
        if not tries:
            raise InputError(
                "no dialogue in which a pupil answers a teacher's labelled turn: there is nothing to count"
            )
        groups = range(LATEST + 1)
        self.hazard_ = {(m, r): (1 + solved[m, r]) / (2 + tries[m, r]) for m in MOVES for r in groups}
        self.words_ = {(was, r): tuple(words[was, r]) or ("Okay.",) for was in (False, True) for r in groups}
        return self

    def replies(self, dialogues: Sequence[Dialogue]) -> list[Turn | None]:
        """The pupils' turns, with the answer at the end of the one in which it is found."""
        return [self._reply(dialogue) for dialogue in dialogues]

    def _reply(self, dialogue: Dialogue) -> Turn:
        problem, last = dialogue.problem, dialogue.turns[-1]
        taught = len(dialogue.of("teacher")) - 1
        done = any(self.says(turn.text, problem) for turn in dialogue.of("pupil"))
        move: Move = "telling" if self.says(last.text, problem) else last.move or "generic"
        found = not done and keyed_uniform(self.seed, problem.id, taught, "solves") < self.hazard_[move, bucket(taught)]
        pool = self.words_[done, bucket(taught)]
        start = int(keyed_uniform(self.seed, problem.id, taught, "words") * len(pool))
        turned = (pool[(start + n) % len(pool)] for n in range(len(pool)))
        words = next((text for text in turned if not self.says(text, problem)), "Okay.")
        return Turn("pupil", f"{words} So the answer is {problem.answer}." if found else words)
