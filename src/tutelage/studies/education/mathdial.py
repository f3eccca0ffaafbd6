"""Do labelled human moves teach a small model to recognise moves, and to tutor without giving the answer away?

MathDial's public test file: 599 dialogues of human teachers with a simulated pupil, about 394 exercises; split by exercise,
60 % to learn from and 40 % held out, anew for each seed.

Moves: ways of telling which of four moves a teacher's turn is, judged by macro-F1; the refined rules were written with all
dialogues in sight, held-out ones too, and so are the most that keywords can do.

Solving and telling: policies tutor simulated pupils about the held-out exercises. The pupils' chance to come round after a
move, and the chance that a turn with that move holds the answer, are counted in the dialogues to learn from; so this part
says what human dialogues imply for a policy, and nothing about a living pupil. All policies meet the same pupils with the
same luck.

Real dialogues: the metric itself, on all 599 as they are, against the figures that the authors' rules give. They leave out
pupils' turns that stand under the pupil's name, and the bar does so too; beside it stands what is counted with those turns,
and under a stricter rule of when a pupil has said the answer.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from tutelage.data.dialogue import MOVES, Dialogue, Move, TutoringProblem, mathdial
from tutelage.data.draws import keyed_uniform
from tutelage.data.split import group_split
from tutelage.evaluation.classification import macro_f1
from tutelage.methods.education.mathdial import (
    Moment,
    MoveClassifier,
    MovePolicy,
    PlannedTutor,
    moments,
    says,
    simulate,
    solved_and_told,
    success_telling_curve,
)
from tutelage.students.pupils import HazardPupils
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
    at_least,
    beats,
    exactly,
    not_worse,
)
from tutelage.studies.education._mathdial_policies import WORDS, drawn, majority, refined_rules, rules
from tutelage.teachers.tutoring import Plan

FILE = "mathdial_test.csv"


@dataclass(frozen=True)
class Settings:
    """How many dialogues are read (None: all), the share to learn from, and the rounds of a simulated lesson."""

    dialogues: int | None = None
    train: float = 0.6
    rounds: int = 8


@dataclass(frozen=True)
class Split:
    """Dialogues to learn from and held-out ones; no exercise is in both."""

    train: list[Dialogue]
    test: list[Dialogue]


def split(setup: Setup[Settings]) -> Split:
    """The dialogues of a seed."""
    s = setup.settings
    dialogues = mathdial(setup.file(FILE))[: s.dialogues]
    rows = group_split([d.problem.id for d in dialogues], [s.train, 1 - s.train], seed=setup.seed)
    return Split(*([dialogues[row] for row in part] for part in rows))


def learned(train: Sequence[Moment], asked: Sequence[Moment], *, context: bool) -> list[Move]:
    """By the classifier, with or without what stands around the turn."""
    return MoveClassifier(context=context).fit(train).predict(asked)


def recognising(
    name: str, role: Role, how: Callable[[Sequence[Moment], Sequence[Moment]], list[Move]]
) -> Arm[Split, Settings]:
    """A way of telling the moves of `asked` after seeing `train`."""

    def run(data: Split, trial: Trial[Settings]) -> dict[str, float]:
        train, asked = moments(data.train), moments(data.test)
        trial.budget.count(examples=len(train))
        gold, said = ([MOVES.index(move) for move in row] for row in ([m.move for m in asked], how(train, asked)))
        return {"macro-F1": macro_f1(gold, said, labels=range(len(MOVES)))}

    return Arm(name, role, run)


@dataclass(frozen=True)
class Lesson:
    """What policies of a seed share: exercises, pupils, how often a move leaks, how often each is made, and the policy."""

    problems: list[TutoringProblem]
    pupils: HazardPupils
    leaks: dict[Move, float]
    shares: dict[Move, float]
    policy: MovePolicy


def lesson(setup: Setup[Settings]) -> Lesson:
    """Counted and learned from the dialogues to learn from."""
    data = split(setup)
    turns = [(turn, d.problem) for d in data.train for turn in d.of("teacher")]
    told: dict[Move, list[bool]] = {
        move: [says(turn.text, problem) for turn, problem in turns if turn.move == move] for move in MOVES
    }
    return Lesson(
        list({d.problem.id: d.problem for d in data.test}.values()),
        HazardPupils(says, seed=setup.seed).fit(data.train),
        {move: (1 + sum(row)) / (2 + len(row)) for move, row in told.items()},
        {move: len(row) / len(turns) for move, row in told.items()},
        MovePolicy(seed=setup.seed).fit(moments(data.train)),
    )


def spoken(data: Lesson, seed: int, dialogue: Dialogue, move: Move) -> str:
    """A turn of a move: plain words, and the answer as often as human teachers let it out with that move."""
    number = len(dialogue.of("teacher"))
    leaks = keyed_uniform(seed, dialogue.problem.id, number, "leaks") < data.leaks[move]
    return f"{WORDS[move]} The answer is {dialogue.problem.answer}." if leaks else WORDS[move]


def tutoring(
    name: str, role: Role, plan: Callable[[Lesson, int], Plan], *, guard: bool = False
) -> Arm[Lesson, Settings]:
    """A tutor whose plan is `plan(lesson, seed)`."""

    def run(data: Lesson, trial: Trial[Settings]) -> dict[str, np.ndarray | float]:
        tutor = PlannedTutor(plan(data, trial.seed), partial(spoken, data, trial.seed), guard=guard)
        done, failed = simulate(tutor, data.pupils, data.problems, rounds=trial.settings.rounds)
        trial.budget.count(examples=len(done) + failed)
        at = {k: solved_and_told(done, k).astype(float) for k in (5, 8)}
        return {"Success@5": at[5][:, 0], "Success@8": at[8][:, 0], "Telling@5": at[5][:, 1], "Telling@8": at[8][:, 1]}

    return Arm(name, role, run)


def logs(setup: Setup[Settings]) -> tuple[list[Dialogue], list[Dialogue]]:
    """All dialogues: as the authors read them, and with the turns under pupils' names."""
    path = setup.file(FILE)
    published, whole = (mathdial(path, named_pupils=named)[: setup.settings.dialogues] for named in (False, True))
    return published, whole


