"""Mental models: what a teacher believes that a student will answer, with an explanation or without.

Saha, Hase and Bansal, "Can Language Models Teach Weaker Agents?", 2023 (arXiv:2306.09299), for the prompt; the regression is
ours. Both learn from a few demonstrations and foretell P(student right).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from tutelage.errors import InputError
from tutelage.teachers.llm.base import ScoringModel

HEADER = "Simulate what another AI model answers to the last question. It is not always right."


class Demo(NamedTuple):
    """An observation: question, right answer, the explanation that the student read (None: it had none), what it said."""

    question: str
    answer: str
    explanation: str | None
    said: str


class MentalModel(Protocol):
    """Foretells whether the student will be right."""

    def fit(self, demos: Sequence[Demo]) -> None: ...

    def predict(
        self, questions: Sequence[str], answers: Sequence[str], explanations: Sequence[str] | None
    ) -> np.ndarray:
        """P(right) of each question: (N,)."""
        ...


class StatMentalModel:
    """Logistic regression over features of a question; an L2 penalty, since demonstrations are few.

    Args: features: (question, answer, explanation or None) → numbers; C: inverse strength of the penalty.
    """

    def __init__(self, features: Callable[[str, str, str | None], Sequence[float]], C: float = 1.0) -> None:
        self.features, self.C = features, C

    def fit(self, demos: Sequence[Demo]) -> None:
        """Learn when the student is right. Where it always was, or never, that rate is foretold."""
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        right = np.array([demo.said == demo.answer for demo in demos])
        self._rate = (right.sum() + 0.5) / (len(right) + 1)
        self._model = None
        if 0 < right.sum() < len(right):
            x = [self.features(d.question, d.answer, d.explanation) for d in demos]
            self._model = make_pipeline(StandardScaler(), LogisticRegression(C=self.C)).fit(x, right)

    def predict(
        self, questions: Sequence[str], answers: Sequence[str], explanations: Sequence[str] | None
    ) -> np.ndarray:
        """P(right) of each question. Raises: InputError: before `fit`."""
        if not hasattr(self, "_model"):
            raise InputError("this StatMentalModel has not learned anything yet: call fit first")
        if self._model is None:
            return np.full(len(questions), self._rate)
        given = [None] * len(questions) if explanations is None else explanations
        x = [self.features(*item) for item in zip(questions, answers, given, strict=True)]
        return np.asarray(self._model.predict_proba(x))[:, 1]


class PromptMentalModel:
    """The teacher itself simulates the student, shown a few of its answers; needs probabilities of closed answers.

    Args: model: scores answers; options: all of them; k: demonstrations, as many of each answer as there are.

    Raises: InputError: options whose first letters coincide (use letters then), fewer than two.
    """

    def __init__(self, model: ScoringModel, options: Sequence[str], *, k: int = 4) -> None:
        if len({option[:1].lower() for option in options}) < max(2, len(options)):
            raise InputError(f"options must begin differently, or be letters; got {', '.join(options)}")
        self.model, self.options, self.k = model, tuple(options), k

    def fit(self, demos: Sequence[Demo]) -> None:
        """Keep k demonstrations, answers in turn. Raises: InputError: fewer than two of an answer of the student."""
        groups = [[demo for demo in demos if demo.said == option] for option in self.options]
        if any(len(group) < 2 for group in groups):
            counts = ", ".join(f"{o}: {len(g)}" for o, g in zip(self.options, groups, strict=True))
            raise InputError(f"need two demonstrations of every answer of the student; got {counts}")
        in_turn = [group[i] for i in range(max(map(len, groups))) for group in groups if i < len(group)]
        self.demos = in_turn[: self.k]

    def predict(
        self, questions: Sequence[str], answers: Sequence[str], explanations: Sequence[str] | None
    ) -> np.ndarray:
        """P(right) of each question: softmax over the options, at the right one.

        Raises: InputError: before `fit`, a right answer that is none of the options.
        """
        if not hasattr(self, "demos"):
            raise InputError("this PromptMentalModel has not learned anything yet: call fit first")
        if strange := sorted(set(answers) - set(self.options)):
            raise InputError(f"the right answer {strange[0]!r} is none of the options: {', '.join(self.options)}")
        given = [None] * len(questions) if explanations is None else explanations
        found = []
        for question, answer, explanation in zip(questions, answers, given, strict=True):
            shown = "\n\n".join([HEADER, *(_block(demo) + f" {demo.said}" for demo in self.demos)])
            prompt = f"{shown}\n\n{_block(Demo(question, answer, explanation, ''))}"
            scores, _ = self.model.score([{"role": "user", "content": prompt}], "", self.options)
            p = np.exp(scores - scores.max())
            found.append(p[self.options.index(answer)] / p.sum())
        return np.array(found)


def _block(demo: Demo) -> str:
    help_ = "" if demo.explanation is None else f"\nExplanation that it reads: {demo.explanation}"
    return f"Question: {demo.question}\nCorrect answer: {demo.answer}{help_}\nAnswer of the model:"
