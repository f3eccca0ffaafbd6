"""Heads: another task on the same trunk."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import TypeVar

from torch import Tensor, nn

from tutelage.errors import InputError

M = TypeVar("M", bound=nn.Module)


def swap_head(model: M, classes: int, *, name: str | None = None, zero: bool = True) -> M:
    """A copy of a model whose last linear layer has `classes` outputs; the trunk's weights are kept.

    Args: name: dotted name of the layer (default: the last `nn.Linear`); zero: start at zero (all classes alike), or
        at PyTorch's initialisation.

    Raises: InputError: there is no such linear layer.

    >>> import torch
    >>> old = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2))
    >>> new = swap_head(old, 5)
    >>> new(torch.ones(1, 4)).tolist(), torch.equal(new[0].weight, old[0].weight)
    ([[0.0, 0.0, 0.0, 0.0, 0.0]], True)
    """
    linear = {n: m for n, m in model.named_modules() if isinstance(m, nn.Linear)}
    name = next(reversed(linear), None) if name is None else name
    if name is None or name not in linear:
        raise InputError(f"no linear layer '{name}' to swap; there are {list(linear)}")
    old = linear[name]
    head = nn.Linear(old.in_features, classes, bias=True, device=old.weight.device, dtype=old.weight.dtype)
    if zero:
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
    if name == "":
        raise InputError("the model is itself one linear layer; make a new one")
    copied = copy.deepcopy(model)
    parent, _, last = name.rpartition(".")
    setattr(copied.get_submodule(parent), last, head)
    return copied


class MultiHead(nn.Module):
    """One trunk, a linear head for each task: [B, …] → {task: logits [B, K_task]}.

    Args: trunk: [B, …] → [B, width]; tasks: name → classes.

    >>> import torch
    >>> heads = MultiHead(nn.Linear(4, 3), 3, {"topic": 5, "tone": 2})
    >>> {name: tuple(logits.shape) for name, logits in heads(torch.zeros(6, 4)).items()}
    {'topic': (6, 5), 'tone': (6, 2)}
    """

    def __init__(self, trunk: nn.Module, width: int, tasks: Mapping[str, int]) -> None:
        super().__init__()
        if not tasks:
            raise InputError("MultiHead needs at least one task")
        self.trunk = trunk
        self.heads = nn.ModuleDict({name: nn.Linear(width, classes) for name, classes in tasks.items()})

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        states = self.trunk(x)
        return {name: head(states) for name, head in self.heads.items()}
