"""Does a policy learn to propose good students, and is the one that it finds better than one scaled by hand?

Handwritten digits and a convolutional teacher of 163 thousand weights. All children of the spaces were trained once, from
two initialisations, and stored (`_n2n_table` says how, and makes them anew); a search is told one of the two accuracies,
drawn each time it asks for a child that is new to it.

A   thirty replays of stage 1 (which convolutions to take out), forty proposals each: policy, chance, hill climbing, a
    policy that has learnt on the children of a smaller teacher, and one paid for size alone in the linear form C. Figures
    are mean rewards over both runs, without the noise that the search sees.
B   the student: stage 2 is replayed on the best of all children of stage 1, which no search has found, with a tenth of the
    teacher's size as the limit, and what it finds is trained from scratch for sixty epochs, beside the whole teacher with all
    widths scaled to the same size. Accuracy is that of the test part, which no search sees.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from torch import nn

from tutelage.curricula.search import HillClimb, RandomSearch
from tutelage.errors import InputError
from tutelage.evaluation.cost import parameters
from tutelage.evaluation.tabular import Architecture, SearchLog, TabularBenchmark, explore
from tutelage.methods.search.n2n import STRICT, policy_search
from tutelage.students.edit_policies import RemovalPolicy, ShrinkagePolicy
from tutelage.students.editing import describe, outputs_of, rebuild, removable
from tutelage.students.space import Space
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
    judge,
    not_worse,
)  # fmt: skip
from tutelage.studies.search import _n2n_table as table
from tutelage.training import seeded

SMALLER = 10
"""Times that the student of part B is to be smaller, at least: a limit that its search is told."""


@dataclass(frozen=True)
class Settings:
    """Iterations and rollouts of a search, iterations on the small teacher, learning rate; epochs of teacher and student."""

    iterations: int = 8
    rollouts: int = 5
    before: int = 40
    lr: float = 1e-2
    teacher_epochs: int = 25
    epochs: int = 60


FAST = Settings(iterations=4, before=1, teacher_epochs=1, epochs=1)


@dataclass(frozen=True)
class Tables:
    """What is stored, and the networks that it belongs to."""

    removal: TabularBenchmark
    small: TabularBenchmark
    shrinkage: TabularBenchmark

    @staticmethod
    @cache
    def load() -> Tables:
        """Read the three files."""
        return Tables(**{name: TabularBenchmark.load(path) for name, path in table.TABLES.items()})


def mean_reward(stored: TabularBenchmark, actions: Architecture) -> float:
    """R of the mean accuracy of both runs."""
    return table.reward_of(stored, actions, float(np.mean(stored[actions].validation)))


def told(
    stored: TabularBenchmark, seed: int, *, linear: bool = False, limit: int | None = None
) -> Callable[[Architecture, int], float]:
    """The reward that a search is told: R by one stored run, with C in the place of C (2 − C), or with a limit of size."""
    rng, known = np.random.default_rng(seed), dict[Architecture, float]()

    def reward(actions: Architecture, iteration: int = 0) -> float:
        if actions not in known:
            known[actions] = stored.ask(actions, rng)
        given = table.reward_of(stored, actions, known[actions], max_parameters=limit, iteration=iteration)
        compression = 1 - stored[actions].parameters / stored.about["teacher"]
        return given / (2 - compression) if linear and given > -1 else given

    return reward


def by_policy(data: Tables, trial: Trial[Settings], *, learnt: bool = False, linear: bool = False) -> SearchLog:
    """Stage 1 with a policy that is new, or has learnt on the smaller teacher."""
    s = trial.settings
    with seeded(trial.seed, "init"):
        policy = RemovalPolicy()
    options = {"rollouts": s.rollouts, "lr": s.lr, "seed": trial.seed}
    if learnt:
        teacher = table.convolutional(table.SMALL_BLOCKS)
        reward = told(data.small, trial.seed)
        policy_search(policy, describe(teacher), removable(teacher), reward, iterations=s.before, **options)
    teacher = table.convolutional(table.BLOCKS)
    reward = told(data.removal, trial.seed, linear=linear)
    return policy_search(policy, describe(teacher), removable(teacher), reward, iterations=s.iterations, **options)


def proposals(kind: type[RandomSearch]) -> Callable[[Tables, Trial[Settings]], SearchLog]:
    """Stage 1 without a policy."""

    def run(data: Tables, trial: Trial[Settings]) -> SearchLog:
        free = removable(table.convolutional(table.BLOCKS))
        space = Space({str(i): (0, 1) if f else (1,) for i, f in enumerate(free)})
        asked = trial.settings.iterations * trial.settings.rollouts
        return explore(kind(space, seed=trial.seed), told(data.removal, trial.seed), distinct=asked)  # type: ignore[arg-type]

    return run


def replayed(name: str, role: Role, run: Callable[[Tables, Trial[Settings]], SearchLog]) -> Arm[Tables, Settings]:
    """A search, and what its proposals were worth."""

    def measure(data: Tables, trial: Trial[Settings]) -> dict[str, float]:
        log = run(data, trial)
        worth = [mean_reward(data.removal, actions) for actions in log.asked]
        trial.budget.count(examples=len(worth))
        return {
            "first ten": float(np.mean(worth[:10])),
            "last ten": float(np.mean(worth[-10:])),
            "best": mean_reward(data.removal, log.best),
            "trained": log.distinct,
        }

    return Arm(name, role, measure)


@dataclass(frozen=True)
class Student:
    """The child that a seed's search chose, and its teacher."""

    given: table.Task
    network: nn.Sequential


