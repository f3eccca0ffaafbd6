"""Features that walk over a graph: D⁻¹ A X for a sparse A and a tall X, a power at a time.

With D = diag(row sums of A), row i of D⁻¹ A X is the weighted mean of the rows of X at i's neighbours. The kernel adds four
neighbours' whole rows at once: memory, not arithmetic, sets its pace, and a row of X is read in one go. Threads work on
blocks of rows; what a row holds does not depend on them.

Shapes: A (n, n) CSR float32; X, D⁻¹ A X (n, d) float32, rows contiguous.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from tutelage.data.graphs import shape_of
from tutelage.students import threads as pool
from tutelage.students.compiled import jit

if TYPE_CHECKING:
    from scipy.sparse import csr_array

T = TypeVar("T")

BLOCK = 2**18
"""Numbers in a block of rows: a megabyte, which stays in a core's cache."""


def power_chain(matrix: csr_array, start: csr_array | np.ndarray, powers: int, threads: int | None = None) -> Iterator:
    """U_1 … U_powers with U_k = (D⁻¹ A)^k X: (n, n), (n, d) → (n, d) each.

    There are two buffers: U_k may be overwritten when U_{k+2} is made, and the last two are the caller's to keep. Rows of
    nodes without edges are 0.

    >>> from scipy.sparse import csr_array
    >>> pair = csr_array(np.array([[0, 1], [1, 0]], np.float32))
    >>> [u.tolist() for u in power_chain(pair, np.array([[1], [0]], np.float32), 2)]
    [[[0.0], [1.0]], [[1.0], [0.0]]]
    """
    degrees = np.asarray(matrix.sum(axis=1), np.float32)
    share = np.divide(1, degrees, out=np.zeros_like(degrees), where=degrees > 0)
    graph = (matrix.indptr, matrix.indices, matrix.data, share)
    buffers = [np.empty(shape_of(start), np.float32) for _ in range(min(powers, 2))]
    held = start
    for power in range(powers):
        target = buffers[power % 2]
        if isinstance(held, np.ndarray):
            source = np.ascontiguousarray(held, np.float32)
            by_rows(lambda a, b, x=source, y=target: _mean_rows(*graph, x, y, a, b), target.shape, threads)
        else:
            sparse = (held.indptr, held.indices, held.data)
            by_rows(lambda a, b, x=sparse, y=target: _mean_sparse_rows(*graph, *x, y, a, b), target.shape, threads)
        yield target
        held = target


def by_rows(work: Callable[[int, int], T], shape: tuple[int, ...], threads: int | None = None) -> list[T]:
    """`work(first, end)` of every block of rows of an (n, d) array, in order.

    >>> by_rows(lambda first, end: (first, end), (5, 2**17))
    [(0, 2), (2, 4), (4, 5)]
    """
    step = max(1, BLOCK // max(1, shape[1]))
    bounds = [(first, min(first + step, shape[0])) for first in range(0, shape[0], step)]
    return pool.run(lambda bound: work(*bound), bounds, threads)


def standardise(z: np.ndarray, threads: int | None = None) -> np.ndarray:
    """Every column to mean 0 and variance 1, in place: (n, d) → (n, d); a column without variance becomes 0.

    >>> standardise(np.array([[1, 5], [3, 5]], np.float32)).tolist()
    [[-1.0, 0.0], [1.0, 0.0]]
    """
    mean = np.sum(by_rows(lambda a, b: z[a:b].sum(axis=0, dtype=np.float64), z.shape, threads), axis=0) / len(z)

    def centre(a: int, b: int) -> np.ndarray:
        z[a:b] -= mean.astype(np.float32)
        return np.square(z[a:b], dtype=np.float64).sum(axis=0)

    deviation = np.sqrt(np.sum(by_rows(centre, z.shape, threads), axis=0) / len(z))
    spread = deviation > 1e-6 * np.abs(mean)
    share = np.divide(1, deviation, out=np.zeros_like(deviation), where=spread).astype(np.float32)
    by_rows(lambda a, b: np.multiply(z[a:b], share, out=z[a:b]), z.shape, threads)
    return z


@jit
def _mean_rows(indptr, indices, values, share, source, target, first, end):
    """target[i] = share[i] Σ_j values_ij source[j] for first ≤ i < end."""
    width = source.shape[1]
    total = np.empty(width, np.float32)
    for i in range(first, end):
        total[:] = 0
        p = indptr[i]
        while p + 4 <= indptr[i + 1]:
            a, b, c, d = values[p], values[p + 1], values[p + 2], values[p + 3]
            x, y, z, w = source[indices[p]], source[indices[p + 1]], source[indices[p + 2]], source[indices[p + 3]]
            for k in range(width):
                total[k] += a * x[k] + b * y[k] + c * z[k] + d * w[k]
            p += 4
        while p < indptr[i + 1]:
            a, x = values[p], source[indices[p]]
            for k in range(width):
                total[k] += a * x[k]
            p += 1
        for k in range(width):
            target[i, k] = share[i] * total[k]


@jit
def _mean_sparse_rows(indptr, indices, values, share, rows, columns, entries, target, first, end):
    """The same from a sparse source (rows, columns, entries: its CSR arrays)."""
    for i in range(first, end):
        target[i] = 0
        for p in range(indptr[i], indptr[i + 1]):
            j = indices[p]
            for e in range(rows[j], rows[j + 1]):
                target[i, columns[e]] += share[i] * values[p] * entries[e]
