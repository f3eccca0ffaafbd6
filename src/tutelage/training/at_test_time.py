"""Test-time adaptation: models that change while they answer, and what they are compared with.

    Fixed                  answers, learns nothing: the source model; with batch statistics, "BN adaptation"
    Tent                   minimises the entropy of its answers through scale and shift of batch norm

Wang et al., "Tent: Fully Test-Time Adaptation by Entropy Minimization", 2021 (arXiv:2006.10726). An adapter's `step(x)`
answers first and learns then, so that what it says about a batch never depends on having learnt from it.
"""

from __future__ import annotations

import copy
from typing import Protocol, TypeVar

import torch
from torch import Tensor, nn

from tutelage.errors import InputError
from tutelage.objectives.entropy import prediction_entropy
from tutelage.training.updates import total_loss

M = TypeVar("M", bound=nn.Module)
BatchNorm = nn.modules.batchnorm._BatchNorm


class OnlineAdapter(Protocol):
    """A model on a stream: one batch in, its logits out, and then perhaps an update."""

    def step(self, x: Tensor) -> Tensor:
        """[B, …] → logits [B, K], as they were before the update on this batch."""
        ...


def batch_norms(model: nn.Module) -> list[BatchNorm]:
    """The batch norm layers of a model."""
    return [part for part in model.modules() if isinstance(part, BatchNorm)]


def with_batch_statistics(model: M) -> M:
    """A copy in evaluation mode whose batch norm layers measure each batch anew and remember nothing.

    Raises: InputError: a model without batch norm.

    >>> net = with_batch_statistics(nn.Sequential(nn.BatchNorm1d(1)))
    >>> net(torch.tensor([[9.0], [11.0]])).round().flatten().tolist()
    [-1.0, 1.0]
    """
    copied = copy.deepcopy(model).eval()
    if not batch_norms(copied):
        raise InputError(f"{type(model).__name__} has no batch norm, so it cannot use the statistics of a batch")
    for part in batch_norms(copied):
        part.track_running_stats = False
        part.running_mean = part.running_var = part.num_batches_tracked = None
    return copied


def check_batch(x: Tensor, model: nn.Module) -> None:
    """Refuse a batch from which no statistics can be taken.

    Raises: InputError: no example, or a single one where `model` measures its batches.
    """
    measured = any(part.running_mean is None for part in batch_norms(model))
    if len(x) < (2 if measured else 1):
        raise InputError(
            f"a batch of {len(x)} has no statistics: gather more examples, or keep the source's statistics"
        )


class Fixed:
    """Answers and learns nothing.

    >>> Fixed(nn.Identity()).step(torch.tensor([[1.0, 0.0]]))
    tensor([[1., 0.]])
    """

    def __init__(self, model: nn.Module) -> None:
        self.model = copy.deepcopy(model).eval()

    @torch.no_grad()
    def step(self, x: Tensor) -> Tensor:
        """What the model says."""
        check_batch(x, self.model)
        return self.model(x)


class Tent:
    """Entropy minimisation: one Adam step a batch on scale and shift of batch norm, all else frozen.

    Raises: InputError: a model without batch norm that has scale and shift.

    >>> tent = Tent(nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3)), lr=0.1)
    >>> x = torch.randn(8, 2); before = tent.step(x)
    >>> bool(prediction_entropy(tent.step(x)).mean() < prediction_entropy(before).mean())
    True
    """

    def __init__(self, model: nn.Module, *, lr: float = 1e-3) -> None:
        self.model = with_batch_statistics(model).requires_grad_(False)
        learnt = [p.requires_grad_() for part in batch_norms(self.model) for p in part.parameters()]
        if not learnt:
            raise InputError("none of the batch norm layers has scale and shift: nothing to learn")
        self.optimizer = torch.optim.Adam(learnt, lr=lr)

    def step(self, x: Tensor) -> Tensor:
        """What the model says; then it becomes surer of it."""
        check_batch(x, self.model)
        logits = self.model(x)
        self.optimizer.zero_grad()
        total_loss({"entropy": prediction_entropy(logits).mean()}).backward()
        self.optimizer.step()
        return logits.detach()