def chosen(setup: Setup[Settings]) -> Student:
    """Stage 2 on the best child of stage 1, by a policy with as many proposals as in part A."""
    data, s = Tables.load(), setup.settings
    given = table.task(epochs=s.teacher_epochs)
    base = table.child(given.teacher, keep=table.best_of(data.removal), seed=setup.seed)
    with seeded(setup.seed, "init"):
        policy = ShrinkagePolicy(table.LEVELS)
    free = [i in table.widths(base) for i in range(len(base))]
    reward = told(data.shrinkage, setup.seed, limit=parameters(given.teacher) // SMALLER)
    log = policy_search(
        policy, describe(base), free, reward, iterations=s.iterations, rollouts=s.rollouts, lr=s.lr, seed=setup.seed
    )
    best = max(dict.fromkeys(log.asked), key=lambda actions: reward(actions, STRICT))
    return Student(given, table.child(base, shrink=best, seed=setup.seed))


def scaled(network: nn.Sequential, size: int) -> nn.Sequential:
    """All widths times the largest common factor with which the network has at most `size` parameters.

    Raises: InputError: even one channel a layer is more.
    """
    for factor in np.arange(1, 0, -0.005):
        outputs = {i: max(1, int((outputs_of(network[i]) or 0) * factor)) for i in table.widths(network)}
        made = rebuild(network, table.EXAMPLE, outputs=outputs)
        if made is not None and parameters(made) <= size:
            return made
    raise InputError(f"no factor brings the teacher down to {size} parameters")


def trained(name: str, role: Role, make: Callable[[Student, int], nn.Sequential]) -> Arm[Student, Settings]:
    """Train from scratch on the teacher's logits, then test."""

    def run(data: Student, trial: Trial[Settings]) -> dict[str, float]:
        with seeded(trial.seed, "init"):
            network = make(data, trial.seed)
        table.train_child(network, data.given, trial.settings.epochs, trial.seed)
        examples = trial.settings.epochs * len(data.given.train)
        trial.budget.count(steps=trial.settings.epochs * -(-len(data.given.train) // table.BATCH), examples=examples)
        return figures(network, data.given)

    return Arm(name, role, run)


def untouched(data: Student, trial: Trial[Settings]) -> dict[str, float]:
    """The teacher as it is."""
    trial.budget.count(examples=trial.settings.teacher_epochs * len(data.given.train))
    return figures(data.given.teacher, data.given)


def figures(network: nn.Sequential, given: table.Task) -> dict[str, float]:
    """Test accuracy and size."""
    size = parameters(network)
    return {
        "accuracy": table.accuracy(network, given.test),
        "compression": parameters(given.teacher) / size,
        "parameters": size,
    }


def above_random(r: Results) -> Finding:
    """Proposals 31 to 40 of the policy against those of chance."""
    return judge(r["n2n", "last ten"] - r["random", "last ten"], wins=24 / 30)


def starts_better(r: Results) -> Finding:
    """The first ten proposals with and without the smaller teacher."""
    return judge(r["learnt before", "first ten"] - r["n2n", "first ten"], wins=20 / 30)


STUDY = Study(
    slug="n2n",
    paper=Paper(
        "N2N Learning: Network to Network Compression via Policy Gradient Reinforcement Learning",
        "Ashok et al.",
        2017,
        "1709.06030",
    ),
    claim="a policy learns to propose good students, the chosen one is ten times smaller at nearly the teacher's accuracy, and a "
    "policy that has learnt on a smaller teacher starts better",
    parts=(
        Part(
            name="A · searches, replayed",
            data=lambda setup: Tables.load(),
            arms=(
                replayed("random", "baseline", proposals(RandomSearch)),
                replayed("hill climbing", "baseline", proposals(HillClimb)),
                replayed("n2n", "method", by_policy),
                replayed("learnt before", "reference", lambda data, trial: by_policy(data, trial, learnt=True)),
                replayed("linear reward", "ablation", lambda data, trial: by_policy(data, trial, linear=True)),
            ),
            metrics=(
                Metric("first ten"),
                Metric("last ten"),
                Metric("best"),
                Metric("trained", higher_is_better=False, digits=0),
            ),
            bars=(
                Bar("proposals 31–40 of n2n are worth more than those of random on 24 of 30 seeds", above_random),
                Bar("the first ten of learnt before are worth more than those of n2n on 20 of 30 seeds", starts_better),
                beats("n2n", "random", "best", gated=False),
                beats("n2n", "hill climbing", "best", gated=False),
            ),
            settings=Settings(),
            fast=FAST,
            seeds=30,
        ),
        Part(
            name="B · the student",
            data=chosen,
            arms=(
                Arm("teacher", "reference", untouched),
                trained("scaled by hand", "baseline", lambda d, seed: scaled(d.given.teacher, parameters(d.network))),
                trained("n2n", "method", lambda d, seed: rebuild(d.network, table.EXAMPLE) or d.network),
            ),
            metrics=(
                Metric("accuracy"),
                Metric("compression", unit="times", digits=1),
                Metric("parameters", higher_is_better=False, digits=0),
            ),
            bars=(
                at_least("n2n", "compression", SMALLER, paper="10.2 times (ResNet-34, CIFAR-10)"),
                not_worse("n2n", "teacher", "accuracy", within=0.015, paper="+0.3 points"),
                beats("n2n", "scaled by hand", "accuracy"),
            ),
            settings=Settings(),
            fast=FAST,
            seeds=3,
        ),
    ),
)
