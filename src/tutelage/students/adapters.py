"""Bottleneck adapters: a few trained weights inside a frozen model, hung in by hooks.

Pfeiffer et al., "AdapterFusion: Non-Destructive Task Composition for Transfer Learning", 2021 (arXiv:2005.00247), after
Houlsby et al., "Parameter-Efficient Transfer Learning for NLP", 2019 (arXiv:1902.00751).

A place is a named part of the model, such as the last linear layer of each feed-forward block. What the part returns, h, goes
on as

    h + update(l, h),      of one task's adapters:  u_l(h) = W_up ReLU(W_down h + b) + b'

and then through whatever follows in the model: its residual connection, its normalisation. The host adds h once, whatever
the update is made of. Hooks hang in the model during a forward pass only, so that many hosts share one frozen model, and the
model is nobody's in between.

Shapes: h [..., d], update [..., d]; places l = 0 … L − 1 in the order in which the model names them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import partial
from pathlib import Path
from typing import cast

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from tutelage.errors import InputError
from tutelage.training.weights import is_frozen, mark_frozen, weights_fingerprint

Update = Callable[[int, Tensor], Tensor]
"""(place l, h [..., d]) → what is added to h."""

Select = Callable[[object], Tensor]
"""What a model returns → one vector an example [B, d]."""


def find_places(model: nn.Module, places: str | Sequence[str]) -> tuple[str, ...]:
    """Names of the model's parts that fit patterns, in the model's order. `*` stands for (a part of) one step of a dotted name.

    >>> model = nn.Sequential(nn.Linear(2, 3), nn.Sequential(nn.Linear(3, 3), nn.ReLU()), nn.Linear(3, 3))
    >>> find_places(model, "[12]"), find_places(model, ["1.*"])
    (('1', '2'), ('1.0', '1.1'))

    Raises: InputError: a pattern that fits nothing.
    """
    patterns = [places] if isinstance(places, str) else list(places)
    names = [name for name, _ in model.named_modules() if name]
    for pattern in patterns:
        if not any(_fits(name, pattern) for name in names):
            raise InputError(f"no part of the model fits '{pattern}'; there are {', '.join(names[:8])} …")
    if not patterns:
        raise InputError("say at which parts of the model adapters sit")
    return tuple(name for name in names if any(_fits(name, pattern) for pattern in patterns))


@contextmanager
def attach(model: nn.Module, places: Sequence[str], update: Update) -> Iterator[None]:
    """Inside, what the part `places[l]` returns (a tensor, or a tuple whose first is) has `update(l, h)` added to it.

    >>> import torch
    >>> model = nn.Sequential(nn.Identity(), nn.Identity())
    >>> with attach(model, ["0", "1"], lambda layer, h: h + layer):
    ...     inside = model(torch.ones(1))
    >>> inside, model(torch.ones(1))
    (tensor([5.]), tensor([1.]))
    """
    hooks = []
    try:
        for layer, name in enumerate(places):
            hooks.append(model.get_submodule(name).register_forward_hook(partial(_add, update, layer)))
        yield
    finally:
        for hook in hooks:
            hook.remove()


class BottleneckAdapter(nn.Module):
    """h [..., d] → u [..., d] through m hidden units; h itself is not in it. A fresh one says zero, so that nothing changes.

    >>> import torch
    >>> adapter = BottleneckAdapter(64, 4)
    >>> adapter(torch.ones(2, 64)).abs().max().item(), sum(p.numel() for p in adapter.parameters())
    (0.0, 580)
    """

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.down = nn.Linear(width, hidden)
        self.up = nn.Linear(hidden, width)
        nn.init.zeros_(self.up.weight)
        nn.init.zeros_(self.up.bias)

    def forward(self, h: Tensor) -> Tensor:
        return self.up(F.relu(self.down(h)))


class Adapters(nn.Module):
    """One task's adapters, one a place: an `Update` with weights.

    Args:
        places, widths, hidden: name, d and m of every place.
        base: fingerprint of the model that they were trained in (`weights_fingerprint`); elsewhere they mean nothing.

    Raises: InputError: no place, or another number of widths than of places.
    """

    def __init__(self, places: Sequence[str], widths: Sequence[int], hidden: Sequence[int], base: str) -> None:
        super().__init__()
        if not places or not len(places) == len(widths) == len(hidden):
            raise InputError(f"need a width and a hidden size a place; got {places}, {widths}, {hidden}")
        self.places, self.widths, self.hidden, self.base = tuple(places), tuple(widths), tuple(hidden), base
        self.layers = nn.ModuleList([BottleneckAdapter(d, m) for d, m in zip(widths, hidden, strict=True)])

    @classmethod
    def fresh(cls, model: nn.Module, places: str | Sequence[str], reduction: int = 16) -> Adapters:
        """New adapters for the parts of a model that fit `places` (see `find_places`), with m = d / `reduction`.

        >>> model = nn.Sequential(nn.Linear(8, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU())
        >>> adapters = Adapters.fresh(model, "[02]")
        >>> adapters.places, adapters.widths, adapters.hidden
        (('0', '2'), (64, 32), (4, 2))

        Raises: InputError: no such part, a part whose width cannot be seen, a reduction below 1.
        """
        if reduction < 1:
            raise InputError(f"reduction is at least 1; got {reduction}")
        names = find_places(model, places)
        widths = [_width(model, name) for name in names]
        adapters = cls(names, widths, [max(1, d // reduction) for d in widths], base_fingerprint(model))
        like = next(model.get_submodule(names[0]).parameters())
        return adapters.to(like.device, like.dtype)

    def forward(self, layer: int, h: Tensor) -> Tensor:
        return self.layers[layer](h)

    def at(self, layer: int) -> BottleneckAdapter:
        """The adapter of place l."""
        return cast(BottleneckAdapter, self.layers[layer])

    def save(self, path: str | Path) -> None:
        """Write one safetensors file, which also names places, widths and the base."""
        shape = {"places": self.places, "widths": self.widths, "hidden": self.hidden, "base": self.base}
        weights = {name: value.detach().cpu().contiguous() for name, value in self.state_dict().items()}
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        save_file(weights, path, metadata={"adapters": json.dumps(shape)})

    @classmethod
    def load(cls, path: str | Path) -> Adapters:
        """What `save` wrote. Raises: InputError: no such file, or one that holds something else."""
        try:
            with safe_open(path, framework="pt") as file:
                adapters = cls(**json.loads((file.metadata() or {})["adapters"]))
                weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
            adapters.to(weights["layers.0.up.weight"].dtype).load_state_dict(weights)
        except (OSError, SafetensorError, KeyError, TypeError, ValueError, RuntimeError) as error:
            raise InputError(f"cannot read adapters from {path}: {str(error).splitlines()[0]}") from None
        return adapters


class AdapterHost(nn.Module):
    """A frozen model with an update in it, and a head on top: inputs → head(features).

    Args:
        model: it is frozen in place; hosts may share it.
        places: exact names of its parts; update: what is added there, (l, h) → [..., d].
        head: [B, d] → what the host returns.
        select: from what the model returns to features; by default the tensor, or the first token's `last_hidden_state`.

    Raises: InputError: no such part; when called, an output that has no features.

    >>> import torch
    >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 8))
    >>> adapters = Adapters.fresh(model, "2", reduction=2)
    >>> host = AdapterHost(model, adapters.places, adapters, head=nn.Linear(8, 3))
    >>> host(torch.zeros(5, 4)).shape, model[0].weight.requires_grad
    (torch.Size([5, 3]), False)
    """

    def __init__(
        self,
        model: nn.Module,
        places: Sequence[str],
        update: nn.Module,
        *,
        head: nn.Module | None = None,
        select: Select | None = None,
    ) -> None:
        super().__init__()
        known = {name for name, _ in model.named_modules()}
        if unknown := [name for name in places if name not in known]:
            raise InputError(f"the model has no part '{unknown[0]}'; it was not made for these adapters")
        if not is_frozen(model):
            mark_frozen(model)
        self.model, self.places, self.update = model, tuple(places), update
        self.head = nn.Identity() if head is None else head
        self.select = select or first_token

    def forward(self, *args: Tensor, **kwargs: Tensor) -> Tensor:
        with attach(self.model, self.places, self.update):
            output = self.model(*args, **kwargs)
        return self.head(self.select(output))

    def train(self, mode: bool = True) -> AdapterHost:
        """As in PyTorch, but the model stays in evaluation mode."""
        super().train(mode)
        self.model.eval()
        return self


def first_token(output: object) -> Tensor:
    """A tensor as it is; of a Hugging Face output the last state of the first token, [B, d]."""
    states = output if isinstance(output, Tensor) else getattr(output, "last_hidden_state", None)
    if not isinstance(states, Tensor):
        raise InputError(
            f"the model returned {type(output).__name__}; say with `select` which vector stands for an example"
        )
    return states if states is output else states[:, 0]


def base_fingerprint(model: nn.Module) -> str:
    """The fingerprint of a model's weights; a frozen one has noted its own."""
    return str(vars(model)["frozen_fingerprint"]) if is_frozen(model) else weights_fingerprint(model)


