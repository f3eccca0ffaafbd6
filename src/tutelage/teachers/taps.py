"""Taps: read a model's inner states without changing a line of it.

A `FeatureTap` hangs forward hooks on named parts and hands out what flowed through them in the last forward pass:
with a graph for a student, without one where the caller runs the teacher under `torch.no_grad()`. `split_at` cuts a
model that is a sequence of parts in two callables, for methods that let one model's head read another's body.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Literal

from torch import Tensor, nn
from torch.utils.hooks import RemovableHandle

from tutelage.errors import InputError

Select = Callable[[object], Tensor]


class FeatureTap:
    """Inner states by alias, of the last forward pass; a context manager.

    Args:
        model: any module.
        places: alias → dotted name of the part (see `model.named_modules()`), "" for the model itself.
        what: the part's "output" or (first) "input".
        select: from what the part returned to the tensor; by default the tensor, `last_hidden_state`, or the first of
            a tuple.

    Raises: InputError: no part of that name; on reading, a part that did not run or ran more than once.

    >>> import torch
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> with FeatureTap(model, {"hidden": "1"}) as tap:
    ...     out = model(torch.zeros(4, 2))
    ...     tap["hidden"].shape
    torch.Size([4, 3])
    """

    def __init__(
        self,
        model: nn.Module,
        places: Mapping[str, str],
        *,
        what: Literal["output", "input"] = "output",
        select: Select | None = None,
    ) -> None:
        names = dict(model.named_modules(remove_duplicate=False))
        for alias, name in places.items():
            if name not in names:
                raise InputError(f"tap '{alias}': no module '{name}'; there are {', '.join(list(names)[1:9])} …")
        self.model, self.places, self.what = model, dict(places), what
        self.select = select or first_tensor
        self._seen: dict[str, list[Tensor]] = {}
        self._hooks: list[RemovableHandle] = []

    def __enter__(self) -> FeatureTap:
        self._hooks = [self.model.register_forward_pre_hook(lambda *_: self._seen.clear())]
        self._hooks += [
            self.model.get_submodule(name).register_forward_hook(self._hook(a)) for a, name in self.places.items()
        ]
        return self

    def __exit__(self, *_: object) -> None:
        for hook in self._hooks:
            hook.remove()
        self._hooks, self._seen = [], {}

    def __getitem__(self, alias: str) -> Tensor:
        if alias not in self.places:
            raise InputError(f"no tap '{alias}'; there are {sorted(self.places)}")
        seen = self._seen.get(alias, [])
        if len(seen) != 1:
            how = "was not called" if not seen else f"was called {len(seen)} times; read one with all(alias)[i]"
            raise InputError(f"tap '{alias}': module '{self.places[alias]}' {how}")
        return seen[0]

    def all(self, alias: str) -> list[Tensor]:
        """Every state of a part that runs more than once in a forward pass (shared layers)."""
        return list(self._seen.get(alias, []))

    def features(self) -> dict[str, Tensor]:
        """All aliases of the last forward pass."""
        return {alias: self[alias] for alias in self.places}

    def _hook(self, alias: str) -> Callable[[nn.Module, tuple, object], None]:
        def keep(module: nn.Module, inputs: tuple, output: object) -> None:
            value = self.select(output if self.what == "output" else inputs)
            self._seen.setdefault(alias, []).append(value)

        return keep


def first_tensor(value: object) -> Tensor:
    """The tensor itself, the `last_hidden_state` of a Hugging Face output, or the first of a tuple."""
    if isinstance(value, Tensor):
        return value
    inner = getattr(value, "last_hidden_state", None)
    if inner is None and isinstance(value, tuple | list) and value:
        inner = value[0]
    if isinstance(inner, Tensor):
        return inner
    raise InputError(f"a tapped module gave {type(value).__name__}; say with `select` which tensor to keep")


def split_at(model: nn.Module, name: str) -> tuple[nn.Sequential, nn.Sequential]:
    """Cut a model that runs its children in order after the child `name`: head(x) then tail(head(x)) is model(x).

    The parts share their weights with the model. Raises: InputError: no such child, or the model is not a sequence.

    >>> import torch
    >>> model = nn.Sequential(nn.Linear(2, 3), nn.ReLU(), nn.Linear(3, 1))
    >>> head, tail = split_at(model, "1"); x = torch.ones(1, 2)
    >>> torch.equal(tail(head(x)), model(x))
    True
    """
    if not isinstance(model, nn.Sequential):
        raise InputError(f"{type(model).__name__} is not an nn.Sequential; its order of parts is not known")
    children = list(model.named_children())
    names = [child for child, _ in children]
    if name not in names:
        raise InputError(f"no child '{name}'; there are {names}")
    cut = names.index(name) + 1
    head, tail = (nn.Sequential(OrderedDict(part)) for part in (children[:cut], children[cut:]))
    return head, tail
