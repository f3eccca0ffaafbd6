"""Generic scores of untrained networks, which a search for students has to be compared with.

`gradient_norm` is the norm of the whole gradient on a batch. `code_kernel_logdet` is log |det K| with K_ij the number of
rectifiers that agree on examples i and j (Mellor et al., "Neural Architecture Search without Training", 2021). Larger is
taken for better.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F


def gradient_norm(network: nn.Module, images: Tensor, labels: Tensor) -> float:
    """‖∂ CE / ∂ θ‖ over all parameters θ."""
    network.zero_grad()
    F.cross_entropy(network(images), labels).backward()
    return float(sum(p.grad.square().sum().item() for p in network.parameters() if p.grad is not None)) ** 0.5


def code_kernel_logdet(network: nn.Module, images: Tensor) -> float:
    """log |det K| of the agreement of rectifiers, (B, B), over the outputs of all blocks and the first layer."""
    agree = torch.zeros(len(images), len(images), dtype=torch.float64)

    def watch(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        code = (output > 0).flatten(1).float()
        agree.add_((code @ code.T + (1 - code) @ (1 - code).T).double())

    layers = [m for m in network.body if not isinstance(m, nn.Conv2d | nn.BatchNorm2d)]  # type: ignore[union-attr]
    hooks = [layer.register_forward_hook(watch) for layer in layers]
    try:
        with torch.no_grad():
            network(images)
    finally:
        for hook in hooks:
            hook.remove()
    return float(torch.linalg.slogdet(agree).logabsdet)
