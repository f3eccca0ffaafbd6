"""What a student is told in place of its teacher's plain answers.

    tempered    softmax(log p / T), with several labels sigmoid(logit(p) / T) each: softer with T > 1, sharper with T < 1.
                The student learns at T and speaks at 1, which is Hinton's distillation: Hinton, Vinyals & Dean,
                "Distilling the Knowledge in a Neural Network", 2015 (arXiv:1503.02531).
    refined     (1 − a_e) y + a_e p,  a_e = alpha (e + 1) / E: the student's own past p has a growing share in what it is told
                at stage e of E. Kim et al., "Self-Knowledge Distillation with Progressive Refinement of Targets", 2021
                (arXiv:2006.12000).

A stage is an epoch of a network, and a whole fit of a student that is solved for at once. A student that reproduces its targets
exactly, as one of n-grams mostly does, has a past that says nothing new.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeVar

import numpy as np

from tutelage.students.linear import probabilities

if TYPE_CHECKING:
    import torch

Rows = TypeVar("Rows", np.ndarray, "torch.Tensor")


def tempered(targets: np.ndarray, temperature: float, *, multi: bool = False) -> np.ndarray:
    """Probabilities (N, K) at another temperature: -> (N, K) float32, at 1 as they are; with `multi` each column for itself.

    >>> tempered(np.array([[0.9, 0.1]]), 2.0).round(2).tolist()
    [[0.75, 0.25]]
    >>> tempered(np.array([[0.9, 0.5]]), 2.0, multi=True).round(2).tolist()
    [[0.75, 0.5]]
    """
    if temperature == 1:
        return targets
    least = np.finfo(np.float32).tiny
    logits = np.log(np.maximum(targets, least, dtype=np.float64))
    if multi:
        logits -= np.log(np.maximum(1 - np.asarray(targets, np.float64), least))
    return probabilities(logits / temperature, multi).astype(np.float32)


def refined(targets: Rows, past: Rows, alpha: float, stage: int, stages: int) -> Rows:
    """The targets of a stage, counted from 0: (N, K), (N, K) -> (N, K). Before the first stage the past is the targets.

    >>> refined(np.array([[1.0, 0.0]]), np.array([[0.5, 0.5]]), alpha=0.8, stage=1, stages=4).tolist()
    [[0.8, 0.2]]
    """
    share = alpha * (stage + 1) / stages
    return (1 - share) * targets + share * past
