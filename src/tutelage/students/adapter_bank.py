"""A bank of adapters: what T tasks have taught, frozen, all asked at once.

    u_t = W_up,t ReLU(W_down,t h + b_t) + b'_t,      t = 1 … T

The T adapters of a place are one matrix product down and one batched product up, so that a bank of eight costs little more
than an adapter. How the T updates become one is a combiner's business (`students/combiners.py`).

Shapes: h [..., d], u [T, ..., d].
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tutelage.errors import InputError
from tutelage.students.adapters import Adapters, BottleneckAdapter, check_base
from tutelage.training.weights import mark_frozen


class AdapterBank(nn.Module):
    """Frozen adapters of T tasks that were trained in one model.

    Args: sources: task → its adapters. They are copied, and may differ in their hidden sizes.

    Attributes: names (of the tasks), places, widths (of the places), base (fingerprint of the model).

    Raises: InputError: no source, sources of different models, places or widths.

    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8))
    >>> bank = AdapterBank({name: Adapters.fresh(model, "2") for name in ("topic", "tone")})
    >>> bank.outputs(0, torch.zeros(5, 8)).shape
    torch.Size([2, 5, 8])
    """

    def __init__(self, sources: Mapping[str, Adapters]) -> None:
        super().__init__()
        if not sources:
            raise InputError("a bank needs the adapters of at least one task")
        (first, like), *others = sources.items()
        for name, adapters in others:
            if adapters.base != like.base:
                raise InputError(f"adapters '{name}' and '{first}' were trained in different models")
            if (adapters.places, adapters.widths) != (like.places, like.widths):
                raise InputError(
                    f"adapters '{name}' sit at {adapters.places} with widths {adapters.widths}, '{first}' at {like.places} "
                    f"with {like.widths}"
                )
        self.names, self.places, self.widths, self.base = tuple(sources), like.places, like.widths, like.base
        self._hidden = {name: adapters.hidden for name, adapters in sources.items()}
        layers = [[adapters.at(place) for adapters in sources.values()] for place in range(len(self.places))]
        self.layers = nn.ModuleList([_SideBySide(layer) for layer in layers])
        mark_frozen(self)

    def __len__(self) -> int:
        return len(self.names)

    def outputs(self, layer: int, h: Tensor) -> Tensor:
        """What every task would add at place l: [..., d] → [T, ..., d]."""
        return self.layers[layer](h)

    def source(self, name: str) -> Adapters:
        """One task's adapters, a copy. Raises: InputError: no such task."""
        if name not in self.names:
            raise InputError(f"no adapters '{name}' in the bank; there are {', '.join(self.names)}")
        like = next(self.parameters())
        adapters = Adapters(self.places, self.widths, self._hidden[name], self.base).to(like.device, like.dtype)
        with torch.no_grad():
            for layer, held in enumerate(self.layers):
                stacked = cast(_SideBySide, held).of(self.names.index(name))
                for own, theirs in zip(adapters.at(layer).parameters(), stacked, strict=True):
                    own.copy_(theirs[tuple(slice(size) for size in own.shape)])
        return adapters

    def save(self, folder: str | Path) -> list[Path]:
        """Write `<task>.safetensors` for every task. Raises: InputError: a task whose name is no file name."""
        if wrong := [name for name in self.names if not re.fullmatch(r"\w[\w. -]*", name)]:
            raise InputError(f"'{wrong[0]}' cannot be the name of a file: use letters, digits, dots and dashes")
        paths = [Path(folder) / f"{name}.safetensors" for name in self.names]
        for name, path in zip(self.names, paths, strict=True):
            self.source(name).save(path)
        return paths

    @classmethod
    def load(cls, files: Sequence[str | Path], base: nn.Module) -> AdapterBank:
        """A bank of files that `Adapters.save` wrote, for a model. Tasks are called as the files are, without ending.

        Raises: InputError: two files of one name, a file that cannot be read, adapters of another model.
        """
        sources: dict[str, Adapters] = {}
        for file in map(Path, files):
            if file.stem in sources:
                raise InputError(f"two adapters are called '{file.stem}'; rename one of the files")
            sources[file.stem] = adapters = Adapters.load(file)
            try:
                check_base(adapters.base, base)
            except InputError as error:
                raise InputError(f"{file}: {error}") from None
        return cls(sources)


class _SideBySide(nn.Module):
    """The T adapters of one place; smaller ones are filled up with hidden units that are always zero."""

    def __init__(self, adapters: Sequence[BottleneckAdapter]) -> None:
        super().__init__()
        hidden = max(adapter.down.out_features for adapter in adapters)
        held = [
            (
                _filled(a.down.weight, 0, hidden),
                _filled(a.down.bias, 0, hidden),
                _filled(a.up.weight, 1, hidden),
                a.up.bias,
            )
            for a in adapters
        ]
        stacked = [nn.Parameter(torch.stack(values).detach().clone()) for values in zip(*held, strict=True)]
        self.down, self.down_bias, self.up, self.up_bias = stacked

    def of(self, task: int) -> tuple[Tensor, ...]:
        return self.down[task], self.down_bias[task], self.up[task], self.up_bias[task]

    def forward(self, h: Tensor) -> Tensor:
        inner = F.relu(F.linear(h, self.down.flatten(0, 1), self.down_bias.flatten()))
        inner = inner.unflatten(-1, self.down_bias.shape)
        bias = self.up_bias.view(len(self.up_bias), *(1,) * (h.ndim - 1), -1)
        return torch.einsum("...tm,tdm->t...d", inner, self.up) + bias


def _filled(weight: Tensor, axis: int, size: int) -> Tensor:
    """Zeros behind, up to `size` along the axis."""
    lacking = list(weight.shape)
    lacking[axis] = size - weight.shape[axis]
    return torch.cat([weight, weight.new_zeros(lacking)], axis)
