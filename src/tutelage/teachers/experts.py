"""A pool of experts: one network for each domain (or task, or group of classes), all frozen, asked together.

What the pool says about an example is one token an expert, [B, E, d]. Training on a domain that an expert was trained on
must not let that expert speak, or its confidence is a leak: `keep` says who may.

Models have `features` (what the head reads) and answer with logits, as `mlp` and `SmallCnn` do.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tutelage.errors import InputError
from tutelage.teachers.frozen import frozen


class ExpertPool(nn.Module):
    """E frozen experts.

    Args:
        experts: models of one output shape; they are frozen in place.
        own: for each domain 0 … D − 1 the expert that was trained on it; None: nobody has to leave.

    Raises: InputError: no expert, or a domain whose expert there is not.

    >>> from tutelage.students.mlp import mlp
    >>> pool = ExpertPool([mlp(4, 3, 2), mlp(4, 3, 2)], own=[0, 0, 1])
    >>> pool.outputs(torch.zeros(5, 4), "features").shape, pool.keep(torch.tensor([2, 0])).tolist()
    (torch.Size([5, 2, 3]), [[True, False], [False, True]])
    """

    def __init__(self, experts: Sequence[nn.Module], own: Sequence[int] | Tensor | None = None) -> None:
        super().__init__()
        self.experts = nn.ModuleList(frozen(expert) for expert in experts)
        if not len(self.experts):
            raise InputError("a pool needs at least one expert")
        self.own: Tensor
        self.register_buffer("own", torch.as_tensor([] if own is None else own, dtype=torch.long))
        if len(self.own) and not 0 <= int(self.own.min()) <= int(self.own.max()) < len(self.experts):
            raise InputError(f"own names experts 0 to {len(self.experts) - 1}; got {self.own.tolist()}")

    def __len__(self) -> int:
        return len(self.experts)

    @torch.no_grad()
    def outputs(self, x: Tensor, layer: Literal["logits", "features"] = "logits") -> Tensor:
        """What every expert says: [B, …] → [B, E, d], no gradient.

        Raises: InputError: experts without `features`, or whose widths differ.
        """
        if layer == "features" and (without := [e for e in self.experts if not hasattr(e, "features")]):
            raise InputError(
                f"{type(without[0]).__name__} has no features(x): wrap it so that it says what its head reads"
            )
        said = [expert(x) if layer == "logits" else expert.features(x) for expert in self.experts]  # type: ignore[operator]
        if len(widths := sorted({one.shape[-1] for one in said})) > 1:
            raise InputError(f"experts answer with different widths: {widths}")
        return torch.stack(said, 1)

    def losses(self, x: Tensor, y: Tensor) -> Tensor:
        """Cross-entropy of every expert on a labelled batch: [B, …], [B] → [E]."""
        said = self.outputs(x)
        return torch.stack([F.cross_entropy(one, y) for one in said.unbind(1)])

    def keep(self, domain: Tensor) -> Tensor:
        """Who may speak where an example comes from this domain: [B] → [B, E] (bool), all but its own expert.

        Raises: InputError: the pool does not know whose domains these are.
        """
        if not len(self.own) or int(domain.max()) >= len(self.own):
            raise InputError(f"the pool knows the experts of {len(self.own)} domains; got domain {int(domain.max())}")
        return torch.arange(len(self), device=domain.device) != self.own.to(domain.device)[domain].unsqueeze(1)

    def mean(self, x: Tensor) -> Tensor:
        """The plainest mixture: mean of the experts' probabilities, [B, …] → [B, K].

        A weak baseline: off their domain experts are confidently wrong.
        """
        return self.outputs(x).softmax(-1).mean(1)
