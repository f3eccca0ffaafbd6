"""Entropy of predictions: how unsure a model is."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from tutelage.objectives.divergence import _float


def prediction_entropy(logits: Tensor) -> Tensor:
    """− Σ_k p_k log p_k in nats, p = softmax(logits): [B, …, K] → [B, …]. Classes at −inf count 0.

    >>> prediction_entropy(torch.tensor([[0.0, 0.0], [-torch.inf, 0.0]]))
    tensor([0.6931, 0.0000])
    """
    log_p = F.log_softmax(_float(logits), dim=-1)
    log_p = log_p.clamp(min=torch.finfo(log_p.dtype).min)
    return (log_p.exp() * -log_p).sum(-1)
