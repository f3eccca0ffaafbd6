"""Can a net with 7 % of the teacher's weights draw digits in one step, and what do annealing and guidance add?

The teacher is a flow on all 1797 real 8 × 8 digits that needs many steps; it is asked once for pairs of noise and digit. A
small net becomes straight by reflow and learns to jump. All arms of a seed share teacher, pairs, first weights, batches and
the number of the student's steps. Three baselines stand beside the paper's two parts: pairs alone; reflow and distillation
of pairs; and a first flow on the digits before these (the two stages that annealing joins). A guided step costs a little
more than two plain ones, so the second baseline also runs with three times the steps of distillation, as a reference.

Samples are compared with the digits by the Fréchet distance (FD) in the last hidden layer of a classifier that was trained
once, and by the sliced Wasserstein distance: as many samples as digits, one noise and one set of directions for all arms.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache

import torch
from torch import Tensor, nn

from tutelage.data.digits import TOTAL, digits
from tutelage.evaluation.samples import frechet_distance, random_directions, sliced_wasserstein
from tutelage.evaluation.significance import paired_bootstrap
from tutelage.methods.generation.slimflow import AnnealedReflow, annealing
from tutelage.objectives.flow import Velocity
from tutelage.students.mlp import Mlp, mlp
from tutelage.students.velocity import VelocityMlp
from tutelage.studies import Arm, Metric, Paper, Part, Results, Role, Setup, Study, Trial, beats
from tutelage.studies.generation._flows import Key, Learning, Row, stage
from tutelage.teachers.pairs import draw_pairs
from tutelage.teachers.samplers import euler_sample
from tutelage.training import Supervised, cosine, fit, one_cycle, seeded


@dataclass(frozen=True)
class Sizes:
    """Sizes, lengths, and how teacher and students learn."""

    digits: int = TOTAL
    pairs: int = 2000
    few: int = 500
    teacher: tuple[int, ...] = (256, 256, 256)
    teacher_steps: int = 3000
    sampling: int = 50
    student: tuple[int, ...] = (48, 48, 48)
    reflow: int = 4000
    distil: int = 2500
    warmup: float = 0.4
    reading: int = 600
    teaching: Learning = field(default_factory=lambda: Learning(lr=2e-3, end=0.1))
    learning: Learning = field(default_factory=Learning)


@dataclass(frozen=True)
class Rule:
    """How the second stage of an arm begins and goes on: from which net, guided or not, how much longer."""

    start: str
    guided: bool = False
    times: int = 1


RULES = {
    "pairs only": Rule("pairs only"),
    "reflow, distilled": Rule("reflow"),
    "two flows, distilled": Rule("two flows"),
    "slimflow": Rule("annealed reflow", guided=True),
    "annealed, distilled": Rule("annealed reflow"),
    "reflow, guided": Rule("reflow", guided=True),
    "reflow, distilled 3 × as long": Rule("reflow", times=3),
    "few pairs: distilled": Rule("few pairs: reflow"),
    "few pairs: slimflow": Rule("few pairs: annealed", guided=True),
}
ROLES: dict[str, Role] = {
    "pairs only": "baseline",
    "reflow, distilled": "baseline",
    "two flows, distilled": "baseline",
    "slimflow": "method",
    "reflow, distilled 3 × as long": "reference",
}
STRAIGHT = ("reflow", "annealed reflow")
"""Nets of the first stage that are measured themselves."""


@dataclass(frozen=True)
class Split:
    """What the arms of a seed share: digits [n, 64] in [−1, 1], the teacher, and its pairs [N, 64]."""

    real: Tensor
    teacher: nn.Module
    x0: Tensor
    x1: Tensor


def split(setup: Setup[Sizes]) -> Split:
    """The teacher of a seed, a first flow on the digits, and what it makes of fixed noise."""
    s = setup.settings
    how, real = s.teaching, 2 * digits(0, s.digits)[0].x - 1
    with seeded(setup.seed, "teacher"):
        lesson = AnnealedReflow(VelocityMlp(64, *s.teacher), beta=1.0, decay=how.decay)
    fit(
        lesson, (real, real), steps=s.teacher_steps, batch_size=how.batch, lr=how.lr, schedule=cosine(1.0, how.end),
        optimizer="adam", weight_decay=0.0, drop_last=True, seed=setup.seed,
    )  # fmt: skip
    teacher = lesson.average.module
    pairs = draw_pairs(lambda z: euler_sample(teacher, z, s.sampling), s.pairs, (64,), seed=setup.seed)
    return Split(real, teacher, *pairs)


def taught(by_seed: Mapping[int, Split], s: Sizes) -> dict[Key, nn.Module]:
    """Every net of every seed: those of the first stage (straight flows), then those of the second (one step)."""
    rows: dict[Key, Row] = {}
    for seed, one in by_seed.items():
        few = one.x0[: s.few], one.x1[: s.few]
        rows |= {
            ("pairs only", seed): Row(one.x0, one.x1, jump=True),
            ("reflow", seed): Row(one.x0, one.x1),
            ("annealed reflow", seed): Row(one.x0, one.x1, annealing(s.warmup)),
            ("few pairs: reflow", seed): Row(*few),
            ("few pairs: annealed", seed): Row(*few, annealing(s.warmup)),
        }
    fresh = {key: network(key[1], s) for key in [*rows, *(("two flows", seed) for seed in by_seed)]}
    begun, averages = stage(fresh, rows, s.reflow, s.learning)
    digit_flow = {("two flows", seed): Row(one.real, one.real, beta=1.0) for seed, one in by_seed.items()}
    first, _ = stage(fresh, digit_flow, s.reflow // 2, s.learning)
    second = {("two flows", seed): Row(one.x0, one.x1) for seed, one in by_seed.items()}
    begun |= stage(first, second, s.reflow // 2, s.learning)[0]
    made = {key: averages[key] for key in averages if key[0] in STRAIGHT}
    for guided, times in sorted({(rule.guided, rule.times) for rule in RULES.values()}):
        group = {arm: rule.start for arm, rule in RULES.items() if (rule.guided, rule.times) == (guided, times)}
        keys = {(arm, seed): (start, seed) for arm, start in group.items() for seed in by_seed}
        jumps = {key: jumping(by_seed[key[1]], few=key[0].startswith("few"), s=s) for key in keys}
        starts = {key: begun[start] for key, start in keys.items()}
        guides = {key: averages[start] for key, start in keys.items()} if guided else None
        made |= stage(starts, jumps, times * s.distil, s.learning, guides)[1]
    return made


def jumping(one: Split, *, few: bool, s: Sizes) -> Row:
    """The pairs of a student that jumps."""
    count = s.few if few else s.pairs
    return Row(one.x0[:count], one.x1[:count], jump=True)


def network(seed: int, s: Sizes) -> nn.Module:
    """The student of a seed, as all its arms begin."""
    with seeded(seed, "init"):
        return VelocityMlp(64, *s.student)


@cache
def reader(steps: int) -> Mlp:
    """The classifier whose 32 features FD compares: trained once on digits with noise of all strengths up to 0.5."""
    x, y = digits(0, TOTAL)[0]
    x = (2 * x - 1).repeat(4, 1)
    generator = torch.Generator().manual_seed(0)
    noisy = x + 0.5 * torch.rand(len(x), 1, generator=generator) * torch.randn(x.shape, generator=generator)
    with seeded(0, "reader"):
        model = mlp(64, 64, 32, 10)
    fit(Supervised(model), (noisy, y.repeat(4)), steps=steps, batch_size=128, lr=3e-3, schedule=one_cycle())
    return model


def judged(net: Velocity, real: Tensor, s: Sizes, steps: int = 1) -> tuple[float, float]:
    """FD and sliced Wasserstein distance of as many samples as there are digits."""
    noise = torch.randn(real.shape, generator=torch.Generator().manual_seed(0))
    samples, features = euler_sample(net, noise, steps), reader(s.reading).features
    with torch.no_grad():
        fd = frechet_distance(features(samples).numpy(), features(real).numpy())
    return fd, sliced_wasserstein(samples.numpy(), real.numpy(), random_directions(200, 64))


def stacked(data: Sequence[Split], trials: Sequence[Trial[Sizes]]) -> list[dict[str, float]]:
    """All nets of all seeds, and what they draw in one step; straight flows and the teacher also in many."""
    s = trials[0].settings
    by_seed = {trial.seed: one for one, trial in zip(data, trials, strict=True)}
    nets = taught(by_seed, s) | {("teacher", seed): one.teacher for seed, one in by_seed.items()}
    results = []
    for one, trial in zip(data, trials, strict=True):
        net = nets[trial.arm, trial.seed]
        steps = s.reflow + (RULES[trial.arm].times * s.distil if trial.arm in RULES else 0)
        if trial.arm == "teacher":
            trial.budget.count(steps=s.teacher_steps, examples=s.teacher_steps * s.teaching.batch)
        else:
            trial.budget.count(steps=steps, examples=steps * s.learning.batch)
        fd, sliced = judged(net, one.real, s)
        figures = {"FD": fd, "sliced W": sliced}
        if trial.arm not in RULES:
            figures["FD, many steps"] = judged(net, one.real, s, s.sampling if trial.arm == "teacher" else 10)[0]
        results.append(figures)
    return results


def parts(r: Results) -> str:
    """What the paper's two parts add to the student, by the paired intervals."""
    asked = {
        "annealing alone": ("annealed, distilled", "reflow, distilled"),
        "guidance alone": ("reflow, guided", "reflow, distilled"),
        "both": ("slimflow", "reflow, distilled"),
        "both, at equal compute": ("slimflow", "reflow, distilled 3 × as long"),
        "both, with few pairs": ("few pairs: slimflow", "few pairs: distilled"),
    }
    found = []
    for what, (ours, theirs) in asked.items():
        gain = paired_bootstrap(r.gain(ours, theirs, "FD"))
        word = "supported" if gain.interval[0] > 0 else "not supported on this data"
        found.append(f"{what} {gain.value:+.1f} [{gain.interval[0]:+.1f}, {gain.interval[1]:+.1f}] ({word})")
    return f"What lowers the student's FD, by how much: {'; '.join(found)}."


