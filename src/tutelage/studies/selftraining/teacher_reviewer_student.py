"""Do unlabelled people help a pose network, and does a second, longer memory help beyond one teacher?

The world is `StickFigures`: left and right limbs differ only in brightness, something often stands in front. 20 people are
labelled, 600 are not, 300 are the test. All arms of a seed begin with one network, trained on the labels; then each trains
on: on labels alone, with a mean teacher (easy and hard views, blanked joints), or with teacher, reviewer,
supervision of all stages and mixed joints. The figures are the student's, over all joints inside the picture, hidden or not.

The long form trains three times as long, and adds the ablations and the control (a second teacher that is only faster).
"""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from tutelage.data.patches import inside
from tutelage.evaluation.dense import pck, swap_rate
from tutelage.methods.selftraining.teacher_reviewer_student import TeacherReviewerStudent
from tutelage.students.pose import HeatmapNet, read_maps
from tutelage.studies import Arm, Metric, Paper, Part, Results, Role, Setup, Study, Trial, beats
from tutelage.teachers.momentum import half_life_decay
from tutelage.training import after, child_seed, cosine, fit, predict_all, seeded
from tutelage.training.consistency import SemiSupervisedBatches
from tutelage.worlds.stick_figures import PAIRS, POINTS, StickFigures

RADIUS = 3.0


@dataclass(frozen=True)
class People:
    """Sizes and lengths; `every` steps are about one pass over the unlabelled people."""

    labelled: int = 20
    unlabelled: int = 600
    test: int = 300
    labelled_batch: int = 8
    unlabelled_batch: int = 16
    burn_in: int = 300
    steps: int = 500
    every: int = 37
    width: int = 24
    lr: float = 1e-2


@dataclass(frozen=True)
class Split:
    """People as `StickFigures` makes them, and the network that knows the labels."""

    labelled: tuple[Tensor, Tensor]
    pool: Tensor
    test: dict[str, Tensor]
    begun: HeatmapNet


@dataclass(frozen=True)
class Rule:
    """An arm: whether unlabelled people count, weights of reviewer and stages, share of mixed joints, or a second teacher."""

    pool: bool = True
    review: float = 0.5
    levels: float = 0.5
    mix: float = 0.5
    faster: bool = False


RULES = {
    "supervised": Rule(pool=False),
    "mean teacher": Rule(review=0.0, levels=0.0, mix=0.0),
    "trs": Rule(),
    "no reviewer": Rule(review=0.0),
    "no stages": Rule(levels=0.0),
    "no mixing": Rule(mix=0.0),
    "faster second teacher": Rule(faster=True),
}


def split(setup: Setup[People]) -> Split:
    """The people of a seed, and the burn-in that all arms share."""
    s, world = setup.settings, StickFigures()
    sets = [
        world.batch(n, torch.Generator().manual_seed(child_seed(setup.seed, name)))
        for name, n in (("labelled", s.labelled), ("unlabelled", s.unlabelled), ("test", s.test))
    ]
    with seeded(setup.seed, "init"):
        net = HeatmapNet(len(POINTS), width=s.width)
    one = Split((sets[0]["x"], sets[0]["joints"]), sets[1]["x"], sets[2], net)
    train(one, lesson_of(net, Rule(pool=False), s), s, setup.seed, s.burn_in)
    return one


def lesson_of(net: HeatmapNet, rule: Rule, s: People) -> TeacherReviewerStudent:
    """The lesson of an arm; without the pool, burn-in never ends."""
    decay = half_life_decay(s.steps)
    return TeacherReviewerStudent(
        net,
        swap_pairs=PAIRS,
        decay=decay,
        reviewer_decay=half_life_decay(s.steps, 0.01) if rule.faster else 0.9,
        reviewer_of="student" if rule.faster else "teacher",
        every=s.every,
        review=rule.review,
        levels=rule.levels,
        mix=rule.mix,
        burn_in=0 if rule.pool else s.burn_in + s.steps,
        ramp=after(0.2),
    )


