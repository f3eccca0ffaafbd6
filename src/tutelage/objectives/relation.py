"""Relations: what examples (or points) are to one another, which needs no common width.

| function | equation | source |
|---|---|---|
| `cosine_gram` | G_ij = f_i · f_j / (‖f_i‖ ‖f_j‖) | |
| `relation_loss` | mean \\|G_s − G_t\\| or its square | Tung and Mori 2019, Tian et al. 2020 |
| `similarity_preserving` | mean (Ĝ_s − Ĝ_t)², Ĝ = rows of F Fᵀ to unit length | Tung and Mori 2019 |
| `distance_relation` | Huber of d_ij = ‖f_i − f_j‖ / mean d | Park et al. 2019 (RKD) |
| `angle_relation` | Huber of cos(f_i − f_j, f_k − f_j) | Park et al. 2019 (RKD) |

Common weights: distances 25, angles 50, similarity preserving 3000. Teachers are detached.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from tutelage.errors import InputError
from tutelage.objectives.divergence import _float

EPS = 1e-6


def cosine_gram(features: Tensor) -> Tensor:
    """Cosines between all rows: [B, d] → [B, B], or points [B, P, d] → [B, P, P].

    >>> cosine_gram(torch.tensor([[2.0, 0.0], [0.0, 1.0]]))
    tensor([[1., 0.],
            [0., 1.]])
    """
    unit = F.normalize(_float(features), dim=-1, eps=EPS)
    return unit @ unit.transpose(-1, -2)


def relation_loss(student: Tensor, teacher: Tensor, *, kind: Literal["l1", "mse"] = "mse") -> Tensor:
    """Mean difference of the cosine Grams of student and teacher features; widths may differ.

    Shapes: [B, d_s] and [B, d_t], or points [B, P, d_s] and [B, P, d_t].
    """
    _same_rows(student, teacher)
    gap = cosine_gram(student) - cosine_gram(teacher.detach())
    match kind:
        case "l1":
            return gap.abs().mean()
        case "mse":
            return gap.square().mean()
    raise InputError(f"kind is 'l1' or 'mse'; got {kind!r}")


def similarity_preserving(student: Tensor, teacher: Tensor) -> Tensor:
    """Mean squared difference of row-normalised Grams of flattened activations: [B, …], [B, …] → scalar."""
    if len(student) != len(teacher):
        raise InputError(f"batches differ: {len(student)} and {len(teacher)}")

    def gram(x: Tensor) -> Tensor:
        flat = _float(x).flatten(1)
        return F.normalize(flat @ flat.T, dim=1, eps=EPS)

    return (gram(student) - gram(teacher.detach())).square().mean()


def distance_relation(student: Tensor, teacher: Tensor) -> Tensor:
    """Huber loss of pairwise distances, each divided by the mean distance: [B, d_s], [B, d_t] → scalar.

    Scaling all features by one number changes nothing.

    >>> f = torch.tensor([[0.0, 0.0], [3.0, 4.0], [6.0, 8.0]])
    >>> distance_relation(2 * f, f)
    tensor(0.)
    """
    _same_rows(student, teacher)
    return F.smooth_l1_loss(_distances(student), _distances(teacher.detach()))


def _distances(x: Tensor) -> Tensor:
    x = _float(x)
    squares = (x.unsqueeze(1) - x.unsqueeze(0)).square().sum(-1)
    apart = ~torch.eye(len(x), dtype=torch.bool, device=x.device)
    distance = torch.where(apart, squares.clamp(min=EPS**2), 1.0).sqrt() * apart
    return distance / (distance.sum() / apart.sum().clamp(min=1)).clamp(min=EPS)


def angle_relation(student: Tensor, teacher: Tensor) -> Tensor:
    """Huber loss of the cosines of all angles i–j–k: [B, d_s], [B, d_t] → scalar. Costs B³."""
    _same_rows(student, teacher)
    return F.smooth_l1_loss(_angles(student), _angles(teacher.detach()))


def _angles(x: Tensor) -> Tensor:
    x = _float(x)
    return cosine_gram(x.unsqueeze(0) - x.unsqueeze(1))


def _same_rows(student: Tensor, teacher: Tensor) -> None:
    if student.shape[:-1] != teacher.shape[:-1]:
        raise InputError(f"need the same examples; got {tuple(student.shape)} and {tuple(teacher.shape)}")
