"""Checkpoints: one tree of tensors and JSON values in one safetensors file, replaced in one move.

Nothing is pickled, so a checkpoint can be opened with any safetensors reader and never runs code. A tree is nested
dicts and lists of tensors, numbers, strings, booleans and None; tensors go into the file under their path, the rest
as JSON into its header.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import TypeAlias

from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor
from torch.optim import Optimizer

from tutelage.errors import InputError

Tree: TypeAlias = Tensor | int | float | str | bool | Mapping[str, "Tree"] | list["Tree"] | None
_TENSOR = "$tensor"


def save_tree(tree: Tree, path: str | Path) -> None:
    """Write a tree; after a crash the file is the old one or the new one, never half of each.

    Raises: InputError: something in the tree is neither tensor nor JSON value (its path is named).
    """
    tensors: dict[str, Tensor] = {}
    header = {"tree": json.dumps(_pack(tree, "", tensors))}
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f".{path.name}.partial")
    save_file(tensors, partial, metadata=header)
    with partial.open("rb") as file:
        os.fsync(file.fileno())
    partial.replace(path)


def load_tree(path: str | Path) -> Tree:
    """Read what `save_tree` wrote, to the bit.

    Raises: InputError: the file is missing, damaged, or not a checkpoint.
    """
    try:
        with safe_open(Path(path), framework="pt") as file:
            header = (file.metadata() or {}).get("tree")
            if header is None:
                raise InputError(f"{path} is a safetensors file but not a checkpoint of this package")
            return _unpack(json.loads(header), {name: file.get_tensor(name) for name in file.keys()})  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise InputError(f"cannot read the checkpoint {path}: {error}") from error


def _pack(tree: Tree, path: str, tensors: dict[str, Tensor]) -> object:
    match tree:
        case Tensor():
            tensors[path] = tree.detach().cpu().contiguous().clone()
            return {_TENSOR: path}
        case None | bool() | int() | float() | str():
            return tree
        case Mapping():
            if not all(isinstance(key, str) for key in tree):
                raise InputError(f"checkpoint: the keys at '{path}' must be strings")
            return {key: _pack(value, f"{path}/{key}", tensors) for key, value in tree.items()}
        case list() | tuple():
            return [_pack(value, f"{path}/{i}", tensors) for i, value in enumerate(tree)]
    raise InputError(f"checkpoint: '{path}' holds a {type(tree).__name__}; only tensors and JSON values can be stored")


def _unpack(packed: object, tensors: dict[str, Tensor]) -> Tree:
    match packed:
        case dict():
            if packed.keys() == {_TENSOR}:
                return tensors[packed[_TENSOR]]
            return {key: _unpack(value, tensors) for key, value in packed.items()}
        case list():
            return [_unpack(value, tensors) for value in packed]
    return packed  # type: ignore[return-value]


def optimizer_tree(optimizer: Optimizer) -> Tree:
    """An optimiser's state as a tree."""
    state = optimizer.state_dict()
    return {"state": {str(i): values for i, values in state["state"].items()}, "groups": state["param_groups"]}


def load_optimizer_tree(optimizer: Optimizer, tree: Tree) -> None:
    """The inverse of `optimizer_tree`."""
    assert isinstance(tree, Mapping)
    states, groups = tree["state"], tree["groups"]
    assert isinstance(states, Mapping)
    assert isinstance(groups, list)
    optimizer.load_state_dict({"state": {int(i): values for i, values in states.items()}, "param_groups": groups})
    for group in optimizer.param_groups:
        if isinstance(group.get("betas"), list):
            group["betas"] = tuple(group["betas"])
