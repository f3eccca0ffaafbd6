"""DisWOT: which small network to distil from a teacher, told from random weights, without training any of them.

Dong, Li and Wei, "DisWOT: Student Architecture Search for Distillation WithOut Training", 2023 (arXiv:2303.15678).

The best network under plain training is not always the best student, and training every candidate is dear. A candidate S
is scored by how alike it and the teacher T answer one batch while both have random weights: in what the classes look for
in the channels, and in which examples are alike. With z = W g + b the logits of pooled features g,

    Q       = ∂ CE / ∂ W = (softmax(z) − onehot(y))ᵀ g / B                       the head's gradient; no pass back is needed
    M_k     = q_k q_kᵀ, rows to length 1, for every class k
    S_sem   = − Σ_k ‖M_k^T − M_k^S‖² / (K C)
    S_rel   = − ‖G_T − G_S‖² / B²,        G = F Fᵀ, rows to length 1, F the last map, flattened
    score   = S_sem + S_rel               as published; S_sem alone, or the sum of both ranks over the candidates

M_k has rank one: row i is sign(q_ki) q_k / ‖q_k‖, so that with u = q / ‖q‖ and n the number of entries that are not 0

    ‖M_k^T − M_k^S‖² = n_T + n_S − 2 (sign q_T · sign q_S) (u_T · u_S)

and no matrix is built. Scores of one initialisation are noisy; they are averaged over `inits`. Regularised evolution
proposes candidates. The same similarities of trained networks are losses (`similarity_loss`).

Shapes: g (B, C), z (B, K), Q (K, C), map (B, C, h, w), labels (B,).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tutelage.curricula.search import Evolution, rank_sum
from tutelage.errors import InputError
from tutelage.evaluation.cost import parameters
from tutelage.objectives.relation import similarity_preserving
from tutelage.students.space import Architecture, Space
from tutelage.training.seeding import seeded

LEAST_BATCH = 16
"""Examples below which the batch statistics of untrained networks say little."""


def semantic_gradient(logits: Tensor, pooled: Tensor, labels: Tensor) -> Tensor:
    """Q: the gradient of the mean cross-entropy with respect to the head's weights, (B, K), (B, C), (B,) → (K, C).

    >>> semantic_gradient(torch.zeros(1, 2), torch.tensor([[2.0, 4.0]]), torch.tensor([0])).tolist()
    [[-1.0, -2.0], [1.0, 2.0]]
    """
    wrong = logits.softmax(1) - F.one_hot(labels, logits.shape[1]).to(logits.dtype)
    return wrong.T @ pooled / len(pooled)


def semantic_similarity(student: Tensor, teacher: Tensor) -> Tensor:
    """S_sem of two head gradients: (K, C), (K, C) → scalar ≤ 0; 0 where every q_k is a multiple of the teacher's.

    Raises: InputError: classes or channels differ.

    >>> q = torch.tensor([[3.0, 4.0]])
    >>> round(semantic_similarity(-2 * q, q).item(), 5) + 0.0, semantic_similarity(torch.tensor([[4.0, -3.0]]), q).item()
    (0.0, -2.0)
    """
    if student.shape != teacher.shape:
        raise InputError(
            f"head gradients are (classes, channels) of one shape; the student has {tuple(student.shape)}, "
            f"the teacher {tuple(teacher.shape)}"
        )
    teacher = teacher.detach()
    cosine = (F.normalize(student, dim=1) * F.normalize(teacher, dim=1)).sum(1)
    signs = (student.sign() * teacher.sign()).sum(1)
    filled = ((student != 0).sum(1) + (teacher != 0).sum(1)).to(student.dtype)
    return -(filled - 2 * signs * cosine).sum() / student.numel()


def relation_similarity(student: Tensor, teacher: Tensor) -> Tensor:
    """S_rel of two last maps: (B, …), (B, …) → scalar ≤ 0; shapes behind the batch may differ."""
    return -similarity_preserving(student, teacher)


class Views(NamedTuple):
    """What the scores read of a network: its last map, the pooled features, and the logits."""

    map: Tensor
    pooled: Tensor
    logits: Tensor


Look = Callable[[nn.Module, Tensor], Views]


def look(network: nn.Module, images: Tensor) -> Views:
    """The views of a network with `map(x)` and a linear `head` that reads its mean, as `ResNet` and `SmallCnn` have.

    For others write one: with timm, `f = net.forward_features(x)`, `g = net.forward_head(f, pre_logits=True)`.

    Raises: InputError: a network without these, such as an `Mlp`, which has no map.
    """
    head = getattr(network, "head", None)
    if hasattr(network, "map") and isinstance(head, nn.Linear):
        last = network.map(images)  # type: ignore[operator]
        pooled = last.flatten(2).mean(2)
        if pooled.shape[1] == head.in_features:
            return Views(last, pooled, head(pooled))
    raise InputError(
        f"{type(network).__name__} has no map(x) with a linear head on its mean: say with look= how it is looked at, a "
        "function (network, images) → Views"
    )


def similarity_loss(student: Views, teacher: Views, labels: Tensor) -> Tensor:
    """− S_sem − S_rel of trained networks on a batch: a loss beside cross-entropy and distillation."""
    q, target = (semantic_gradient(v.logits, v.pooled, labels) for v in (student, teacher))
    return -semantic_similarity(q, target) - relation_similarity(student.map, teacher.map)


def initialise(network: nn.Module, seed: int, *path: str | int) -> nn.Module:
    """Random weights in place: Kaiming normal for convolutions and linear layers, biases 0; normalisation starts anew."""
    with seeded(seed, "init", *path):
        for module in network.modules():
            if isinstance(module, nn.Linear | nn.modules.conv._ConvNd):
                nn.init.kaiming_normal_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
            elif hasattr(module, "reset_parameters"):
                module.reset_parameters()  # type: ignore[operator]
    return network.train()


class Candidate(NamedTuple):
    """An architecture, its similarities (means over initialisations) and its size."""

    architecture: Architecture
    semantic: float
    relation: float
    parameters: int


class Found(NamedTuple):
    """The best architecture, and everything that was scored, best first."""

    best: Architecture
    table: tuple[Candidate, ...]


class DisWOT:
    """Score and search the students of a space for a teacher.

    Args:
        teacher: its architecture as a network; its weights are not used.
        space: makes the candidates; their classes and last width are the teacher's.
        inits: initialisations that are averaged; one alone ranks poorly.
        combine: "semantic" leaves the relations out, "rank" counts both alike, "sum" is as published.
        look: how map, pooled features and logits are read.

    Raises: InputError: inits < 1, another `combine`.
    """

    def __init__(
        self,
        teacher: nn.Module,
        space: Space,
        *,
        inits: int = 5,
        combine: Literal["semantic", "rank", "sum"] = "semantic",
        seed: int = 0,
        look: Look = look,
    ) -> None:
        if inits < 1 or combine not in {"rank", "sum", "semantic"}:
            raise InputError(f"need inits >= 1 and combine semantic, rank or sum; got {inits} and {combine!r}")
        self.teacher, self.space, self.inits, self.combine = copy.deepcopy(teacher), space, inits, combine
        self.seed, self.look = seed, look

    def scores(self, architectures: Sequence[Architecture], images: Tensor, labels: Tensor) -> list[Candidate]:
        """Similarities of candidates on one batch, in the order given; labels may be random.

        Raises: InputError: fewer than 16 images, labels that are not the teacher's classes, a candidate that does not fit.
        """
        if len(images) < LEAST_BATCH or labels.shape != images.shape[:1]:
            raise InputError(f"need one label an image and at least {LEAST_BATCH} of them; got {tuple(images.shape)}")
        drawn = [self._views(self.teacher, images, "teacher", init) for init in range(self.inits)]
        low, high, classes = int(labels.min()), int(labels.max()), drawn[0].logits.shape[1]
        if low < 0 or high >= classes:
            raise InputError(f"labels must be in [0, {classes}); found {low} to {high}")
        targets = [(semantic_gradient(t.logits, t.pooled, labels), t.map) for t in drawn]
        found = []
        for architecture in architectures:
            network = self._build(architecture)
            pairs = []
            for init, (gradient, last) in enumerate(targets):
                seen = self._views(network, images, str(architecture), init)
                q = semantic_gradient(seen.logits, seen.pooled, labels)
                pairs.append((semantic_similarity(q, gradient).item(), relation_similarity(seen.map, last).item()))
            semantic, relation = np.mean(pairs, axis=0).tolist()
            found.append(Candidate(architecture, semantic, relation, parameters(network)))
        return found

    def search(
        self,
        images: Tensor,
        labels: Tensor,
        *,
        max_parameters: int | None = None,
        evaluations: int = 1000,
        population: int = 50,
        tournament: int = 10,
    ) -> Found:
        """The best student of at most `max_parameters`, by evolution, or by scoring all where the space is small.

        Raises: InputError: no architecture is small enough.
        """
        fits = lambda a: max_parameters is None or parameters(self._build(a)) <= max_parameters
        if self.space.size <= evaluations:
            table = self.scores([a for a in self.space.enumerate() if fits(a)], images, labels)
        else:
            size = min(tournament, population)
            evolution = Evolution(self.space, population=population, tournament=size, seed=self.seed, accept=fits)
            table = []
            while len(table) < evaluations and (asked := evolution.ask(1)):
                table += (new := self.scores(asked, images, labels))
                evolution.tell(asked, [self._criteria(new[0])])
        if not table:
            raise InputError(f"no architecture of the space has at most {max_parameters} parameters")
        order = np.argsort(-rank_sum([self._criteria(c) for c in table]), kind="stable")
        return Found(table[order[0]].architecture, tuple(table[i] for i in order))

    def _build(self, architecture: Architecture) -> nn.Module:
        """The network; its weights are drawn again for every score, so that building leaves the generators alone."""
        with seeded(self.seed):
            return self.space.build(architecture)

    def _views(self, network: nn.Module, images: Tensor, *path: str | int) -> Views:
        """One pass from fresh weights, in training mode: untrained networks have no running statistics."""
        with torch.no_grad():
            return self.look(initialise(network, self.seed, *path), images)

    def _criteria(self, candidate: Candidate) -> tuple[float, ...]:
        both = (candidate.semantic, candidate.relation)
        return {"rank": both, "sum": (sum(both),), "semantic": both[:1]}[self.combine]