def check_base(fingerprint: str, model: nn.Module) -> None:
    """Raise InputError where `model` is not the one whose fingerprint adapters (or a bank) carry as `base`."""
    if fingerprint != base_fingerprint(model):
        raise InputError("these adapters were trained in another model: its weights have another fingerprint")


def _fits(name: str, pattern: str) -> bool:
    steps, wanted = name.split("."), pattern.split(".")
    return len(steps) == len(wanted) and all(map(fnmatchcase, steps, wanted))


def _width(model: nn.Module, name: str) -> int:
    """The width of what a part returns, by its last layer that tells it."""
    for part in reversed(list(model.get_submodule(name).modules())):
        if isinstance(part, nn.Linear):
            return part.out_features
        if isinstance(part, nn.LayerNorm):
            return part.normalized_shape[-1]
    raise InputError(
        f"the width of '{name}' cannot be seen: choose a linear layer, a LayerNorm, or a block that ends in one"
    )


def _add(update: Update, layer: int, module: nn.Module, inputs: tuple, output: object) -> object:
    if isinstance(output, Tensor):
        return output + update(layer, output)
    if isinstance(output, tuple) and output and isinstance(output[0], Tensor):
        return (output[0] + update(layer, output[0]), *output[1:])
    raise InputError(f"a place returned {type(output).__name__}; adapters need a tensor, or a tuple whose first is one")
