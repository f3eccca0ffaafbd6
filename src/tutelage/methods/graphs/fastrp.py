"""FastRP: features of a graph's nodes by very sparse random projection, without training anything.

Chen et al., "Fast and Accurate Network Embeddings via Very Sparse Random Projection", 2019 (arXiv:1908.11512).

Embeddings by random walks (DeepWalk, node2vec) are a matrix of similarities of nodes and a reduction of its dimension; what
matters is the matrix, and random projection is a reduction that costs nothing. With M = D⁻¹ A the walk's transitions and
R very sparse,

    R_ij = √(s/d) · {+1, 0, −1} with probability {1/2s, 1 − 1/s, 1/2s},      s = √n
    U_k  = M^k · diag(deg^beta) · R,                                          k = 1 … q
    Z    = standardise(Σ_k w_k · unit(U_k))

where unit scales rows to length 1, beta ≤ 0 damps nodes that every walk meets, and standardise gives each column mean 0 and
variance 1. Products associate, so M^k is never built: U_k = M · U_{k−1}, at q · nnz(A) · d multiplications in all. A constant
in front of the damping, such as the paper's (deg / 2m)^beta, cancels in the last step.

The memory is two arrays (n, d), one of which is the result (a third one where powers before the last two have a weight).
Threads do not change a result.

Shapes: A (n, n) sparse; R, U_k, Z (n, d) float32.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from scipy.sparse import csr_array
from sklearn.base import BaseEstimator

from tutelage.data.graphs import adjacency, shape_of
from tutelage.errors import InputError
from tutelage.students.propagation import by_rows, power_chain, standardise

WEIGHTS = (0.0, 0.0, 1.0, 6.0)
"""w_1 … w_4: walks of three and four steps. The authors' search found (0, 0, 1, 6.67) and beta = −0.64 on BlogCatalog."""
BETA = -0.6
SMALL = 100
"""Nodes below which s = √n would leave columns of R empty; there s is at most 3."""


def very_sparse_projection(n: int, d: int, *, s: float | None = None, seed: int = 0) -> csr_array:
    """R (n, d) with independent entries ±√(s/d), each with probability 1/(2s), and 0: distances are kept in expectation.

    The gaps between the entries that are not 0 are geometric, so only these are drawn. It works for text and tables too:
    X @ R. `s` is √n by default (Li, Hastie & Church 2006), at most 3 below 100 rows.

    Raises: InputError: n or d below 1, s below 1.

    >>> very_sparse_projection(2, 4, s=1).toarray().tolist()  # s = 1: a sign everywhere
    [[-0.5, 0.5, 0.5, 0.5], [-0.5, 0.5, 0.5, -0.5]]
    """
    s = (math.sqrt(n) if n >= SMALL else min(3.0, math.sqrt(max(n, 1)))) if s is None else s
    if min(n, d) < 1 or not s >= 1:
        raise InputError(f"need n >= 1, dim >= 1 and s >= 1; got n={n}, dim={d}, s={s}")
    rng, cells = np.random.default_rng(seed), n * d
    places, last = [], -1
    while last < cells:
        expected = (cells - last) / s
        places.append(last + np.cumsum(rng.geometric(1 / s, size=int(expected + 4 * math.sqrt(expected)) + 1)))
        last = int(places[-1][-1])
    flat = np.concatenate(places)
    flat = flat[flat < cells]
    values = rng.choice(np.array([-1, 1], np.float32) * np.float32(math.sqrt(s / d)), size=len(flat))
    starts = np.searchsorted(flat, np.arange(n + 1) * d)
    return csr_array((values, (flat % d).astype(np.int32), starts.astype(np.int32)), shape=(n, d))


def fastrp(
    graph: Any,
    dim: int = 256,
    *,
    weights: Sequence[float] = WEIGHTS,
    beta: float = BETA,
    normalise: bool = True,
    projection: csr_array | np.ndarray | None = None,
    edge_weights: npt.ArrayLike | None = None,
    nodes: int | None = None,
    directed: bool = False,
    seed: int = 0,
    threads: int | None = None,
) -> np.ndarray:
    """Z (n, dim) float32 of a graph: a scipy sparse matrix (n, n) or an edge index (2, E), see `data.graphs.adjacency`.

    Args:
        weights: w_1 … w_q. On bipartite graphs two powers in a row need a weight: even and odd ones see different sides.
        beta: ≤ 0; the damping of nodes of high degree.
        normalise: rows of each U_k to length 1.
        projection: in the place of R, (n, any): another random matrix, or features of the nodes.
        edge_weights, nodes: (E,) and n, of an edge index.
        directed: M follows the edges' direction, and the damping counts edges that come in; embed A and A.T.
        threads: None takes every CPU that the process may use.

    Raises: InputError: what is no graph, weights that are all 0 or not finite, a projection with other rows.
    """
    matrix = adjacency(graph, weights=edge_weights, nodes=nodes, directed=directed)
    weights, start = _checked(weights), _start(matrix, dim, beta, projection, seed)
    scaled = unit if normalise else np.asarray
    chain = power_chain(matrix, start, len(weights), threads)
    early = np.zeros(shape_of(start), np.float32) if any(weights[:-2]) else None
    for weight, u in zip(weights[:-2], chain, strict=False):  # weights end first: the chain goes on below

        def add(a: int, b: int, weight: float = weight, u: np.ndarray = u) -> None:
            if early is not None:
                early[a:b] += weight * scaled(u[a:b])

        by_rows(add, u.shape, threads)
    last = list(zip(weights[-2:], chain, strict=True))  # the chain's two buffers, ours now
    z = last[-1][1]

    def combine(a: int, b: int) -> None:
        rows = np.sum([weight * scaled(u[a:b]) for weight, u in last if weight], axis=0)
        z[a:b] = rows if early is None else rows + early[a:b]

    by_rows(combine, z.shape, threads)
    return standardise(z, threads)


