"""Does sampling by the gap between student and teacher beat distillation in the corpus' own proportions, at equal steps?

Eight string tasks share one alphabet and one model (`StringTasks`). The corpus holds them 8 : 4 : 4 : 1 : 1 : ½ : ½ : ½, which
has which share is drawn for each seed. The student has read this corpus for a while, so it lags unevenly; the teacher, one for
all seeds, has learned all tasks alike. All arms start from the same student and take the same number of steps at the
same learning rate; the teacher's logits are computed once for all rows. A source that is used up begins again.

Rows of arithmetic have a hundred questions a task, which recur in validation and test (see the world): what is measured there
is whether the student knows the table. Validation and test are drawn apart from the corpus. Only DDK sees validation rows, 48
of each task, forwards, after every interval: a fifteenth more compute, which its arms are given for nothing.

"No smoothing" is α = 1: the history stays, the even part goes. In equal shares the mixture is even from the first step on.
"""

from __future__ import annotations

import copy
import math
import warnings
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import torch
from torch import Tensor, nn

from tutelage.curricula.mixture import MixtureSampler
from tutelage.data.token_rows import IGNORED
from tutelage.feedback.groups import group_perplexity
from tutelage.methods.language.ddk import DDK
from tutelage.students.lm import TinyLM
from tutelage.studies import Arm, Bar, Finding, Metric, Paper, Part, Results, Role, Setup, Study, Trial, beats, judge
from tutelage.teachers.frozen import frozen
from tutelage.training import Batch, FitOptions, after, child_seed, cosine, fit, predict_all, seeded
from tutelage.training.causal import CausalDistillation
from tutelage.training.mixture import MixtureBatches
from tutelage.worlds.string_tasks import ALPHABET, END, StringTasks

TASKS = ("add", "multiply", "reverse", "sort", "largest", "count", "shift", "subtract")
PROPORTIONS = (8.0, 4.0, 4.0, 1.0, 1.0, 0.5, 0.5, 0.5)
Rows = dict[str, Tensor]


@dataclass(frozen=True)
class Settings:
    """Sizes of models and corpus, steps, and the method's settings."""

    unit: int = 600
    validation: int = 48
    test: int = 100
    teacher: int = 56
    teacher_steps: int = 700
    student: int = 32
    start_steps: int = 250
    steps: int = 300
    warmup: int = 20
    interval: int = 20
    batch: int = 96
    heads: int = 4
    lr: float = 3e-3


@dataclass(frozen=True)
class Domains:
    """What the arms of a seed share."""

    train: dict[str, Rows]
    validation: dict[str, Rows]
    test: dict[str, Rows]
    target: dict[str, float]
    start: TinyLM


def rows(skill: str, n: int, seed: int, part: str) -> Rows:
    """Ids `x`, labels `y` [n, length]: rows of a task."""
    made = StringTasks(TASKS).rows(skill, n, torch.Generator().manual_seed(child_seed(seed, part, skill)))
    # Nobody sees what stands behind the end; with its own padding there, Transformers would ask for an attention mask.
    return {"x": made["ids"].masked_fill(made["ids"] == 0, END), "y": made["ids"].masked_fill(~made["mask"], IGNORED)}


def language(width: int, s: Settings, seed: int) -> TinyLM:
    """An untrained model."""
    with seeded(seed, "init"):
        model = TinyLM(len(ALPHABET), width=width, depth=2, heads=s.heads, context=StringTasks(TASKS).length)
        # GPT-2's own 0.02 suits widths of a thousand; so narrow a model would hardly begin to learn with it.
        for matrix in (p for p in model.parameters() if p.ndim == 2):
            nn.init.normal_(matrix, std=width**-0.5)
    return model


