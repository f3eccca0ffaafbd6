"""MCMI: tune the teacher to say more about each example than its class.

Ye et al., "Bayes Conditional Distribution Estimation for Knowledge Distillation Based on Conditional Mutual Information",
2024 (arXiv:2401.08732).

A student needs the teacher's estimate of the class posterior; a teacher trained for likelihood collapses to its labels and
says nothing about which example of a class it saw. How much it says is the conditional mutual information of input and
output given the class. With P_x = softmax(t_x), and Q_y the mean of P over the examples of class y:

    CMI = I(X; Ŷ | Y) = mean_x KL(P_x ‖ Q_y(x))
    L   = CE(t, y) − lam · mean_x min(KL(P_x ‖ Q_y(x)), cap)

minimised over the teacher for a while; gradients pass through P only. The objective has no lower bound where Q is near 0:
Q is therefore clamped, each example's share is capped, and Q is computed anew every few steps. The largest `lam` at which
the teacher keeps its accuracy on validation data is the one to use (`search_lambda`). Then distil as always.

Shapes: logits t, probabilities P [B, K]; labels y [B]; centroids Q [K, K].
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tutelage.errors import InputError
from tutelage.teachers.prototypes import ClassPrototypes
from tutelage.training import Batch, Lesson, Progress, fit, logits_of, predict_all
from tutelage.training.batches import Data, as_indexed
from tutelage.training.callbacks import watching
from tutelage.training.fit import FitOptions

FLOOR, CAP = 1e-6, 2.0
"""Least probability of a centroid, and most nats that one example may earn."""

SATURATED = 1e-3
"""CMI below which a teacher hardly tells examples apart, and has hardly a gradient to change that."""

M = TypeVar("M", bound=nn.Module)


def information(logits: Tensor, centroids: Tensor, *, floor: float = FLOOR) -> Tensor:
    """KL(P_x ‖ Q_x) of each example, through P only: [B, K], [B, K] (the centroid of each example's class) → [B].

    >>> information(torch.zeros(1, 2), torch.tensor([[0.25, 0.75]]))  # ½ log 2 + ½ log ⅔
    tensor([0.1438])
    """
    log_p = logits.log_softmax(-1)
    return (log_p.exp() * (log_p - centroids.detach().clamp(min=floor).log())).sum(-1)


def conditional_information(logits: Tensor, labels: Tensor) -> Tensor:
    """CMI of a model in nats, from its logits [N, K] on examples with labels [N]: 0 when all outputs of a class are equal.

    Raises: InputError: shapes that do not fit, or a class with a single example, whose information is 0 by construction.

    >>> conditional_information(torch.tensor([[0.0, 0.0], [0.0, 0.0]]), torch.tensor([1, 1]))
    tensor(0.)
    """
    centroids = class_centroids(logits.softmax(-1), labels)
    return information(logits, centroids[labels], floor=torch.finfo(logits.dtype).tiny).mean().clamp(min=0)


def class_centroids(probs: Tensor, labels: Tensor) -> Tensor:
    """Q: the mean output of each class, [N, K], [N] → [K, K]; a class without examples has a row of zeros.

    Raises: InputError: labels that are not classes, or a class with a single example.

    >>> class_centroids(torch.tensor([[1.0, 0.0], [0.5, 0.5]]), torch.tensor([0, 0]))
    tensor([[0.7500, 0.2500],
            [0.0000, 0.0000]])
    """
    classes = probs.shape[-1]
    if probs.ndim != 2 or labels.shape != probs.shape[:1] or labels.is_floating_point():
        raise InputError(
            f"CMI needs one class an example: outputs [N, K] and labels [N]; got {tuple(probs.shape)} and "
            f"{tuple(labels.shape)} ({labels.dtype}); it is not defined for regression or several labels"
        )
    if len(labels) and (int(labels.min()) < 0 or int(labels.max()) >= classes):
        raise InputError(f"labels must be in [0, {classes}); found {int(labels.min())} to {int(labels.max())}")
    table = ClassPrototypes(classes, classes).to(probs)
    table.update(probs, labels)
    if alone := (table.counts == 1).nonzero().flatten().tolist():
        raise InputError(f"class {alone[0]} has one example, and so no spread: CMI needs two or more a class")
    return table.prototypes


class InformationTuning(Lesson):
    """Fine-tune a teacher for likelihood and conditional mutual information.

    Args:
        student: the teacher that is tuned, in place: [B, …] → logits [B, K].
        data: what the centroids are means over: its training set, with labels, as `fit` takes it.
        lam: weight of the information, ≥ 0; 0 is plain training.
        every: steps between computations of the centroids; an epoch is usual, small data takes a few steps.
        floor, cap: see the module; floor in (0, 1), cap > 0.

    Raises: InputError: lam < 0 (the information is maximised), labels that are no classes, a class with one example.

    >>> x, y = torch.randn(8, 2, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1] * 4)
    >>> lesson = InformationTuning(nn.Linear(2, 2), (x, y), lam=0.2)
    >>> parts = lesson.losses({"x": x, "y": y}, Progress(0, 1))
    >>> sorted(parts), bool(parts["cmi"] < 0)
    (['ce', 'cmi'], True)
    """

    def __init__(
        self, student: nn.Module, data: Data, *, lam: float, every: int = 8, floor: float = FLOOR, cap: float = CAP
    ) -> None:
        super().__init__()
        if lam < 0:
            raise InputError(f"lam must not be negative: the information is maximised; got {lam}")
        if every < 1 or not 0 < floor < 1 or cap <= 0:
            raise InputError(f"need every >= 1, floor in (0, 1) and cap > 0; got {every}, {floor}, {cap}")
        self.student, self.lam, self.every, self.floor, self.cap = student, lam, every, floor, cap
        self._data, self._labels = data, labels_of(data)
        self.centroids: Tensor
        self.register_buffer("centroids", self._measured())

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        logits = logits_of(self.student, batch["x"])
        parts = {"ce": F.cross_entropy(logits, batch["y"])}
        if self.lam:
            earned = information(logits, self.centroids[batch["y"]], floor=self.floor).clamp(max=self.cap)
            parts["cmi"] = -self.lam * earned.mean()
        return parts

    def after_step(self, progress: Progress) -> None:
        """Compute the centroids of the teacher as it is now, every few steps."""
        if self.lam and (progress.step + 1) % self.every == 0:
            with watching(self):
                self.centroids.copy_(self._measured())

    def _measured(self) -> Tensor:
        return class_centroids(predict_all(self.student, self._data).softmax(-1), self._labels)


@dataclass(frozen=True)
class Tuned:
    """One weight that was tried: the teacher's accuracy, NLL and CMI on the validation data after fine-tuning with it."""

    lam: float
    accuracy: float
    nll: float
    cmi: float


