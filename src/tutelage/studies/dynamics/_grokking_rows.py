"""Many `PairMlp` as one: R runs of full-batch training, each with its own mask and weight decay, until each has generalised.

The same as `train_to_generalise` on each (a row alone gives the same accuracies), but a step of all rows is one of a few
matrix products, and a row that is done leaves the stack, so that the others go faster.

Shapes: weights {name: [R, …]}, masks {name: [R, …]}, x [R, n, 2], y [R, n].
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import torch
from torch import Tensor
from torch.nn import functional as F

from tutelage.methods.dynamics.grokking_tickets import GENERALISED, MEMORISED

NAMES = ("E", "I", "O", "U")
State = dict[str, Tensor]


@dataclass(frozen=True)
class Training:
    """How long and how fast; `every` steps the accuracies are taken, and a row ends `patience` steps after it generalised."""

    steps: int = 8000
    every: int = 25
    patience: int = 200
    lr: float = 3e-3


@dataclass
class Row:
    """One run: its start, its questions, and what became of it.

    Attributes: memorised, generalised: steps, None where it did not; best: highest test accuracy; at_memory: weights at
        `memorised`; final: weights at the end; spent: steps until the row ended.
    """

    initial: State
    train: Mapping[str, Tensor]
    test: Mapping[str, Tensor]
    mask: State | None = None
    decay: float = 1.0
    memorised: int | None = None
    generalised: int | None = None
    best: float = 0.0
    at_memory: State = field(default_factory=dict)
    final: State = field(default_factory=dict)
    spent: int = 0


@dataclass
class _Stack:
    """Rows as tensors: weights, moments, masks and questions, each with the rows first."""

    weights: list[Tensor]
    first: list[Tensor]
    second: list[Tensor]
    masks: list[Tensor]
    decay: Tensor
    train: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]

    def keep(self, which: list[int]) -> _Stack:
        """Only these rows."""
        weights, first, second, masks = (
            [tensor.detach()[which] for tensor in held] for held in (self.weights, self.first, self.second, self.masks)
        )
        (x, y), (tx, ty) = self.train, self.test
        return _Stack(weights, first, second, masks, self.decay[which], (x[which], y[which]), (tx[which], ty[which]))

    def logits(self, pairs: Tensor) -> Tensor:
        """Which numbers a question holds, [R, n, p], → [R, n, p]."""
        e, i, o, u = (weight * mask for weight, mask in zip(self.weights, self.masks, strict=True))
        return (pairs @ (e @ i)).relu() @ (o @ u)


def grow(rows: Sequence[Row], training: Training) -> None:
    """Train all rows; what became of them is written into them."""
    stack, alive = _stacked(rows), list(range(len(rows)))
    for step in range(1, training.steps + 1):
        _step(stack, step, training.lr)
        if step % training.every and step != training.steps:
            continue
        going = []
        for place, (number, known, understood) in enumerate(zip(alive, *_accuracies(stack), strict=True)):
            row = rows[number]
            row.best, row.spent = max(row.best, understood), step
            if row.memorised is None and known >= MEMORISED:
                row.memorised, row.at_memory = step, _state(stack, place)
            if row.generalised is None and understood >= GENERALISED:
                row.generalised = step
            if step == training.steps or (row.generalised is not None and step >= row.generalised + training.patience):
                row.final = _state(stack, place)
            else:
                going.append(place)
        if not going:
            break
        if len(going) < len(alive):
            stack, alive = stack.keep(going), [alive[place] for place in going]


def _stacked(rows: Sequence[Row]) -> _Stack:
    weights = [torch.stack([row.initial[name] for row in rows]) for name in NAMES]
    ones = {name: torch.ones_like(rows[0].initial[name]) for name in NAMES}
    masks = [torch.stack([(row.mask or ones)[name].to(weights[0].dtype) for row in rows]) for name in NAMES]
    p = rows[0].initial["E"].shape[0]
    train, test = (
        (torch.stack([two_hot(part["x"], p) for part in parts]), torch.stack([part["y"] for part in parts]))
        for parts in ([row.train for row in rows], [row.test for row in rows])
    )
    first, second = ([torch.zeros_like(weight) for weight in weights] for _ in range(2))
    decay = torch.tensor([row.decay for row in rows]).view(-1, 1, 1)
    return _Stack(weights, first, second, masks, decay, train, test)


def two_hot(pairs: Tensor, p: int) -> Tensor:
    """Which numbers a question holds: [n, 2] → [n, p], a 2 where both are one.

    >>> two_hot(torch.tensor([[0, 2], [1, 1]]), 3).tolist()
    [[1.0, 0.0, 1.0], [0.0, 2.0, 0.0]]
    """
    return F.one_hot(pairs, p).sum(1).float()


def _step(stack: _Stack, step: int, lr: float, betas: tuple[float, float] = (0.9, 0.98)) -> None:
    """AdamW on every row."""
    for weight in stack.weights:
        weight.requires_grad_()
    pairs, y = stack.train
    each = F.cross_entropy(stack.logits(pairs).double().flatten(0, 1), y.flatten(), reduction="sum") / y.shape[1]
    gradients = torch.autograd.grad(each, stack.weights)
    with torch.no_grad():
        for weight, gradient, first, second in zip(stack.weights, gradients, stack.first, stack.second, strict=True):
            first.lerp_(gradient, 1 - betas[0])
            second.mul_(betas[1]).addcmul_(gradient, gradient, value=1 - betas[1])
            root = (second / (1 - betas[1] ** step)).sqrt_().add_(1e-8)
            weight.mul_(1 - lr * stack.decay).addcdiv_(first, root, value=-lr / (1 - betas[0] ** step))


@torch.no_grad()
def _accuracies(stack: _Stack) -> tuple[list[float], list[float]]:
    shares = [(stack.logits(pairs).argmax(-1) == y).float().mean(1).tolist() for pairs, y in (stack.train, stack.test)]
    return shares[0], shares[1]


def _state(stack: _Stack, place: int) -> State:
    return {name: weight[place].detach().clone() for name, weight in zip(NAMES, stack.weights, strict=True)}
