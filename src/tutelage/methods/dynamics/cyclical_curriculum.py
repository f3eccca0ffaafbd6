"""Cyclical curriculum learning (CCL): the part of the data in use grows and shrinks in cycles, easy examples first.

Kesgin and Amasyali, "Cyclical Curriculum Learning", 2023 (arXiv:2202.05531).

A curriculum that only grows, or only shrinks, helps on some data and hurts on others. CCL goes back and forth: in phase t
a share S_t of the N examples is used, once,

    S = 1/4, 1/2, 1, 1/2, 1/4, 1/2, 1, …        Σ_t S_t = T

and which examples these are is drawn without replacement, with probabilities proportional to an easiness score

    s_i = p(y_i | x_i) + floor

that a model trained the plain way (the teacher: an earlier self) gave at its best validation step. Examples with wrong
labels have low scores and are seen less often. Optimiser and learning rate go on from phase to phase, and the whole costs
the presentations of T plain epochs (and the earlier run).

The learner does not notice: an epoch of `CyclicalSampler` is N presentations, whatever phases they come from, so that
validation, schedules and checkpoints happen as often as without a curriculum. (More checkpoints would flatter whoever
chooses the best of them.)

Shapes: scores [N]; sizes: shares in (0, 1], one a phase (`tutelage.curricula.pacing`).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from tutelage.curricula.difficulty import checked_scores, weighted_subset
from tutelage.curricula.pacing import phase_counts
from tutelage.errors import InputError
from tutelage.training import child_seed
from tutelage.training.batches import as_indexed


def phase_indices(scores: Tensor, count: int, seed: int, phase: int) -> Tensor:
    """The examples of a phase in the order of their presentation: [N] → [count], a function of seed and phase alone.

    >>> phase_indices(torch.ones(4), 4, seed=0, phase=2).sort().values
    tensor([0, 1, 2, 3])
    """
    return weighted_subset(scores, count, torch.Generator().manual_seed(child_seed(seed, "order", phase)))


def presentations(scores: Tensor, sizes: Sequence[float], seed: int, first: int, last: int) -> Tensor:
    """The examples that are presented as number `first` to `last` (excluded) of the whole curriculum: → [last − first].

    Only the phases that reach into this stretch are drawn.

    Raises: InputError: sizes that are no shares, or that end before `last`.

    >>> stream = presentations(torch.ones(4), [0.5, 1.0, 0.5], seed=0, first=0, last=8)
    >>> stream[2:6].sort().values, torch.equal(presentations(torch.ones(4), [0.5, 1.0, 0.5], 0, 3, 8), stream[3:])
    (tensor([0, 1, 2, 3]), True)
    """
    counts = phase_counts(sizes, len(scores))
    ends = list(accumulate(counts))
    if not 0 <= first < last <= ends[-1]:
        raise InputError(f"the curriculum has {ends[-1]} presentations; asked for those from {first} to {last}")
    pieces = []
    for phase, (count, end) in enumerate(zip(counts, ends, strict=True)):
        begin = end - count
        if begin < last and end > first:
            drawn = phase_indices(scores, count, seed, phase)
            pieces.append(drawn[max(first - begin, 0) : last - begin])
    return torch.cat(pieces)


class CyclicalSampler(Sampler[int]):
    """The curriculum as a sampler for any `DataLoader`: an epoch is N presentations, cut from the stream of phases.

    Every pass goes on where the last one ended; `set_epoch`, which Accelerate and Hugging Face's `Trainer` call, goes to
    an epoch directly.

    Args:
        scores: [N], larger for examples that should come earlier; equal ones give cycles without a curriculum.
        sizes: share of the data in each phase; they add up to at least as many epochs as will be trained.
        seed: of the draws.

    Attributes: epochs: how many the sizes pay for.

    Raises: InputError: scores or sizes that cannot be drawn by, or an epoch that the sizes do not pay for.

    >>> from tutelage.curricula.pacing import cycle_sizes
    >>> sampler = CyclicalSampler(torch.tensor([9.0, 9.0, 9.0, 1.0]), cycle_sizes(0.5, 1.0, 0.5, budget=3))
    >>> len(sampler), sampler.epochs, len(list(sampler)), sampler.epoch
    (4, 3, 4, 1)
    """

    def __init__(self, scores: Tensor, sizes: Sequence[float], *, seed: int = 0) -> None:
        self.scores, self.sizes, self.seed, self.epoch = checked_scores(scores).cpu(), tuple(sizes), seed, 0
        self.epochs = sum(phase_counts(self.sizes, len(self.scores))) // len(self.scores)
        if not self.epochs:
            raise InputError(f"the sizes add up to {sum(self.sizes):g}: less than one epoch")

    def __len__(self) -> int:
        return len(self.scores)

    def set_epoch(self, epoch: int) -> None:
        """The next pass is this epoch's (from 0)."""
        self.epoch = epoch

    def indices(self, epoch: int) -> Tensor:
        """The examples of an epoch in order: [N]."""
        if not 0 <= epoch < self.epochs:
            raise InputError(
                f"the sizes pay for {self.epochs} epochs and this is number {epoch + 1}: plan with budget = epochs"
            )
        return presentations(self.scores, self.sizes, self.seed, epoch * len(self), (epoch + 1) * len(self))

    def __iter__(self) -> Iterator[int]:
        drawn = self.indices(self.epoch).tolist()
        self.epoch += 1
        return iter(drawn)


class CyclicalLoader(DataLoader):
    """The curriculum as `fit` takes it: batches of `data`, and a run that resumes in the right phase.

    Args:
        data: a map-style data set, tensors (x, y) or a mapping of tensors.
        scores, sizes, seed: as for `CyclicalSampler`; one score for each example.
        batch_size: the last batch of an epoch may be smaller.
        workers: processes that load examples.

    Raises: InputError: data without numbers, or with another number of examples than scores.

    >>> from tutelage.curricula.pacing import cycle_sizes
    >>> from tutelage.training import Supervised, fit
    >>> x = torch.randn(64, 2, generator=torch.Generator().manual_seed(0)); y = (x[:, 0] > 0).long()
    >>> loader = CyclicalLoader((x, y), torch.ones(64), cycle_sizes(budget=20))
    >>> history = fit(Supervised(torch.nn.Linear(2, 2)), loader, epochs=20, lr=0.1)
    >>> history["loss"][-1] < 0.3, history["step"][-1]
    (True, 40)
    """

    def __init__(
        self,
        data: Dataset | Mapping[str, Tensor] | tuple[Tensor, ...],
        scores: Tensor,
        sizes: Sequence[float],
        *,
        batch_size: int = 32,
        seed: int = 0,
        workers: int = 0,
    ) -> None:
        indexed = as_indexed(data)
        if indexed is None:
            raise InputError(f"a curriculum draws examples by number: a {type(data).__name__} has none")
        self.curriculum = CyclicalSampler(scores, sizes, seed=seed)
        if len(indexed) != len(self.curriculum):
            raise InputError(f"need one score an example; got {len(self.curriculum)} for {len(indexed)} examples")
        super().__init__(indexed, batch_size=batch_size, sampler=self.curriculum, num_workers=workers)

    def set_epoch(self, epoch: int) -> None:
        """The next pass is this epoch's (from 0)."""
        self.curriculum.set_epoch(epoch)
