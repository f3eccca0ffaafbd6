"""Is a network's own past a better target than its hard labels, where some of the labels are wrong?

Real digits, 300 for training, whose labels are as they are (A) or of which a fifth is redrawn (B: there hard targets hurt
most). All arms of a seed share pictures, labels, first weights, batches and steps; each chooses its learning rate on the
tuning seed, by the likelihood of 75 further pictures whose labels are right: by wrong ones it would choose to learn too little.
An earlier form let every arm choose between two rates only, of which both were too high for plain training, and held.

Beside plain training stand label smoothing, and two ablations: the past counts the same from the second epoch on, and the
past is asked of last epoch's model (the paper's form for large data, `PreviousModelDistillation`) instead of being
written down while training.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor

from tutelage.data.digits import digits
from tutelage.data.noise import corrupt_labels
from tutelage.methods.distillation.ps_kd import GROWTH, progressive_targets, share_of_past
from tutelage.objectives.divergence import soft_cross_entropy
from tutelage.students.mlp import mlp
from tutelage.studies import Arm, Metric, Paper, Part, Results, Setup, Study, Trial, beats, not_worse
from tutelage.studies.distillation._rows import figures, fit_rows, network, smoothed
from tutelage.training import Batch, Progress, Schedule, StackedFit

CLASSES = 10
GRID = tuple({"lr": lr} for lr in (5e-3, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 1e-2))


@dataclass(frozen=True)
class Digits:
    """Sizes, the share of wrong labels, and the length of training."""

    noise: float = 0.0
    train: int = 300
    validation: int = 75
    test: int = 797
    steps: int = 600
    batch: int = 50


@dataclass(frozen=True)
class Split:
    """Pictures [n, 64] and labels [n] of the three parts; those of the test are never wrong."""

    x: Tensor
    y: Tensor
    validation: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Rule:
    """What an arm adds to hard labels: a share spread over all classes, or a share of the student's past."""

    smoothing: float = 0.0
    alpha: float = 0.0
    growth: Schedule | float = GROWTH
    snapshot: bool = False


RULES = {
    "ce": Rule(),
    "label smoothing": Rule(smoothing=0.1),
    "ps-kd": Rule(alpha=0.8),
    "fixed alpha": Rule(alpha=0.8, growth=1.0),
    "last model": Rule(alpha=0.8, snapshot=True),
}


def split(setup: Setup[Digits]) -> Split:
    """The digits of a seed, with wrong labels in training where the settings ask for them."""
    s = setup.settings
    train, validation, test = digits(setup.seed, s.train, s.validation, s.test, standardise=True)
    noisy = corrupt_labels(train.y.numpy(), s.noise, classes=CLASSES, seed=setup.seed)[0]
    return Split(train.x, torch.from_numpy(noisy), (validation.x, validation.y), (test.x, test.y))