def counting(
    name: str, role: Role, *, named: bool, strict: bool = False
) -> Arm[tuple[list[Dialogue], list[Dialogue]], Settings]:
    """The two curves of human teachers at k = 1 and 5."""

    def run(data: tuple[list[Dialogue], list[Dialogue]], trial: Trial[Settings]) -> dict[str, float]:
        trial.budget.count(examples=len(data[named]))
        curve = success_telling_curve(data[named], 5, strict=strict)
        return {
            f"{kind}@{k}": float(curve[k - 1, column])
            for column, kind in enumerate(("Success", "Telling"))
            for k in (1, 5)
        }

    return Arm(name, role, run)


def within(metric: str, figure: float, tolerance: float = 0.005) -> Bar:
    """Our count of the published dialogues is the published rules' count."""

    def test(r: Results) -> Finding:
        ours = float(r["as published", metric].mean())
        return exactly(abs(ours - figure) <= tolerance, ours)

    return Bar(f"{metric} of human teachers is {figure} within {tolerance}", test)


def caveat(r: Results) -> str:
    """What the simulation is, and what the guard alone does."""
    own, bare, solver = (r[name, "Telling@5"].mean() for name in ("planned", "planned, no guard", "solver"))
    return (
        f"These pupils are chances counted in real dialogues, not living ones. Choosing moves as people do brings telling from "
        f"{solver:.2f} to {bare:.2f}, the guard from there to {own:.2f}."
    )


STUDY = Study(
    slug="mathdial",
    paper=Paper(
        "MathDial: A Dialogue Tutoring Dataset with Rich Pedagogical Properties Grounded in Math Reasoning Problems",
        "Macina et al.",
        2023,
        "2305.14536",
    ),
    claim="labelled human moves teach a small model to recognise and to plan tutoring moves, and a tutor that follows them keeps "
    "the pupil's success while it gives the answer away far less than a solver",
    parts=(
        Part(
            name="moves",
            data=split,
            arms=(
                recognising("majority", "reference", majority),
                recognising("rules", "baseline", rules),
                recognising("refined rules", "baseline", refined_rules),
                recognising("words alone", "baseline", partial(learned, context=False)),
                recognising("words and context", "method", partial(learned, context=True)),
            ),
            metrics=(Metric("macro-F1"),),
            bars=(
                at_least("words and context", "macro-F1", 0.55),
                beats("words and context", "rules", "macro-F1", by=0.08, wins=1.0),
                beats("words and context", "refined rules", "macro-F1", gated=False),
                beats("words and context", "words alone", "macro-F1", gated=False),
            ),
            settings=Settings(),
            fast=Settings(dialogues=40),
            seeds=10,
            files=(FILE,),
        ),
        Part(
            name="solving and telling",
            data=lesson,
            arms=(
                tutoring("solver", "baseline", lambda data, seed: drawn({"telling": 1.0}, seed)),
                tutoring("random", "baseline", lambda data, seed: drawn(dict.fromkeys(MOVES, 0.25), seed)),
                tutoring(
                    "never tells",
                    "baseline",
                    lambda data, seed: drawn({m: data.shares[m] for m in ("focus", "probing")}, seed),
                ),
                tutoring("planned", "method", lambda data, seed: data.policy, guard=True),
                tutoring("planned, no guard", "ablation", lambda data, seed: data.policy),
            ),
            metrics=(
                Metric("Success@5"),
                Metric("Success@8"),
                Metric("Telling@5", higher_is_better=False),
                Metric("Telling@8", higher_is_better=False),
            ),
            bars=(
                beats("planned", "solver", "Telling@5", times=0.5),
                not_worse("planned", "solver", "Success@8", within=0.10),
                beats("planned, no guard", "solver", "Telling@5"),
                not_worse("planned", "never tells", "Success@8", within=0.0, gated=False),
            ),
            settings=Settings(),
            fast=Settings(dialogues=40, rounds=3),
            seeds=10,
            files=(FILE,),
            sentence=caveat,
        ),
        Part(
            name="real dialogues",
            data=logs,
            arms=(
                counting("as published", "method", named=False),
                counting("with named pupils", "reference", named=True),
                counting("stated as the result", "reference", named=True, strict=True),
            ),
            metrics=(
                Metric("Success@1"),
                Metric("Success@5"),
                Metric("Telling@1", higher_is_better=False),
                Metric("Telling@5", higher_is_better=False),
            ),
            bars=(within("Success@5", 0.720), within("Telling@5", 0.082)),
            settings=Settings(),
            fast=Settings(dialogues=40),
            seeds=1,
            files=(FILE,),
        ),
    ),
)
