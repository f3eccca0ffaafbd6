"""InfoNCE: agree with your own, differ from the rest.

    L = − mean_i log ( Σ_{j ∈ P(i)} exp(u_i · v_j / τ) / Σ_{j ∈ P(i) ∪ N(i)} exp(u_i · v_j / τ) )

van den Oord et al. 2018 (arXiv:1807.03748); with u the student's and v the teacher's projections this is the light
form of contrastive representation distillation (Tian et al. 2020).

Shapes: u, v [B, d] and [M, d]; positives, negatives [B, M] (bool).
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from tutelage.errors import InputError
from tutelage.objectives.divergence import _float
from tutelage.objectives.reduce import weighted_mean


def info_nce(
    u: Tensor,
    v: Tensor,
    temperature: float | Tensor = 0.1,
    *,
    positives: Tensor | None = None,
    negatives: Tensor | None = None,
    symmetric: bool = False,
    weight: Tensor | None = None,
) -> Tensor:
    """Contrastive loss of unit vectors; u and v are normalised here.

    Args:
        temperature: τ > 0, a number or a learned tensor.
        positives: who belongs together (default: the same row, which needs as many v as u).
        negatives: whom to differ from (default: everybody who is not positive).
        symmetric: the mean of both directions.
        weight: [B]. A row without positives, or without anything else than positives, counts with loss 0.

    Raises: InputError: shapes that do not fit.

    >>> round(info_nce(torch.eye(2), torch.eye(2), temperature=1.0).item(), 4)  # log(1 + e^-1)
    0.3133
    """
    if u.ndim != 2 or v.ndim != 2 or u.shape[1] != v.shape[1]:
        raise InputError(f"need u [B, d] and v [M, d]; got {tuple(u.shape)} and {tuple(v.shape)}")
    if positives is None:
        if len(u) != len(v):
            raise InputError(f"{len(u)} and {len(v)} rows: say who belongs together with `positives`")
        positives = torch.eye(len(u), dtype=torch.bool, device=u.device)
    negatives = ~positives if negatives is None else negatives & ~positives
    if positives.shape != (len(u), len(v)) or negatives.shape != positives.shape:
        raise InputError(f"masks must be {(len(u), len(v))}; got {tuple(positives.shape)} and {tuple(negatives.shape)}")
    scores = F.normalize(_float(u), dim=-1) @ F.normalize(_float(v), dim=-1).T / temperature
    loss = _rows(scores, positives, negatives, weight)
    return (loss + _rows(scores.T, positives.T, negatives.T, weight)) / 2 if symmetric else loss


def _rows(scores: Tensor, positives: Tensor, negatives: Tensor, weight: Tensor | None) -> Tensor:
    usable = positives.any(1) & negatives.any(1)
    floor = torch.finfo(scores.dtype).min
    ours = scores.masked_fill(~positives, floor).logsumexp(1)
    everyone = scores.masked_fill(~(positives | negatives), floor).logsumexp(1)
    return weighted_mean(torch.where(usable, everyone - ours, 0.0), weight)