def read(model: TinyLM, corpus: dict[str, Rows], steps: int, lr: float, s: Settings, seed: int) -> None:
    """Train on a corpus in its own proportions, without a teacher."""
    sampler = MixtureSampler({name: len(one["x"]) for name, one in corpus.items()}, seed=seed)
    batches = MixtureBatches(corpus, sampler, s.batch, steps)
    schedule = after(s.warmup / (steps + s.warmup), cosine(1.0, 0.1))
    fit(CausalDistillation(model, None, gamma=0.0), batches, steps=steps, lr=lr, schedule=schedule, clip=1.0, seed=seed)


@cache
def teacher(s: Settings) -> TinyLM:
    """Knows all tasks; the same for all seeds."""
    model = language(s.teacher, s, 0)
    corpus = {name: rows(name, 4 * s.unit, 0, "teacher") for name in TASKS}
    read(model, corpus, s.teacher_steps, 4e-3, s, 0)
    frozen(model)
    return model


def domains(setup: Setup[Settings]) -> Domains:
    """Corpus with the teacher's logits, held-out rows, and the student that has read the corpus."""
    s, seed = setup.settings, setup.seed
    shares = np.random.default_rng(seed).permutation(PROPORTIONS)
    train = {name: rows(name, int(share * s.unit), seed, "corpus") for name, share in zip(TASKS, shares, strict=True)}
    held = {name: rows(name, s.validation, seed, "validation") for name in TASKS}
    start = language(s.student, s, seed)
    read(start, train, s.start_steps, s.lr, s, child_seed(seed, "start"))
    train = {name: one | {"said": predict_all(teacher(s), one["x"])} for name, one in train.items()}
    test = {name: rows(name, s.test, seed, "test") for name in TASKS}
    return Domains(train, held, test, group_perplexity(teacher(s), held), start)


def right(model: nn.Module, test: Rows) -> np.ndarray:
    """Which answers are right to the last character, written greedily: (n,).

    Greedy writing is right exactly where every next character of the right answer is the likeliest, so one pass is enough.
    """
    likeliest, labels = predict_all(model, test["x"])[:, :-1].argmax(-1), test["y"][:, 1:]
    return ((likeliest == labels) | (labels == IGNORED)).all(1).numpy()


def judged(model: nn.Module, data: Domains) -> dict[str, float]:
    """Accuracy over tasks, that of the worst one, and mean log(l_S / l_T)."""
    each = {name: float(right(model, test).mean()) for name, test in data.test.items()}
    said = group_perplexity(model, data.validation)
    gap = [math.log(said[name] / data.target[name]) for name in TASKS]
    return {
        "accuracy": float(np.mean([*each.values()])),
        "worst task": min(each.values()),
        "log gap": float(np.mean(gap)),
    }


def told(batch: Batch) -> Tensor:
    """What the teacher said about these rows."""
    return batch["said"]


def options(s: Settings, seed: int) -> FitOptions:
    """What all arms share."""
    schedule = after(s.warmup / s.steps, cosine(1.0, 0.1))
    return {"steps": s.steps, "batch_size": s.batch, "lr": s.lr, "schedule": schedule, "clip": 1.0, "seed": seed}


def plain(name: str, *, gamma: float, temperature: float = 1.0) -> Arm[Domains, Settings]:
    """A mixture that stays: in the corpus' proportions, or with another temperature."""

    def run(data: Domains, trial: Trial[Settings]) -> dict[str, float]:
        s, student = trial.settings, copy.deepcopy(data.start)
        sizes = {name: len(one["x"]) for name, one in data.train.items()}
        sampler = MixtureSampler(sizes, temperature=temperature, seed=trial.seed)
        lesson = CausalDistillation(student, told, gamma=gamma)
        fit(lesson, MixtureBatches(data.train, sampler, s.batch, s.interval), **options(s, trial.seed))
        trial.budget.count(steps=s.steps, examples=s.steps * s.batch)
        return judged(student, data) | {"largest share": float(sampler.shares.max())}

    return Arm(name, "baseline", run)


