"""Masks: which weights of a network there are. A mask is a structure without values, {parameter: bool tensor}.

The largest weights of a trained network, at most `keep` of them all:

    m_i = 1 where |w_i| is among the ⌊keep · n + ½⌋ largest, ties to the earlier place

over all weight matrices together (scope "global") or in each alone ("layer"). Vectors (biases, gains of norms) are never
masked. A masked module puts zeros in its forward pass (`torch.nn.utils.parametrize`), so whatever an optimiser does to a
weight that is gone has no effect.

Han et al., "Learning both Weights and Connections for Efficient Neural Networks", 2015 (arXiv:1506.02626).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from tutelage.errors import InputError

Mask = dict[str, Tensor]
Scope = Literal["global", "layer"]


def largest(scores: Mapping[str, Tensor], keep: float, scope: Scope = "global") -> Mask:
    """The share `keep` with the highest scores; at least one weight in each scope.

    Raises: InputError: keep outside (0, 1], an unknown scope, no scores or ones that are not finite.

    >>> largest({"a": torch.tensor([[1.0, 4.0]]), "b": torch.tensor([[3.0, 2.0]])}, 0.5)
    {'a': tensor([[False,  True]]), 'b': tensor([[ True, False]])}
    >>> largest({"a": torch.tensor([[1.0, 4.0]]), "b": torch.tensor([[3.0, 3.0]])}, 0.5, "layer")
    {'a': tensor([[False,  True]]), 'b': tensor([[ True, False]])}
    """
    if not 0 < keep <= 1:
        raise InputError(f"keep is the share of weights that stay, in (0, 1]; got {keep}")
    if scope not in {"global", "layer"}:
        raise InputError(f"scope is 'global' or 'layer'; got {scope!r}")
    if wrong := [name for name, value in scores.items() if not bool(torch.isfinite(value).all())]:
        raise InputError(f"scores must be finite; those of '{wrong[0]}' are not")
    if not scores:
        raise InputError("there are no weights to mask: give matrices or kernels")
    if scope == "layer":
        return {name: _top(value.flatten(), keep).view(value.shape) for name, value in scores.items()}
    flat = torch.cat([value.flatten() for value in scores.values()])
    pieces = _top(flat, keep).split([value.numel() for value in scores.values()])
    return {name: piece.view(value.shape) for (name, value), piece in zip(scores.items(), pieces, strict=True)}


def magnitude_mask(state: Mapping[str, Tensor], keep: float, scope: Scope = "global") -> Mask:
    """The largest weights of a state dict, of its matrices and kernels (two axes or more). Raises: InputError: as `largest`.

    >>> magnitude_mask({"weight": torch.tensor([[0.1, -3.0]]), "bias": torch.tensor([9.0])}, 0.5)
    {'weight': tensor([[False,  True]])}
    """
    return largest({name: value.detach().abs() for name, value in _matrices(state).items()}, keep, scope)


def random_mask(state: Mapping[str, Tensor], keep: float, generator: torch.Generator, scope: Scope = "global") -> Mask:
    """As many weights, anywhere: the control for sparsity alone. Raises: InputError: as `largest`."""
    drawn = {name: torch.rand(value.shape, generator=generator) for name, value in _matrices(state).items()}
    return largest(drawn, keep, scope)


def shuffled(mask: Mapping[str, Tensor], generator: torch.Generator) -> Mask:
    """The same number of weights in each layer, elsewhere: the control for a layer's density alone.

    >>> mixed = shuffled({"a": torch.tensor([[True, False, False, False]])}, torch.Generator().manual_seed(1))
    >>> mixed["a"].tolist()
    [[False, False, False, True]]
    """
    return {
        name: value.flatten()[torch.randperm(value.numel(), generator=generator)].view(value.shape)
        for name, value in mask.items()
    }


def density(mask: Mapping[str, Tensor]) -> float:
    """Share of the masked weights that are there.

    >>> density({"a": torch.tensor([True, False]), "b": torch.tensor([True, True])})
    0.75
    """
    return sum(int(value.sum()) for value in mask.values()) / sum(value.numel() for value in mask.values())


def apply_mask(module: nn.Module, mask: Mapping[str, Tensor]) -> nn.Module:
    """Mask a module's parameters, in place. Its own values stay under `parametrizations`, to be trained as before.

    Raises: InputError: a name that is no (unmasked) parameter, or another shape.

    >>> layer = apply_mask(nn.Linear(2, 1, bias=False), {"weight": torch.tensor([[True, False]])})
    >>> layer.weight[0, 1].item(), len(list(layer.parameters()))
    (0.0, 1)
    """
    held = dict(module.named_parameters())
    for name, value in mask.items():
        if name not in held or held[name].shape != value.shape:
            has = tuple(held[name].shape) if name in held else "no such parameter, or masked already"
            raise InputError(f"the mask for '{name}' {tuple(value.shape)} does not fit the module: {has}")
    for name, value in mask.items():
        owner, _, own = name.rpartition(".")
        parametrize.register_parametrization(module.get_submodule(owner), own, _Masked(value.to(held[name].device)))
    return module


def bake_mask(module: nn.Module) -> nn.Module:
    """Make masked parameters plain ones again, with zeros where the mask was false; in place.

    >>> layer = bake_mask(apply_mask(nn.Linear(2, 1, bias=False), {"weight": torch.tensor([[True, False]])}))
    >>> list(layer.state_dict()), layer.weight[0, 1].item()
    (['weight'], 0.0)
    """
    for part in list(module.modules()):
        for name, steps in list(getattr(part, "parametrizations", {}).items()):
            if any(isinstance(step, _Masked) for step in steps):
                parametrize.remove_parametrizations(part, name)
    return module


class _Masked(nn.Module):
    mask: Tensor

    def __init__(self, mask: Tensor) -> None:
        super().__init__()
        self.register_buffer("mask", mask.bool().clone())

    def forward(self, weight: Tensor) -> Tensor:
        return torch.where(self.mask, weight, 0.0)


def _top(scores: Tensor, keep: float) -> Tensor:
    count = max(int(keep * len(scores) + 0.5), 1)
    mask = torch.zeros(len(scores), dtype=torch.bool, device=scores.device)
    mask[scores.argsort(descending=True, stable=True)[:count]] = True
    return mask


def _matrices(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    return {name: value for name, value in state.items() if value.ndim > 1 and value.is_floating_point()}
