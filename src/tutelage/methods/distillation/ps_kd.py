"""Progressive self-knowledge distillation (PS-KD): the student's own past softens its hard labels.

Kim et al., "Self-Knowledge Distillation with Progressive Refinement of Targets", 2021 (arXiv:2006.12000).

There is no teacher. At epoch e of E the target of example i is

    t_i = (1 − a_e) · onehot(y_i) + a_e · p_i,      a_e = alpha · (e + 1) / E,   e = 0 … E − 1

where p_i is what the student said about i one epoch ago (before it has spoken: the label), and the loss is the plain
cross-entropy with t_i. The gradient in the logits s_i is softmax(s_i) − (1 − a_e) onehot(y_i) − a_e p_i: an example that
was hard a moment ago keeps a large one, an easy one fades. Early opinions are worth little, so their share grows from 0.
Nothing is added at inference.

`ProgressiveSelfDistillation` keeps one row of K numbers an example. For data too large for that,
`PreviousModelDistillation` keeps last epoch's model instead and asks it again, which costs a second forward pass.

Shapes: logits [B, K], targets [B] (long) or [B, K] (probabilities: mixed labels), past [B, K] (probabilities),
index [B] (position in the data set).
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tutelage.errors import InputError
from tutelage.objectives.divergence import soft_cross_entropy
from tutelage.teachers.momentum import MomentumTeacher
from tutelage.training import Batch, Lesson, Minimiser, Progress, Schedule, gather_rows, linear, logits_of, value_at

MOST = 0.95
"""The largest alpha: beyond it the last epochs would forget the labels."""

LARGE = 2 * 10**9
"""Bytes of a store from which on we warn."""

GROWTH = linear(0.0, 1.0)


def progressive_targets(targets: Tensor, past: Tensor, alpha: float | Tensor) -> Tensor:
    """Mix labels with the student's past predictions: [B] or [B, K], [B, K] → [B, K].

    A row of `past` without mass means that the student has not spoken yet: its label stays as it is.

    >>> progressive_targets(torch.tensor([1]), torch.tensor([[0.5, 0.5]]), alpha=0.5)
    tensor([[0.2500, 0.7500]])
    >>> progressive_targets(torch.tensor([1]), torch.tensor([[0.0, 0.0]]), alpha=0.5)
    tensor([[0., 1.]])
    """
    hard = targets if targets.is_floating_point() else F.one_hot(targets, past.shape[-1]).to(past.dtype)
    spoken = past.sum(-1, keepdim=True) > 0
    return torch.where(spoken, (1 - alpha) * hard + alpha * past, hard)


def share_of_past(alpha: float, epoch: int, epochs: int, growth: Schedule | float = GROWTH) -> float:
    """a_e: how much the past counts in epoch e of E (from 0). `growth` 1.0 is a share that does not grow.

    >>> [round(share_of_past(0.8, epoch, 4), 2) for epoch in range(4)]
    [0.2, 0.4, 0.6, 0.8]
    """
    if not 0 <= epoch < epochs:
        raise InputError(f"epoch {epoch} of {epochs} planned: the share grows with the plan, so say `epochs` to fit")
    return alpha * value_at(growth, (epoch + 1) / epochs)


class ProgressiveSelfDistillation(Lesson):
    """Train `student` on targets that its own past refines.

    The predictions are made in training mode, on the view that the student was shown, before the update. They are part
    of the lesson's checkpoint, so a resumed run goes on with its past.

    Args:
        student: [B, …] → logits [B, K].
        examples: number of training examples n; the store takes n · K numbers.
        classes: K.
        alpha: the past's share at the end, in [0, 0.95]; 0 is plain cross-entropy. The paper's value is 0.8.
        growth: share of alpha by the share of epochs done; 1.0 is a fixed alpha.
        dtype: of the store; float16 halves it.

    Raises: InputError: alpha outside [0, 0.95]; a batch without `index` or `y`, or with values outside their range.

    >>> from tutelage.training import fit
    >>> x = torch.randn(64, 2, generator=torch.Generator().manual_seed(0)); y = (x[:, 0] > 0).long()
    >>> lesson = ProgressiveSelfDistillation(nn.Linear(2, 2), examples=64, classes=2)
    >>> history = fit(lesson, (x, y), epochs=20, lr=0.1)
    >>> bool((lesson.student(x).argmax(-1) == y).float().mean() > 0.9), lesson.past.shape
    (True, torch.Size([64, 2]))
    """

    def __init__(
        self,
        student: nn.Module,
        *,
        examples: int,
        classes: int,
        alpha: float = 0.8,
        growth: Schedule | float = GROWTH,
        dtype: torch.dtype = torch.float32,
    ) -> None:
        super().__init__()
        _check_alpha(alpha)
        if examples < 1 or classes < 2 or not dtype.is_floating_point:
            raise InputError(f"need examples >= 1, classes >= 2 and a float dtype; got {examples}, {classes}, {dtype}")
        if examples * classes * dtype.itemsize > LARGE:
            warnings.warn(
                f"the store takes {examples * classes * dtype.itemsize / 1e9:.1f} GB; dtype=torch.float16 takes less, "
                "PreviousModelDistillation takes none",
                stacklevel=2,
            )
        self.student, self.alpha, self.growth = student, alpha, growth
        self.past: Tensor
        self.register_buffer("past", torch.zeros(examples, classes, dtype=dtype))

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """The cross-entropy with the refined targets; the store is left as it is."""
        return self._cost(logits_of(self.student, batch["x"]), batch, progress)

    def train_step(self, batch: Batch, optimizers: Mapping[str, Minimiser], progress: Progress) -> dict[str, Tensor]:
        """One update on last epoch's opinions; then what the student said before it is written down for the next."""
        logits = logits_of(self.student, batch["x"])
        parts = self._cost(logits, batch, progress)
        optimizers["student"].minimise(parts)
        said = logits.detach().float().softmax(-1).to(self.past.dtype)
        self.past[gather_rows(batch["index"])] = gather_rows(said)
        return parts

    def _cost(self, logits: Tensor, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        examples, classes = self.past.shape
        if "index" not in batch:
            raise InputError(
                "PS-KD needs the same `index` for the same example in every epoch: give fit tensors or a map-style "
                "data set, or wrap yours in IndexedDataset before the loader"
            )
        _check_labels(batch, logits, classes)
        index = batch["index"]
        if index.shape != logits.shape[:1]:
            raise InputError(f"need one `index` an example; got {tuple(index.shape)} for {tuple(logits.shape)} logits")
        if (wrong := (index < 0) | (index >= examples)).any():
            raise InputError(
                f"the lesson was made for examples 0 to {examples - 1}; found index {int(index[wrong][0])}"
            )
        share = share_of_past(self.alpha, progress.epoch, progress.epochs, self.growth)
        targets = progressive_targets(batch["y"], self.past[index].to(logits.dtype), share)
        return {"ce": soft_cross_entropy(logits, targets)}


class PreviousModelDistillation(Lesson):
    """The same with last epoch's model in the place of the store: no index, no memory by example, one more forward pass.

    The old model speaks in evaluation mode about the very view that the student is shown. In the first epoch labels are
    hard.

    Args: student, alpha, growth: as for `ProgressiveSelfDistillation`. Raises: InputError: as there.

    >>> lesson = PreviousModelDistillation(nn.Linear(2, 2), alpha=0.0)
    >>> sorted(lesson.losses({"x": torch.zeros(4, 2), "y": torch.zeros(4).long()}, Progress(0, 1)))
    ['ce']
    """

    def __init__(self, student: nn.Module, *, alpha: float = 0.8, growth: Schedule | float = GROWTH) -> None:
        super().__init__()
        _check_alpha(alpha)
        self.student, self.alpha, self.growth = student, alpha, growth
        self.past = MomentumTeacher(student, decay=0.0, warmup=False)
        self.epoch: Tensor
        self.register_buffer("epoch", torch.zeros((), dtype=torch.long))

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """The cross-entropy with the targets that last epoch's model refines."""
        logits = logits_of(self.student, batch["x"])
        _check_labels(batch, logits, logits.shape[-1])
        past = torch.zeros_like(logits)
        if progress.epoch > 0:
            with torch.no_grad():
                past = logits_of(self.past, batch["x"]).softmax(-1)
        share = share_of_past(self.alpha, progress.epoch, progress.epochs, self.growth)
        return {"ce": soft_cross_entropy(logits, progressive_targets(batch["y"], past, share))}

    def train_step(self, batch: Batch, optimizers: Mapping[str, Minimiser], progress: Progress) -> dict[str, Tensor]:
        """As plain training, after taking a copy of the student where an epoch begins."""
        if progress.epoch > int(self.epoch):
            self.past.update(self.student)
            self.epoch.fill_(progress.epoch)
        return super().train_step(batch, optimizers, progress)


def _check_alpha(alpha: float) -> None:
    if not 0 <= alpha <= MOST:
        raise InputError(f"alpha is in [0, {MOST}], for with more the last epochs forget the labels; got {alpha}")


def _check_labels(batch: Batch, logits: Tensor, classes: int) -> None:
    if "y" not in batch:
        raise InputError("PS-KD refines labels: this batch has no `y`")
    if logits.shape[-1] != classes:
        raise InputError(f"the lesson was made for {classes} classes; the student has {logits.shape[-1]} outputs")
    y = batch["y"]
    if y.ndim == 1 and (wrong := (y < 0) | (y >= classes)).any():
        row = int(wrong.nonzero()[0])
        raise InputError(f"labels must be in [0, {classes}); found {int(y[row])} in row {row} of the batch")
