"""Class prototypes: what an average member of a class looks like.

    μ_c = Σ_i w_ic f_i / Σ_i w_ic

with w hard labels or soft weights. Over many batches the mean is running (by counts), or with `momentum` an
exponential average. A class that has not been seen keeps its value.

Shapes: features [N, d], labels [N] (long) or weights [N, K], prototypes [K, d].
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tutelage.errors import InputError


class ClassPrototypes(nn.Module):
    """A table of K prototypes that is updated batch by batch; part of a lesson's checkpoint.

    Args: classes: K; width: d; momentum: share of the old value in an update, None for the exact mean of everything
        seen; unit: prototypes have length 1.

    Raises: InputError: features or labels that do not fit.

    >>> table = ClassPrototypes(2, 1)
    >>> table.update(torch.tensor([[1.0], [3.0], [5.0]]), torch.tensor([0, 0, 1]))
    >>> table.prototypes.flatten().tolist(), table.counts.tolist()
    ([2.0, 5.0], [2.0, 1.0])
    >>> table.distances(torch.tensor([[2.0]])).tolist()
    [[0.0, 3.0]]
    """

    def __init__(self, classes: int, width: int, *, momentum: float | None = None, unit: bool = False) -> None:
        super().__init__()
        if momentum is not None and not 0 <= momentum < 1:
            raise InputError(f"momentum is in [0, 1); got {momentum}")
        self.momentum, self.unit = momentum, unit
        self.prototypes: Tensor
        self.counts: Tensor
        self.register_buffer("prototypes", torch.zeros(classes, width))
        self.register_buffer("counts", torch.zeros(classes))

    @torch.no_grad()
    def update(self, features: Tensor, labels: Tensor) -> None:
        """Take in a batch: [N, d] with labels [N] or soft weights [N, K]."""
        classes, width = self.prototypes.shape
        weights = F.one_hot(labels, classes) if labels.ndim == 1 and not labels.is_floating_point() else labels
        if features.ndim != 2 or features.shape[1] != width or weights.shape != (len(features), classes):
            raise InputError(
                f"need features [N, {width}] and labels [N] or [N, {classes}]; "
                f"got {tuple(features.shape)} and {tuple(labels.shape)}"
            )
        weights = weights.to(self.prototypes.dtype)
        mass = weights.sum(0)
        mean = weights.T @ features.to(self.prototypes.dtype) / mass.clamp(min=1e-12).unsqueeze(1)
        if self.momentum is None:
            share = mass / (self.counts + mass).clamp(min=1e-12)
        else:
            share = torch.where(self.counts > 0, 1 - self.momentum, 1.0)
        new = self.prototypes.lerp(mean, share.unsqueeze(1))
        new = F.normalize(new, dim=1) if self.unit else new
        self.prototypes.copy_(torch.where((mass > 0).unsqueeze(1), new, self.prototypes))
        self.counts += mass

    def reset(self) -> None:
        """Forget everything: before an exact pass over the data."""
        self.prototypes.zero_()
        self.counts.zero_()

    def distances(self, features: Tensor) -> Tensor:
        """Euclidean distances to all prototypes: [N, d] → [N, K], inf to classes never seen."""
        distance = torch.cdist(features.to(self.prototypes.dtype), self.prototypes)
        return distance.masked_fill(self.counts == 0, torch.inf)

    def forward(self, labels: Tensor) -> Tensor:
        """The prototypes of labels: [N] → [N, d]."""
        return self.prototypes[labels]
