"""From which probability on a label is given, where a text has any number of them."""

from __future__ import annotations

import numpy as np

from tutelage.errors import InputError


def best_thresholds(probs: np.ndarray, targets: np.ndarray, labels: int) -> np.ndarray:
    """Each label's threshold (K,) where its F1 is best, midway between two probabilities; a half without a positive text.

    Shapes: probs (N, K) of texts not learned from, targets (N, K) of 0 and 1, K = `labels`.

    Raises: InputError: shapes that differ.

    >>> best_thresholds(np.array([[0.1], [0.3], [0.5]]), np.array([[0], [1], [1]]), 1).round(2)
    array([0.2], dtype=float32)
    """
    if probs.shape != targets.shape or probs.shape[1:] != (labels,):
        raise InputError(f"need two arrays (N, {labels}); got {probs.shape} and {targets.shape}")
    thresholds = np.full(labels, 0.5, np.float32)
    for k in range(labels):
        order = np.argsort(-probs[:, k], kind="stable")
        right = np.cumsum(targets[order, k] > 0)
        if len(right) and right[-1]:
            f1 = 2 * right / (np.arange(1, len(right) + 1) + right[-1])
            last = int(f1.argmax())
            following = probs[order[last + 1], k] if last + 1 < len(order) else 0.0
            thresholds[k] = (probs[order[last], k] + following) / 2
    return thresholds
