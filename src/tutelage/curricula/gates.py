"""Gates: how much a pseudo-label counts, by how sure its teacher is.

A gate says what it kept and of which classes: confirmation bias shows there first.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from tutelage.errors import InputError


@dataclass(frozen=True)
class Gate:
    """What a gate decided.

    Attributes: weight: [B, …] in {0, 1}; kept: share with weight 1; histogram: [K] kept likeliest classes, [K] all of
        them (None where scores have no classes).
    """

    weight: Tensor
    kept: Tensor
    histogram: tuple[Tensor, Tensor] | None


def confidence_gate(
    values: Tensor, threshold: float | None = None, *, quantile: float | None = None, scores: bool = False
) -> Gate:
    """Weight 1 where the teacher is sure enough: probabilities [B, …, K] (or with `scores` numbers [B, …]) → weights [B, …].

    Args: threshold: keep at or above it; quantile: instead, keep what is above this share of the batch.

    Raises: InputError: neither or both of threshold and quantile.

    >>> gate = confidence_gate(torch.tensor([[0.9, 0.1], [0.6, 0.4]]), 0.8)
    >>> gate.weight, gate.kept, gate.histogram[0]
    (tensor([1., 0.]), tensor(0.5000), tensor([1, 0]))
    """
    sure, likeliest = (values, None) if scores else values.detach().max(-1)
    if threshold is not None and quantile is None:
        weight = (sure >= threshold).to(values.dtype)
    elif quantile is not None and threshold is None:
        weight = (sure >= torch.quantile(sure.float().flatten(), quantile)).to(values.dtype)
    else:
        raise InputError("a gate needs a threshold or a quantile, one of the two")
    histogram = None
    if likeliest is not None:
        classes = values.shape[-1]
        kept = torch.bincount(likeliest[weight > 0], minlength=classes)
        histogram = (kept, torch.bincount(likeliest.flatten(), minlength=classes))
    return Gate(weight, weight.float().mean(), histogram)
