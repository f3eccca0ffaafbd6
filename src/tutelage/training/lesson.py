"""A lesson: what one step teaches.

A `Lesson` holds the student (and the teacher, where there is one) and says what a batch costs. That is all a method
has to write; `fit` does the rest. A game with several players overrides `train_step`; whatever follows the student (a
momentum teacher, a queue, a threshold) moves in `after_step`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol

import torch
from torch import Tensor, nn

from tutelage.errors import InputError
from tutelage.training.weights import is_frozen

Batch = dict[str, Tensor]
"""One batch: `x` (a tensor, or a mapping of tensors for models that are called with keywords), `y` and `index` where known."""

NORMS = (nn.modules.batchnorm._NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)


@dataclass(slots=True)
class Progress:
    """Where a run is. `u` goes from 0 at the first step towards 1; `generator` is the method's own randomness."""

    step: int
    steps: int
    epoch: int = 0
    epochs: int = 1
    generator: torch.Generator = field(default_factory=torch.Generator)

    @property
    def u(self) -> float:
        """Share of the planned steps that are done."""
        return self.step / self.steps


class Minimiser(Protocol):
    """What `train_step` sees of an optimiser: `minimise` does backward, clipping and the step, for its own parameters only."""

    def minimise(self, parts: Mapping[str, Tensor] | Tensor) -> None: ...


class Lesson(nn.Module):
    """What one step teaches: holds student and teacher; says what a batch costs.

    >>> class MeanSquares(Lesson):
    ...     def __init__(self, student):
    ...         super().__init__()
    ...         self.student = student
    ...     def losses(self, batch, progress):
    ...         return {"mse": (self.student(batch["x"]) - batch["y"]).square().mean()}
    >>> lesson = MeanSquares(nn.Linear(2, 1))
    >>> sorted(lesson.losses({"x": torch.zeros(4, 2), "y": torch.ones(4, 1)}, Progress(0, 1)))
    ['mse']
    """

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """The parts of the loss, already weighted: scalars whose sum is minimised."""
        raise NotImplementedError(f"{type(self).__name__} does not say what a batch costs: write losses()")

    def train_step(self, batch: Batch, optimizers: Mapping[str, Minimiser], progress: Progress) -> dict[str, Tensor]:
        """One update. Override it for games; the returned parts go into the history."""
        parts = self.losses(batch, progress)
        optimizers["student"].minimise(parts)
        return parts

    def after_step(self, progress: Progress) -> None:
        """Called after every update: momentum teachers, queues, thresholds."""

    def parameter_groups(self) -> dict[str, list[dict[str, object]]]:
        """Optimiser name → parameter groups. One optimiser, "student", by default; games name their players.

        A group may set `weight_decay`, or `lr_scale` (times the learning rate of the run). Normalisation layers are
        not decayed.
        """
        return {"student": decay_groups(self)}

    def train(self, mode: bool = True) -> Lesson:
        """As in PyTorch, but frozen parts stay in evaluation mode."""
        super().train(mode)
        for part in self.modules():
            if part is not self and is_frozen(part):
                part.eval()
        return self


def decay_groups(*modules: nn.Module, lr_scale: float = 1.0) -> list[dict[str, object]]:
    """Parameter groups of modules: what is trained, with normalisation layers in a group that weight decay leaves alone."""
    plain: list[nn.Parameter] = []
    norm: list[nn.Parameter] = []
    seen: set[int] = set()
    for module in modules:
        for part in module.modules():
            for parameter in part.parameters(recurse=False):
                if parameter.requires_grad and id(parameter) not in seen:
                    seen.add(id(parameter))
                    (norm if isinstance(part, NORMS) else plain).append(parameter)
    groups: list[dict[str, object]] = [{"params": plain, "lr_scale": lr_scale}]
    return groups + ([{"params": norm, "lr_scale": lr_scale, "weight_decay": 0.0}] if norm else [])


def logits_of(model: nn.Module, x: Tensor | Mapping[str, Tensor]) -> Tensor:
    """What a model says: a tensor as it is, the `logits` of a Hugging Face output, the first entry of a tuple.

    A mapping is passed as keyword arguments. Raises: InputError: an output that has no logits.

    >>> logits_of(nn.Linear(2, 3), torch.zeros(4, 2)).shape
    torch.Size([4, 3])
    """
    output = model(**x) if isinstance(x, Mapping) else model(x)
    if isinstance(output, Tensor):
        return output
    output = getattr(output, "logits", output[0] if isinstance(output, tuple) and output else output)
    if isinstance(output, Tensor):
        return output
    raise InputError(
        f"{type(model).__name__} returned {type(output).__name__}; need a tensor or an output with `logits`"
    )
