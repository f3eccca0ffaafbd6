"""The two lessons that every method is measured against: plain training and plain distillation.

    plain          L = CE(s, y)
    distillation   L = hard · CE(s, y) + soft · T² KL(softmax(t / T) || softmax(s / T))

Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015 (arXiv:1503.02531).

Shapes: logits s, t [B, K]; targets y [B] (long).
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tutelage.errors import InputError
from tutelage.objectives.divergence import distillation_kl, hard_cross_entropy
from tutelage.training.lesson import Batch, Lesson, Progress, logits_of
from tutelage.training.schedules import Schedule, value_at

Signal = nn.Module | Callable[[Batch], Tensor]
"""Who says what about a batch: a model (called with `x`), or a function of the batch (a `TeacherCache`)."""


def signal_of(teacher: Signal, batch: Batch) -> Tensor:
    """The teacher's logits for a batch, without a graph."""
    with torch.no_grad():
        return logits_of(teacher, batch["x"]) if isinstance(teacher, nn.Module) else teacher(batch)


class Supervised(Lesson):
    """Plain training: cross-entropy with hard labels, or with soft targets where `y` is a matrix of probabilities.

    Args: student: [B, …] → logits [B, K]; label_smoothing: share of the target spread over all classes.
    """

    def __init__(self, student: nn.Module, label_smoothing: float = 0.0) -> None:
        super().__init__()
        self.student = student
        self.label_smoothing = label_smoothing

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        logits = logits_of(self.student, batch["x"])
        return {"ce": hard_cross_entropy(logits, batch["y"], label_smoothing=self.label_smoothing)}


class Distillation(Lesson):
    """Plain knowledge distillation from a frozen teacher, live or cached.

    Args:
        student, teacher: models with the same K classes in the same order; the teacher may be a function of the batch.
        temperature: T > 0, a number or a schedule.
        hard, soft: weights of the labels and of the teacher; hard = 0 needs no labels, soft = 0 is plain training.

    Raises: InputError: a temperature that is not positive, negative weights, or teacher and student with different K.
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: Signal,
        *,
        temperature: Schedule | float = 4.0,
        hard: float = 0.1,
        soft: float = 0.9,
    ) -> None:
        super().__init__()
        if value_at(temperature, 0.0) <= 0 or min(hard, soft) < 0 or hard + soft == 0:
            raise InputError(f"need temperature > 0 and weights >= 0, not both 0; got {temperature}, {hard}, {soft}")
        self.student, self.teacher = student, teacher
        self.temperature, self.hard, self.soft = temperature, hard, soft

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        logits = logits_of(self.student, batch["x"])
        parts: dict[str, Tensor] = {}
        if self.hard:
            if "y" not in batch:
                raise InputError("this batch has no labels `y`; distil without them by hard=0")
            parts["ce"] = self.hard * hard_cross_entropy(logits, batch["y"])
        if self.soft:
            temperature = value_at(self.temperature, progress.u)
            parts["kd"] = self.soft * distillation_kl(logits, signal_of(self.teacher, batch), temperature)
        return parts
