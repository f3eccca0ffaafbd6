"""DeepWalk (Perozzi et al. 2014): uniform random walks over the graph, read as sentences by word2vec's skip-gram."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from scipy.sparse import csr_array


def walks(matrix: csr_array, *, per_node: int, length: int, seed: int) -> np.ndarray:
    """Uniform walks that begin `per_node` times at every node, in random order: (per_node · n, length) node numbers.

    A walk that comes to a node without edges stays there.
    """
    rng = np.random.default_rng(seed)
    degrees = np.diff(matrix.indptr)
    paths = np.empty((per_node * len(degrees), length), np.int64)
    paths[:, 0] = rng.permutation(np.repeat(np.arange(len(degrees)), per_node))
    for step in range(1, length):
        here = paths[:, step - 1]
        drawn = matrix.indptr[here] + (rng.random(len(here)) * degrees[here]).astype(np.int64)
        paths[:, step] = np.where(degrees[here] > 0, matrix.indices[np.minimum(drawn, matrix.nnz - 1)], here)
    return paths


def deepwalk(matrix: csr_array, dim: int, *, per_node: int, length: int, window: int, seed: int) -> np.ndarray:
    """Skip-gram with five negative samples on the walks, one epoch, one thread: (n, dim) float32."""
    from gensim.models import Word2Vec

    paths = walks(matrix, per_node=per_node, length=length, seed=seed)
    model = Word2Vec(
        paths.astype(str).tolist(),
        vector_size=dim,
        window=window,
        sg=1,
        negative=5,
        min_count=0,
        epochs=1,
        workers=1,
        seed=seed,
    )
    return model.wv[[str(node) for node in range(len(matrix.indptr) - 1)]]
