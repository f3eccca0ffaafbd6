"""Does it help to change teacher, data and loss one at a time? Digits as sequences of 16 tokens, and (`--full`) real texts.

A, small enough for every run: a digit is 16 patches of 2 × 2 pixels. General data are 1,000 digits without labels and their
rotated and shifted views. The pre-trained teacher, 4 layers wide 48, reconstructs masked patches of them; the fine-tuned one
is a copy tuned on 800 labels. The student, 2 layers wide 24, owns 60 labelled digits and their views. All arms start from
the same student, take the same number of steps, and choose among six learning rates on 197 digits that nobody tests.

`no ged` is TinyBERT's order: its general stage takes the steps of the stage that is left out, so does every ablation's.

B, the form with real texts, is in `_ernie_tiny_text` and runs with `--full`.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tutelage.data.digits import Part as Digits
from tutelage.data.digits import digits
from tutelage.data.views import GeometricView
from tutelage.methods.distillation.ernie_tiny import STAGES, ErnieTiny, Name
from tutelage.students.transformer import Patches, TransformerClassifier, TransformerEncoder
from tutelage.studies import Arm, Metric, Paper, Part, Role, Setup, Study, Trial, beats
from tutelage.studies.distillation._ernie_tiny_text import TEXT
from tutelage.teachers.frozen import frozen
from tutelage.training import (
    Distillation,
    Lesson,
    Progress,
    Supervised,
    after,
    fit,
    generators,
    linear,
    predict_all,
    seeded,
)
from tutelage.training.fit import FitOptions
from tutelage.training.lesson import Batch

WARM = after(0.1, linear())
CLASSES, SIDE = 10, 8


@dataclass(frozen=True)
class Tokens:
    """Digits of each kind, views of each digit, and steps: of the teacher's two trainings and of the student's four stages."""

    general: int = 1000
    labelled: int = 800
    task: int = 60
    validation: int = 197
    test: int = 600
    views: int = 4
    pretrain: int = 800
    finetune: int = 400
    gd: int = 400
    ged: int = 400
    tad: int = 200
    tsd: int = 200


@dataclass(frozen=True)
class Taught:
    """Two teachers, and the data of the student: pictures [n, 1, 8, 8] and labels."""

    pretrained: nn.Module
    finetuned: nn.Module
    general: tuple[Tensor]
    task: tuple[Tensor, Tensor]
    validation: Digits
    test: Digits


def transformer(width: int, depth: int) -> TransformerClassifier:
    """16 patches, 4 heads: pictures [B, 1, 8, 8] → logits [B, 10]."""
    encoder = TransformerEncoder(width, depth=depth, heads=4, length=16)
    return TransformerClassifier(Patches(2, channels=1, width=width), encoder, CLASSES)


def viewed(part: Digits, views: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """The pictures and `views` − 1 turned, shifted and scaled views of each, with their labels."""
    pictures = [part.x]
    for _ in range(views - 1):
        view = GeometricView.draw(len(part.x), (SIDE, SIDE), generator, rotate=15, shift=0.1, scale=0.1)
        pictures.append(view.apply_image(part.x))
    return torch.cat(pictures), part.y.repeat(views)


class Reconstruction(Lesson):
    """Pre-training: say what masked patches looked like. L = mean over masked patches of squared errors."""

    def __init__(self, model: TransformerClassifier) -> None:
        super().__init__()
        self.model, self.decode = model, nn.Linear(model.encoder.positions.shape[1], 4)

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        x = batch["x"]
        hidden = torch.rand(len(x), 1, SIDE // 2, SIDE // 2, generator=progress.generator) < 0.4
        masked = x.masked_fill(hidden.repeat_interleave(2, 2).repeat_interleave(2, 3), -1.0)
        patches = nn.functional.unfold(x, 2, stride=2).transpose(1, 2)
        guess = self.decode(self.model.encoder(self.model.front(masked)))
        return {"patches": (guess - patches).square()[hidden.flatten(1)].mean()}


def world(setup: Setup[Tokens]) -> Taught:
    """Split the digits, draw views, train the two teachers."""
    s, generator = setup.settings, generators(setup.seed).method
    pool, validation, test = digits(setup.seed, s.general, s.validation, s.test, flat=False)
    general, _ = viewed(pool, s.views, generator)
    labelled = viewed(Digits(pool.x[: s.labelled], pool.y[: s.labelled]), s.views, generator)
    task = viewed(Digits(pool.x[: s.task], pool.y[: s.task]), s.views, generator)
    with seeded(setup.seed, "teacher"):
        pretrained = transformer(48, 4)
        reconstruction = Reconstruction(pretrained)
    fit(reconstruction, (general,), steps=s.pretrain, lr=2e-3, batch_size=64, schedule=WARM, seed=setup.seed)
    finetuned = copy.deepcopy(pretrained)
    fit(Supervised(finetuned), labelled, steps=s.finetune, lr=1e-3, batch_size=64, schedule=WARM, seed=setup.seed)
    return Taught(frozen(pretrained), frozen(finetuned), (general,), task, validation, test)


def figures(data: Taught, student: nn.Module, trial: Trial[Tokens]) -> dict[str, float | list[float]]:
    """Whether each test digit is right, and the accuracy that chooses the learning rate; counts the budget."""
    s = trial.settings
    steps = s.gd + s.ged + s.tad + s.tsd
    trial.budget.count(steps=steps, examples=32 * steps)
    right = [predict_all(student, part.x).argmax(1) == part.y for part in (data.test, data.validation)]
    return {"accuracy": right[0].double().tolist(), "validation": float(right[1].double().mean())}


def made(trial: Trial[Tokens]) -> TransformerClassifier:
    """The student of a seed, the same for every arm."""
    with seeded(trial.seed, "init"):
        return transformer(24, 2)


def plain(name: str, lesson: Mapping[str, float] | None) -> Arm[Taught, Tokens]:
    """The task's 60 digits and their views alone: hard labels (`lesson` None), or distillation with these options."""

    def run(data: Taught, trial: Trial[Tokens]) -> dict[str, float | list[float]]:
        s, student = trial.settings, made(trial)
        taught = Supervised(student) if lesson is None else Distillation(student, data.finetuned, **lesson)
        fit(
            taught, data.task, steps=s.gd + s.ged + s.tad + s.tsd, batch_size=32, lr=trial.choice["lr"], schedule=WARM,
            seed=trial.seed,
        )  # fmt: skip
        return figures(data, student, trial)

    return Arm(name, "baseline", run, GRID)


