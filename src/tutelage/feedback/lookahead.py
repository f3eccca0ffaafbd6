"""Looking ahead by a gradient step that can itself be differentiated.

    θ' = θ − lr · ∂L/∂θ

Whoever shaped L (a teacher's targets, a mixture of experts, the step size) can learn from how good θ' is: with the graph
kept, gradients of a loss at θ' flow back to θ, to `lr` and to everything that L was made of. Finn, Abbeel and Levine,
"Model-agnostic meta-learning", 2017 (arXiv:1703.03400).

Weights are a dictionary, as `call_with` and `torch.func.functional_call` take them; the module's own stay as they are.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from tutelage.errors import InputError


def inner_step(
    weights: Mapping[str, Tensor], loss: Tensor, lr: Tensor | float, *, create_graph: bool = False
) -> dict[str, Tensor]:
    """One plain gradient step on a dictionary of weights.

    Args:
        weights: name → tensor, all of which `loss` depends on.
        loss: a scalar. Where weights are rows [R, …] of independent runs, the sum of what each row pays.
        lr: the step size; [R] is one for each row.
        create_graph: second order: gradients flow through the step, and the graph lives as long as its result does.
            Otherwise the step is a constant (first order) and its graph is freed at once.

    Returns: new weights; with `create_graph=False` they still carry the graph of `weights` and `lr`, so that a later loss
        reaches both.

    Raises: InputError: a loss that is no scalar, or that does not depend on one of the weights.

    >>> w = torch.tensor([3.0], requires_grad=True)
    >>> new = inner_step({"w": w}, (w * w).sum(), 0.25, create_graph=True)
    >>> new["w"].item(), torch.autograd.grad(new["w"].sum(), w)[0].item()  # w − lr · 2 w, and 1 − lr · 2
    (1.5, 0.5)
    """
    if loss.ndim or not loss.requires_grad:
        raise InputError(f"an inner step needs a scalar loss with a graph; got shape {tuple(loss.shape)}")
    held = dict(weights)
    gradients = torch.autograd.grad(loss, list(held.values()), create_graph=create_graph, allow_unused=True)
    if lost := [name for name, gradient in zip(held, gradients, strict=True) if gradient is None]:
        raise InputError(f"the inner loss does not depend on '{lost[0]}': leave it out of the weights")
    return {
        name: value - _rate(lr, value) * gradient
        for (name, value), gradient in zip(held.items(), gradients, strict=True)
        if gradient is not None
    }


def _rate(lr: Tensor | float, value: Tensor) -> Tensor | float:
    if not isinstance(lr, Tensor) or not lr.ndim:
        return lr
    if lr.shape != value.shape[:1]:
        raise InputError(f"{len(lr)} step sizes for weights of shape {tuple(value.shape)}")
    return lr.view(-1, *(1,) * (value.ndim - 1))
