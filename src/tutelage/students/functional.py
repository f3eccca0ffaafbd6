"""Run a module with other weights than its own."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.func import functional_call

from tutelage.errors import InputError


def call_with(module: nn.Module, weights: Mapping[str, Tensor], *args: Tensor, **kwargs: Tensor) -> Tensor:
    """`module(*args, **kwargs)` with `weights` in the place of its parameters; its own stay untouched.

    Gradients flow into `weights`, so that generated or adapted weights can be trained.

    Raises: InputError: a name or shape that the module does not have.

    >>> import torch
    >>> layer = nn.Linear(2, 1, bias=False)
    >>> call_with(layer, {"weight": torch.tensor([[2.0, 3.0]])}, torch.ones(1, 2))
    tensor([[5.]])
    """
    own = dict(module.named_parameters()) | dict(module.named_buffers())
    for name, value in weights.items():
        if name not in own or own[name].shape != value.shape:
            has = tuple(own[name].shape) if name in own else "no such weight"
            raise InputError(f"'{name}' {tuple(value.shape)} does not fit the module: {has}")
    return functional_call(module, dict(weights), args, kwargs)
