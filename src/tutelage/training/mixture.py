"""Batches from several data sets, in the shares that a `MixtureSampler` deals out.

An epoch is an interval of so many steps, and is planned when it begins: between intervals a callback may set other
weights. A checkpoint of `fit` inside an interval goes on to the same batches once the sampler has its state of the
interval's beginning, for the sampler moves on only when the interval is over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

import torch
from torch import Tensor
from torch.utils.data import Dataset, Subset

from tutelage.curricula.mixture import MixtureSampler
from tutelage.data.indexed import IndexedDataset
from tutelage.errors import InputError
from tutelage.training.lesson import Batch

Source = Dataset | Mapping[str, Tensor] | tuple[Tensor, ...]
"""A map-style data set, or tensors of one length."""


def hold_out(sources: Mapping[str, Source], n: int) -> tuple[dict[str, Source], dict[str, Source]]:
    """Each source without its first n rows, and these rows.

    Raises: InputError: n < 1, or a source of n rows or fewer.

    >>> rest, held = hold_out({"law": (torch.arange(5),)}, 2)
    >>> rest["law"]["x"].tolist(), held["law"]["x"].tolist()
    ([2, 3, 4], [0, 1])
    """
    rest, held = dict[str, Source](), dict[str, Source]()
    for name, source in sources.items():
        data = _indexed(name, source)
        if not 0 < n < len(data):
            raise InputError(f"cannot hold out {n} of the {len(data)} rows of '{name}'")
        if data.columns is not None:
            rest[name], held[name] = (
                {c: v[part] for c, v in data.columns.items()} for part in (slice(n, None), slice(n))
            )
        else:
            rest[name], held[name] = Subset(data, range(n, len(data))), Subset(data, range(n))
    return rest, held


class MixtureBatches:
    """An iterable for `fit`: `steps` batches an epoch, each with `source` [B] beside the columns of its examples.

    Args:
        sources: name → data set, with the names of the sampler in its order; rows of all of them have one shape.
        batch_size: examples a step over all processes, of which each takes an equal share.

    Raises: InputError: other names than the sampler's, sizes out of range; rows that do not fit together.

    >>> sources = {"law": (torch.zeros(2, 3),), "code": (torch.ones(6, 3),)}
    >>> batches = MixtureBatches(sources, MixtureSampler({"law": 2, "code": 6}, seed=1), batch_size=4, steps=2)
    >>> [batch["x"].shape for batch in batches]
    [torch.Size([4, 3]), torch.Size([4, 3])]
    """

    def __init__(
        self,
        sources: Mapping[str, Source],
        sampler: MixtureSampler,
        batch_size: int,
        steps: int,
        *,
        process: int = 0,
        processes: int = 1,
    ) -> None:
        if tuple(sources) != sampler.names:
            raise InputError(f"the sampler deals {', '.join(sampler.names)}; there are {', '.join(sources)}")
        if batch_size < 1 or batch_size % processes or steps < 1:
            raise InputError(
                f"need steps >= 1 and a batch_size that {processes} processes can share; got {steps} and {batch_size}"
            )
        self.sources = [_indexed(name, source) for name, source in sources.items()]
        self.sampler, self.batch_size, self.steps = sampler, batch_size, steps
        self.process, self.processes = process, processes

    def __len__(self) -> int:
        return self.steps

    def __iter__(self) -> Iterator[Batch]:
        dealt = self.sampler.plan(self.steps * self.batch_size)
        own = slice(self.process, None, self.processes)
        for source, index in zip(*(torch.from_numpy(part).split(self.batch_size) for part in dealt), strict=True):
            yield self._batch(source[own], index[own])
        self.sampler.take(dealt)

    def _batch(self, source: Tensor, index: Tensor) -> Batch:
        """Examples of one source stand together: their order inside a batch means nothing."""
        present = source.unique().tolist()
        parts = [self.sources[i].batch(index[source == i]) for i in present]
        try:
            return {"source": source.sort().values, **cast(Batch, joined(parts))}
        except (RuntimeError, KeyError) as error:
            names = ", ".join(self.sampler.names[i] for i in present)
            raise InputError(f"rows of {names} do not fit into one batch: pad them to one length ({error})") from None


def _indexed(name: str, source: Source) -> IndexedDataset:
    try:
        return IndexedDataset(source)
    except InputError as error:
        raise InputError(f"'{name}': {error}") from None


def joined(parts: Sequence[Mapping[str, object]]) -> dict[str, object]:
    """Batches as one, column by column, through nested mappings."""
    return {
        name: joined([cast("Mapping[str, object]", part[name]) for part in parts])
        if isinstance(value, Mapping)
        else torch.cat([cast(Tensor, part[name]) for part in parts])
        for name, value in parts[0].items()
    }
