"""A teacher that stands still.

`frozen` puts a model into evaluation mode, takes the gradients of its weights away and notes their fingerprint. A
lesson keeps it that way (also when its own `train()` is called), leaves it out of checkpoints, and `fit` raises at
the end when the fingerprint no longer fits. Nothing stops gradients from passing *through* the model: methods that
move inputs (augmentations, prompts, a frozen tail) need them.
"""

from __future__ import annotations

import copy
from typing import TypeVar

from torch import nn

from tutelage.training.weights import check_frozen, mark_frozen

M = TypeVar("M", bound=nn.Module)


def frozen(model: M) -> M:
    """Freeze a model in place and return it.

    >>> import torch
    >>> teacher = frozen(nn.Linear(2, 2))
    >>> teacher.training, teacher.weight.requires_grad, hasattr(teacher, "frozen_fingerprint")
    (False, False, True)
    >>> x = torch.ones(1, 2, requires_grad=True)
    >>> teacher(x).sum().backward(); x.grad is not None
    True
    """
    mark_frozen(model)
    return model


def frozen_copy(model: M) -> M:
    """A frozen copy of a model as it is now: yesterday's student, the initial model, a reference policy.

    >>> import torch
    >>> student = nn.Linear(2, 2)
    >>> anchor = frozen_copy(student)
    >>> student.weight.requires_grad, torch.equal(anchor.weight, student.weight)
    (True, True)
    """
    return frozen(copy.deepcopy(model))


def verify(model: nn.Module) -> None:
    """Raise RuntimeError when a frozen part of `model` is no longer what it was."""
    check_frozen(model)
