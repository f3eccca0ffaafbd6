"""Batches: where a run's data comes from, in an order that a seed decides and a resumed run repeats.

A tensor data set of a few thousand rows is faster indexed a batch at a time than collated row by row, and its order
can be a pure function of (seed, epoch): that is `Batches`. A `DataLoader` of the user's own works too; then its
workers, sampler and collation are used as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, IterableDataset

from tutelage.data.indexed import IndexedDataset, as_example
from tutelage.errors import InputError
from tutelage.training.lesson import Batch
from tutelage.training.seeding import child_seed, random_state, set_random_state

Data = DataLoader | Dataset | Mapping[str, Tensor] | tuple[Tensor, ...] | Iterable
"""A DataLoader, a map-style data set, a mapping of tensors, a tuple of tensors (x, y), or an iterable of batches."""


def epoch_order(size: int, seed: int, epoch: int) -> Tensor:
    """The order of examples in an epoch: a permutation of `size`, a function of seed and epoch alone.

    >>> torch.equal(epoch_order(5, seed=0, epoch=1), epoch_order(5, seed=0, epoch=1))
    True
    """
    return torch.randperm(size, generator=torch.Generator().manual_seed(child_seed(seed, "order", epoch)))


def step_order(size: int, batch_size: int, steps: int, seed: int) -> Tensor:
    """The index of every example of every step: (steps, batch_size), the order that `fit` takes with the same seed.

    Ragged ends of epochs are dropped, so that all steps have one shape.

    >>> step_order(4, 2, 4, seed=0).shape
    torch.Size([4, 2])
    """
    per_epoch = size // batch_size
    if not per_epoch:
        raise InputError(f"a batch of {batch_size} is larger than the data set ({size})")
    epochs = -(-steps // per_epoch)
    rows = [epoch_order(size, seed, epoch)[: per_epoch * batch_size].view(per_epoch, -1) for epoch in range(epochs)]
    return torch.cat(rows)[:steps]


class Batches:
    """Shuffled batches of an indexed data set. Several processes take equal shares of each batch, in order.

    Args: batch_size: examples a step over all processes; drop_last: leave out a last batch that is too small.
    """

    def __init__(
        self,
        data: IndexedDataset,
        batch_size: int,
        *,
        seed: int = 0,
        shuffle: bool = True,
        drop_last: bool = False,
        process: int = 0,
        processes: int = 1,
    ) -> None:
        if batch_size < 1 or batch_size % processes:
            raise InputError(f"batch_size must be a positive multiple of the {processes} processes; got {batch_size}")
        self.data, self.batch_size, self.seed, self.shuffle = data, batch_size, seed, shuffle
        self.process, self.processes = process, processes
        self.length = len(data) // batch_size if drop_last else -(-len(data) // batch_size)
        if not self.length:
            raise InputError(f"no full batch: {len(data)} examples, batch_size {batch_size}, drop_last")

    def __len__(self) -> int:
        return self.length

    def random_state(self) -> dict[str, Tensor]:
        """Nothing: the order is a function of seed and epoch."""
        return {}

    def set_random_state(self, state: dict[str, Tensor]) -> None:
        """Nothing to put back."""

    def epoch(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from number `first` on."""
        size = len(self.data)
        order = epoch_order(size, self.seed, epoch) if self.shuffle else torch.arange(size)
        for index in order.split(self.batch_size)[first : self.length]:
            if self.processes > 1:
                missing = -len(index) % self.processes
                index = torch.cat([index, order[:missing]])[self.process :: self.processes]
            yield self.data.batch(index)


class Loader:
    """A DataLoader, or any iterable of batches, with the same face as `Batches`."""

    def __init__(self, loader: Data) -> None:
        if not isinstance(loader, Iterable):
            raise InputError(f"cannot take batches from a {type(loader).__name__}")
        self.loader: Iterable = loader

    def __len__(self) -> int:
        return len(self.loader)  # type: ignore[arg-type]

    def random_state(self) -> dict[str, Tensor]:
        """What decides the loader's next epoch: the global generators and its own, where it has one."""
        return random_state() | ({} if self._generator is None else {"loader": self._generator.get_state()})

    def set_random_state(self, state: dict[str, Tensor]) -> None:
        """Put back what `random_state` returned."""
        set_random_state(state)
        if self._generator is not None and "loader" in state:
            self._generator.set_state(state["loader"])

    def epoch(self, epoch: int, first: int = 0) -> Iterator[Batch]:
        """The batches of an epoch from number `first` on; the ones before are drawn and dropped at once."""
        if hasattr(self.loader, "set_epoch"):
            self.loader.set_epoch(epoch)  # type: ignore[attr-defined]
        batches = iter(self.loader)
        for _ in range(first):
            next(batches)
        return map(as_example, batches)

    @property
    def _generator(self) -> torch.Generator | None:
        sampler = getattr(self.loader, "sampler", None)
        return getattr(self.loader, "generator", None) or getattr(sampler, "generator", None)


def as_indexed(data: Data) -> IndexedDataset | None:
    """The data set behind `data`, or None where only its loader knows how to make batches."""
    if isinstance(data, IndexedDataset):
        return data
    if isinstance(data, DataLoader | IterableDataset) or not hasattr(data, "__getitem__"):
        return None
    return IndexedDataset(cast("Dataset | Mapping[str, Tensor]", data))
