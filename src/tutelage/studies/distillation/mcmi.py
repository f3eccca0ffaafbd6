"""Does a teacher tuned for information teach a student better that sees few examples, or lacks a class?

A, real digits: the teacher learns from 800, the student from the first 30, 60 or 100 of them, or from 100 less all eights
(less all eights and nines). B, MNIST-1D: 4000 and 500 signals. All arms of a seed share the teacher's training for
likelihood, and the student's first weights, batches and steps; students are distilled at T = 4 (0.1 CE + 0.9 KL).

The control is the teacher fine-tuned just as long with weight 0. The weight is the largest that keeps the control's
accuracy on 200 (B: 1000) further examples to half a point, on every seed anew; each weight stands beside it. So do two
other teachers that are softer: one whose training ends where fine-tuning would begin, and one with label smoothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import nn

from tutelage.data.digits import digits
from tutelage.data.mnist1d import mnist1d_signals
from tutelage.methods.distillation.mcmi import chosen, measure
from tutelage.students.cnn import SmallCnn
from tutelage.students.mlp import mlp
from tutelage.studies import Arm, Metric, Paper, Part, Results, Role, Setup, Study, Trial, beats
from tutelage.studies.distillation._mcmi_rows import Key, Rule, Sizes, Split, Task, batch_of, students, teachers

WEIGHTS = (0.15, 0.25, 0.35, 0.45)
RULES = {
    "lambda 0": Rule(),
    **{f"lambda {lam:g}": Rule(lam=lam) for lam in WEIGHTS},
    "stopped early": Rule(tuned=False),
    "smoothed": Rule(smoothing=0.1),
}
ROLES: dict[str, Role] = {"ce": "reference", "lambda 0": "baseline", "mcmi": "method"}


def digit_split(setup: Setup[Sizes]) -> Split:
    """The digits of a seed, for perceptrons."""
    s = setup.settings
    train, validation, test = digits(setup.seed, s.teacher, s.validation, s.test, standardise=True)
    makers = (lambda: mlp(64, 128, 128, 10), lambda: mlp(64, 16, 10))
    return Split((train.x, train.y), (validation.x, validation.y), (test.x, test.y), makers)


def signal_split(setup: Setup[Sizes]) -> Split:
    """The signals of a seed, for convolutional networks."""
    s = setup.settings
    x, y = mnist1d_signals(s.signals, cache=setup.scratch)
    order = torch.randperm(len(x), generator=torch.Generator().manual_seed(setup.seed))
    parts = order[: s.teacher + s.validation + s.test].split([s.teacher, s.validation, s.test])
    train, validation, test = ((x[index].unsqueeze(1), y[index]) for index in parts)
    return Split(train, validation, test, (lambda: cnn(48), lambda: cnn(15)))


def cnn(width: int) -> SmallCnn:
    """Three strided convolutions and a linear head over signals of 40 samples.

    >>> sum(p.numel() for p in cnn(48).parameters()), sum(p.numel() for p in cnn(15).parameters())
    (16618, 2230)
    """
    channels = (1, width, width, width)
    return SmallCnn(channels, 10, dims=1, kernels=(5, 3, 3), strides=2, padding=1, pool="flatten", size=40)


def stacked(data: Sequence[Split], trials: Sequence[Trial[Sizes]]) -> list[dict[str, float]]:
    """All teachers of all seeds, then all students of each task; the method's figures are those of the chosen weight."""
    s = trials[0].settings
    by_seed = {trial.seed: one for one, trial in zip(data, trials, strict=True)}
    taught: dict[Key, nn.Module | None] = {**teachers(by_seed, RULES, s)}
    taught |= {("ce", seed): None for seed in by_seed}
    learned = {task: students(by_seed, taught, task, s) for task in s.tasks}
    results = []
    for one, trial in zip(data, trials, strict=True):
        examples = s.batch * (s.steps + s.tune_steps) + sum(s.student_steps * batch_of(task) for task in s.tasks)
        trial.budget.count(steps=s.steps + s.tune_steps + len(s.tasks) * s.student_steps, examples=examples)
        name, extra = trial.arm, {}
        if name == "mcmi":
            trial.budget.count(trials=len(WEIGHTS))
            lam = best_weight(one, {w: taught[f"lambda {w:g}", trial.seed] for w in (0.0, *WEIGHTS)})
            name, extra = f"lambda {lam:g}", {"lambda": lam}
        figures = {task.name: accuracy(learned[task][name, trial.seed], one, task) for task in s.tasks}
        teacher = taught[name, trial.seed]
        if teacher is not None:
            told = measure(teacher, one.test)
            figures |= {"teacher": told.accuracy, "its NLL": told.nll, "its CMI": measure(teacher, one.train).cmi}
        results.append(figures | extra)
    return results


