"""SlimFlow: a small generator that needs one step, by annealing reflow and flow-guided distillation.

Zhu, Liu and Liu, "SlimFlow: Training Smaller One-Step Diffusion Models with Rectified Flow", 2024 (arXiv:2407.12718).

A teacher flow turns noise x0 into data x1 in many steps. Its pairs (x0, x1), drawn once, make a straight flow u (reflow),
and the straight flow makes a student v that jumps there at once. A student smaller than the teacher cannot begin with the
teacher's weights, so reflow begins with noise that has nothing to do with x1 (a first flow) and anneals it to the pair's own:

    x0' = √(1 − β²) x0 + β ξ,   ξ ~ N(0, I),   β: 1 → 0
    L_reflow = ‖ u(x_t, t) − (x1 − x0') ‖²,    x_t = (1 − t) x0' + t x1,   t ~ U(ε, 1)

The student begins with u and learns the pairs and, on fresh noise z without end, from u's average ū, which is asked in the
middle of the student's own jump p = v(z, 0) where the jump should have gone (neither y nor the target carries a gradient):

    L = ‖ x0 + v(x0, 0) − x1 ‖² + λ ‖ p − (y + (1 − t) ū(y, t) − z) ‖²,      y = z + t p,   t ~ U(0.2, 0.8)

A sample is z + v(z, 0). Time runs from 0 (noise) to 1 (data); see `teachers.samplers` for nets and denoisers that differ.

Shapes: noise x0, z, data x1 [B, …], times t [B]; squares are means over the elements of an example.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tutelage.errors import InputError
from tutelage.objectives.flow import Velocity, over_example, rectified_flow_loss, velocity_at
from tutelage.teachers.frozen import frozen_copy
from tutelage.teachers.momentum import MomentumTeacher
from tutelage.teachers.pairs import check_pairs, flip_pairs
from tutelage.teachers.samplers import euler_sample
from tutelage.training import Batch, FitOptions, History, Lesson, Progress, Schedule, child_seed, fit, value_at

EPS = 1e-3
MIDDLE = (0.2, 0.8)
"""The part of a jump in which the guide is asked."""


def annealing(warmup: float = 0.4, kind: Literal["linear", "exp", "cosine"] = "linear") -> Schedule:
    """β as a function of u, the share of the run: 1 at the start, 0 from `warmup` on (exp: e^(−u / warmup), never quite 0).

    Raises: InputError: a warm-up outside (0, 1], such as one longer than the run; an unknown kind.

    >>> [round(annealing(0.4)(u), 3) for u in (0, 0.2, 0.4, 1)], round(annealing(0.4, "exp")(0.4), 3)
    ([1.0, 0.5, 0.0, 0.0], 0.368)
    """
    if not 0 < warmup <= 1:
        raise InputError(f"warmup is the share of the run in which noise is annealed, in (0, 1]; got {warmup}")
    match kind:
        case "linear":
            return lambda u: max(0.0, 1 - u / warmup)
        case "exp":
            return lambda u: math.exp(-u / warmup)
        case "cosine":
            return lambda u: 0.5 * (1 + math.cos(math.pi * min(u / warmup, 1.0)))
    raise InputError(f"kind is 'linear', 'exp' or 'cosine'; got {kind!r}")


def annealed_noise(x0: Tensor, xi: Tensor, beta: Tensor | float) -> Tensor:
    """x0' = √(1 − β²) x0 + β ξ: still N(0, I), the pair's noise at β = 0, another one at β = 1.

    >>> annealed_noise(torch.tensor([1.0]), torch.tensor([10.0]), 0.6)
    tensor([6.8000])
    """
    beta = torch.as_tensor(beta, dtype=x0.dtype, device=x0.device)
    return (1 - beta.square()).sqrt() * x0 + beta * xi


@torch.no_grad()
def guided_jump(guide: Velocity, z: Tensor, jump: Tensor, t: Tensor) -> Tensor:
    """Where the guide would have gone from the middle of the student's jump, as a jump from z: [B, …], without a graph.

    >>> ahead = lambda y, t: torch.full_like(y, 2.0)
    >>> guided_jump(ahead, torch.zeros(1, 1), torch.ones(1, 1), torch.tensor([0.25]))  # 0.25 · 1 + 0.75 · 2
    tensor([[1.7500]])
    """
    share = over_example(t, z)
    return share * jump + (1 - share) * velocity_at(guide, z + share * jump, t)


class AnnealedReflow(Lesson):
    """Train a small flow on pairs whose noise is annealed from anybody's to their own.

    Batches hold `x` = x0 and `y` = x1: `fit(lesson, (x0, x1), …)`.

    Args:
        student: (x [B, …], t [B]) → velocity [B, …].
        beta: a function of u; None is `annealing()`, 0 plain reflow, 1 a first flow to `y`, whatever `x` is.
        flip: mirror half of the pairs, both ends, along the last axis.
        decay: of the average.

    Attributes: average: of the student's weights; it samples better, and guides the distillation.

    Raises: InputError: in training, shapes that do not fit.
    """

    def __init__(
        self, student: nn.Module, beta: Schedule | float | None = None, *, flip: bool = False, decay: float = 0.999
    ) -> None:
        super().__init__()
        self.student, self.beta, self.flip = student, annealing() if beta is None else beta, flip
        self.average = MomentumTeacher(student, decay)

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """The straight line between annealed noise and data, at a random time."""
        x0, x1 = _pair(batch, self.flip, progress)
        t = EPS + (1 - EPS) * _drawn(torch.rand, x0.new_empty(len(x0)), progress)
        if beta := value_at(self.beta, progress.u):
            x0 = annealed_noise(x0, _drawn(torch.randn, x0, progress), beta)
        return {"flow": rectified_flow_loss(self.student, x0, x1, t).mean()}

    def after_step(self, progress: Progress) -> None:
        """The average follows."""
        self.average.update(self.student)


class FlowGuidedDistillation(Lesson):
    """Train a student to jump in one step, by pairs and by a guide that corrects its jumps from fresh noise.

    Batches hold `x` = x0 and `y` = x1, as in `AnnealedReflow`.

    Args:
        student: (x [B, …], t [B]) → velocity [B, …]; it begins with the weights of the reflow net.
        guide: the average of the reflow net, frozen; not needed where guidance is 0.
        guidance: λ; 0 is plain distillation of the pairs.
        distance: (made, wanted) [B, …] → scalar, for the pairs: mean squares, or a perceptual distance of pictures.
        flip, decay: as in `AnnealedReflow`.

    Attributes: average: of the student's weights.

    Raises: InputError: a negative guidance, guidance without a guide; in training, shapes that do not fit.
    """

    def __init__(
        self,
        student: nn.Module,
        guide: nn.Module | None = None,
        *,
        guidance: float = 1.0,
        distance: Callable[[Tensor, Tensor], Tensor] = F.mse_loss,
        flip: bool = False,
        decay: float = 0.999,
    ) -> None:
        super().__init__()
        if guidance < 0 or (guidance > 0 and guide is None):
            raise InputError(f"guidance is >= 0, and above 0 it needs a guide (the reflow net); got {guidance}")
        self.student, self.guide, self.guidance = student, guide, guidance
        self.distance, self.flip = distance, flip
        self.average = MomentumTeacher(student, decay)

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """The pairs' own ends, and the guide's answer on fresh noise."""
        x0, x1 = _pair(batch, self.flip, progress)
        start = x0.new_zeros(len(x0))
        parts = {"direct": self.distance(x0 + velocity_at(self.student, x0, start), x1)}
        if self.guidance and self.guide is not None:
            low, high = MIDDLE
            t = low + (high - low) * _drawn(torch.rand, start, progress)
            z = _drawn(torch.randn, x0, progress)
            jump = self.student(z, start)
            wanted = guided_jump(self.guide, z, jump.detach(), t)
            parts["guided"] = self.guidance * F.mse_loss(jump, wanted)
        return parts

    def after_step(self, progress: Progress) -> None:
        """The average follows."""
        self.average.update(self.student)


class SlimFlow:
    """Both stages on one student.

    Args:
        student: (x [B, …], t [B]) → velocity [B, …], freshly initialised; trained in place.
        pairs: x0 and x1 [N, …], from `draw_pairs`.
        warmup: share of the reflow in which the noise is annealed; 0 is plain reflow.
        flip: as in `AnnealedReflow`.

    Attributes: flow: the average of the reflow net, for several steps; generator: the average of the one-step student.

    Raises: InputError: pairs whose noise is not N(0, I), a warm-up outside [0, 1], stages in another order.

    >>> from tutelage.students.velocity import VelocityMlp
    >>> from tutelage.teachers.pairs import draw_pairs
    >>> slim = SlimFlow(VelocityMlp(2, 16), draw_pairs(lambda z: 3 + 0.1 * z, 500, (2,)))
    >>> flow, jumps = slim.reflow(300, {"lr": 5e-3}), slim.distill(300, {"lr": 5e-3})
    >>> slim.sample(1000).mean(0).round()
    tensor([3., 3.])
    """

    def __init__(
        self, student: nn.Module, pairs: tuple[Tensor, Tensor], *, warmup: float = 0.4, flip: bool = False
    ) -> None:
        check_pairs(*pairs)
        self.beta = annealing(warmup) if warmup else 0.0
        self.student, self.pairs, self.flip = student, pairs, flip
        self.flow: nn.Module | None = None
        self.generator: nn.Module | None = None

    def reflow(self, steps: int, options: FitOptions | None = None) -> History:
        """Stage one: the small straight flow; `options` are those of `training.fit`."""
        lesson = AnnealedReflow(self.student, self.beta, flip=self.flip)
        history = self._fit(lesson, steps, options)
        self.flow = frozen_copy(lesson.average.module)
        return history

    def distill(self, steps: int, options: FitOptions | None = None, *, guidance: float = 1.0) -> History:
        """Stage two: one step. Raises: InputError: before `reflow`."""
        if self.flow is None:
            raise InputError("the student begins with a straight flow: call reflow() before distill()")
        lesson = FlowGuidedDistillation(self.student, self.flow, guidance=guidance, flip=self.flip)
        history = self._fit(lesson, steps, options)
        self.generator = frozen_copy(lesson.average.module)
        return history

    def sample(self, count: int, *, seed: int = 0) -> Tensor:
        """Samples [count, …], in one evaluation. Raises: InputError: before `distill`."""
        if self.generator is None:
            raise InputError("nothing to sample from yet: call reflow() and distill()")
        generator = torch.Generator().manual_seed(child_seed(seed, "sample"))
        z = torch.randn(count, *self.pairs[0].shape[1:], generator=generator)
        return euler_sample(self.generator, z.to(next(self.student.parameters())), steps=1)

    def _fit(self, lesson: Lesson, steps: int, options: FitOptions | None) -> History:
        usual: FitOptions = {"batch_size": 128, "lr": 1e-3, "optimizer": "adam", "weight_decay": 0.0, "clip": 1.0}
        return fit(lesson, self.pairs, **{**usual, **(options or {}), "steps": steps})


def _pair(batch: Batch, flip: bool, progress: Progress) -> tuple[Tensor, Tensor]:
    x0, x1 = batch["x"], batch["y"]
    return flip_pairs(x0, x1, progress.generator) if flip else (x0, x1)


def _drawn(draw: Callable[..., Tensor], like: Tensor, progress: Progress) -> Tensor:
    return draw(like.shape, generator=progress.generator, dtype=like.dtype, device=like.device)