def train(one: Split, lesson: TeacherReviewerStudent, s: People, seed: int, steps: int) -> None:
    """Adam, the rate falling to 0 by a cosine."""
    batches = SemiSupervisedBatches(one.labelled, one.pool, sizes=(s.labelled_batch, s.unlabelled_batch), seed=seed)
    fit(lesson, batches, steps=steps, lr=s.lr, schedule=cosine(), optimizer="adam", weight_decay=0.0, seed=seed)


def arm(one: Split, trial: Trial[People]) -> dict[str, float]:
    """Train on from the shared burn-in, and look for the joints of the test."""
    s, rule = trial.settings, RULES[trial.arm]
    lesson = lesson_of(copy.deepcopy(one.begun), rule, s)
    train(one, lesson, s, child_seed(trial.seed, "arm"), s.steps)
    steps = s.burn_in + s.steps
    trial.budget.count(
        steps=steps, examples=s.burn_in * s.labelled_batch + s.steps * (s.labelled_batch + s.unlabelled_batch)
    )
    x, joints = one.test["x"], one.test["joints"]
    seen = inside(joints, x)
    figures: dict[str, float] = {}
    models = {"": lesson.student} | ({"teacher ": lesson.lesson.teachers["teacher"]} if rule.pool else {})
    for name, model in models.items():
        maps = predict_all(model, x, function=lambda asked, batch: asked(batch["x"])[-1])
        found = read_maps(maps)[0].numpy()
        figures[f"{name}PCK"] = pck(found, joints, RADIUS, seen)
        figures[f"{name}swaps"] = swap_rate(found, joints, PAIRS, RADIUS, seen)
    return figures


def what_holds(r: Results) -> str:
    """Which of the two steps shows, by the figures."""
    mean = {name: float(r[name, "PCK"].mean()) for name in ("supervised", "mean teacher", "trs")}
    semi, extra = mean["trs"] - mean["supervised"], mean["trs"] - mean["mean teacher"]
    if semi >= 0.03 and extra < 0.005:
        return "Semi-supervision holds; the extra gain of the reviewer framework over one teacher does not show here."
    return f"Unlabelled people give {semi:+.3f} of PCK, {extra:+.3f} of it beyond a mean teacher."


def roles(*names: str) -> tuple[Arm[Split, People], ...]:
    """Arms in this order; budgets of the baselines are the method's."""
    role: dict[str, Role] = {"supervised": "baseline", "mean teacher": "baseline", "trs": "method"}
    return tuple(Arm(name, role.get(name, "ablation"), arm) for name in names)


METRICS = (Metric("PCK"), Metric("swaps", higher_is_better=False), Metric("teacher PCK", shown=False))
FAST = People(
    labelled=4, unlabelled=8, test=4, labelled_batch=2, unlabelled_batch=4, burn_in=2, steps=4, every=2, width=4
)

PEOPLE = Part(
    data=split,
    arms=roles("supervised", "mean teacher", "trs"),
    metrics=METRICS,
    bars=(
        beats("trs", "supervised", "PCK", by=0.03, wins=1.0),
        beats("trs", "mean teacher", "PCK", by=0.005, wins=0.8),
        beats("mean teacher", "supervised", "PCK", gated=False),
        beats("trs", "mean teacher", "swaps", gated=False),
    ),
    settings=People(),
    fast=FAST,
    full=People(steps=1500),
    seeds=5,
    name="A · against labels alone and one teacher",
    sentence=what_holds,
)
ABLATIONS = replace(
    PEOPLE,
    name="B · what each piece does",
    arms=roles("trs", "no reviewer", "no stages", "no mixing", "faster second teacher"),
    bars=tuple(
        beats("trs", name, "PCK", gated=False)
        for name in ("no reviewer", "no stages", "no mixing", "faster second teacher")
    ),
    seeds=3,
    only_full=True,
    sentence=None,
)

STUDY = Study(
    slug="teacher-reviewer-student",
    paper=Paper(
        "A New Teacher-Reviewer-Student Framework for Semi-supervised 2D Human Pose Estimation",
        "Yun et al.",
        2025,
        "2501.09565",
    ),
    claim="unlabelled pictures help, and a longer memory with mixed joints gives more than one teacher",
    parts=(PEOPLE, ABLATIONS),
)
