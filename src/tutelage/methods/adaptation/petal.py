"""PETAL: lifelong test-time adaptation with a prior at the source model and a restoration by importance.

Brahma and Rai, "A Probabilistic Framework for Lifelong Test-Time Adaptation", 2023 (arXiv:2212.09713).

A deployed classifier meets an endless, changing stream without labels. A posterior over its weights, a Gaussian with
means m and variances v fitted while it was trained (`SwagDiagonal`), becomes the prior of the stream. Student θ, its
momentum teacher φ and the anchor θ_0 begin at m. For every batch x

    a    = mean_b max_k softmax(f(x; θ_0))
    ŷ    = mean over views of f(view(x); φ)   where a < tau,     else f(x; φ)                 logits; the answer
    L    = mean_b CE(softmax(ŷ), f(x; θ)) + weight · ½ Σ_j (θ_j − m_j)² / (v_j + damp)
    θ    ← one step of Adam on L;     g = ∇L
    φ    ← decay · φ + (1 − decay) · θ
    θ_j  ← θ_0j   for the share δ of the weights with the smallest Fisher information F_j = g_j²

so that the student follows its teacher, is held where its weights are known well, and gets back what the stream does not
need. Batch norm uses the statistics of the batch, and all weights learn. Without the prior and with a restoration at
random this is CoTTA (arXiv:2203.13591). The logits of the views are averaged, as in the authors' code, where the
paper's equation averages probabilities.

Shapes: x [B, …], logits [B, K]; mean and variance as the weights.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Literal, cast

import torch
from torch import Tensor, nn

from tutelage.data.photometric import check_pictures, gentle_view
from tutelage.errors import InputError
from tutelage.feedback.posterior import DiagonalGaussian
from tutelage.feedback.restoration import FisherRestore, Restore, put_back
from tutelage.objectives.divergence import soft_cross_entropy
from tutelage.objectives.stability import quadratic_penalty
from tutelage.teachers.frozen import frozen_copy
from tutelage.teachers.momentum import MomentumTeacher
from tutelage.training.at_test_time import batch_norms, check_batch, with_batch_statistics
from tutelage.training.checkpoint import Tree, load_optimizer_tree, optimizer_tree
from tutelage.training.seeding import child_seed
from tutelage.training.updates import total_loss

View = Callable[[Tensor, torch.Generator], Tensor]
"""Pictures and a generator → a random view of them."""


def confidence(logits: Tensor) -> Tensor:
    """a: the mean over the batch of the largest probability: [B, K] → scalar.

    >>> confidence(torch.tensor([[0.0, 0.0], [0.0, 100.0]]))
    tensor(0.7500)
    """
    return logits.softmax(-1).amax(-1).mean()


def averaged_views(model: nn.Module, x: Tensor, view: View, n: int, generator: torch.Generator) -> Tensor:
    """The mean of what a model says about n views, each a batch of its own: [B, …] → logits [B, K].

    >>> averaged_views(nn.Identity(), torch.ones(1, 2), lambda x, generator: 2 * x, 4, torch.Generator())
    tensor([[2., 2.]])
    """
    return torch.stack([model(view(x, generator)) for _ in range(n)]).mean(0)


class Petal:
    """Answers a stream batch by batch, and adapts to it.

    Args:
        model: the source model; it is copied. Weights that do not require a gradient stay as they are.
        posterior: m and v of its trainable weights; None: θ_0 is the model as it is, and there is no prior.
        weight: of the prior (λ); small, because 1 / (v + damp) is large. 0: no prior.
        damp: added to the variances.
        view, n_views: what the teacher is shown where the anchor is unsure, and how often; the default is for pictures.
        tau: confidence of the anchor from which on the teacher is asked once, about the batch itself.
        lr, decay: of the student and its teacher.
        restore: which weights go back after each step: `FisherRestore`, `StochasticRestore`, None for none.
        statistics: batch norm's: of each "batch", or the "source" model's running ones, for streams of single examples.
        seed: of views and restorations.

    Attributes: student, teacher, anchor; steps: batches so far; averaged: how many of them the teacher saw in views.

    Raises: InputError: settings out of range; a prior without a posterior, or with one that does not fit the model.

    >>> from tutelage.feedback.posterior import SwagDiagonal
    >>> model = nn.Sequential(nn.Linear(4, 6), nn.BatchNorm1d(6), nn.ReLU(), nn.Linear(6, 3)); swag = SwagDiagonal(model)
    >>> for _ in range(3): swag.collect()
    >>> petal = Petal(model, swag.posterior(), view=lambda x, generator: x + 0.01, n_views=2)
    >>> petal.step(torch.randn(8, 4)).shape, petal.steps
    (torch.Size([8, 3]), 1)
    """

    def __init__(
        self,
        model: nn.Module,
        posterior: DiagonalGaussian | None = None,
        *,
        weight: float = 1e-9,
        damp: float = 1e-6,
        view: View = gentle_view,
        n_views: int = 32,
        tau: float = 0.92,
        lr: float = 1e-3,
        decay: float = 0.999,
        restore: Restore | None = FisherRestore(),
        statistics: Literal["batch", "source"] = "batch",
        seed: int = 0,
    ) -> None:
        if weight < 0 or lr <= 0 or n_views < 1 or not 0 <= tau <= 1 or statistics not in ("batch", "source"):
            raise InputError(
                f"need weight >= 0, lr > 0, n_views >= 1, tau in [0, 1], statistics 'batch' or 'source'; "
                f"got {weight}, {lr}, {n_views}, {tau}, {statistics!r}"
            )
        if posterior is None and weight:
            raise InputError("a prior needs a posterior of the source model (SwagDiagonal); without one set weight=0")
        begun = model if posterior is None else posterior.at_mean(model)
        measured = statistics == "batch" and batch_norms(begun)
        self.student = with_batch_statistics(begun) if measured else copy.deepcopy(begun).eval()
        self.learnt = {name: p for name, p in self.student.named_parameters() if p.requires_grad}
        if not self.learnt:
            raise InputError("no weight of the model requires a gradient: nothing to adapt")
        if posterior is not None and posterior.mean.keys() != self.learnt.keys():
            different = sorted(posterior.mean.keys() ^ self.learnt.keys())
            raise InputError(
                f"the posterior covers other weights than those that learn: '{different[0]}' is on one side"
            )
        self.teacher = MomentumTeacher(self.student, decay, warmup=False, buffers="keep")
        self.anchor = frozen_copy(self.student)
        held = dict(self.anchor.named_parameters())
        self.source = {name: held[name].detach() for name in self.learnt}
        self.precision = posterior.precision(damp) if posterior is not None and weight else None
        self.weight, self.view, self.n_views, self.tau, self.restore = weight, view, n_views, tau, restore
        self.optimizer = torch.optim.Adam(self.learnt.values(), lr=lr)
        device = next(iter(self.learnt.values())).device
        self.generators = {
            name: torch.Generator(device).manual_seed(child_seed(seed, name)) for name in ("view", "restore")
        }  # two, so that another rule of restoration sees the same views
        self.steps = self.averaged = 0
        self._begun = copy.deepcopy(self.state())

    @torch.no_grad()
    def ask(self, x: Tensor) -> Tensor:
        """ŷ: what the teacher says about a batch, in views where the anchor is unsure: [B, …] → [B, K]."""
        if confidence(self.anchor(x)) >= self.tau:
            return self.teacher(x)
        self.averaged += 1
        return averaged_views(self.teacher, x, self.view, self.n_views, self.generators["view"])

    def losses(self, x: Tensor, said: Tensor) -> dict[str, Tensor]:
        """The student's cost of not saying the same, and of leaving the prior's mean."""
        parts = {"consistency": soft_cross_entropy(self.student(x), said.softmax(-1))}
        if self.precision is not None:
            parts["prior"] = self.weight * quadratic_penalty(self.learnt, self.source, self.precision)
        return parts

    def step(self, x: Tensor) -> Tensor:
        """Answer a batch, then learn from it: [B, …] → logits [B, K].

        Raises: InputError: a batch without statistics, no pictures for the default view; FloatingPointError: a loss part is
            not finite.
        """
        check_batch(x, self.student)
        if self.view is gentle_view and self.tau > 0:  # the first batch already, not the first one that needs views
            check_pictures(x)
        said = self.ask(x)
        self.optimizer.zero_grad()
        total_loss(self.losses(x, said)).backward()
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in self.learnt.values()]
        self.optimizer.step()
        self.teacher.update(self.student)
        if self.restore is not None:
            masks = self.restore(gradients, self.generators["restore"])
            put_back(list(self.learnt.values()), list(self.source.values()), masks)
        self.steps += 1
        return said

    def reset(self) -> None:
        """Forget the stream: everything as it was at the start."""
        self.load_state(self._begun)

    def state(self) -> Tree:
        """What has been learnt, as a tree for `save_tree`; a `Petal` made alike goes on from it to the same bits."""
        return {
            "student": self.student.state_dict(),
            "teacher": self.teacher.state_dict(),
            "optimizer": optimizer_tree(self.optimizer),
            "generators": {name: generator.get_state() for name, generator in self.generators.items()},
            "counts": [self.steps, self.averaged],
        }

    def load_state(self, state: Tree) -> None:
        """Take back what `state` returned."""
        assert isinstance(state, Mapping)
        self.student.load_state_dict(state["student"])  # type: ignore[arg-type]
        self.teacher.load_state_dict(state["teacher"])  # type: ignore[arg-type]
        load_optimizer_tree(self.optimizer, copy.deepcopy(state["optimizer"]))
        for name, held in cast("dict[str, Tensor]", state["generators"]).items():
            self.generators[name].set_state(held)
        self.steps, self.averaged = cast("list[int]", state["counts"])
