"""A smaller network from a larger one: layers taken out, layers made narrower, shapes fitted again.

The network is an `nn.Sequential` whose items are layers, or blocks: an `nn.Sequential` of a convolution or linear layer and
what follows it, which is edited as one. Weights of the result are fresh. Inputs of every layer are fitted by passing an
example through what was rebuilt so far, so that a removal may change widths and the size of maps.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from tutelage.errors import InputError

TYPES = (
    nn.modules.conv._ConvNd, nn.modules.pooling._MaxPoolNd, nn.ReLU, nn.modules.batchnorm._BatchNorm, nn.Linear, nn.Dropout,
    nn.LogSoftmax, nn.modules.pooling._AvgPoolNd, nn.modules.pooling._AdaptiveAvgPoolNd, nn.Flatten,
)  # fmt: skip
"""Kinds of layers, in the order of their index in a description; others share the next index."""
LARGEST_INPUT = 50_000
"""Inputs of a linear layer above which a network is not a student any more."""

NARROWEST = 10
"""Outputs below which a layer is not shrunk."""


def describe(network: nn.Sequential) -> Tensor:
    """What a policy reads, a row an item: (type, kernel, stride, outputs, padding), outputs relative to the widest: [L, 5].

    >>> describe(nn.Sequential(nn.Conv2d(1, 8, 3, stride=2), nn.ReLU(), nn.Flatten(), nn.Linear(8, 4))).tolist()[0]
    [0.0, 3.0, 2.0, 1.0, 0.0]
    """
    rows = []
    for item in network:
        layer = _first(item)
        kind = next((i for i, known in enumerate(TYPES) if isinstance(layer, known)), len(TYPES))
        geometry = (_number(getattr(layer, name, 0)) for name in ("kernel_size", "stride", "padding"))
        kernel, stride, padding = geometry
        rows.append((float(kind), kernel, stride, float(outputs_of(item) or 0), padding))
    table = torch.tensor(rows)
    table[:, 3] /= table[:, 3].max().clamp(min=1)
    return table


def outputs_of(item: nn.Module) -> int | None:
    """Channels of a convolution, outputs of a linear layer; None for what has no width of its own."""
    layer = _first(item)
    if isinstance(layer, nn.modules.conv._ConvNd):
        return layer.out_channels
    return layer.out_features if isinstance(layer, nn.Linear) else None


def removable(network: nn.Sequential) -> list[bool]:
    """Which items may go: not the first and the last, nor a bare linear layer, nor what changes the map's size by a stride or
    flattens.

    >>> conv = [nn.Conv2d(2, 2, 3, padding=1) for _ in range(3)]
    >>> removable(nn.Sequential(*conv, nn.MaxPool2d(2), nn.Flatten(), nn.Linear(2, 2)))
    [False, True, True, False, False, False]
    """
    last = len(network) - 1
    keeps = (nn.Linear, nn.Flatten, nn.modules.pooling._AvgPoolNd, nn.modules.pooling._AdaptiveAvgPoolNd)
    strides = [max(_number(getattr(layer, "stride", 1)) for layer in item.modules()) for item in network]
    return [
        0 < place < last and not isinstance(item, keeps) and strides[place] <= 1 for place, item in enumerate(network)
    ]


def narrower(width: int, factor: float) -> int:
    """A width times a factor, at least 10 (or as it was): 64, 0.25 → 16.

    >>> narrower(64, 0.25), narrower(20, 0.25), narrower(8, 0.25)
    (16, 10, 8)
    """
    return max(int(width * factor), min(NARROWEST, width))


def rebuild(
    network: nn.Sequential,
    example: Tensor,
    *,
    keep: Sequence[bool] | None = None,
    outputs: Mapping[int, int] | None = None,
) -> nn.Sequential | None:
    """The network of the kept items, item i with `outputs[i]` outputs, fresh weights; None where no network comes of it.

    Args: example: one input with its batch dimension; keep: one flag an item; outputs: place in `network` → width.

    Raises: InputError: a layer that cannot be fitted again (it has weights and is no convolution, linear layer or batch
    normalisation), or flags that are not one an item.

    >>> net = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8), nn.Linear(8, 2))
    >>> small = rebuild(net, torch.zeros(1, 4), keep=(True, True, False, True), outputs={0: 3})
    >>> small
    Sequential(
      (0): Linear(in_features=4, out_features=3, bias=True)
      (1): ReLU()
      (2): Linear(in_features=3, out_features=2, bias=True)
    )
    """
    flags = [True] * len(network) if keep is None else list(keep)
    if len(flags) != len(network):
        raise InputError(f"need one flag an item: {len(network)}; got {len(flags)}")
    items, x = [], example
    try:
        with torch.no_grad():
            for place, (item, kept) in enumerate(zip(network, flags, strict=True)):
                if kept:
                    fitted, x = _refit(item, x, (outputs or {}).get(place))
                    items.append(fitted)
    except RuntimeError:  # a map smaller than its kernel, and the like
        return None
    linear = [layer for item in items for layer in item.modules() if isinstance(layer, nn.Linear)]
    if not x.numel() or any(layer.in_features > LARGEST_INPUT for layer in linear):
        return None
    return nn.Sequential(*items).train()


def _refit(item: nn.Module, x: Tensor, outputs: int | None) -> tuple[nn.Module, Tensor]:
    """The item with inputs as `x` has them, and what it makes of `x`."""
    match item:
        case nn.Sequential():
            parts = []
            for part in item:
                fitted, x = _refit(part, x, outputs if outputs_of(part) is not None else None)
                parts.append(fitted)
            return nn.Sequential(*parts), x
        case nn.Conv1d() | nn.Conv2d() | nn.Conv3d():
            if item.groups != 1 or item.transposed:
                raise InputError("convolutions in groups and transposed ones cannot be edited")
            shape = {name: getattr(item, name) for name in ("kernel_size", "stride", "padding", "dilation")}
            new = type(item)(x.shape[1], outputs or item.out_channels, **shape, bias=item.bias is not None)
        case nn.Linear():
            new = nn.Linear(x.shape[-1], outputs or item.out_features, bias=item.bias is not None)
        case nn.BatchNorm1d() | nn.BatchNorm2d() | nn.BatchNorm3d():
            new = type(item)(x.shape[1], item.eps, item.momentum, item.affine)
        case _:
            if any(True for _ in item.parameters()):
                raise InputError(
                    f"{type(item).__name__} has weights and cannot be edited; put it into the network afterwards"
                )
            new = copy.deepcopy(item)
    return new, new.eval()(x)


def _first(item: nn.Module) -> nn.Module:
    """The layer that a block is named after: the first of its layers."""
    return _first(item[0]) if isinstance(item, nn.Sequential) and len(item) else item


def _number(value: int | str | tuple[int, ...] | None) -> float:
    return float(value[0] if isinstance(value, tuple) else 0 if isinstance(value, str) or value is None else value)
