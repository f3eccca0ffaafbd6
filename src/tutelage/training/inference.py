"""Ask a model about a whole data set, in order, without disturbing it."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from tutelage.errors import InputError
from tutelage.training.batches import Batches, Data, Loader, as_indexed
from tutelage.training.callbacks import watching
from tutelage.training.lesson import Batch, logits_of


def predict_all(
    module: nn.Module,
    data: Data | Tensor,
    *,
    function: Callable[[nn.Module, Batch], Tensor] | None = None,
    batch_size: int = 512,
) -> Tensor:
    """What `module` says about every example, row i for index i: (N, …) on the CPU.

    The module runs in evaluation mode without gradients, on its own device; its modes are as before afterwards.

    Args: data: as for `fit`; a loader's batches must carry `index` when it shuffles.
        function: (module, batch) → [B, …]: features, losses, …; the logits by default.

    Raises: InputError: a data set that is empty, or whose indices are not 0 … N − 1 once each.

    >>> predict_all(nn.Identity(), torch.arange(6.0).view(3, 2)).tolist()
    [[0.0, 1.0], [2.0, 3.0], [4.0, 5.0]]
    """
    source = _source((data,) if isinstance(data, Tensor) else data, batch_size)
    place = next(iter(module.parameters()), None)
    rows: list[Tensor] = []
    indices: list[Tensor] = []
    with watching(module):
        for batch in source.epoch(0):
            held = batch if place is None or place.device.type == "cpu" else _move(batch, place.device)
            said = function(module, held) if function else logits_of(module, held["x"])
            rows.append(said.cpu())
            indices.append(batch["index"] if "index" in batch else torch.arange(len(said)) + sum(map(len, indices)))
    if not rows:
        raise InputError("the data set is empty")
    order = torch.cat(indices)
    if not torch.equal(order.sort().values, torch.arange(len(order))):
        raise InputError("the indices of this data set are not 0 … N - 1, each once")
    said = torch.cat(rows)
    return torch.empty_like(said).index_copy_(0, order, said)


def _source(data: Data, batch_size: int) -> Batches | Loader:
    indexed = as_indexed(data)
    return Loader(data) if indexed is None else Batches(indexed, batch_size, shuffle=False)


def _move(batch: Batch, device: torch.device) -> Batch:
    from accelerate.utils import send_to_device

    moved = send_to_device(batch, device)
    assert isinstance(moved, dict)
    return moved
