"""Is a teacher that averages virtual future students a better labeller than one that averages past ones?

Real digits: two labelled pictures a class, 700 for the test, all others unlabelled. All arms of a seed share first weights,
batches, views (the teacher sees a shifted picture with a little noise, the student a shifted one with a hole and much noise)
and real steps: burn-in on the labels, then self-training on the labels of which the teacher is sure.

A deep look-ahead moves its teacher K + 1 times a step and costs K + 1 times as much. Two mean teachers stand beside it for
that: one whose decay is as fast, and one that trains K + 1 times as long. The mean teacher with no weight on unlabelled
pictures is plain supervised training.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tutelage.data.digits import digits
from tutelage.data.split import few_per_class
from tutelage.data.views import cutout
from tutelage.methods.selftraining.future_self_training import FutureSelfTraining, decay_per_step, mean_teacher
from tutelage.students.mlp import mlp
from tutelage.studies import Arm, Metric, Paper, Part, Results, Role, Setup, Study, Trial, beats, not_worse
from tutelage.training import Batch, EveryK, Lesson, Run, fit, logits_of, seeded
from tutelage.training.consistency import ConsistencyLesson, SemiSupervisedBatches, photometric

CLASSES, DECAY, K = 10, 0.99, 3


@dataclass(frozen=True)
class Digits:
    """Sizes and lengths; the teacher is asked about the test ten times, every `steps` / 10 steps after burn-in."""

    per_class: int = 2
    test: int = 700
    labelled_batch: int = 20
    unlabelled_batch: int = 64
    burn_in: int = 60
    steps: int = 200


@dataclass(frozen=True)
class Split:
    """Pictures [n, 1, 8, 8] and labels [n]; the pool's labels are not here."""

    labelled: tuple[Tensor, Tensor]
    pool: Tensor
    test: tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Rule:
    """An arm: weight of the unlabelled part, decay, how much longer it trains, and how it looks ahead."""

    ramp: float = 1.0
    decay: float = DECAY
    times: int = 1
    mode: str = ""
    restore: bool = True


RULES = {
    "supervised": Rule(ramp=0.0),
    "mean teacher": Rule(),
    "faster mean teacher": Rule(decay=decay_per_step(DECAY, K)),
    "fst deep": Rule(mode="deep"),
    "fst deep, moments leak": Rule(mode="deep", restore=False),
    "fst wide": Rule(mode="wide"),
    "mean teacher, 4 × as long": Rule(times=K + 1),
}
ROLES: dict[str, Role] = {
    "fst deep": "method",
    "fst deep, moments leak": "ablation",
    "fst wide": "ablation",
    "mean teacher, 4 × as long": "reference",
}


def split(setup: Setup[Digits]) -> Split:
    """The digits of a seed: test, then a few of each class, then the pool."""
    test, rest = digits(setup.seed, setup.settings.test, 1797 - setup.settings.test, flat=False)
    few = torch.from_numpy(few_per_class(rest.y.tolist(), setup.settings.per_class, seed=setup.seed))
    pool = torch.ones(len(rest.y), dtype=torch.bool)
    pool[few] = False
    return Split((rest.x[few], rest.y[few]), rest.x[pool], (test.x, test.y))


def shifted(x: Tensor, generator: torch.Generator) -> Tensor:
    """Every picture [B, C, H, W] moved by −1, 0 or 1 pixels both ways; background comes in."""
    windows = nn.functional.pad(x, (1, 1, 1, 1)).unfold(2, x.shape[2], 1).unfold(3, x.shape[3], 1)
    down, right = torch.randint(3, (2, len(x)), generator=generator)
    return windows[torch.arange(len(x)), :, down, right]


def easy(x: Tensor, generator: torch.Generator) -> Tensor:
    """The teacher's view, and that of labelled pictures."""
    return shifted(x, generator) + 0.03 * torch.randn(x.shape, generator=generator)


def hard(x: Tensor, generator: torch.Generator) -> Tensor:
    """The student's view: a hole of 3 × 3 pixels and much noise."""
    return cutout(shifted(x, generator), generator, share=9 / 64)[0] + 0.15 * torch.randn(x.shape, generator=generator)


