"""Updates: one optimiser and everything between a loss and its step.

`minimise` sums the parts, refuses a part that is not finite, runs backward (for this optimiser's own parameters where
there are several players), averages gradients over processes, clips and steps. Processes average gradients here
rather than through a wrapper around the model, so that games, several forward passes and direct access to
`lesson.student` need no special care.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tutelage.errors import InputError

if TYPE_CHECKING:
    from accelerate import Accelerator

OptimizerFactory = Callable[[list[dict[str, object]]], Optimizer]


class Update:
    """How one optimiser steps.

    Attributes: optimizer: the PyTorch optimiser; share: batches in this step (gradients are their mean);
        complete: whether the next `minimise` ends the step.
    """

    def __init__(
        self, optimizer: Optimizer, accelerator: Accelerator, *, clip: float | None = None, alone: bool = True
    ) -> None:
        self.optimizer = optimizer
        self.accelerator = accelerator
        self.scaler = accelerator.scaler
        self.several = accelerator.num_processes > 1
        self.clip = clip
        self.parameters: list[nn.Parameter] = [p for group in optimizer.param_groups for p in group["params"]]
        self.inputs = None if alone else self.parameters
        self.share = 1
        self.complete = True
        self._base = [group["lr"] for group in optimizer.param_groups]

    def set_rate(self, factor: float) -> None:
        """Multiply each group's own learning rate by `factor`."""
        for group, base in zip(self.optimizer.param_groups, self._base, strict=True):
            group["lr"] = base * factor

    def minimise(self, parts: Mapping[str, Tensor] | Tensor) -> None:
        """Backward on the sum of `parts`; when the step is complete, average, clip and step.

        Raises: FloatingPointError: a part is not finite (it is named); InputError: nothing here can be trained by the
            loss.
        """
        total = total_loss(parts)
        if self.share != 1:
            total = total / self.share
        if self.scaler is not None:
            total = self.scaler.scale(total)
        total.backward(inputs=self.inputs)
        if not self.complete:
            return
        if self.several:
            average_gradients(self.parameters, self.accelerator)
        if self.scaler is not None:
            self.scaler.unscale_(self.optimizer)
        if self.clip is not None:
            nn.utils.clip_grad_norm_(self.parameters, self.clip)
        if self.scaler is not None:
            self.scaler.step(self.optimizer)
            self.scaler.update()
        else:
            self.optimizer.step()
        for parameter in self.parameters:
            parameter.grad = None


def total_loss(parts: Mapping[str, Tensor] | Tensor) -> Tensor:
    """The sum of the parts, all of them finite scalars.

    >>> total_loss({"ce": torch.ones((), requires_grad=True), "kd": torch.tensor(float("nan"))})
    Traceback (most recent call last):
    FloatingPointError: loss part 'kd' is nan
    """
    named = {"loss": parts} if isinstance(parts, Tensor) else parts
    total: Tensor | None = None
    for name, part in named.items():
        try:
            value = part.item()
        except RuntimeError:
            raise InputError(f"loss part '{name}' has shape {tuple(part.shape)}; a part is a scalar") from None
        if not math.isfinite(value):
            raise FloatingPointError(f"loss part '{name}' is {value}")
        total = part if total is None else total + part
    if total is None:
        raise InputError("losses() returned no part")
    if not total.requires_grad:
        raise InputError(f"no trainable weight takes part in the loss ({', '.join(named)})")
    return total


def average_gradients(parameters: Iterable[nn.Parameter], accelerator: Accelerator) -> None:
    """Replace each gradient by its mean over processes, in one collective call.

    A parameter that no process used keeps no gradient, so that its weight is not decayed; that is what the flags are
    for.
    """
    held = [p for p in parameters if p.requires_grad]
    flags = torch.tensor([float(p.grad is not None) for p in held], device=held[0].device)
    flat = torch.cat([flags, *((torch.zeros_like(p) if p.grad is None else p.grad).reshape(-1).float() for p in held)])
    used, *means = accelerator.reduce(flat, "mean").split([len(held), *(p.numel() for p in held)])  # pyright: ignore
    for parameter, flag, mean in zip(held, used.tolist(), means, strict=True):
        parameter.grad = mean.view_as(parameter).to(parameter.dtype) if flag else None


def make_optimizer(
    kind: str | OptimizerFactory, groups: list[dict[str, object]], lr: float, weight_decay: float
) -> Optimizer:
    """`adamw`, `adam`, `sgd` (Nesterov momentum 0.9), or a function from parameter groups to an optimiser.

    Raises: InputError: an unknown name, a rate that is not positive, or nothing to train.
    """
    rated = [
        {"weight_decay": weight_decay, **{k: v for k, v in group.items() if k != "lr_scale"}, "lr": lr * _scale(group)}
        for group in groups
    ]
    if not any(group["params"] for group in rated):
        raise InputError("nothing to train: no parameter of the lesson requires a gradient")
    if lr <= 0 or weight_decay < 0:
        raise InputError(f"need lr > 0 and weight_decay >= 0; got {lr} and {weight_decay}")
    if callable(kind):
        return kind(rated)
    fused = {p.device.type for group in rated for p in group["params"]} <= {"cpu", "cuda"}  # type: ignore[union-attr]
    match kind:
        case "adamw":
            return torch.optim.AdamW(rated, fused=fused)
        case "adam":
            return torch.optim.Adam(rated, fused=fused)
        case "sgd":
            return torch.optim.SGD(rated, momentum=0.9, nesterov=True)
    raise InputError(
        f"unknown optimizer {kind!r}; use 'adamw', 'adam', 'sgd' or a function from groups to an optimizer"
    )


def _scale(group: dict[str, object]) -> float:
    scale = group.get("lr_scale", 1.0)
    assert isinstance(scale, int | float)
    return float(scale)