def staged(name: str, role: Role, take: Mapping[Name, Name], latent_last: bool = True) -> Arm[Taught, Tokens]:
    """The stages; `take` gives the steps of a stage that is left out to another. Not `latent_last`: the last has labels alone."""

    def run(data: Taught, trial: Trial[Tokens]) -> dict[str, float | list[float]]:
        steps: dict[Name, int] = {stage: int(getattr(trial.settings, stage)) for stage in STAGES}
        for left_out, other in take.items():
            steps[other] += steps.pop(left_out)
        student, lr = made(trial), trial.choice["lr"]
        last = 0 if latent_last else steps.pop("tsd")
        plan: dict[Name, FitOptions] = {stage: {"steps": n, "batch_size": 32, "lr": lr} for stage, n in steps.items()}
        ErnieTiny(student, data.pretrained, data.finetuned).fit(data.general, data.task, plan, seed=trial.seed)
        if last:
            lesson = Distillation(student, data.finetuned, temperature=1.0, hard=1.0, soft=1.0)
            fit(lesson, data.task, steps=last, batch_size=32, lr=lr, schedule=WARM, seed=trial.seed)
        return figures(data, student, trial)

    return Arm(name, role, run, GRID)


def teacher(data: Taught, trial: Trial[Tokens]) -> dict[str, float | list[float]]:
    """The fine-tuned teacher itself."""
    right = predict_all(data.finetuned, data.test.x).argmax(1) == data.test.y
    return {"accuracy": right.double().tolist()}


GRID = tuple({"lr": lr} for lr in (1e-3, 3e-3, 1e-2, 3e-2, 1e-1, 3e-4))
DIGITS = Part(
    name="A · digits as tokens",
    data=world,
    arms=(
        plain("hard labels", None),
        plain("kd T=4", {"temperature": 4.0}),
        plain("kd T=8", {"temperature": 8.0}),
        staged("no ged", "baseline", {"ged": "gd"}),
        staged("ernie-tiny", "method", {}),
        staged("no gd", "ablation", {"gd": "ged"}),
        staged("no tad", "ablation", {"tad": "tsd"}),
        staged("gd, then labels", "ablation", {"ged": "gd", "tad": "tsd"}, latent_last=False),
        Arm("teacher", "reference", teacher),
    ),
    metrics=(Metric("accuracy"), Metric("validation", shown=False)),
    bars=(
        beats("ernie-tiny", "hard labels", "accuracy", by=0.03, wins=1.0),
        beats("ernie-tiny", "kd T=4", "accuracy", gated=False),
        beats("ernie-tiny", "no ged", "accuracy", gated=False, paper="> 0 (each stage adds)"),
        beats("ernie-tiny", "no gd", "accuracy", gated=False, paper="> 0"),
        beats("ernie-tiny", "no tad", "accuracy", gated=False, paper="> 0"),
    ),
    settings=Tokens(),
    fast=Tokens(40, 30, 12, 20, 20, 2, pretrain=2, finetune=2, gd=2, ged=2, tad=1, tsd=1),
    seeds=5,
    first_seed=400,  # 100 to 104 and 300 to 304 judged earlier forms, which chose from fewer learning rates
    tuned_by="validation",
)

STUDY = Study(
    slug="ernie-tiny",
    paper=Paper(
        "ERNIE-Tiny: A Progressive Distillation Framework for Pretrained Transformer Compression",
        "Su et al.",
        2021,
        "2106.02241",
    ),
    claim="changing teacher, data and loss one at a time gives a small transformer far more than its few labels do; the "
    "fine-tuned teacher on general data adds to that",
    parts=(DIGITS, TEXT),
)