STUDY = Study(
    slug="slimflow",
    paper=Paper(
        "SlimFlow: Training Smaller One-Step Diffusion Models with Rectified Flow", "Zhu, Liu & Liu", 2024, "2407.12718"
    ),
    claim="a one-step student with 7 % of the weights draws far better than the teacher in one step, and annealing gives a "
    "better small reflow net than a random start at equal steps",
    parts=(
        Part(
            data=split,
            arms=(
                *(Arm(name, "reference") for name in ("teacher", *STRAIGHT)),
                *(Arm(name, ROLES.get(name, "ablation")) for name in RULES),
            ),
            metrics=(
                Metric("FD", higher_is_better=False, digits=2),
                Metric("sliced W", higher_is_better=False, digits=4),
                Metric("FD, many steps", higher_is_better=False, digits=2),
            ),
            bars=(
                beats(
                    "slimflow", "teacher", "FD", times=0.25, wins=1.0, paper="FID 5.02 in one step (CIFAR-10, 15.7M)"
                ),
                beats("annealed reflow", "reflow", "FD", wins=0.8),
                beats("slimflow", "reflow, distilled", "FD", times=1.5),
                beats("slimflow", "reflow, distilled", "FD", gated=False),
                beats("slimflow", "reflow, distilled 3 × as long", "FD", gated=False),
                beats("slimflow", "two flows, distilled", "FD", gated=False),
                beats("annealed, distilled", "reflow, distilled", "FD", gated=False),
                beats("reflow, guided", "reflow, distilled", "FD", gated=False),
            ),
            settings=Sizes(),
            fast=Sizes(
                200, 130, 130, (16,), 2, student=(8,), sampling=2, reflow=4, distil=2, reading=20, learning=Learning(64)
            ),
            seeds=5,
            stacked=stacked,
            sentence=parts,
        ),
    ),
)