def on_easy_views(student: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
    """Cross-entropy of labelled pictures."""
    return nn.functional.cross_entropy(student(easy(batch["x"], generator)), batch["y"])


def lesson_of(rule: Rule, seed: int, s: Digits) -> tuple[Lesson, ConsistencyLesson]:
    """The lesson of an arm, and the self-training in it."""
    with seeded(seed, "init"):
        student = mlp(64, 128, 64, CLASSES)
    inner = mean_teacher(
        student,
        weak=photometric(easy),
        strong=photometric(hard),
        threshold=0.8,
        decay=rule.decay,
        burn_in=s.burn_in,
        ramp=rule.ramp,
        supervised=on_easy_views,
    )
    match rule.mode:
        case "":
            return inner, inner
        case "wide":
            return FutureSelfTraining(inner, k=K, mode="wide", restore_optimizer=rule.restore), inner
    return FutureSelfTraining(inner, k=K, restore_optimizer=rule.restore), inner


def arm(one: Split, trial: Trial[Digits]) -> dict[str, float]:
    """Train, and ask the teacher ten times on the way."""
    s, rule = trial.settings, RULES[trial.arm]
    lesson, inner = lesson_of(rule, trial.seed, s)
    share = K + 1 if rule.mode == "wide" else 1
    sizes = (share * s.labelled_batch, share * s.unlabelled_batch)
    heights: list[float] = []

    def accuracy(model: nn.Module) -> float:
        return (logits_of(model, one.test[0]).argmax(-1) == one.test[1]).float().mean().item()

    def ask(run: Run) -> None:
        done = run.progress.step - s.burn_in
        if done > 0 and done % (rule.times * s.steps // 10) == 0:
            heights.append(accuracy(inner.teachers["pseudo"]))

    steps = s.burn_in + rule.times * s.steps
    batches = SemiSupervisedBatches(one.labelled, one.pool, sizes=sizes, seed=trial.seed)
    check = EveryK(max(1, s.steps // 10), ask)
    fit(lesson, batches, steps=steps, lr=1e-3, optimizer="adam", weight_decay=0.0, seed=trial.seed, callbacks=[check])
    gradients = steps + (K * (s.steps - 1) if rule.mode else 0)
    trial.budget.count(steps=gradients, examples=gradients * sum(sizes) // share)
    with torch.no_grad():
        figures = {"student": accuracy(inner.student), "teacher": heights[-1], "curve": sum(heights) / len(heights)}
    return figures | {"gradients": gradients}


def what_it_is(r: Results) -> str:
    """More than a faster teacher? Worth its compute? By the figures."""
    mean = {name: float(r[name, "curve"].mean()) for name in RULES}
    gain = mean["fst deep"] - mean["mean teacher"]
    faster, longer = (mean["fst deep"] - mean[name] for name in ("faster mean teacher", "mean teacher, 4 × as long"))
    fast = "more than" if faster > 0.005 else "no more than"
    worth = (
        "and is worth its compute" if longer > 0 else "and loses to training a plain mean teacher for as many gradients"
    )
    return (
        f"A step's look-ahead gives {gain:+.3f} of curve, {fast} a mean teacher with a decay as fast ({faster:+.3f}), {worth} "
        f"({longer:+.3f} of curve, {(r['fst deep', 'student'] - r['mean teacher, 4 × as long', 'student']).mean():+.3f} of the "
        f"student)."
    )


DIGITS = Part(
    data=split,
    arms=tuple(Arm(name, ROLES.get(name, "baseline"), arm) for name in RULES),
    metrics=(
        Metric("curve"),
        Metric("teacher"),
        Metric("student"),
        Metric("gradients", higher_is_better=False, digits=0),
    ),
    bars=(
        beats("fst deep", "mean teacher", "curve", by=0.01, wins=0.8),
        not_worse("fst deep", "mean teacher", "student", within=0.005),
        beats("fst deep", "faster mean teacher", "curve", gated=False),
        beats("fst deep", "mean teacher, 4 × as long", "curve", gated=False),
        beats("fst deep, moments leak", "mean teacher", "curve", gated=False),
        beats("fst wide", "mean teacher", "curve", gated=False),
        beats("mean teacher", "supervised", "student", gated=False),
    ),
    settings=Digits(),
    fast=Digits(test=100, labelled_batch=10, unlabelled_batch=16, burn_in=3, steps=10),
    seeds=10,
    unequal=dict.fromkeys(
        ("steps", "examples"), "K virtual steps a real one; a mean teacher that trains for as many stands beside it"
    ),
    sentence=what_it_is,
)

STUDY = Study(
    slug="future-self-training",
    paper=Paper(
        "Learning from Future: A Novel Self-Training Framework for Semantic Segmentation",
        "Du et al.",
        2022,
        "2209.06993",
    ),
    claim="at equal real steps, a teacher that averages virtual future students labels better than one that averages past ones",
    parts=(DIGITS,),
)
