"""The teachers and students of the study `mcmi`, all of a kind trained as one stack."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tutelage.methods.distillation.mcmi import CAP, class_centroids, information
from tutelage.objectives.divergence import distillation_kl, soft_cross_entropy
from tutelage.studies.distillation._rows import fit_rows, network, smoothed
from tutelage.training import Batch, Progress, StackedFit, cosine

CLASSES = 10
Labelled = tuple[Tensor, Tensor]
"""Inputs [n, …] and classes [n]."""
Key = tuple[str, int]
"""Name of an arm, and a seed."""


@dataclass(frozen=True)
class Task:
    """What a student sees: the teacher's first `n` examples less some classes, at a temperature."""

    name: str
    n: int
    temperature: float = 4.0
    without: tuple[int, ...] = ()


@dataclass(frozen=True)
class Sizes:
    """Examples, steps and learning rates; the centroids are computed anew every `every` steps."""

    tasks: tuple[Task, ...]
    teacher: int
    validation: int
    test: int
    steps: int
    tune_steps: int
    student_steps: int
    lr: float
    tune_lr: float
    every: int
    batch: int = 100
    signals: int = 0


@dataclass(frozen=True)
class Split:
    """Three parts of the data of one seed, and how its teacher and its student are made."""

    train: Labelled
    validation: Labelled
    test: Labelled
    networks: tuple[Callable[[], nn.Module], Callable[[], nn.Module]]


@dataclass(frozen=True)
class Rule:
    """A teacher: its weight of information, its label smoothing, whether it is fine-tuned at all."""

    lam: float = 0.0
    smoothing: float = 0.0
    tuned: bool = True


def teachers(data: Mapping[int, Split], rules: Mapping[str, Rule], s: Sizes) -> dict[Key, nn.Module]:
    """Every teacher of every seed: trained for likelihood, then fine-tuned by its rule."""
    starts = [(smoothing, seed) for smoothing in sorted({rule.smoothing for rule in rules.values()}) for seed in data]
    first, _ = fit_rows(
        [network(data[seed].networks[0], seed) for _, seed in starts],
        [_columns(data[seed], smoothing) for smoothing, seed in starts],
        _likelihood,
        seeds=[seed for _, seed in starts],
        steps=s.steps,
        batch=s.batch,
        lr=s.lr,
    )
    begun = {start: first.module(row) for row, start in enumerate(starts)}
    keys = [(name, seed) for name, rule in rules.items() if rule.tuned for seed in data]
    tuned = _tuned([begun[rules[name].smoothing, seed] for name, seed in keys], keys, data, rules, s)
    early = {
        (name, seed): begun[rule.smoothing, seed] for name, rule in rules.items() if not rule.tuned for seed in data
    }
    return dict(zip(keys, tuned, strict=True)) | early


def _tuned(
    start: Sequence[nn.Module], keys: Sequence[Key], data: Mapping[int, Split], rules: Mapping[str, Rule], s: Sizes
) -> list[nn.Module]:
    """Fine-tuning with information; a row of weight 0 is trained plainly."""
    lam = torch.tensor([rules[name].lam for name, _ in keys])
    x, y = (torch.stack([data[seed].train[column] for _, seed in keys]) for column in (0, 1))
    rows = torch.arange(len(keys)).unsqueeze(1)

    @torch.no_grad()
    def measured(said: Tensor) -> Tensor:
        return torch.stack([class_centroids(p, labels) for p, labels in zip(said.softmax(-1), y, strict=True)])

    with torch.no_grad():
        centroids = measured(torch.stack([model(inputs) for model, inputs in zip(start, x, strict=True)]))

    def informed(outputs: Tensor, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        earned = information(outputs, centroids[rows, batch["y"]]).clamp(max=CAP).mean(1)
        return _likelihood(outputs, batch, progress) | {"cmi": -lam * earned}

    def refresh(runs: StackedFit, outputs: Tensor, batch: Batch, progress: Progress) -> None:
        if (progress.step + 1) % s.every == 0:
            with torch.no_grad():
                centroids.copy_(measured(runs.stack(x)))

    runs, _ = fit_rows(
        start,
        [_columns(data[seed], rules[name].smoothing) for name, seed in keys],
        informed,
        seeds=[seed for _, seed in keys],
        steps=s.tune_steps,
        batch=s.batch,
        lr=s.tune_lr,
        schedule=cosine(),
        after_step=refresh,
    )
    return [runs.module(row) for row in range(len(keys))]


def students(
    data: Mapping[int, Split], taught: Mapping[Key, nn.Module | None], task: Task, s: Sizes
) -> dict[Key, nn.Module]:
    """One student of every teacher: 0.1 CE + 0.9 T² KL; where there is no teacher, CE."""
    columns = []
    for (_, seed), teacher in taught.items():
        x, y = (column[: task.n] for column in data[seed].train)
        kept = torch.isin(y, torch.tensor(task.without), invert=True) if task.without else torch.ones_like(y).bool()
        x, y = x[kept], y[kept]
        with torch.no_grad():
            said = torch.zeros(len(y), CLASSES) if teacher is None else teacher(x)
        columns.append({"x": x, "targets": smoothed(y, 0.0, CLASSES), "teacher": said})
    soft = torch.tensor([0.0 if teacher is None else 0.9 for teacher in taught.values()])

    def losses(outputs: Tensor, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        kd = torch.vmap(lambda student, teacher: distillation_kl(student, teacher, task.temperature))
        return {
            "ce": (1 - soft) * torch.vmap(soft_cross_entropy)(outputs, batch["targets"]),
            "kd": soft * kd(outputs, batch["teacher"]),
        }

    runs, _ = fit_rows(
        [network(data[seed].networks[1], seed) for _, seed in taught],
        columns,
        losses,
        seeds=[seed for _, seed in taught],
        steps=s.student_steps,
        batch=batch_of(task),
        lr=1e-2,
    )
    return {key: runs.module(row) for row, key in enumerate(taught)}


def batch_of(task: Task) -> int:
    """Half of what the student sees, at most 50; a little less where classes are missing."""
    return min(50, task.n * 2 // 5 if task.without else task.n // 2)


def _columns(one: Split, smoothing: float) -> dict[str, Tensor]:
    x, y = one.train
    return {"x": x, "y": y, "targets": smoothed(y, smoothing, CLASSES)}


def _likelihood(outputs: Tensor, batch: Batch, progress: Progress) -> dict[str, Tensor]:
    return {"ce": torch.vmap(soft_cross_entropy)(outputs, batch["targets"])}