def unit(rows: np.ndarray) -> np.ndarray:
    """Every row to length 1: (n, d) → (n, d); rows of zeros stay.

    >>> unit(np.array([[0.0, 4.0], [0.0, 0.0]])).tolist()
    [[0.0, 1.0], [0.0, 0.0]]
    """
    lengths = np.sqrt(np.einsum("ij,ij->i", rows, rows))
    return rows * np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)[:, None]


class FastRP(BaseEstimator):
    """The same as a scikit-learn estimator, whose `X` is a graph.

    Args: dim, weights, beta, normalise, directed, seed, threads: as for `fastrp`.

    Attributes: embedding_: Z (n, dim) float32; n_features_in_: n.

    >>> path = [[0, 1, 2, 3], [1, 2, 3, 4]]
    >>> FastRP(dim=3).fit_transform(path).shape
    (5, 3)
    """

    def __init__(
        self,
        dim: int = 256,
        *,
        weights: Sequence[float] = WEIGHTS,
        beta: float = BETA,
        normalise: bool = True,
        directed: bool = False,
        seed: int = 0,
        threads: int | None = None,
    ) -> None:
        self.dim, self.weights, self.beta, self.normalise = dim, weights, beta, normalise
        self.directed, self.seed, self.threads = directed, seed, threads

    def fit(
        self, X: Any, y: object = None, *, edge_weights: npt.ArrayLike | None = None, nodes: int | None = None
    ) -> FastRP:
        """Embed the nodes of X: sparse (n, n), or an edge index (2, E) with its weights (E,) and n. Raises: InputError."""
        self.embedding_ = fastrp(X, **self.get_params(), edge_weights=edge_weights, nodes=nodes)
        self.n_features_in_ = len(self.embedding_)
        return self

    def fit_transform(
        self, X: Any, y: object = None, *, edge_weights: npt.ArrayLike | None = None, nodes: int | None = None
    ) -> np.ndarray:
        """`fit`, and Z (n, dim)."""
        return self.fit(X, edge_weights=edge_weights, nodes=nodes).embedding_


class Tuned(NamedTuple):
    """The best of what `tune` tried: arguments of `fastrp`, and their score."""

    weights: tuple[float, ...]
    beta: float
    score: float


def tune(
    graph: Any,
    score: Callable[[np.ndarray], float],
    *,
    ratios: Sequence[float] = (1, 2, 4, 8, 16, 32, 64),
    betas: Sequence[float] = (-1, -0.75, -0.5, -0.25, 0),
    dim: int = 64,
    edge_weights: npt.ArrayLike | None = None,
    nodes: int | None = None,
    directed: bool = False,
    seed: int = 0,
    threads: int | None = None,
) -> Tuned:
    """Try w = (0, 0, 1, ratio) and beta at a small width, and keep what `score` (Z → larger is better) likes best.

    Powers are made once a beta; a ratio then costs a sum. Score on validation labels, not on those that you report. The
    graph, its edge_weights, nodes and directed are those of `fastrp`.

    >>> tune([[0, 1, 2], [1, 2, 3]], lambda z: -float(np.abs(z).max()), ratios=(1, 2), betas=(0,), dim=2).beta
    0
    """
    matrix = adjacency(graph, weights=edge_weights, nodes=nodes, directed=directed)
    best = Tuned((0.0, 0.0, 1.0, float(ratios[0])), betas[0], -math.inf)
    for beta in betas:
        *_, third, fourth = power_chain(matrix, _start(matrix, dim, beta, None, seed), 4, threads)
        third, fourth = unit(third), unit(fourth)
        for ratio in ratios:
            if (found := float(score(standardise(third + np.float32(ratio) * fourth, threads)))) > best.score:
                best = Tuned((0.0, 0.0, 1.0, float(ratio)), beta, found)
    return best


def _start(
    matrix: csr_array, dim: int, beta: float, projection: csr_array | np.ndarray | None, seed: int
) -> csr_array | np.ndarray:
    """diag(deg^beta) R, with deg the weights of the edges that come in."""
    n = shape_of(matrix)[0]
    if not math.isfinite(beta):
        raise InputError(f"beta must be finite; got {beta}")
    if beta > 0:
        warnings.warn(f"beta = {beta} amplifies nodes of high degree; damping them is beta < 0", stacklevel=3)
    r = very_sparse_projection(n, dim, seed=seed) if projection is None else projection
    if shape_of(r)[0] != n:
        raise InputError(f"the projection needs a row a node: {n}; got shape {shape_of(r)}")
    degrees = np.asarray(matrix.sum(axis=0), np.float64)
    if alone := int((np.diff(matrix.indptr) == 0).sum()):
        warnings.warn(f"{alone} of {n} nodes have no edge: they all get the same features", stacklevel=3)
    damping = np.power(degrees, beta, out=np.zeros_like(degrees), where=degrees > 0).astype(np.float32)
    if isinstance(r, np.ndarray):
        return r.astype(np.float32) * damping[:, None]
    r = csr_array(r)
    scaled = r.data.astype(np.float32) * np.repeat(damping, np.diff(r.indptr))
    return csr_array((scaled, r.indices, r.indptr), shape=shape_of(r))


def _checked(weights: Sequence[float]) -> tuple[float, ...]:
    """w_1 … w_q without zeros at the end."""
    values = tuple(float(w) for w in weights)
    if not all(map(math.isfinite, values)) or not any(values):
        raise InputError(f"weights are finite numbers, one a power, not all of them 0; got {values}")
    return values[: max(k for k, w in enumerate(values, 1) if w)]
