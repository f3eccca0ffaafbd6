"""Theory of mind: a teacher that explains where it expects an explanation to change the student's answer.

Saha, Hase and Bansal, "Can Language Models Teach Weaker Agents? Teacher Explanations Improve Students via Theory of Mind",
2023 (arXiv:2306.09299).

A strong model may explain a share b of the questions to a weak one. Explaining what the student knows is waste, and a wrong
or unreadable explanation does harm. So the teacher keeps two mental models of the student, made from a few observations:

    p0(x) = P(student right on x | on its own)            from demonstrations (x, y, what the student said)
    p1(x) = P(student right on x | with explanation e)    from demonstrations (x, y, e, what the student said)
    EU(x) = p1(x) − p0(x)

and explains the floor(b N) questions with the largest EU. Demonstrations where help changed wrong to right show the teacher
how to explain to this student. A mental model is a prompt (`PromptMentalModel`: the teacher simulates the student) or a
regression over features of the question (`StatMentalModel`).

Other rules rank the same questions by one side only, or at random; with the student's own probabilities in the place of p0
and p1 the rule is a ceiling. Figures are accuracies over all questions, explained or not, at every budget.

Shapes: N questions; p0, p1, scores (N,) float64; right (N,) bool.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple, get_args

import numpy as np

from tutelage.curricula.selection import top_share
from tutelage.errors import InputError
from tutelage.evaluation.curves import area_under
from tutelage.teachers.mental_models import Demo, MentalModel

Strategy = Literal["utility", "no_inter", "inter", "random"]
"""Explain where p1 − p0 is largest, p0 lowest, p1 highest, or anywhere."""
READERS = ("utility", "inter")
"""Strategies that read what the teacher would explain before they choose: it writes an explanation of every question."""
BUDGETS = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)
Student = Callable[[Sequence[str], Sequence[str] | None], Sequence[str]]
"""(questions, explanations or None) → answers. What cannot be read as an answer is a wrong one, and is never left out."""
Teacher = Callable[[Sequence[str], Sequence[Demo]], Sequence[str]]
"""(questions, demonstrations of useful explanations, perhaps none) → explanations without their last answer clause."""


def intervention_scores(
    strategy: Strategy, alone: np.ndarray, helped: np.ndarray, rng: np.random.Generator | None = None
) -> np.ndarray:
    """What a strategy ranks questions by: p0 (N,), p1 (N,) → (N,), highest first.

    Raises: InputError: no such strategy.

    >>> intervention_scores("utility", np.array([0.9, 0.2]), np.array([1.0, 0.9])).round(1).tolist()
    [0.1, 0.7]
    """
    match _known(strategy):
        case "utility":
            return helped - alone
        case "no_inter":
            return -alone
        case "inter":
            return helped
        case "random":
            return (rng or np.random.default_rng()).random(len(alone))


def intervene(scores: np.ndarray, budget: float, *, seed: int = 0) -> np.ndarray:
    """The floor(budget · N) questions to explain, best first; ties in seeded random order.

    Warns where the budget is too small for a single question. Raises: InputError: a budget outside [0, 1].
    """
    chosen = top_share(scores, budget, seed=seed)
    if budget > 0 and not len(chosen):
        warnings.warn(f"a budget of {budget:g} of {len(scores)} questions explains none of them", stacklevel=2)
    return chosen


class Curve(NamedTuple):
    """Accuracy over all questions at every budget, and the area under it."""

    budgets: tuple[float, ...]
    accuracy: tuple[float, ...]
    area: float


def intervention_curve(
    alone: np.ndarray, helped: np.ndarray, scores: np.ndarray, budgets: Sequence[float] = BUDGETS, *, seed: int = 0
) -> Curve:
    """What the student reaches: right without help (N,), right with help (N,), scores (N,).

    >>> intervention_curve(np.array([True, False]), np.array([False, True]), np.array([0.0, 1.0]), [0, 0.5, 1])
    Curve(budgets=(0, 0.5, 1), accuracy=(0.5, 1.0, 0.5), area=0.75)
    """
    accuracy = []
    for budget in budgets:
        right = np.array(alone, bool)
        chosen = intervene(scores, budget, seed=seed)
        right[chosen] = np.asarray(helped, bool)[chosen]
        accuracy.append(float(right.mean()))
    return Curve(tuple(budgets), tuple(accuracy), area_under(budgets, accuracy))


def useful(alone: Sequence[Demo], helped: Sequence[Demo], k: int | None = None) -> list[Demo]:
    """The first k demonstrations (None: all) with help where it changed a wrong answer to the right one.

    >>> useful([Demo("q", "y", None, "n")], [Demo("q", "y", "because", "y")])
    [Demo(question='q', answer='y', explanation='because', said='y')]
    """
    pairs = zip(alone, helped, strict=True)
    return [after for before, after in pairs if before.said != before.answer and after.said == after.answer][:k]


class TheoryOfMind:
    """Watch a student, then explain to it within a budget.

    Args:
        alone, helped: mental models of the student without and with help.
        strategy: which questions are explained. `utility` and `inter` read explanations before they choose, so that the
            teacher writes all of them and the budget is what the student reads; `no_inter` and `random` ask only for those
            that it will read.
        personalised: show the teacher which of its explanations helped this student.

    Attributes: examples: these demonstrations, after `observe`.

    Raises: InputError: no such strategy; student or teacher that answer another number of questions than they were asked.
    """

    def __init__(
        self,
        student: Student,
        teacher: Teacher,
        alone: MentalModel,
        helped: MentalModel,
        *,
        strategy: Strategy = "utility",
        personalised: bool = True,
        seed: int = 0,
    ) -> None:
        self.student, self.teacher, self.alone, self.helped = student, teacher, alone, helped
        self.strategy: Strategy = _known(strategy)
        self.personalised, self.seed, self.examples = personalised, seed, list[Demo]()

    def observe(self, questions: Sequence[str], answers: Sequence[str]) -> None:
        """Ask the student with and without help, and fit both mental models. These must not be the questions of the test."""
        before = self._demos(questions, answers, None)
        after = self._demos(questions, answers, self._explained(questions, ()))
        if self.personalised:
            self.examples = useful(before, after)
            after = self._demos(questions, answers, self._explained(questions, self.examples))
        self.alone.fit(before)
        self.helped.fit(after)

    def explain(self, questions: Sequence[str]) -> list[str]:
        """The teacher's explanations."""
        return self._explained(questions, self.examples)

    def scores(
        self, questions: Sequence[str], answers: Sequence[str], explanations: Sequence[str] | None = None
    ) -> np.ndarray:
        """What questions are ranked by: (N,); answers are the right ones, or the teacher's where nobody knows.

        `no_inter` and `random` read no explanations. Raises: InputError: another strategy, and none are given.
        """
        p0 = p1 = self.alone.predict(questions, answers, None)
        if self.strategy in READERS:
            if explanations is None:
                raise InputError(f"the strategy {self.strategy} reads explanations: give those of `explain`")
            p1 = self.helped.predict(questions, answers, explanations)
        return intervention_scores(self.strategy, p0, p1, np.random.default_rng(self.seed))

    def answer(self, questions: Sequence[str], answers: Sequence[str], budget: float) -> tuple[list[str], np.ndarray]:
        """The student's answers, helped where the budget goes, and the indices of these questions.

        The teacher explains the questions that are chosen, all of them where the strategy reads before it chooses.

        Raises: InputError: a budget outside [0, 1].
        """
        if not 0 <= budget <= 1:
            raise InputError(f"a budget is the share of questions to explain, in [0, 1]; got {budget}")
        written = self.explain(questions) if self.strategy in READERS else None
        chosen = intervene(self.scores(questions, answers, written), budget, seed=self.seed)
        said = self._answered(questions, None)
        places: list[int] = chosen.tolist()
        if places:
            asked = [questions[i] for i in places]
            given = self.explain(asked) if written is None else [written[i] for i in places]
            for i, text in zip(places, self._answered(asked, given), strict=True):
                said[i] = text
        return said, chosen

    def curve(self, questions: Sequence[str], answers: Sequence[str], budgets: Sequence[float] = BUDGETS) -> Curve:
        """Accuracy at every budget, on questions with known answers; the teacher explains all of them."""
        explanations = self.explain(questions)
        before, after = (
            np.array(self._answered(questions, given)) == np.array(answers) for given in (None, explanations)
        )
        return intervention_curve(before, after, self.scores(questions, answers, explanations), budgets, seed=self.seed)

    def _demos(self, questions: Sequence[str], answers: Sequence[str], given: Sequence[str] | None) -> list[Demo]:
        said = self._answered(questions, given)
        shown: Sequence[str | None] = [None] * len(questions) if given is None else given
        return [Demo(*row) for row in zip(questions, answers, shown, said, strict=True)]

    def _explained(self, questions: Sequence[str], examples: Sequence[Demo]) -> list[str]:
        return _one_each("teacher", "explanations", self.teacher(questions, examples), questions)

    def _answered(self, questions: Sequence[str], given: Sequence[str] | None) -> list[str]:
        return _one_each("student", "answers", self.student(questions, given), questions)


def _one_each(who: str, what: str, texts: Sequence[str], questions: Sequence[str]) -> list[str]:
    if len(texts) != len(questions):
        raise InputError(f"the {who} gave {len(texts)} {what} for {len(questions)} questions: need one a question")
    return list(texts)


def _known(strategy: Strategy) -> Strategy:
    if strategy not in get_args(Strategy):
        raise InputError(f"strategy is utility, no_inter, inter or random; got {strategy!r}")
    return strategy
