"""Inner states: hints, attention maps, attention relations.

| function | equation | source |
|---|---|---|
| `feature_loss` | mean (s − t)² and its kin, after an optional normalisation | Romero et al. 2015 (FitNets) |
| `attention_transfer` | mean (a(s) − a(t))², a(F) = vec(mean_c F_c²) / ‖·‖ | Zagoruyko and Komodakis 2017 |
| `attention_scores_loss` | mean over heads and real pairs of (A_s − A_t)² | Jiao et al. 2020 (TinyBERT) |
| `attention_relation` | KL of softmax(V_t V_tᵀ/√d) and the student's | Wang et al. 2020 (MiniLM) |

Teachers are detached. Widths that differ need a `Projector` on the student's side, except where the map has no width
left.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

from tutelage.errors import InputError
from tutelage.objectives.divergence import _float, _log_softmax, _same_shape, divergence
from tutelage.objectives.reduce import weighted_mean

EPS = 1e-6


def feature_loss(
    student: Tensor,
    teacher: Tensor,
    *,
    kind: Literal["mse", "smooth_l1", "l1", "cosine"] = "mse",
    norm: Literal["none", "channel", "layer"] = "none",
    weight_map: Tensor | None = None,
    sum_per_sample: bool = False,
) -> Tensor:
    """Distance of features of one shape: mean over elements, or with `sum_per_sample` sum over a sample and mean over the batch.

    Args:
        student, teacher: [B, …, d], or pictures [B, C, H, W] whose channels are axis 1.
        kind: "cosine" is 1 − cos over the channels.
        norm: "channel" gives each vector of channels unit length, "layer" mean 0 and variance 1.
        weight_map: [B, …] without the channel axis, multiplied in (0 where padding is); the mean is then over what is
            kept.

    Raises: InputError: shapes that differ, an unknown kind or norm.

    >>> feature_loss(torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 0.0]]))
    tensor(2.5000)
    >>> feature_loss(torch.tensor([[3.0, 0.0]]), torch.tensor([[0.0, 2.0]]), kind="cosine")
    tensor(1.)
    """
    _same_shape(student, teacher)
    s, t = (_normalise(_channels_last(_float(x)), norm) for x in (student, teacher.detach()))
    match kind:
        case "mse":
            each = (s - t).square()
        case "l1":
            each = (s - t).abs()
        case "smooth_l1":
            each = F.smooth_l1_loss(s, t, reduction="none")
        case "cosine":
            each = 1 - F.cosine_similarity(s, t, dim=-1, eps=EPS).unsqueeze(-1)
        case _:
            raise InputError(f"unknown kind {kind!r}; use 'mse', 'smooth_l1', 'l1' or 'cosine'")
    if sum_per_sample:
        weighted = each if weight_map is None else each * weight_map.unsqueeze(-1)
        return weighted.flatten(1).sum(1).mean()
    return weighted_mean(each.mean(-1), weight_map, None if weight_map is None else weight_map != 0)


def _channels_last(x: Tensor) -> Tensor:
    return x.movedim(1, -1) if x.ndim == 4 else x


def _normalise(x: Tensor, norm: str) -> Tensor:
    match norm:
        case "none":
            return x
        case "channel":
            return F.normalize(x, dim=-1, eps=EPS)
        case "layer":
            return F.layer_norm(x, x.shape[-1:])
    raise InputError(f"unknown norm {norm!r}; use 'none', 'channel' or 'layer'")


def attention_map(features: Tensor) -> Tensor:
    """Where a layer looks: mean over channels of squares, as a unit vector: [B, C, H, W] → [B, H·W].

    >>> attention_map(torch.tensor([[[[0.0, 3.0]], [[0.0, 1.0]]]]))
    tensor([[0., 1.]])
    """
    return F.normalize(_float(features).square().mean(1).flatten(1), dim=1, eps=EPS)


def attention_transfer(student: Tensor, teacher: Tensor, weight: Tensor | None = None) -> Tensor:
    """Mean squared difference of attention maps; the larger grid is averaged down to the smaller.

    Shapes: student [B, C_s, H_s, W_s], teacher [B, C_t, H_t, W_t]: any widths, any grids.
    """
    if student.ndim != 4 or teacher.ndim != 4:
        raise InputError(
            f"attention transfer needs [B, C, H, W]; got {tuple(student.shape)} and {tuple(teacher.shape)}"
        )
    grid = (min(student.shape[2], teacher.shape[2]), min(student.shape[3], teacher.shape[3]))
    maps = [attention_map(F.adaptive_avg_pool2d(x, grid)) for x in (student, teacher.detach())]
    return weighted_mean((maps[0] - maps[1]).square().mean(1), weight)


def attention_scores_loss(student: Tensor, teacher: Tensor, mask: Tensor | None = None) -> Tensor:
    """MSE of attention scores before the softmax, mean over heads and over pairs of real tokens.

    Heads are averaged on both sides when their numbers differ. Masked positions (−inf in many models) take no part.

    Shapes: student [B, h_s, n, n], teacher [B, h_t, n, n], mask [B, n] (True = real token).

    >>> attention_scores_loss(torch.zeros(1, 2, 3, 3), torch.ones(1, 4, 3, 3))
    tensor(1.)
    """
    s, t = _float(student), _float(teacher.detach())
    pairs = None if mask is None else mask.bool()[:, None, :, None] & mask.bool()[:, None, None, :]
    if pairs is not None:
        s, t = (torch.where(pairs, x, 0.0) for x in (s, t))
    if s.shape[1] != t.shape[1]:
        s, t = s.mean(1, keepdim=True), t.mean(1, keepdim=True)
    _same_shape(s, t)
    each = (s - t).square().mean(1)
    return weighted_mean(each, mask=None if pairs is None else pairs[:, 0])


def attention_relation(student: Tensor, teacher: Tensor, heads: int, mask: Tensor | None = None) -> Tensor:
    """KL of softmax(X Xᵀ / √d) over tokens, X = queries, keys or values re-split into `heads`: no projector needed.

    Shapes: student [B, n, d_s], teacher [B, n, d_t], mask [B, n]; `heads` divides both widths.

    >>> x = torch.eye(4).unsqueeze(0)
    >>> attention_relation(x, x, heads=2)
    tensor(0.)
    """
    if student.shape[:2] != teacher.shape[:2] or student.shape[-1] % heads or teacher.shape[-1] % heads:
        raise InputError(f"{heads} heads, student {tuple(student.shape)}, teacher {tuple(teacher.shape)} do not fit")

    def relation(x: Tensor) -> Tensor:
        x = _float(x).unflatten(-1, (heads, -1)).transpose(1, 2)
        scores = x @ x.transpose(-1, -2) / math.sqrt(x.shape[-1])
        return scores if mask is None else scores.masked_fill(~mask.bool()[:, None, None, :], -1e4)

    each = divergence(_log_softmax(relation(student)), _log_softmax(relation(teacher.detach()))).mean(1)
    return weighted_mean(each, mask=mask)
