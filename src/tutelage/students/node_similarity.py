"""How close are two nodes, by all paths between them: Katz and personalised PageRank.

With M a symmetric adjacency matrix (weighted or 0/1) and D = diag(column sums):

    Katz      S = (I − b M)⁻¹ − I,             b = min(1/(4 σ_1), 1/2), σ_1 the largest singular value of M
    PageRank  S = (1 − a) (I − a M D⁻¹)⁻¹,     a = 0.85: column j is the walk that begins at j again and again

Both invert a dense matrix, which is meant for some thousands of nodes. Sources: Katz 1953; Page et al. 1999.

Shapes: M (n, n) sparse or dense; S (n, n) float64.
"""

from __future__ import annotations

import numpy as np
from scipy.sparse import csr_array

from tutelage.data.graphs import shape_of
from tutelage.errors import InputError

MOST = 20_000
"""Nodes from which on a dense inverse is refused: it would take 3 GB."""


def katz(matrix: csr_array | np.ndarray) -> np.ndarray:
    """Paths of every length between two nodes, long ones damped.

    >>> katz(np.array([[0.0, 1.0], [1.0, 0.0]])).round(4).tolist()  # b = 1/4: b / (1 − b²), b² / (1 − b²)
    [[0.0667, 0.2667], [0.2667, 0.0667]]
    """
    m = _dense(matrix)
    top = np.linalg.norm(m, 2) if m.any() else 0.0
    damping = min(0.25 / top, 0.5) if top > 0 else 0.5
    return np.linalg.inv(np.eye(len(m)) - damping * m) - np.eye(len(m))


def pagerank(matrix: csr_array | np.ndarray, damping: float = 0.85) -> np.ndarray:
    """Where a walk is found that goes on with probability `damping` and else begins again at its node.

    >>> pagerank(np.array([[0.0, 1.0], [1.0, 0.0]]), damping=0.5).round(4).tolist()
    [[0.6667, 0.3333], [0.3333, 0.6667]]
    """
    if not 0 <= damping < 1:
        raise InputError(f"damping is in [0, 1); got {damping}")
    m = _dense(matrix)
    degrees = m.sum(axis=0)
    walk = m * np.divide(1, degrees, out=np.zeros_like(degrees), where=degrees > 0)
    return (1 - damping) * np.linalg.inv(np.eye(len(m)) - damping * walk)


def _dense(matrix: csr_array | np.ndarray) -> np.ndarray:
    n, columns = shape_of(matrix)
    if n != columns:
        raise InputError(f"an adjacency matrix is square; got {(n, columns)}")
    if n > MOST:
        raise InputError(f"a dense inverse of {n} nodes is too large (most: {MOST}); use local scores")
    return np.asarray(matrix if isinstance(matrix, np.ndarray) else matrix.toarray(), np.float64)