def best_weight(one: Split, tuned: dict[float, nn.Module | None]) -> float:
    """What `search_lambda` would keep: the largest weight that keeps the accuracy on the validation part."""
    return chosen([measure(model, one.validation, lam) for lam, model in tuned.items() if model is not None]).lam


@torch.no_grad()
def accuracy(student: nn.Module, one: Split, task: Task) -> float:
    """Share of right answers on the test; where classes were left out, on their examples only."""
    x, y = one.test
    asked = torch.isin(y, torch.tensor(task.without)) if task.without else torch.ones_like(y).bool()
    return float((student(x[asked]).argmax(-1) == y[asked]).float().mean())


def beside(r: Results, task: str) -> str:
    """Which teacher is best for the smallest student, and what that says about the method, by the figures."""
    mean = {name: float(r[name, task].mean()) for name in ("lambda 0", "mcmi", "stopped early", "smoothed")}
    best = max(mean, key=mean.__getitem__)
    reading = (
        "over-training hurts, tuning for information repairs a part of it, and stopping early avoids it"
        if best == "stopped early" and mean["mcmi"] > mean["lambda 0"]
        else f"the best of these teachers is {best!r}"
    )
    figures = ", ".join(f"{name} {value:.3f}" for name, value in mean.items())
    return f"At {task}: {figures}; {reading}. Weight chosen: {r['mcmi', 'lambda'].mean():.2f} on the mean."


def metrics(tasks: Sequence[Task]) -> tuple[Metric, ...]:
    """A column for each task, then the teacher's own figures."""
    teacher = (Metric("teacher"), Metric("its NLL", higher_is_better=False), Metric("its CMI", digits=4))
    return (*(Metric(task.name) for task in tasks), *teacher, Metric("lambda", digits=2))


part = partial(
    Part[Split, Sizes],
    arms=tuple(Arm(name, ROLES.get(name, "ablation")) for name in ("ce", "lambda 0", "mcmi", *list(RULES)[1:])),
    stacked=stacked,
    unequal={"trials": "the weight is what the method searches; its control is the same fine-tuning with weight 0"},
)
FEW = (
    Task("n=30", 30),
    Task("n=60", 60),
    Task("n=100", 100),
    Task("n=30, T=1", 30, temperature=1.0),
    Task("8 unseen", 100, without=(8,)),
    Task("8, 9 unseen", 100, without=(8, 9)),
)
SIGNALS = (Task("n=500", 500), Task("n=500, T=1", 500, temperature=1.0), Task("8 unseen", 500, without=(8,)))
SHORT = {"steps": 2, "tune_steps": 2, "student_steps": 2, "every": 1}

STUDY = Study(
    slug="mcmi",
    paper=Paper(
        "Bayes Conditional Distribution Estimation for Knowledge Distillation Based on Conditional Mutual Information",
        "Ye et al.",
        2024,
        "2401.08732",
    ),
    claim="a teacher tuned for conditional mutual information teaches a few-shot student better than one trained just as "
    "long without",
    parts=(
        part(
            name="A · digits",
            data=digit_split,
            metrics=metrics(FEW),
            settings=Sizes(FEW, 800, 200, 497, 400, 400, 400, lr=3e-3, tune_lr=2e-3, every=8),
            fast=Sizes(FEW, 400, 50, 100, **SHORT, lr=3e-3, tune_lr=2e-3),
            seeds=10,
            bars=(
                beats("mcmi", "lambda 0", "n=30", by=0.015, wins=0.9, paper="+0.057 (CIFAR-100, 5 % of the data)"),
                beats("mcmi", "lambda 0", "n=60", gated=False, paper="+0.036 (10 %)"),
                beats("mcmi", "lambda 0", "n=100", gated=False, paper="+0.012 (25 %)"),
                beats("mcmi", "lambda 0", "n=30, T=1", gated=False),
                beats("mcmi", "lambda 0", "8 unseen", gated=False, paper="0 → 0.84 at best"),
                beats("mcmi", "stopped early", "n=30", gated=False),
            ),
            sentence=partial(beside, task="n=30"),
        ),
        part(
            name="B · MNIST-1D",
            data=signal_split,
            metrics=metrics(SIGNALS),
            settings=Sizes(SIGNALS, 4000, 1000, 2000, 1000, 400, 800, lr=1e-2, tune_lr=5e-3, every=40, signals=10_000),
            fast=Sizes(SIGNALS, 600, 50, 100, **SHORT, lr=1e-2, tune_lr=5e-3, signals=1000),
            seeds=5,
            bars=(
                beats("mcmi", "lambda 0", "n=500", gated=False),
                beats("mcmi", "lambda 0", "8 unseen", gated=False, paper="0 → 0.84 at best"),
            ),
            sentence=partial(beside, task="n=500"),
        ),
    ),
)
