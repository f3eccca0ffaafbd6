"""Future self-training (FST): the teacher averages where the student is about to be, not only where it was.

Du et al., "Learning from Future: A Novel Self-Training Framework for Semantic Segmentation", 2022 (arXiv:2209.06993).

A mean teacher labels today's batch with an average of *past* students. FST first takes K virtual steps, moves the teacher
towards these future students, puts the student back, and only then takes the real step, on the better teacher's labels.
With student θ, teacher φ, loss L(θ; φ, b), F(θ, b) = θ after one optimiser step on it, and φ ← μ φ + (1 − μ) θ written
φ ⇐ θ:

    deep    φ ⇐ θ;   K times:  θ_k = F(θ_{k−1}, b),  φ ⇐ θ_k                     one after another, on the real batch
    wide    φ ⇐ (1/K) Σ_k F(θ, b_k)                                               side by side, on other batches
    real    θ ← F(θ, b);   wide only: φ ⇐ θ

The teacher keeps what it took in. Nothing changes at inference; a step costs K + 1 times as much. Deep moves the teacher
K + 1 times a step, so its decay in steps is μ^(K+1): compare with a mean teacher of that decay (`decay_per_step`), and
with one that trains K + 1 times as long, before believing in the future.

`FutureSelfTraining` changes the order of updates of any `ConsistencyLesson`; `mean_teacher` makes the usual one.

Shapes: x [B, …] with labels y [B], unlabelled [U, …], logits [·, K]; for pixels y [B, H, W], logits [·, H, W, K].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn

from tutelage.curricula.gates import confidence_gate
from tutelage.data.views import classmix
from tutelage.errors import InputError
from tutelage.feedback.averaging import mean_weights
from tutelage.feedback.snapshot import Snapshot
from tutelage.objectives.consistency import pseudo_label_ce
from tutelage.teachers.momentum import MomentumTeacher
from tutelage.training import Batch, Lesson, Minimiser, Progress, Schedule
from tutelage.training.consistency import (
    Carry,
    ConsistencyLesson,
    Strong,
    Supervised,
    TeacherTerm,
    Weak,
    cross_entropy_with_labels,
)
from tutelage.training.updates import Update


def decay_per_step(decay: float, k: int) -> float:
    """μ^(K+1): the decay of a mean teacher that forgets as fast as a deep look-ahead of K does.

    >>> round(decay_per_step(0.99, 3), 4)
    0.9606
    """
    return decay ** (k + 1)


def shares_of(batch: Batch, count: int) -> list[Batch]:
    """A batch cut into `count` batches of equal size, columns of different lengths each on their own.

    Raises: InputError: a column that cannot be cut so.

    >>> [part["x"].tolist() for part in shares_of({"x": torch.arange(6), "y": torch.arange(6)}, 3)]
    [[0, 1], [2, 3], [4, 5]]
    """
    if uneven := [name for name, column in batch.items() if len(column) % count or not len(column)]:
        raise InputError(
            f"a wide look-ahead cuts every batch into {count} equal shares; '{uneven[0]}' has {len(batch[uneven[0]])} rows: "
            f"make both sizes multiples of {count}"
        )
    pieces = {name: column.chunk(count) for name, column in batch.items()}
    return [{name: piece[i] for name, piece in pieces.items()} for i in range(count)]


def mean_teacher(
    student: nn.Module,
    *,
    weak: Weak,
    strong: Strong,
    threshold: float,
    decay: float = 0.99,
    burn_in: int = 0,
    ramp: Schedule | float = 1.0,
    supervised: Supervised = cross_entropy_with_labels,
) -> ConsistencyLesson:
    """Self-training on the labels of which a mean teacher is sure: the baseline, and what `FutureSelfTraining` changes.

    Args: threshold: probability from which a label counts; decay: μ; the rest as in `ConsistencyLesson`.
    """
    return ConsistencyLesson(
        student,
        {"pseudo": TeacherTerm(MomentumTeacher(student, decay), pseudo_label_ce)},
        weak=weak,
        strong=strong,
        gate=lambda probs: confidence_gate(probs, threshold).weight,
        burn_in=burn_in,
        ramp=ramp,
        supervised=supervised,
    )


def paste_classes(classes: int, strong: Strong) -> Strong:
    """ClassMix for `strong`: half of the classes of a labelled picture are pasted on an unlabelled one, with their labels.

    For pictures x [·, C, H, W] with a label a pixel and answers [·, H, W, K]; pasted pixels are certain. `strong` changes
    the mixed picture (`photometric(jitter)`); it must not move anything.

    >>> from tutelage.training.consistency import photometric
    >>> view = paste_classes(2, photometric(lambda x, generator: x))
    >>> batch = {"x": torch.ones(1, 1, 2, 2), "y": torch.tensor([[[1, 1], [1, 1]]])}
    >>> x, carry = view(torch.zeros(1, 1, 2, 2), torch.Generator(), torch.zeros(1, 2, 2, 2), batch)
    >>> x.sum().item(), carry(torch.zeros(1, 2, 2, 2))[0, 0, 0].tolist()
    (4.0, [0.0, 1.0])
    """

    def view(x: Tensor, generator: torch.Generator, said: Tensor, batch: Batch) -> tuple[Tensor, Carry]:
        source = torch.arange(len(x), device=x.device) % len(batch["y"])
        labels = batch["y"][source]
        pasted = classmix(labels, generator, classes)
        certain = nn.functional.one_hot(labels, classes).to(said.dtype)
        mixed, _ = strong(torch.where(pasted, batch["x"][source], x), generator, said, batch)
        return mixed, lambda answer: torch.where(pasted.squeeze(1).unsqueeze(-1), certain, answer)

    return view


class FutureSelfTraining(Lesson):
    """Self-training whose teacher looks ahead.

    After burn-in the first step is an ordinary one. Views, gates and dropout are drawn anew in every virtual step; running
    statistics are put back with the weights.

    Args:
        lesson: the self-training whose order of updates is changed.
        k: virtual steps K, at least 1.
        mode: "deep", or "wide": then a batch is cut into K + 1 equal shares, the first for the real step, so multiply both
            batch sizes by K + 1.
        restore_optimizer: put the optimiser's moments back too; False, as published, lets virtual steps leak into them.

    Raises: InputError: k < 1, an unknown mode, accumulated gradients, or in wide mode a batch that cannot be cut.

    >>> from tutelage.training import fit
    >>> from tutelage.training.consistency import photometric
    >>> _ = torch.manual_seed(0); x = torch.randn(64, 2); y = (x[:, 0] > 0).long()
    >>> noise = photometric(lambda x, generator: x + 0.1 * torch.randn(x.shape, generator=generator))
    >>> inner = mean_teacher(nn.Linear(2, 2), weak=noise, strong=noise, threshold=0.6, burn_in=8)
    >>> lesson = FutureSelfTraining(inner, k=2)
    >>> history = fit(lesson, {"x": x, "y": y, "unlabelled": x}, epochs=20, lr=0.05)
    >>> bool((lesson.teacher(x).argmax(-1) == y).float().mean() > 0.9), lesson.teacher.updates.item()  # 31 · 3 + 2
    (True, 95)
    """

    def __init__(
        self,
        lesson: ConsistencyLesson,
        *,
        k: int = 3,
        mode: Literal["deep", "wide"] = "deep",
        restore_optimizer: bool = False,
    ) -> None:
        super().__init__()
        if k < 1 or mode not in {"deep", "wide"}:
            raise InputError(f"need k >= 1 and mode 'deep' or 'wide'; got {k} and {mode!r}")
        self.lesson, self.k, self.mode, self.restore_optimizer = lesson, k, mode, restore_optimizer

    @property
    def student(self) -> nn.Module:
        """The student."""
        return self.lesson.student

    @property
    def teacher(self) -> nn.Module:
        """The teacher, the first where there are several."""
        return next(iter(self.lesson.teachers.values()))

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """What the lesson's losses are on the batch of the real step."""
        return self.lesson.losses(self._shares(batch)[0], progress)

    def train_step(self, batch: Batch, optimizers: Mapping[str, Minimiser], progress: Progress) -> dict[str, Tensor]:
        """Look ahead (not before the teacher has spoken once), then the real step."""
        real, *others = self._shares(batch)
        if progress.step > self.lesson.burn_in:
            self._look_ahead(others or [real] * self.k, optimizers, progress)
        return self.lesson.train_step(real, optimizers, progress)

    def after_step(self, progress: Progress) -> None:
        """The teacher takes in the real student, but in deep mode does so at the start of the next look-ahead."""
        if self.mode == "wide" or progress.step <= self.lesson.burn_in:
            self.lesson.after_step(progress)

    def _look_ahead(self, batches: list[Batch], optimizers: Mapping[str, Minimiser], progress: Progress) -> None:
        update = optimizers["student"]
        if isinstance(update, Update) and update.share != 1:
            raise InputError("a virtual step is a step: use accumulate=1")
        held = update.optimizer if self.restore_optimizer and isinstance(update, Update) else None
        present = Snapshot(self.student, optimizer=held)
        futures: list[dict[str, Tensor]] = []
        for batch in batches:
            if self.mode == "deep":
                self.lesson.follow()
            update.minimise(self.lesson.losses(batch, progress))
            if self.mode == "wide":
                futures.append({name: value.clone() for name, value in self.student.state_dict().items()})
                present.restore()
        if self.mode == "wide":
            self.student.load_state_dict(mean_weights(futures))
        self.lesson.follow()
        present.restore()

    def _shares(self, batch: Batch) -> list[Batch]:
        return shares_of(batch, self.k + 1) if self.mode == "wide" else [batch]
