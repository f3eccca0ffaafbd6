"""A Gaussian over weights from one training run: SWAG with a diagonal covariance.

Maddox et al., "A Simple Baseline for Bayesian Uncertainty in Deep Learning", 2019 (arXiv:1902.02476). While a trained model
is trained on with a constant, rather high learning rate, it wanders about its optimum. Of the snapshots θ_1 … θ_n

    m = mean_i θ_i          v = mean_i (θ_i − m)²

are mean and variance of a Gaussian: weights that hardly move are known well, weights that move freely are not. The moments
are kept by Welford's recurrence, so that v never comes out negative where m² is large and v small.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, cast

import torch
from torch import Tensor, nn

from tutelage.errors import InputError
from tutelage.training.callbacks import Callback
from tutelage.training.checkpoint import Tree

if TYPE_CHECKING:
    from tutelage.training.run import Run

M = TypeVar("M", bound=nn.Module)


@dataclass(frozen=True)
class DiagonalGaussian:
    """Mean and variance of every trainable weight, by name. `save_tree({"mean": …, "var": …})` keeps it in a file.

    >>> posterior = DiagonalGaussian({"weight": torch.tensor([[2.0]])}, {"weight": torch.tensor([[0.25]])})
    >>> posterior.precision(damp=0.25)
    {'weight': tensor([[2.]])}
    """

    mean: Mapping[str, Tensor]
    var: Mapping[str, Tensor]

    def precision(self, damp: float = 1e-6) -> dict[str, Tensor]:
        """1 / (v + damp). Raises: InputError: a damp that is not positive."""
        if damp <= 0:
            raise InputError(f"damp must be positive, for some variances are 0; got {damp}")
        return {name: 1 / (var + damp) for name, var in self.var.items()}

    def at_mean(self, model: M) -> M:
        """A copy of the model with its weights at m; statistics of batch norm are still the old ones (`update_bn`).

        Raises: InputError: a name or shape that the model does not have.
        """
        moved = copy.deepcopy(model)
        own = dict(moved.named_parameters())
        for name, value in self.mean.items():
            if name not in own or own[name].shape != value.shape:
                has = tuple(own[name].shape) if name in own else "no such weight"
                raise InputError(f"the posterior's '{name}' {tuple(value.shape)} does not fit the model: {has}")
            with torch.no_grad():
                own[name].copy_(value)
        return moved


class SwagDiagonal(Callback):
    """Collects snapshots of a model while it trains on; a callback of `fit`, or call `collect()` yourself.

    Args: model: what is trained; every: steps from one snapshot to the next; after: steps before the first one counts.

    Attributes: count: snapshots so far.

    Raises: InputError: every below 1, a negative `after`, a model without trainable weights.

    >>> layer = nn.Linear(1, 1, bias=False); swag = SwagDiagonal(layer)
    >>> for value in (1.0, 3.0):
    ...     _ = nn.init.constant_(layer.weight, value); swag.collect()
    >>> swag.posterior().mean, swag.posterior().var
    ({'weight': tensor([[2.]])}, {'weight': tensor([[1.]])})
    """

    def __init__(self, model: nn.Module, *, every: int = 1, after: int = 0) -> None:
        if every < 1 or after < 0:
            raise InputError(f"need every >= 1 and after >= 0 steps; got {every} and {after}")
        self.model, self.every, self.after = model, every, after
        self.count = 0
        self._mean = {n: torch.zeros_like(p) for n, p in model.named_parameters() if p.requires_grad}
        self._squares = {name: torch.zeros_like(value) for name, value in self._mean.items()}
        if not self._mean:
            raise InputError("the model has no weight that is trained, so its weights have no posterior")

    @torch.no_grad()
    def collect(self) -> None:
        """Take in the model as it is now."""
        self.count += 1
        now = dict(self.model.named_parameters())
        for name, mean in self._mean.items():
            gap = now[name].to(mean.device) - mean
            mean += gap / self.count
            self._squares[name] += gap * (now[name].to(mean.device) - mean)

    def posterior(self) -> DiagonalGaussian:
        """What the snapshots say. Raises: InputError: fewer than two of them."""
        if self.count < 2:
            raise InputError(f"a variance needs two snapshots, better ten or more; there are {self.count}")
        var = {name: (squares / self.count).clamp(min=0) for name, squares in self._squares.items()}
        return DiagonalGaussian({name: mean.clone() for name, mean in self._mean.items()}, var)

    def after_step(self, run: Run) -> None:
        step = run.progress.step
        if step > self.after and (step - self.after) % self.every == 0:
            self.collect()

    def state(self) -> Tree:
        return {"count": self.count, "mean": self._mean, "squares": self._squares}

    def load_state(self, state: Tree) -> None:
        held = cast("dict[str, dict[str, Tensor]]", state)
        self.count = cast("int", held["count"])
        self._mean, self._squares = dict(held["mean"]), dict(held["squares"])