def search_lambda(
    teacher: M,
    train: Data,
    validation: Data,
    *,
    grid: Sequence[float] = (0.05, 0.1, 0.15, 0.2, 0.25),
    max_drop: float = 0.005,
    every: int = 8,
    options: FitOptions,
) -> tuple[M, list[Tuned]]:
    """Fine-tune a copy of the teacher with each weight of the grid; keep the largest that keeps the accuracy.

    The accuracy to keep is that of the same fine-tuning with weight 0, which is tried first.

    Args: validation: labelled data that neither trained the teacher nor will judge the student; max_drop: accuracy that
        may be lost on it; options: of `fit`, such as `{"epochs": 20, "lr": 1e-3}`.

    Returns: the chosen teacher (`teacher` itself is left alone), and a row for each weight, the chosen one last.

    Raises: InputError: a grid that is empty or not positive. Warns: the teacher is saturated.

    >>> x = torch.randn(40, 2, generator=torch.Generator().manual_seed(0)); y = (x[:, 0] > 0).long()
    >>> model, tried = search_lambda(nn.Linear(2, 2), (x, y), (x, y), grid=[0.1], options={"steps": 20, "lr": 0.1})
    >>> len(tried)
    2
    """
    if not grid or min(grid) <= 0:
        raise InputError(f"the grid holds the positive weights to try; got {list(grid)}")
    start = measure(teacher, train)
    if start.cmi < SATURATED:
        warnings.warn(
            f"the teacher is saturated (CMI {start.cmi:.1e} on its training data): start from an earlier checkpoint, or "
            "widen the grid",
            stacklevel=2,
        )
    tried: list[tuple[Tuned, M]] = []
    for lam in (0.0, *sorted(grid)):
        model = copy.deepcopy(teacher).requires_grad_(True)
        fit(InformationTuning(model, train, lam=lam, every=every), train, **options)
        tried.append((measure(model, validation, lam), model))
    best = chosen([row for row, _ in tried], max_drop)
    rows = [row for row, _ in tried if row is not best]
    return next(model for row, model in tried if row is best), [*rows, best]


def chosen(tried: Sequence[Tuned], max_drop: float = 0.005) -> Tuned:
    """The largest weight whose accuracy is at most `max_drop` below that of weight 0.

    >>> rows = [Tuned(0.0, 0.97, 0.1, 0.01), Tuned(0.2, 0.968, 0.1, 0.02), Tuned(0.4, 0.9, 0.2, 0.3)]
    >>> chosen(rows).lam
    0.2
    """
    needed = next(row.accuracy for row in tried if row.lam == 0) - max_drop - 1e-9
    return max((row for row in tried if row.accuracy >= needed), key=lambda row: row.lam)


def measure(model: nn.Module, data: Data, lam: float = 0.0) -> Tuned:
    """Accuracy, NLL and CMI of a model, tuned with `lam`, on labelled data."""
    logits, y = predict_all(model, data), labels_of(data)
    return Tuned(
        lam,
        float((logits.argmax(-1) == y).float().mean()),
        float(F.cross_entropy(logits, y)),
        float(conditional_information(logits, y)),
    )


def labels_of(data: Data) -> Tensor:
    """The labels [N] of a data set, in order.

    >>> labels_of((torch.zeros(3, 1), torch.tensor([2, 0, 1]))).tolist()
    [2, 0, 1]
    """
    indexed = as_indexed(data)
    if indexed is None or "y" not in indexed[0]:
        raise InputError("CMI needs labelled data of known order: tensors (x, y) or a map-style data set, not a loader")
    if indexed.columns is not None:
        return indexed.columns["y"]
    return torch.stack([torch.as_tensor(indexed[i]["y"]) for i in range(len(indexed))])
