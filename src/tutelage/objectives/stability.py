"""Stability: how far weights have moved from where they were, each by its own measure.

    ½ Σ_j p_j (θ_j − θ_0j)²

p is a precision: the inverse posterior variance (a Gaussian prior at θ_0), the Fisher information (elastic weight
consolidation), or 1 (L2-SP: Li et al., "Explicit Inductive Bias for Transfer Learning with Convolutional Networks", 2018,
arXiv:1802.01483).
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from tutelage.errors import InputError


def quadratic_penalty(
    weights: Mapping[str, Tensor], anchor: Mapping[str, Tensor], precision: Mapping[str, Tensor] | None = None
) -> Tensor:
    """½ Σ_j p_j (θ_j − θ_0j)² over the weights that the anchor names → scalar; anchor and precision are detached.

    Args: weights: a superset of the anchor's names; precision: the anchor's names and shapes; None is 1 everywhere.

    Raises: InputError: an empty anchor; a name or shape of one that another lacks.

    >>> w, w0 = {"w": torch.tensor([3.0, 1.0])}, {"w": torch.tensor([1.0, 1.0])}
    >>> quadratic_penalty(w, w0, {"w": torch.tensor([0.5, 9.0])})
    tensor(1.)
    """
    if not anchor:
        raise InputError("the anchor holds no weight")
    for held in (weights, *((precision,) if precision is not None else ())):
        for name, value in anchor.items():
            if name not in held or held[name].shape != value.shape:
                has = tuple(held[name].shape) if name in held else "missing"
                raise InputError(f"'{name}' is {tuple(value.shape)} in the anchor, but {has} beside it")
    gaps = [(weights[name] - value.detach()).square() for name, value in anchor.items()]
    if precision is not None:
        gaps = [gap * precision[name].detach() for gap, name in zip(gaps, anchor, strict=True)]
    return 0.5 * torch.stack([gap.sum() for gap in gaps]).sum()
