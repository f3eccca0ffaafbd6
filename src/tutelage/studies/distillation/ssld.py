"""What does a student lose without labels, and what does it gain from the pool that it may then learn from?

Real digits: a teacher learns from 800; the student's target set is the first 100 of them; the pool is 500 other pictures
without labels and 200 pieces of junk (pictures whose pixels are shuffled); 497 are the test. All arms of a seed share
teacher, first weights and steps (600 batches of 50, one of eight learning rates, chosen on the tuning seed by the
likelihood of 25 pictures that only the teacher has seen).

Label-free distillation is compared at equal temperature with distillation that uses the labels; higher temperatures, on
the 100 pictures and on the pool, stand beside it, for a part of the gain can be had by them alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tutelage.data.digits import digits
from tutelage.methods.distillation.ssld import select_pool
from tutelage.objectives.divergence import distillation_kl, js_divergence, soft_cross_entropy
from tutelage.students.mlp import mlp
from tutelage.studies import Arm, Metric, Paper, Part, Results, Role, Setup, Study, Trial, beats, not_worse
from tutelage.studies.distillation._rows import figures, fit_rows, network, smoothed
from tutelage.training import Batch, Progress
from tutelage.training.stacked import RowLosses

CLASSES = 10
GRID = tuple({"lr": lr} for lr in (1e-2, 1e-3, 2.5e-3, 5e-3, 2e-2, 4e-2, 8e-2, 0.16))


@dataclass(frozen=True)
class Digits:
    """Sizes and lengths; the last `restore` of the student's steps are stage 2."""

    teacher: int = 800
    target: int = 100
    validation: int = 25
    pool: int = 500
    junk: int = 200
    test: int = 497
    per_class: int = 50
    teacher_steps: int = 500
    steps: int = 600
    restore: int = 100
    batch: int = 50


@dataclass(frozen=True)
class Split:
    """Pictures [n, 64] and labels [n]; the pool has no labels and ends with the junk."""

    x: Tensor
    y: Tensor
    pool: Tensor
    test: tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Rule:
    """What an arm minimises, on what: weights of labels, KL and JS; temperature; pool; whether stage 2 follows."""

    hard: float = 0.0
    kl: float = 0.0
    js: float = 0.0
    smoothing: float = 0.0
    temperature: float = 1.0
    pool: bool = False
    select: bool = True
    restore: bool = False


RULES = {
    "ce": Rule(hard=1.0),
    "label smoothing": Rule(hard=1.0, smoothing=0.1),
    "kd T=1": Rule(hard=0.1, kl=0.9),
    "kd T=4": Rule(hard=0.1, kl=0.9, temperature=4.0),
    "kd T=8": Rule(hard=0.1, kl=0.9, temperature=8.0),
    "js": Rule(js=1.0),
    "ssld": Rule(js=1.0, pool=True, restore=True),
    "ssld, no fine-tune": Rule(js=1.0, pool=True),
    "ssld, no selection": Rule(js=1.0, pool=True, select=False, restore=True),
    "ssld by KL": Rule(kl=1.0, pool=True, restore=True),
    "ssld by KL T=4": Rule(kl=1.0, temperature=4.0, pool=True, restore=True),
}
BASELINES = ("ce", "label smoothing", "kd T=1", "kd T=4", "kd T=8")


def split(setup: Setup[Digits]) -> Split:
    """The digits of a seed; junk is pictures of the pool, each with its pixels shuffled in its own way."""
    s = setup.settings
    train, pool, test = digits(setup.seed, s.teacher, s.pool, s.test, standardise=True)
    shuffle = torch.rand(s.junk, 64, generator=torch.Generator().manual_seed(setup.seed)).argsort(1)
    junk = pool.x[: s.junk].gather(1, shuffle)
    return Split(train.x, train.y, torch.cat([pool.x, junk]), (test.x, test.y))


