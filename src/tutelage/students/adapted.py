"""The features of a model under other weights than its own, many of them at once.

Adaptation by gradient steps leaves the head alone and moves what lies under it, for every episode (or domain) to another
place: weights become rows [R, …], and one mapped call answers all rows.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call

from tutelage.errors import InputError
from tutelage.training.callbacks import watching


class Features(nn.Module):
    """A model's `features` (what its `head` reads) as a module of their own.

    Raises: InputError: a model without `features` or without a `head`.

    >>> from tutelage.students.mlp import mlp
    >>> features = Features(mlp(4, 3, 2))
    >>> own = {name: value.expand(5, *value.shape) for name, value in features.weights().items()}
    >>> sorted(own), features.rows(own, torch.zeros(5, 7, 4)).shape
    (['model.body.0.bias', 'model.body.0.weight'], torch.Size([5, 7, 3]))
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        if not hasattr(model, "features") or not isinstance(getattr(model, "head", None), nn.Module):
            raise InputError(f"{type(model).__name__} needs features(x) and a head, as mlp and SmallCnn have")
        self.model = model

    def forward(self, x: Tensor) -> Tensor:
        return self.model.features(x)  # type: ignore[operator]

    def weights(self) -> dict[str, Tensor]:
        """The parameters that learn, but the head's: frozen layers stay as they are."""
        return {n: p for n, p in self.named_parameters() if p.requires_grad and not n.startswith("model.head.")}

    def rows(self, weights: Mapping[str, Tensor], x: Tensor) -> Tensor:
        """Every row of weights [R, …] on its own inputs: [R, B, …] → [R, B, d]."""
        return torch.vmap(lambda one, inputs: functional_call(self, one, (inputs,)))(dict(weights), x)

    def with_weights(self, weights: Mapping[str, Tensor]) -> nn.Module:
        """The model with these weights (one row of them) in its own place: its head and buffers stay."""
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if name in weights:
                    parameter.copy_(weights[name])
        return self.model


def same_width(models: Sequence[nn.Module], x: Tensor) -> int:
    """The width of the models' features of x [B, …]; what they are asked for leaves modes, statistics and random state alone.

    Raises: InputError: a model without `features` or without a `head`, features of different widths.

    >>> from tutelage.students.mlp import mlp
    >>> same_width([mlp(4, 3, 2), mlp(4, 8, 3, 2)], torch.zeros(1, 4))
    3
    """
    widths = set[int]()
    for model in models:
        with watching(model):
            widths.add(Features(model)(x).shape[-1])
    if len(widths) > 1:
        raise InputError(
            "student and experts need features of one width (a linear layer behind the wider ones will do); "
            f"got {sorted(widths)}"
        )
    return widths.pop()
