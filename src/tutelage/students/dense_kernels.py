"""Small kernels over dense rows, one a text: logits from sums, softmax, the loss and its gradient.

Serial, without the GIL, as in `tutelage.students.text_kernels`; numpy would pass over such narrow matrices several times.
"""

from __future__ import annotations

import numpy as np

from tutelage.students.compiled import jit


@jit
def centred_logits(totals, counts, scale, bias, logits):
    """logits[i] = totals[i] * scale / sqrt(counts[i]) + bias, less the row's greatest: (R, S) int32 -> (R, K) float32."""
    for i in range(len(totals)):
        shrink = np.float32(1 / np.sqrt(np.float64(max(counts[i], 1))))
        top = np.float32(-np.inf)
        for k in range(len(bias)):
            z = np.float32(totals[i, k]) * scale[k] * shrink + bias[k]
            logits[i, k] = z
            top = max(top, z)
        for k in range(len(bias)):
            logits[i, k] -= top


@jit
def normalise_rows(values):
    """Divide every row by its sum, in place: (R, K) float32."""
    for i in range(len(values)):
        total = np.float32(0)
        for k in range(values.shape[1]):
            total += values[i, k]
        for k in range(values.shape[1]):
            values[i, k] /= total


@jit
def best_columns(values, best):
    """The first column with each row's greatest value: (R, K) -> (R,)."""
    for i in range(len(values)):
        b = 0
        for k in range(1, values.shape[1]):
            if values[i, k] > values[i, b]:
                b = k
        best[i] = b


@jit
def softmax_loss(logits, targets, weights, residual):
    """Sum of weight * cross-entropy, and residual = weight * (softmax(logits) - targets): (R, K) float64, in one pass."""
    total = 0.0
    for i in range(len(logits)):
        top = logits[i, 0]
        for k in range(1, logits.shape[1]):
            top = max(top, logits[i, k])
        mass = 0.0
        agreement = 0.0
        for k in range(logits.shape[1]):
            residual[i, k] = np.exp(logits[i, k] - top)
            mass += residual[i, k]
            agreement += targets[i, k] * (logits[i, k] - top)
        total += weights[i] * (np.log(mass) - agreement)
        for k in range(logits.shape[1]):
            residual[i, k] = weights[i] * (residual[i, k] / mass - targets[i, k])
    return total