def teachers(data: Sequence[Split], seeds: Sequence[int], s: Digits) -> list[nn.Module]:
    """One teacher a seed, trained plainly on all its labelled pictures."""

    def losses(outputs: Tensor, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        return {"ce": torch.vmap(F.cross_entropy)(outputs, batch["y"])}

    runs, _ = fit_rows(
        [network(lambda: mlp(64, 128, 128, CLASSES), seed) for seed in seeds],
        [{"x": one.x, "y": one.y} for one in data],
        losses,
        seeds=seeds,
        steps=s.teacher_steps,
        batch=min(100, s.teacher),
        lr=3e-3,
    )
    return [runs.module(row) for row in range(len(seeds))]


@torch.no_grad()
def columns(one: Split, teacher: nn.Module, rule: Rule, s: Digits) -> tuple[dict[str, Tensor], float]:
    """What the student of an arm sees (x, soft labels, teacher's logits; no labels in the pool), and the junk among it."""
    x, targets, junk = one.x[: s.target], smoothed(one.y[: s.target], rule.smoothing, CLASSES), 0
    if rule.pool:
        index = torch.arange(len(one.pool))
        if rule.select:
            index = select_pool(teacher, (one.pool,), per_class=s.per_class, held_out=one.test[:1]).index
        junk = int((index >= s.pool).sum())
        x = torch.cat([x, one.pool[index]])
        targets = torch.cat([targets, targets.new_zeros(len(index), CLASSES)])
    return {"x": x, "targets": targets, "teacher": teacher(x)}, junk


def losses_of(rules: Sequence[Rule]) -> RowLosses:
    """The weighted parts of every row."""
    hard, kl, js = (torch.tensor([getattr(rule, name) for rule in rules]) for name in ("hard", "kl", "js"))
    temperature = torch.tensor([rule.temperature for rule in rules]).view(-1, 1, 1)

    def losses(outputs: Tensor, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        said = batch["teacher"]
        soft = torch.vmap(distillation_kl)(outputs / temperature, said / temperature) * temperature.flatten() ** 2
        return {
            "hard": hard * torch.vmap(soft_cross_entropy)(outputs, batch["targets"]),
            "kl": kl * soft,
            "js": js * torch.vmap(js_divergence)(outputs, said),
        }

    return losses


def stacked(data: Sequence[Split], trials: Sequence[Trial[Digits]]) -> list[dict[str, float]]:
    """Teachers of all seeds, then the arms of one stage, then those of two."""
    s = trials[0].settings
    by_seed = {trial.seed: one for one, trial in zip(data, trials, strict=True)}
    taught = dict(zip(by_seed, teachers(list(by_seed.values()), list(by_seed), s), strict=True))
    results: dict[int, dict[str, float]] = {}
    for restore in (False, True):
        rows = [row for row, trial in enumerate(trials) if RULES[trial.arm].restore is restore]
        rules = [RULES[trials[row].arm] for row in rows]
        seen = [columns(data[row], taught[trials[row].seed], rule, s) for row, rule in zip(rows, rules, strict=True)]
        fit = partial(fit_rows, losses=losses_of(rules), seeds=[trials[row].seed for row in rows], batch=s.batch)
        rates = [trials[row].choice["lr"] for row in rows]
        students: list[nn.Module] = [network(lambda: mlp(64, 16, CLASSES), trials[row].seed) for row in rows]
        if rows:
            first = s.steps - s.restore if restore else s.steps
            runs, _ = fit(students, [one for one, _ in seen], steps=first, lr=rates)
            students = [runs.module(row) for row in range(len(rows))]
        if rows and restore:
            target = [{name: column[: s.target] for name, column in one.items()} for one, _ in seen]
            runs, _ = fit(students, target, steps=s.restore, lr=[rate / 100 for rate in rates])
            students = [runs.module(row) for row in range(len(rows))]
        for row, student, (_, junk) in zip(rows, students, seen, strict=True):
            trials[row].budget.count(steps=s.steps, examples=s.steps * s.batch)
            results[row] = judged(data[row], taught[trials[row].seed], student, s) | {"junk seen": junk}
    return [results[row] for row in range(len(trials))]


@torch.no_grad()
def judged(one: Split, teacher: nn.Module, student: nn.Module, s: Digits) -> dict[str, float]:
    """Figures on the test; the likelihood of labelled pictures that the student has not seen."""
    kept = slice(s.target, s.target + s.validation)
    found = figures(student(one.test[0]), one.test[1])
    return {
        "accuracy": found["accuracy"],
        "NLL": found["NLL"],
        "teacher": figures(teacher(one.test[0]), one.test[1])["accuracy"],
        "validation NLL": figures(student(one.x[kept]), one.y[kept])["NLL"],
    }


def where_from(r: Results) -> str:
    """Which part of the gain comes from what, by the figures."""
    mean = {name: float(r[name, "accuracy"].mean()) for name in RULES}
    best = max(("kd T=1", "kd T=4", "kd T=8"), key=mean.__getitem__)
    return (
        f"The pool gives {mean['ssld'] - mean['js']:+.3f}, JS instead of KL {mean['ssld'] - mean['ssld by KL']:+.3f}, T = 4 "
        f"on the pool {mean['ssld by KL T=4'] - mean['ssld by KL']:+.3f}. A higher temperature alone does much of the same: "
        f"{best} on the 100 labelled pictures {mean[best]:.3f}, SSLD {mean['ssld']:.3f}, its KL form at T = 4 "
        f"{mean['ssld by KL T=4']:.3f}, the teacher {r['ssld', 'teacher'].mean():.3f}."
    )


def role(name: str) -> Role:
    """Baselines are given; the method is the whole recipe; the rest takes something away from it."""
    return "baseline" if name in BASELINES else "method" if name == "ssld" else "ablation"


DIGITS = Part(
    data=split,
    arms=tuple(Arm(name, role(name), grid=GRID) for name in RULES),
    metrics=(
        Metric("accuracy"),
        Metric("NLL", higher_is_better=False),
        Metric("junk seen", higher_is_better=False, digits=0),
        Metric("validation NLL", higher_is_better=False, shown=False),
    ),
    bars=(
        beats("ssld", "kd T=1", "accuracy", by=0.03, wins=1.0, paper="+0.029 (MobileNetV3, ImageNet: 0.760 → 0.789)"),
        not_worse("js", "kd T=1", "accuracy", within=0.01, paper="+0.002"),
        beats("ssld", "kd T=4", "accuracy", gated=False),
        beats("ssld", "kd T=8", "accuracy", gated=False),
        beats("ssld by KL T=4", "kd T=8", "accuracy", gated=False),
        beats("ssld", "ssld, no selection", "accuracy", gated=False),
        beats("ssld", "ssld, no fine-tune", "accuracy", gated=False, paper="+0.004"),
        beats("ssld", "ssld by KL", "accuracy", gated=False, paper="+0.002"),
    ),
    settings=Digits(),
    fast=Digits(
        teacher=60, target=20, pool=20, junk=5, test=20, per_class=3, teacher_steps=4, steps=6, restore=2, batch=10
    ),
    seeds=10,
    first_seed=400,  # 100 to 109 and 300 to 309 judged earlier forms, which chose from fewer learning rates
    stacked=stacked,
    tuned_by="validation NLL",
    sentence=where_from,
)

STUDY = Study(
    slug="ssld",
    paper=Paper(
        "Beyond Self-Supervision: A Simple Yet Effective Network Distillation Alternative to Improve Backbones",
        "Cui et al.",
        2021,
        "2103.05959",
    ),
    claim="dropping the labels costs nothing on the same data, and buys the unlabelled pool",
    parts=(DIGITS,),
)
