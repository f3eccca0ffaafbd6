"""Weights as things: their fingerprint, their file, and the mark of a module that nobody may train.

A teacher that changes while it teaches is the quietest bug of the field. `mark_frozen` notes the fingerprint of a
module's weights on the module; the loop keeps such a module in evaluation mode, leaves it out of checkpoints (its
fingerprint goes in instead) and compares the fingerprint at the end. Files are safetensors: no pickle.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from tutelage.errors import InputError


def weights_fingerprint(module: nn.Module) -> str:
    """sha256 (hex) over names, types, shapes and bytes of all parameters and buffers.

    >>> layer = nn.Linear(2, 2); before = weights_fingerprint(layer)
    >>> _ = nn.init.zeros_(layer.bias); weights_fingerprint(layer) == before
    False
    """
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        if isinstance(value, Tensor):
            digest.update(f"{name}:{value.dtype}:{tuple(value.shape)};".encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def mark_frozen(module: nn.Module) -> None:
    """Evaluation mode, no gradient for its weights, and the fingerprint noted. Gradients may still pass *through* it."""
    module.eval().requires_grad_(False)
    object.__setattr__(module, "frozen_fingerprint", weights_fingerprint(module))


def is_frozen(module: nn.Module) -> bool:
    """Whether the module is marked and still without gradients (a thawed copy of a teacher is a student)."""
    return "frozen_fingerprint" in vars(module) and not any(p.requires_grad for p in module.parameters())


def frozen_modules(module: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """Names and modules of the outermost frozen parts."""
    seen: tuple[str, ...] = ()
    for name, part in module.named_modules():
        if is_frozen(part) and not name.startswith(seen):
            seen += (f"{name}.",)
            yield name, part


def check_frozen(module: nn.Module) -> None:
    """Raise RuntimeError, naming the part, when frozen weights are no longer what they were."""
    for name, part in frozen_modules(module):
        if weights_fingerprint(part) != part.frozen_fingerprint:
            raise RuntimeError(f"'{name}' was frozen, but its weights or buffers changed during training")


def trained_state(module: nn.Module) -> dict[str, Tensor]:
    """The state dict without what lies in frozen parts."""
    frozen = tuple(f"{name}." for name, _ in frozen_modules(module))
    return {name: value for name, value in module.state_dict().items() if not name.startswith(frozen)}


def load_trained_state(module: nn.Module, state: dict[str, Tensor]) -> None:
    """The inverse of `trained_state`; refuses a state of another module."""
    expected = trained_state(module)
    different = sorted(set(expected) ^ set(state)) or [
        name for name in expected if expected[name].shape != state[name].shape
    ]
    if different:
        raise InputError(f"these weights belong to another model; first difference: '{different[0]}'")
    module.load_state_dict(state, strict=False)


def save_weights(module: nn.Module, path: str | Path) -> None:
    """Write the module's parameters and buffers to one safetensors file. Tied weights are written once per name."""
    save_file({name: value.detach().cpu().clone() for name, value in module.state_dict().items()}, Path(path))


def load_weights(module: nn.Module, path: str | Path) -> None:
    """Read weights that `save_weights` wrote into a module of the same shape.

    Raises: InputError: no such file, or weights of another model.
    """
    if not Path(path).is_file():
        raise InputError(f"no weights at {path}")
    load_trained_state(module, load_file(Path(path)))
