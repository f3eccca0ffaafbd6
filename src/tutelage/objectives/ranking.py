"""Rankings: teach gaps, not scores.

Two rankers live on different scales, and an offset for each query means nothing; the difference between two documents
of one query does. Student scores s⁺, s⁻, teacher scores T⁺, T⁻ of one relevant and one other document of the same
query:

| function | equation | source |
|---|---|---|
| `margin_mse` | mean ((s⁺ − s⁻) − (T⁺ − T⁻))² | Hofstätter et al. 2020 (arXiv:2010.02666) |
| `list_margin_mse` | the same over all pairs (i, j) of a list = 2 · variance of s − T over the list | |
| `pairwise_logistic` | mean softplus(s⁻ − s⁺) | Burges et al. 2005 (RankNet), Rendle et al. 2009 (BPR) |

Shapes: scores [B], or lists [B, n] with mask [B, n].
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from tutelage.errors import InputError
from tutelage.objectives.divergence import _float
from tutelage.objectives.reduce import weighted_mean


def margin_mse(
    positive: Tensor,
    negative: Tensor,
    teacher_positive: Tensor,
    teacher_negative: Tensor,
    weight: Tensor | None = None,
) -> Tensor:
    """Mean squared error of the margins: four tensors [B] → scalar.

    >>> import torch
    >>> margin_mse(*(torch.tensor([v]) for v in (2.0, 1.0, 9.0, 6.0)))  # (1 - 3)²
    tensor(4.)
    """
    _one_shape(positive, negative, teacher_positive, teacher_negative)
    margin = (_float(teacher_positive) - _float(teacher_negative)).detach()
    return weighted_mean((_float(positive) - _float(negative) - margin).square(), weight)


def list_margin_mse(student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
    """Mean over pairs (i, j), i and j included, of squared margin errors; O(n): [B, n], [B, n], [B, n] → scalar.

    Lists with fewer than two kept documents have no margin and count with 0.

    >>> import torch
    >>> list_margin_mse(torch.tensor([[2.0, 1.0]]), torch.tensor([[9.0, 6.0]]))  # (0 + 4 + 4 + 0) / 4
    tensor(2.)
    """
    _one_shape(student, teacher, *([] if mask is None else [mask]))
    gap = _float(student) - _float(teacher).detach()
    if mask is None:
        return 2 * gap.var(-1, correction=0).mean()
    kept = mask.to(gap.dtype)
    count = kept.sum(-1).clamp(min=1)
    gap = gap.masked_fill(~mask.bool(), 0.0)
    mean = (gap.sum(-1) / count).unsqueeze(-1)
    return 2 * (((gap - mean).square() * kept).sum(-1) / count).mean()


def pairwise_logistic(positive: Tensor, negative: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean softplus(s⁻ − s⁺), optionally weighted: [B], [B], [B] → scalar.

    A negative weight would reward reversing a pair without bound; clamp teacher margins at 0 before they become
    weights.

    >>> import torch
    >>> pairwise_logistic(torch.tensor([0.0]), torch.tensor([0.0]))
    tensor(0.6931)
    """
    _one_shape(positive, negative)
    return weighted_mean(F.softplus(_float(negative) - _float(positive)), weight)


def _one_shape(*scores: Tensor) -> None:
    if len({score.shape for score in scores}) != 1:
        raise InputError(f"scores must have one shape; got {[tuple(score.shape) for score in scores]}")