def stacked(data: Sequence[Split], trials: Sequence[Trial[Digits]]) -> list[dict[str, float]]:
    """All arms and seeds as one stack; their difference is the targets."""
    s = trials[0].settings
    rules = [RULES[trial.arm] for trial in trials]
    per_epoch = s.train // s.batch
    epochs = -(-s.steps // per_epoch)
    past = torch.zeros(len(trials), s.train, CLASSES)
    rows = torch.arange(len(trials)).unsqueeze(1)
    asked = torch.tensor([rule.snapshot for rule in rules]).view(-1, 1, 1)
    pictures = torch.stack([one.x for one in data])

    def losses(outputs: Tensor, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        epoch = progress.step // per_epoch
        shares = torch.tensor([share_of_past(rule.alpha, epoch, epochs, rule.growth) for rule in rules])
        targets = progressive_targets(batch["targets"], past[rows, batch["index"]], shares.view(-1, 1, 1))
        return {"ce": torch.vmap(soft_cross_entropy)(outputs, targets)}

    def remember(runs: StackedFit, outputs: Tensor, batch: Batch, progress: Progress) -> None:
        index = batch["index"]
        past[rows, index] = torch.where(asked, past[rows, index], outputs.softmax(-1))
        if (progress.step + 1) % per_epoch == 0 and bool(asked.any()):
            with torch.no_grad():
                past.copy_(torch.where(asked, runs.stack(pictures).softmax(-1), past))

    columns = [
        {"x": one.x, "targets": smoothed(one.y, rule.smoothing, CLASSES)} for one, rule in zip(data, rules, strict=True)
    ]
    runs, _ = fit_rows(
        [network(lambda: mlp(64, 64, 64, 64, CLASSES), trial.seed) for trial in trials],
        columns,
        losses,
        seeds=[trial.seed for trial in trials],
        steps=s.steps,
        batch=s.batch,
        lr=[trial.choice["lr"] for trial in trials],
        weight_decay=1e-3,
        after_step=remember,
    )
    results = []
    for row, (one, trial) in enumerate(zip(data, trials, strict=True)):
        trial.budget.count(steps=s.steps, examples=s.steps * s.batch)
        student = runs.module(row)
        with torch.no_grad():
            validation = figures(student(one.validation[0]), one.validation[1])["NLL"]
            results.append(figures(student(one.test[0]), one.test[1]) | {"validation NLL": validation})
    return results


def beside(r: Results) -> str:
    """What label smoothing and the ablation say about the method, by the figures."""
    mean = {name: float(r[name, "NLL"].mean()) for name in ("ps-kd", "label smoothing", "fixed alpha")}
    grown = "does not pay: a fixed one has" if mean["fixed alpha"] < mean["ps-kd"] else "pays: a fixed one has"
    smooth = "lower" if mean["label smoothing"] < mean["ps-kd"] else "higher"
    return (
        f"Growing alpha {grown} NLL {mean['fixed alpha']:.3f} against {mean['ps-kd']:.3f}; label smoothing's is {smooth} "
        f"({mean['label smoothing']:.3f})."
    )


part = partial(
    Part[Split, Digits],
    data=split,
    arms=tuple(
        Arm(name, role, grid=GRID)
        for name, role in zip(RULES, ("baseline", "baseline", "method", "ablation", "ablation"), strict=True)
    ),
    metrics=(
        Metric("NLL", higher_is_better=False),
        Metric("ECE", higher_is_better=False),
        Metric("AURC", higher_is_better=False),
        Metric("accuracy"),
        Metric("validation NLL", higher_is_better=False, shown=False),
    ),
    seeds=10,
    first_seed=500,  # 100 to 109, 300 to 309 and 400 to 409 judged earlier forms
    stacked=stacked,
    tuned_by="validation NLL",
    sentence=beside,
)

STUDY = Study(
    slug="ps-kd",
    paper=Paper("Self-Knowledge Distillation with Progressive Refinement of Targets", "Kim et al.", 2021, "2006.12000"),
    claim="better likelihood and calibration than hard labels at no loss of accuracy, and better calibration than label "
    "smoothing",
    parts=(
        part(
            name="A · labels as they are",
            settings=Digits(),
            fast=Digits(train=20, validation=10, test=20, steps=4, batch=10),
            bars=(
                beats("ps-kd", "ce", "NLL", gated=False, paper="1.10 → 0.76 (CIFAR-100, ResNet-18)"),
                beats("ps-kd", "ce", "ECE", gated=False, paper="0.118 → 0.018"),
                beats("ps-kd", "label smoothing", "ECE", gated=False, paper="0.108 → 0.018"),
            ),
        ),
        part(
            name="B · a fifth of the labels is wrong",
            settings=Digits(noise=0.2),
            fast=Digits(noise=0.2, train=20, validation=10, test=20, steps=4, batch=10),
            bars=(
                beats("ps-kd", "ce", "NLL", wins=0.9, paper="1.10 → 0.76 (clean labels)"),
                beats("ps-kd", "ce", "ECE", paper="0.118 → 0.018 (clean labels)"),
                not_worse("ps-kd", "ce", "accuracy", within=0.002, paper="+0.034 (clean labels)"),
                beats("ps-kd", "label smoothing", "ECE", paper="0.108 → 0.018 (clean labels)"),
                beats("ps-kd", "fixed alpha", "NLL", gated=False),
            ),
        ),
    ),
)
