"""What the studies with small networks share: many runs as rows of one stack, each on its own data, and their figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tutelage.evaluation.calibration import aurc, decisions, ece, nll
from tutelage.training import (
    Batch,
    Progress,
    Schedule,
    StackedFit,
    StackedResult,
    one_cycle,
    seeded,
    step_order,
)
from tutelage.training.stacked import RowLosses


def network(make: Callable[[], nn.Module], seed: int) -> nn.Module:
    """The network of a seed: all arms of the seed start from these weights."""
    with seeded(seed, "init"):
        return make()


def fit_rows(
    modules: Sequence[nn.Module],
    data: Sequence[Mapping[str, Tensor]],
    losses: RowLosses,
    *,
    seeds: Sequence[int],
    steps: int,
    batch: int,
    lr: float | Sequence[float],
    weight_decay: float = 1e-2,
    schedule: Schedule | float = one_cycle(),
    after_step: Callable[[StackedFit, Tensor, Batch, Progress], None] | None = None,
) -> tuple[StackedFit, StackedResult]:
    """Train R modules at once, row r on its own columns `data[r]` (N_r, …) in the batches that `fit(seed=seeds[r])` would see.

    The shorter rows are padded with zeros that no batch ever reads. `after_step` sees the stack first, and then what
    `StackedFit.fit` shows.
    """
    longest = max(len(row["x"]) for row in data)
    own = {name: torch.stack([padded(row[name], longest) for row in data]) for name in data[0]}
    order = torch.stack([step_order(len(row["x"]), batch, steps, seed) for row, seed in zip(data, seeds, strict=True)])
    runs = StackedFit(modules, losses, lr=lr, weight_decay=weight_decay, schedule=schedule)
    follow = None if after_step is None else partial(after_step, runs)
    return runs, runs.fit({}, order, own=own, after_step=follow)


def padded(column: Tensor, length: int) -> Tensor:
    """[N, …] → [length, …], zeros at the end.

    >>> padded(torch.ones(1, 2), 2).tolist()
    [[1.0, 1.0], [0.0, 0.0]]
    """
    return torch.cat([column, column.new_zeros(length - len(column), *column.shape[1:])])


def smoothed(y: Tensor, share: float, classes: int) -> Tensor:
    """Labels [N] with `share` spread over all classes: [N, K].

    >>> smoothed(torch.tensor([0]), 0.1, 2)
    tensor([[0.9500, 0.0500]])
    """
    return (1 - share) * F.one_hot(y, classes).float() + share / classes


def figures(logits: Tensor, y: Tensor) -> dict[str, float]:
    """Accuracy, NLL, ECE and AURC of logits (N, K).

    >>> figures(torch.tensor([[9.0, 0.0], [9.0, 0.0]]), torch.tensor([0, 1]))["accuracy"]
    0.5
    """
    probs, gold = logits.double().softmax(-1).numpy(), y.numpy()
    confidence, hit = decisions(probs, gold)
    return {
        "accuracy": float(hit.mean()),
        "NLL": nll(probs, gold),
        "ECE": ece(probs, gold),
        "AURC": aurc(confidence, hit),
    }
