"""Consistency: two views of one example should be told the same.

| function | equation | source |
|---|---|---|
| `probability_mse` | mean_k (softmax(s)_k − softmax(t)_k)² | Tarvainen and Valpola 2017 (mean teacher) |
| `pseudo_label_ce` | CE(s, argmax t) where the teacher is sure | Sohn et al. 2020 (FixMatch) |
| `sharpened_ce` | − Σ_k softmax(t / T)_k log softmax(s)_k | Xie et al. 2020 (UDA) |

Teachers are detached; `weight` is what a gate returned. An all-zero weight gives 0.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from tutelage.errors import InputError
from tutelage.objectives.divergence import _float, _same_shape, soft_cross_entropy
from tutelage.objectives.reduce import weighted_mean


def probability_mse(student: Tensor, teacher: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean over classes and examples of squared differences of probabilities: [B, K], [B, K] → scalar.

    >>> import torch
    >>> probability_mse(torch.tensor([[50.0, 0.0]]), torch.tensor([[0.0, 50.0]]))
    tensor(1.)
    """
    _same_shape(student, teacher)
    gap = _float(student).softmax(-1) - _float(teacher.detach()).softmax(-1)
    return weighted_mean(gap.square().mean(-1), weight)


def pseudo_label_ce(student: Tensor, teacher: Tensor, weight: Tensor | None = None) -> Tensor:
    """Cross-entropy with the teacher's most likely class: [B, …, K], [B, …, K], [B, …] → scalar."""
    _same_shape(student, teacher)
    log_p = F.log_softmax(_float(student), dim=-1)
    each = -log_p.gather(-1, teacher.detach().argmax(-1, keepdim=True)).squeeze(-1)
    return weighted_mean(each, weight)


def sharpened_ce(student: Tensor, teacher: Tensor, temperature: float = 0.5, weight: Tensor | None = None) -> Tensor:
    """Cross-entropy with the teacher's probabilities at temperature T; T → 0 is the pseudo-label: [B, K], [B, K] → scalar."""
    if temperature <= 0:
        raise InputError(f"the temperature must be positive; got {temperature}")
    return soft_cross_entropy(student, (_float(teacher) / temperature).softmax(-1), weight)
