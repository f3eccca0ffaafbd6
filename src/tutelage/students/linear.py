"""Linear softmax or sigmoid regression on soft labels: the head of the static and the embedding student.

With targets Y (N, K), weights s (N,), logits Z = X W + b the loss is scikit-learn's, for distributions as targets:

    L(W, b) = C sum_i s_i l(Z_i, Y_i) + |W|^2 / 2
    l(z, y) = -sum_k y_k log softmax(z)_k                                              one label a text
    l(z, y) = -sum_k m_k (y_k log sigmoid(z_k) + (1 - y_k) log sigmoid(-z_k))          several labels a text

where the emphasis m_k of a decision is 1 unless classes have weights. It is convex, so that the result depends on the data
alone: no seed, no order, and a row of weight 2 is that row twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tutelage.errors import InputError
from tutelage.students.optimise import lbfgs
from tutelage.students.weights import holdout


class Head(NamedTuple):
    """Weights W (d, K) and bias b (K,), float32."""

    weight: np.ndarray
    bias: np.ndarray


def softmax(logits: np.ndarray) -> np.ndarray:
    """Rows of logits (N, K) -> rows that sum to one, without overflow.

    >>> softmax(np.array([[0.0, 0.0], [1000.0, 0.0]])).tolist()
    [[0.5, 0.5], [1.0, 0.0]]
    """
    shifted = np.exp(logits - logits.max(1, keepdims=True))
    return shifted / shifted.sum(1, keepdims=True)


def sigmoid(logits: np.ndarray) -> np.ndarray:
    """Logits (N, K) -> independent probabilities, without overflow."""
    return 0.5 * (1 + np.tanh(0.5 * logits))


def probabilities(logits: np.ndarray, multi: bool) -> np.ndarray:
    """Logits (N, K) -> probabilities (N, K): softmax over a row, or a sigmoid each with `multi`."""
    return sigmoid(logits) if multi else softmax(logits)


def cross_entropy(
    probs: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    emphasis: np.ndarray | None = None,
    *,
    multi: bool = False,
) -> float:
    """Weighted mean of `row_losses`, (N, K), (N, K), (N,) -> nats.

    >>> cross_entropy(np.array([[0.5, 0.5]]), np.array([[1.0, 0.0]]), np.ones(1))
    0.693...
    """
    return float(np.average(row_losses(probs, targets, emphasis, multi=multi), weights=weights))


def row_losses(
    probs: np.ndarray, targets: np.ndarray, emphasis: np.ndarray | None = None, *, multi: bool = False
) -> np.ndarray:
    """-sum y log p of every row (multi: plus the same for the complements, times the emphasis), (N, K), (N, K) -> (N,)."""
    losses = -targets * np.log(np.maximum(probs, 1e-12))
    if multi:
        losses -= (1 - targets) * np.log(np.maximum(1 - probs, 1e-12))
    return (losses if emphasis is None else losses * emphasis).sum(1)


def prior_logits(
    targets: np.ndarray, weights: np.ndarray, multi: bool, emphasis: np.ndarray | None = None
) -> np.ndarray:
    """The bias that fits best where nothing else is known: (N, K), (N,) -> (K,); a class that never occurs gets about -9.

    >>> softmax(prior_logits(np.eye(2)[[0, 0, 0, 1]], np.ones(4), multi=False)[None]).round(3).tolist()
    [[0.75, 0.25]]
    """
    counted = weights[:, None] if emphasis is None else weights[:, None] * emphasis
    share = np.clip((counted * targets).sum(0) / np.maximum(counted.sum(0), 1e-12), 1e-4, 1 - 1e-4)
    return np.log(share / (1 - share)) if multi else np.log(share)


def fit_linear(
    features: np.ndarray,
    targets: np.ndarray,
    weights: np.ndarray,
    emphasis: np.ndarray | None = None,
    *,
    C: float,
    multi: bool = False,
    start: Head | None = None,
    max_steps: int = 500,
    tol: float = 1e-7,
) -> Head:
    """Minimise L by L-BFGS: X (N, d), Y (N, K), s (N,), m (N, K) or None -> Head.

    Args:
        C: inverse of the shrinkage, as in scikit-learn.
        multi: sigmoids instead of a softmax.
        start: where to begin, for a path over several C.
        tol, max_steps: of `optimise.lbfgs`.

    >>> X = np.array([[-1.0], [1.0]])
    >>> head = fit_linear(X, np.eye(2), np.ones(2), C=1.0)
    >>> bool((X @ head.weight + head.bias).argmax(1).tolist() == [0, 1])
    True
    """
    x = np.asarray(features, np.float64)
    y = np.asarray(targets, np.float64)
    s = np.asarray(weights, np.float64)
    (_, d), k = x.shape, y.shape[1]
    scale = 1.0 / (C * s.sum())
    s = s / s.sum()

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        table = flat.reshape(d + 1, k)
        logits = x @ table[:d] + table[d]
        if multi:
            each, residual = np.logaddexp(0.0, logits) - y * logits, sigmoid(logits) - y
            if emphasis is not None:
                each *= emphasis
                residual *= emphasis
            loss = each.sum(1)
        else:
            top = logits.max(1, keepdims=True)
            shifted = np.exp(logits - top)
            total = shifted.sum(1, keepdims=True)
            mass = y.sum(1, keepdims=True)
            loss = (mass * (np.log(total) + top)).sum(1) - (y * logits).sum(1)
            residual = mass * shifted / total - y
        residual *= s[:, None]
        gradient = np.empty_like(table)
        gradient[:d] = x.T @ residual + scale * table[:d]
        gradient[d] = residual.sum(0)
        return float(s @ loss) + 0.5 * scale * float((table[:d] ** 2).sum()), gradient.ravel()

    blank = np.vstack([np.zeros((d, k)), prior_logits(y, s, multi, emphasis)])
    first = blank if start is None else np.vstack([start.weight, start.bias]).astype(np.float64)
    found = lbfgs(objective, first.ravel(), tol=tol, max_steps=max_steps)
    table = found.x.reshape(d + 1, k).astype(np.float32)
    return Head(table[:d], table[d])


class Rows(NamedTuple):
    """What a head learns from or is judged by: features (N, d), targets (N, K), weights (N,), emphasis (N, K) or None."""

    features: np.ndarray
    targets: np.ndarray
    weights: np.ndarray
    emphasis: np.ndarray | None = None

    def at(self, mask: np.ndarray) -> Rows:
        """The rows of a mask (N,)."""
        emphasis = None if self.emphasis is None else self.emphasis[mask]
        return Rows(self.features[mask], self.targets[mask], self.weights[mask], emphasis)


def learn_head(
    rows: Rows, dev: Rows | None, C: float | Sequence[float], *, multi: bool, seed: int
) -> tuple[float, Head]:
    """Choose C by the dev loss, then learn all rows.

    Args:
        rows: to learn.
        dev: to judge by; None holds a fifth of `rows` out for that.
        C: one value, or several to choose from: from strong shrinkage to weak, until it no longer pays.
        multi: sigmoids instead of a softmax.
        seed: draws the rows that are held out.

    Returns: the chosen C and the head.

    Raises: InputError: a C that is not a positive number.
    """
    candidates = positive(C)
    chosen, head = candidates[0], None
    if len(candidates) > 1:
        if dev is None:
            held = holdout(rows.targets, 0.2, seed)
            learned, dev = rows.at(~held), rows.at(held)
        else:
            learned = rows
        best = np.inf
        for c in candidates if len(dev.weights) and len(learned.weights) else ():
            tried = fit_linear(*learned, C=c, multi=multi, start=head)
            probs = probabilities(dev.features @ tried.weight + tried.bias, multi)
            loss = cross_entropy(probs, *dev[1:], multi=multi)
            if loss >= best:
                break
            best, chosen, head = loss, c, tried
    return chosen, fit_linear(*rows, C=chosen, multi=multi, start=head)


def positive(C: float | Sequence[float]) -> tuple[float, ...]:
    """One or several C as an ascending tuple. Raises: InputError: one that is not a positive number, or none."""
    candidates = tuple(sorted(np.atleast_1d(np.asarray(C, float)).tolist()))
    if not candidates or not all(np.isfinite(c) and c > 0 for c in candidates):
        raise InputError(f"C must be a positive number or several; got {C!r}")
    return candidates