def steered(name: str, role: Role, *, alpha: float) -> Arm[Domains, Settings]:
    """A mixture that follows the gap."""

    def run(data: Domains, trial: Trial[Settings]) -> dict[str, float]:
        s, student = trial.settings, copy.deepcopy(data.start)
        ddk = DDK(student, told, alpha=alpha, interval=s.interval)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of stalled domains: the figures say so
            common = options(s, trial.seed)
            history = ddk.fit(data.train, validation=data.validation, target=data.target, **common)
        trial.budget.count(steps=s.steps, examples=s.steps * s.batch)
        largest = max(float(row[f"share {task}"] or 0) for row in history.rows[1:] for task in TASKS)
        return judged(student, data) | {"largest share": largest}

    return Arm(name, role, run)


def start(data: Domains, trial: Trial[Settings]) -> dict[str, float]:
    """The student before distillation."""
    return judged(data.start, data)


def ceiling(data: Domains, trial: Trial[Settings]) -> dict[str, float]:
    """The teacher."""
    return judged(teacher(trial.settings), data)


def where(r: Results) -> str:
    """Where the mixture tells, and what the rivals make of it, by the figures."""
    grades = []
    for rival in ("kd, equal shares", "ddk, no smoothing"):
        found = judge(r.gain("ddk", rival, "accuracy"))
        grade = "better than" if found.low > 0 else "worse than" if found.high < 0 else "level with"
        grades.append(f"{grade} {rival} ({found.effect:+.3f}, {found.low:+.3f} to {found.high:+.3f})")
    worst = {name: r[name, "worst task"].mean() for name in ("kd", "kd, equal shares", "ddk")}
    return (
        f"DDK is {' and '.join(grades)}. The worst task has an accuracy of {worst['ddk']:.2f} with DDK, {worst['kd']:.2f} in the "
        f"corpus' proportions and {worst['kd, equal shares']:.2f} in equal shares; without smoothing one task was once given "
        f"{r['ddk, no smoothing', 'largest share'].max():.0%} of an interval, with it {r['ddk', 'largest share'].max():.0%}."
    )


def equal_does_not_beat(r: Results) -> Finding:
    """Equal shares may be as good, but not significantly better: then the gap misdirects."""
    found = judge(r.gain("ddk", "kd, equal shares", "accuracy"))
    return replace(found, outcome="fails" if found.high < 0 else "holds")


STUDY = Study(
    slug="ddk",
    paper=Paper(
        "DDK: Distilling Domain Knowledge for Efficient Large Language Models", "Liu et al.", 2024, "2407.16154"
    ),
    claim="at the same number of steps, sampling by the gap between student and teacher gives a better average student than "
    "distillation in the corpus' proportions",
    parts=(
        Part(
            data=domains,
            arms=(
                Arm("teacher", "reference", ceiling),
                Arm("start", "reference", start),
                plain("no teacher", gamma=0.0),
                plain("kd", gamma=0.2),
                plain("kd, equal shares", gamma=0.2, temperature=math.inf),
                steered("ddk, no smoothing", "ablation", alpha=1.0),
                steered("ddk", "method", alpha=0.5),
            ),
            metrics=(
                Metric("accuracy"),
                Metric("worst task"),
                Metric("log gap", higher_is_better=False),
                Metric("largest share", higher_is_better=False, shown=False),
            ),
            bars=(
                beats("ddk", "kd", "accuracy", by=0.05, paper="55.41 and 52.87 (11 benchmarks)"),
                Bar("equal shares are not significantly better than ddk", equal_does_not_beat),
                beats("ddk", "kd, equal shares", "accuracy", gated=False, paper="57.46 and 55.01"),
                beats("ddk", "ddk, no smoothing", "accuracy", gated=False, paper="57.46 and 56.56"),
                beats("ddk", "kd", "worst task", gated=False),
            ),
            settings=Settings(),
            fast=Settings(
                8, 4, 4, teacher=8, teacher_steps=2, student=8, start_steps=2, steps=4, warmup=1, interval=2, batch=4
            ),
            seeds=8,
            sentence=where,
        ),
    ),
)
