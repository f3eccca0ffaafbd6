"""L-BFGS for smooth convex losses over large flat parameter vectors.

With s_j = x_{j+1} - x_j and y_j = g_{j+1} - g_j of the last m steps, the direction -H g is the two-loop recursion of Nocedal &
Wright, "Numerical Optimization", algorithm 7.4, and the step is halved until the loss falls enough (Armijo). It is here and
not SciPy's because SciPy's handles bounds that we do not have and spends, on tables of 10^5 numbers, several times what the
loss itself costs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple, cast

import numpy as np
from scipy.linalg import get_blas_funcs


class Minimum(NamedTuple):
    """Where the search ended: x (n,), the loss there, the number of steps taken."""

    x: np.ndarray
    loss: float
    steps: int


def lbfgs(
    objective: Callable[[np.ndarray], tuple[float, np.ndarray]],
    start: np.ndarray,
    *,
    tol: float = 1e-6,
    max_steps: int = 300,
    memory: int = 8,
) -> Minimum:
    """Minimise `objective`, x (n,) -> (loss, gradient (n,)), from `start`.

    Works in the precision of `start`. Stops when five steps together lower the loss by less than `tol` of its value, at a zero
    gradient, or after `max_steps`.

    >>> lbfgs(lambda x: (float(((x - 3) ** 2).sum()), 2 * (x - 3)), np.zeros(2)).x.round(6).tolist()
    [3.0, 3.0]
    """
    x = start
    loss, gradient = objective(x)
    pairs: deque[tuple[np.ndarray, np.ndarray, float]] = deque(maxlen=memory)
    losses: deque[float] = deque([loss], maxlen=6)
    step = 0
    for step in range(1, max_steps + 1):
        direction = _direction(gradient, pairs)
        slope = float(direction @ gradient)
        if slope >= 0:  # a zero gradient, or rounding: there is no way down any more
            return Minimum(x, loss, step - 1)
        size = 1.0 if pairs else min(1.0, 1.0 / float(np.abs(gradient).sum()))
        for _ in range(30):
            moved = x + size * direction
            new_loss, new_gradient = objective(moved)
            if new_loss <= loss + 1e-4 * size * slope:
                break
            size *= 0.5
        else:
            return Minimum(x, loss, step - 1)
        change, turn = moved - x, new_gradient - gradient
        curvature = float(change @ turn)
        if curvature > 1e-12 * float(turn @ turn):
            pairs.append((change, turn, 1.0 / curvature))
        x, loss, gradient = moved, new_loss, new_gradient
        losses.append(loss)
        if len(losses) == losses.maxlen and losses[0] - loss <= tol * max(abs(loss), 1e-12):
            break
    return Minimum(x, loss, step)


def _direction(gradient: np.ndarray, pairs: deque[tuple[np.ndarray, np.ndarray, float]]) -> np.ndarray:
    """-H g, where H is the inverse Hessian that the last steps suggest."""
    axpy = cast(Callable[..., np.ndarray], get_blas_funcs("axpy", (gradient,)))  # y + a x, in place
    q = gradient.copy()
    weights = []
    for change, turn, inverse in reversed(pairs):
        weight = inverse * float(change @ q)
        q = axpy(turn, q, a=-weight)
        weights.append(weight)
    if pairs:
        change, turn, _ = pairs[-1]
        q *= float(change @ turn) / float(turn @ turn)
    for (change, turn, inverse), weight in zip(pairs, reversed(weights), strict=True):
        q = axpy(change, q, a=weight - inverse * float(turn @ q))
    return np.negative(q, out=q)
