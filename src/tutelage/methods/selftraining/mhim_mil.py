"""MHIM: multiple-instance learning with masked hard-instance mining.

Tang et al., "Multiple Instance Learning Framework with Masked Hard Instance Mining for Whole Slide Image
Classification", 2023 (arXiv:2307.15254).

One label for a bag of instances (patches of a slide, sentences of a document). Attention fixes on the few most obvious
positive instances and never needs the others. So a momentum teacher, which starts as a model trained the plain way, says
which instances it attends to, and the student must decide without them. Of N instances are dropped

    random   ⌈r N⌉ at random                                                          N' = what is left then
    low      the ⌈l N'⌉ with the lowest attention
    high     a share s of the ⌈(h / s) N'⌉ with the highest; h falls to 0 by a cosine

(the union; at least one stays), and with bag features z (student, on what is left) and z_T (teacher, on all)

    L = CE(logits, y) − alpha Σ_d softmax(z_T / 0.1)_d log softmax(z)_d,      θ_T ← m θ_T + (1 − m) θ

The teacher speaks with its dropout on, so its attention is noisy: an exploration. Nothing changes at test time: the
student sees the whole bag.

Shapes: x [B, n, D], mask [B, n] (true: a real instance), y [B], attention [B, n], features [B, width].
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from tutelage.errors import InputError
from tutelage.objectives.consistency import sharpened_ce
from tutelage.objectives.divergence import hard_cross_entropy
from tutelage.teachers.momentum import MomentumTeacher
from tutelage.training import Batch, Lesson, Progress, Schedule, cosine, value_at


def ranks(score: Tensor, among: Tensor) -> Tensor:
    """The place of every entry among those that count, largest first: [B, n], [B, n] (bool) → [B, n]; the others come last.

    >>> ranks(torch.tensor([[0.1, 0.7, 0.2]]), torch.tensor([[True, True, False]]))
    tensor([[1, 0, 2]])
    """
    return score.masked_fill(~among, -torch.inf).argsort(-1, descending=True).argsort(-1)


def kept_instances(
    attention: Tensor,
    mask: Tensor,
    *,
    random: Tensor | float = 0.0,
    low: Tensor | float = 0.0,
    high: Tensor | float = 0.0,
    high_random: float = 1.0,
    generator: torch.Generator,
) -> Tensor:
    """Which instances the student sees: [B, n] (bool), inside `mask`; never none.

    Args: random, low, high: shares r, l, h, one for all bags or [B]; high_random: s, the share of the candidates that is
        dropped (1: all of them; where h > s, all instances are candidates and h of them is dropped).

    >>> attention, mask = torch.tensor([[0.1, 0.6, 0.3, 0.0]]), torch.tensor([[True, True, True, True]])
    >>> kept_instances(attention, mask, high=0.5, generator=torch.Generator()).tolist()
    [[True, False, False, True]]
    """
    count = mask.sum(-1)
    noise = torch.rand(2, *attention.shape, generator=generator, device=attention.device)
    dropped = ranks(noise[0], mask) < _ceil(count * random)
    left = (mask & ~dropped).sum(-1)
    lowest = ranks(-attention, mask)
    dropped = dropped | (lowest < _ceil(left * low))
    share = torch.as_tensor(high, dtype=attention.dtype, device=attention.device)
    among = (share / high_random).clamp(max=1.0)
    candidates = mask & (ranks(attention, mask) < _ceil(left * among))
    part = torch.where(among < 1, torch.as_tensor(high_random).to(share), share)
    part = torch.where(share > 0, part, 0.0)
    dropped = dropped | (candidates & (ranks(noise[1], candidates) < _ceil(candidates.sum(-1) * part)))
    kept = mask & ~dropped
    return kept | (~kept.any(-1, keepdim=True) & mask & (lowest == 0))


def warm_start(trained: nn.Module, fresh: nn.Module, part: str = "embed") -> nn.Module:
    """The student that begins with the trained model's `part` (its instance embedding) and is fresh in all else.

    Raises: InputError: a model without that part, or whose part has another shape.

    >>> a, b = nn.ModuleDict({"embed": nn.Linear(2, 2)}), nn.ModuleDict({"embed": nn.Linear(2, 2)})
    >>> torch.equal(warm_start(a, b)["embed"].weight, a["embed"].weight)
    True
    """
    try:
        fresh.get_submodule(part).load_state_dict(trained.get_submodule(part).state_dict())
    except (AttributeError, RuntimeError) as error:
        raise InputError(f"cannot copy '{part}' from {type(trained).__name__}: {error}") from None
    return fresh


@dataclass(frozen=True)
class InstanceMasker:
    """Shares that are dropped, as in `kept_instances`; `high` may follow a schedule of u.

    Raises: InputError: shares outside [0, 1), a `high_random` outside (0, 1].

    >>> masker = InstanceMasker(random=0.5, high=0.1)
    >>> attention, mask = torch.rand(1, 20), torch.ones(1, 20).bool()
    >>> int(masker(attention, mask, 0.0, torch.Generator()).sum()) in (9, 10)
    True
    """

    random: float = 0.0
    low: float = 0.0
    high: Schedule | float = field(default_factory=lambda: cosine(0.01, 0.0))
    high_random: float = 1.0

    def __post_init__(self) -> None:
        if not all(0 <= share < 1 for share in (self.random, self.low, value_at(self.high, 0.0))):
            raise InputError(f"shares are in [0, 1); got random {self.random}, low {self.low}, high {self.high}")
        if not 0 < self.high_random <= 1:
            raise InputError(f"high_random is in (0, 1]; got {self.high_random}")

    def __call__(self, attention: Tensor, mask: Tensor, u: float, generator: torch.Generator) -> Tensor:
        """[B, n], [B, n] → what is kept [B, n]."""
        return kept_instances(
            attention, mask, random=self.random, low=self.low, high=value_at(self.high, u),
            high_random=self.high_random, generator=generator,
        )  # fmt: skip


class MHIM(Lesson):
    """Train a multiple-instance model on what its teacher does not look at.

    Batches hold `x` [B, n, D], `y` [B] and, where bags differ in size, `mask` [B, n] (see `pad_collate`).

    Args:
        student: (x, mask) → an output with `logits`, `feature` and `attention` (`AttentionMil`); see `warm_start`.
        trained: a model of the same shape, trained the plain way: an untrained one attends at random. It is copied.
        masker: what the student does not see.
        alpha: weight of the consistency of bag features.
        decay: m, a number or a function of the number of updates.
        noisy: the teacher's dropout is on, as published.

    Attributes: kept: share of the instances that the student saw in the last step.

    Raises: InputError: models of different shapes, a negative alpha, bags without instances.

    >>> from tutelage.students.pooling import AttentionMil
    >>> from tutelage.training import fit
    >>> lesson = MHIM(AttentionMil(4, 2, width=8), AttentionMil(4, 2, width=8), InstanceMasker(random=0.3), alpha=0.1)
    >>> history = fit(lesson, {"x": torch.randn(6, 10, 4), "y": torch.arange(6) % 2}, epochs=1, batch_size=2)
    >>> history.names[3:6], lesson.kept.item() < 0.7
    (['loss', 'ce', 'consistency'], True)
    """

    kept: Tensor

    def __init__(
        self,
        student: nn.Module,
        trained: nn.Module,
        masker: InstanceMasker,
        *,
        alpha: float = 0.1,
        decay: float | Callable[[int], float] = 0.9999,
        noisy: bool = True,
    ) -> None:
        super().__init__()
        if alpha < 0:
            raise InputError(f"alpha must not be negative; got {alpha}")
        if {n: p.shape for n, p in student.named_parameters()} != {n: p.shape for n, p in trained.named_parameters()}:
            raise InputError("the teacher is an average of students: trained model and student must have one shape")
        self.student, self.masker, self.alpha, self.noisy = student, masker, alpha, noisy
        self.teacher = MomentumTeacher(copy.deepcopy(trained), decay, warmup=False)
        self.register_buffer("kept", torch.ones(()))

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """The label's cost on what is kept, and the consistency with the teacher's feature of the whole bag."""
        x, mask = batch["x"], _mask_of(batch)
        said = self.ask(x, mask)
        kept = self.masker(said.attention, mask, progress.u, progress.generator)
        self.kept.copy_(kept.sum() / mask.sum())
        output = self.student(x, kept)
        parts = {"ce": hard_cross_entropy(output.logits, batch["y"])}
        if self.alpha:
            parts["consistency"] = self.alpha * sharpened_ce(output.feature, said.feature, 0.1)
        return parts

    @torch.no_grad()
    def ask(self, x: Tensor, mask: Tensor) -> Any:
        """What the teacher says about whole bags."""
        self.teacher.module.train(self.noisy)
        said = self.teacher.module(x, mask)
        self.teacher.module.eval()
        return said

    def after_step(self, progress: Progress) -> None:
        """The teacher follows."""
        self.teacher.update(self.student)


class PlainMil(Lesson):
    """Plain training of a multiple-instance model on batches with `x`, `y` and perhaps `mask`: where MHIM begins."""

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.student = student

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """The label's cost on whole bags."""
        return {"ce": hard_cross_entropy(self.student(batch["x"], _mask_of(batch)).logits, batch["y"])}


def _mask_of(batch: Batch) -> Tensor:
    x = batch["x"]
    mask = batch["mask"] if "mask" in batch else x.new_ones(x.shape[:2], dtype=torch.bool)
    if mask.shape != x.shape[:2] or not bool(mask.any(1).all()):
        raise InputError(
            f"need one mask an instance, and an instance a bag; got {tuple(mask.shape)} for {tuple(x.shape)}"
        )
    return mask


def _ceil(amount: Tensor) -> Tensor:
    """⌈amount⌉ as a column, forgiving 0.3 · 50 = 15.000000000000002."""
    return (amount - 1e-4).ceil().clamp(min=0).unsqueeze(-1)
