"""The momentum teacher: an average of the students so far.

    θ_T ← d_t θ_T + (1 − d_t) θ_S,      d_t = min(d, 1 − 1 / (t + 1)) with warm-up

Tarvainen and Valpola, "Mean teachers are better role models", 2017 (arXiv:1703.01780). With warm-up the first update
copies the student and the next ones are a plain mean, until the mean is as long as the decay's memory. Buffers are
statistics of the weights that they were measured with: they are copied by default; averaging them is an option,
integers are always copied.
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn

from tutelage.errors import InputError


class MomentumTeacher(nn.Module):
    """A teacher that follows a student.

    Args:
        student: what to follow; the teacher starts as its copy.
        decay: d in [0, 1], or a function of the number of updates so far.
        warmup: never remember longer than there were updates.
        buffers: "copy", "average" or "keep" floating-point buffers (batch norm's running statistics).

    Raises: InputError: a decay outside [0, 1]; a student of another shape in `update`.

    >>> student = nn.Linear(1, 1, bias=False); _ = nn.init.zeros_(student.weight)
    >>> teacher = MomentumTeacher(student, decay=0.9, warmup=False)
    >>> _ = nn.init.ones_(student.weight); teacher.update(student)
    >>> round(teacher.module.weight.item(), 4)
    0.1
    """

    def __init__(
        self,
        student: nn.Module,
        decay: float | Callable[[int], float] = 0.999,
        *,
        warmup: bool = True,
        buffers: Literal["copy", "average", "keep"] = "copy",
    ) -> None:
        super().__init__()
        if not callable(decay) and not 0 <= decay <= 1:
            raise InputError(f"decay is in [0, 1]; got {decay}")
        if buffers not in {"copy", "average", "keep"}:
            raise InputError(f"buffers is 'copy', 'average' or 'keep'; got {buffers!r}")
        self.module = copy.deepcopy(student).eval().requires_grad_(False)
        self.decay, self.warmup, self.buffers_rule = decay, warmup, buffers
        self.updates: Tensor
        self.register_buffer("updates", torch.zeros((), dtype=torch.long))

    def forward(self, *args: Tensor, **kwargs: Tensor) -> Tensor:
        """What the average says; always in evaluation mode."""
        return self.module(*args, **kwargs)

    def train(self, mode: bool = True) -> MomentumTeacher:
        """Stays in evaluation mode."""
        return super().train(False)

    @torch.no_grad()
    def update(self, student: nn.Module) -> None:
        """Take in the student as it is now."""
        ours, theirs = dict(self.module.named_parameters()), dict(student.named_parameters())
        if {n: p.shape for n, p in ours.items()} != {n: p.shape for n, p in theirs.items()}:
            raise InputError("the student does not have the shape of the model that this teacher follows")
        count = int(self.updates)
        decay = self.decay(count) if callable(self.decay) else self.decay
        if self.warmup:
            decay = min(decay, 1 - 1 / (count + 1))
        torch._foreach_lerp_(list(ours.values()), [theirs[name] for name in ours], 1 - decay)
        for (_, mine), (_, new) in zip(self.module.named_buffers(), student.named_buffers(), strict=True):
            if self.buffers_rule == "average" and mine.is_floating_point():
                mine.lerp_(new, 1 - decay)
            elif self.buffers_rule != "keep":
                mine.copy_(new)
        self.updates += 1


def half_life_decay(steps: int, share: float = 0.05) -> float:
    """The decay whose memory halves in `share` of a run of `steps` updates: 0.5^(1 / (share · steps)).

    >>> round(half_life_decay(1000), 4)
    0.9862
    """
    if steps < 1 or not 0 < share <= 1:
        raise InputError(f"need steps >= 1 and share in (0, 1]; got {steps}, {share}")
    return 0.5 ** (1 / (share * steps))
