"""With help for a fifth of the questions, does it matter that the teacher foresees whom it helps?

The decision is that of the paper; student and teacher are small enough to be made anew for every seed, since a language
model of this size cannot simulate another one in its context. The student, a transformer of sixty thousand weights, sums
chains modulo 10 (`ModChains`), knows 95 %, 70 % and 40 % of the facts of three operations, and writes one of three
notations; it has learnt to read steps in its own. The teacher gets a step wrong with 2 %, for one operation with 25 %, and
writes any notation at random until useful demonstrations show it the student's. Questions are "is the result above 4?".

Both mental models are regressions over counts of the operations, the notation and whether the teacher's own answer is right,
from the same 32 observations for every arm. A seed draws student, facts, questions, notations and errors. All arms rank
what one student said once; the ceilings rank by what it really would say.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from tutelage.methods.language.theory_of_mind import TheoryOfMind, intervention_curve, intervention_scores
from tutelage.studies import (
    Arm,
    Bar,
    Finding,
    Metric,
    Paper,
    Part,
    Results,
    Role,
    Setup,
    Study,
    Trial,
    at_most,
    beats,
    judge,
)  # fmt: skip
from tutelage.studies.language._chain_student import ChainStudent, ChainTeacher, readings, results_above
from tutelage.teachers.mental_models import StatMentalModel
from tutelage.worlds.mod_chains import NOTATIONS, OPERATIONS, ModChains, text, write_question

SHARES, SLIP, BLUNDER = (0.95, 0.7, 0.4), 0.02, 0.25


@dataclass(frozen=True)
class Settings:
    """Training steps of the student, demonstrations, and questions of the test."""

    steps: int = 400
    demos: int = 32
    questions: int = 500


FAST = Settings(steps=5, demos=8, questions=40)


@dataclass(frozen=True)
class Observed:
    """What one student does, for all arms: right without help and with it, and what the mental models foretell."""

    alone: np.ndarray
    plain: np.ndarray
    personal: np.ndarray
    misled: np.ndarray
    foretold: dict[str, tuple[np.ndarray, np.ndarray]]


def features(question: str, answer: str, explanation: str | None) -> list[float]:
    """Counts of the operations; with an explanation its notation and whether it leads to the right answer."""
    counts = [float(question.count(sign)) for sign in OPERATIONS]
    if explanation is None:
        return counts
    notation, said = readings(explanation)
    return [*counts, *(float(notation == name) for name in NOTATIONS), float(said == answer)]


def observed(setup: Setup[Settings]) -> Observed:
    """Make a student and its teacher, let them meet, and ask everything once."""
    s, seed = setup.settings, setup.seed
    rng = np.random.default_rng(seed)
    shares = tuple(np.array(SHARES)[rng.permutation(3)].tolist())
    notation = NOTATIONS[rng.integers(len(NOTATIONS))]
    errors = np.full(3, SLIP)
    errors[rng.integers(3)] = BLUNDER
    world = ModChains(shares, steps=2, notation=notation, facts_seed=seed)
    student = ChainStudent(world, steps=s.steps, seed=seed)
    digits, operations = world.questions(s.demos + s.questions, torch.Generator().manual_seed(seed + 10_000))
    questions = [text(row) for row in write_question(digits, operations)]
    answers = results_above(digits, operations)
    seen, asked = slice(s.demos), slice(s.demos, None)
    truth = np.array(answers[asked])
    alone = np.array(student(questions[asked], None)) == truth
    right, foretold = {}, {}
    for name in ("plain", "personal"):
        teacher = ChainTeacher(errors.tolist(), seed)
        models = StatMentalModel(features), StatMentalModel(features)
        tom = TheoryOfMind(student, teacher, *models, personalised=name == "personal", seed=seed)
        tom.observe(questions[seen], answers[seen])
        explained = {name: tom.explain(questions[asked])}
        if name == "personal":  # who knows how to help this student knows how to harm it
            explained["misled"] = ChainTeacher(errors.tolist(), seed, misaligned=True)(questions[asked], tom.examples)
        for kind, explanations in explained.items():
            right[kind] = np.array(student(questions[asked], explanations)) == truth
            foretold[kind] = (
                tom.alone.predict(questions[asked], answers[asked], None),
                tom.helped.predict(questions[asked], answers[asked], explanations),
            )
    return Observed(alone, right["plain"], right["personal"], right["misled"], foretold)


Rank = Callable[[Observed, np.random.Generator], np.ndarray]


def ranked(name: str, role: Role, rank: Rank, *, help_: str = "plain") -> Arm[Observed, Settings]:
    """Help by a rule: accuracy over all questions at a fifth, at all, and the area under the curve."""

    def run(data: Observed, trial: Trial[Settings]) -> dict[str, float]:
        scores = rank(data, np.random.default_rng(trial.seed))
        curve = intervention_curve(data.alone, getattr(data, help_), scores, seed=trial.seed)
        trial.budget.count(examples=trial.settings.demos)
        figures = dict(zip(curve.budgets, curve.accuracy, strict=True))
        return {"no help": figures[0.0], "at 0.2": figures[0.2], "at 1": figures[1.0], "area": curve.area}

    return Arm(name, role, run)


def by(strategy: str, mind: str = "plain") -> Rank:
    """A strategy on what the mental models foretell."""
    return lambda data, rng: intervention_scores(strategy, *data.foretold[mind], rng)  # type: ignore[arg-type]


def truly(data: Observed, rng: np.random.Generator) -> np.ndarray:
    """The utility itself: 1 where help turns wrong into right, −1 where it turns right into wrong."""
    return data.plain.astype(float) - data.alone


def effect(method: str, baseline: str, *, by: float = 0.0) -> Bar:
    """Accuracy with a fifth explained: the whole interval above zero, the mean above `by`."""

    def test(r: Results) -> Finding:
        return judge(r[method, "at 0.2"] - r[baseline, "at 0.2"], by=by)

    more = f" by {by:g}" if by else ""
    return Bar(f"with help for a fifth, {method} beats {baseline}{more}", test)


def other_side(r: Results) -> str:
    """What each of the two sides of a utility reaches alone, by the figures."""
    gap = (r["utility", "at 0.2"] - r["no_inter", "at 0.2"]).mean()
    verdict = "adds to" if gap > 0 else "adds nothing to"
    return (
        f"Foreseeing what help does {verdict} foreseeing where the student is weak: {gap:+.3f} with help for a fifth. "
        f"Help that is foreseen to succeed, whatever the student knows, reaches {r['inter', 'at 0.2'].mean():.3f} "
        f"(utility {r['utility', 'at 0.2'].mean():.3f})."
    )


STUDY = Study(
    slug="theory-of-mind",
    paper=Paper(
        "Can Language Models Teach Weaker Agents? Teacher Explanations Improve Students via Theory of Mind",
        "Saha et al.",
        2023,
        "2306.09299",
    ),
    claim="with help for a fifth of the questions, help chosen by its expected utility raises the student more than help at "
    "random, and personalised help more than help for anyone",
    parts=(
        Part(
            data=observed,
            arms=(
                ranked("random", "baseline", by("random")),
                ranked("no_inter", "baseline", by("no_inter")),
                ranked("inter", "baseline", by("inter")),
                ranked("utility", "method", by("utility")),
                ranked("personalised", "method", by("utility", "personal"), help_="personal"),
                ranked("true utility", "reference", truly),
                ranked(
                    "misaligned (audit)", "reference", lambda d, rng: -by("utility", "misled")(d, rng), help_="misled"
                ),
            ),
            metrics=(
                Metric("no help"),
                Metric("at 0.2"),
                Metric("at 1"),
                Metric("area"),
            ),
            bars=(
                effect("utility", "random", by=0.02),
                effect("personalised", "utility"),
                at_most("misaligned (audit)", "at 1", 0.55, gated=False, paper="about 0.50 (StrategyQA)"),
                beats("utility", "no_inter", "at 0.2", gated=False),
                beats("utility", "inter", "at 0.2", gated=False),
                beats("utility", "inter", "area", gated=False),
                beats("utility", "random", "area", gated=False),
            ),
            settings=Settings(),
            fast=FAST,
            seeds=10,
            sentence=other_side,
        ),
    ),
)
