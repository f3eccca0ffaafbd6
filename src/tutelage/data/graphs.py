"""Graphs as sparse matrices: from edge lists, from files of edges, and BlogCatalog as it was published.

A graph of n nodes is its adjacency matrix A, a `scipy.sparse.csr_array` (n, n) in float32: A_ij > 0 is the weight of the
edge from i to j, and an undirected graph has A = Aᵀ. Nothing here is unpickled.
"""

from __future__ import annotations

import gzip
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from tutelage.errors import InputError

if TYPE_CHECKING:
    from scipy.sparse import csr_array


class NamedGraph(NamedTuple):
    """A graph and what its nodes are called: A (n, n), names (n,)."""

    adjacency: csr_array
    names: list[str]


class LabelledGraph(NamedTuple):
    """A graph whose nodes carry several labels each: A (n, n), labels (n, K) bool."""

    adjacency: csr_array
    labels: np.ndarray


def adjacency(
    graph: Any,
    *,
    weights: npt.ArrayLike | None = None,
    nodes: int | None = None,
    directed: bool = False,
    self_loops: bool = True,
) -> csr_array:
    """A checked adjacency matrix of whatever holds a graph: (n, n) float32, sorted, without stored zeros.

    Args:
        graph: a scipy sparse matrix (n, n), which is taken as it is; or an edge index (2, E) of node numbers (array, list
            or tensor), where an undirected edge may be listed in one direction or in both. A pair that is listed several
            times counts once; with weights, its weights are added, in whichever directions they stand. Only where every
            edge is listed in both directions with the same weight is it the weight, as in a symmetric matrix.
        weights: (E,) of the edge index.
        nodes: n; by default the largest number of the edge index + 1.
        directed: keep the direction of edges; else the matrix must be, and an edge index is made, symmetric.
        self_loops: False drops edges from a node to itself.

    Raises: InputError: not square or (2, E), node numbers outside [0, n), weights that are negative or not finite, a
        matrix that is not symmetric.

    >>> adjacency([[0, 1], [1, 2]]).toarray().tolist()
    [[0.0, 1.0, 0.0], [1.0, 0.0, 1.0], [0.0, 1.0, 0.0]]
    """
    from scipy import sparse

    if sparse.issparse(graph):
        if weights is not None or nodes is not None:
            raise InputError("weights and nodes belong to an edge index; a sparse matrix has its own")
        matrix = _checked(sparse.csr_array(graph, dtype=np.float32, copy=True))
        if not directed and not _symmetric(matrix):
            raise InputError(
                "the matrix is not symmetric: add its transpose, or say directed=True (and embed both, A and A.T)"
            )
    else:
        matrix = _from_edges(graph, weights, nodes)
        if not directed and not _symmetric(matrix):
            back = matrix.T.tocsr()
            if weights is None:
                matrix = sparse.csr_array(matrix.maximum(back))
            else:
                matrix = sparse.csr_array(matrix + back - sparse.diags_array(matrix.diagonal()))
                matrix.eliminate_zeros()
    if not self_loops:
        matrix.setdiag(0)
        matrix.eliminate_zeros()
    matrix.sort_indices()
    return matrix


def shape_of(matrix: csr_array | np.ndarray) -> tuple[int, int]:
    """Rows and columns of a matrix, sparse or dense.

    >>> shape_of(np.zeros((2, 3)))
    (2, 3)
    """
    rows, columns = matrix.shape or (0, 0)
    return int(rows), int(columns)


def read_edges(path: str | Path, *, directed: bool = False, header: bool = False) -> NamedGraph:
    """A file with an edge a line, `source target` or `source target weight`, separated by tabs, commas or single spaces.

    Lines at the beginning that start with # or % are passed over; `.gz` is read as it is. Nodes are numbered in the order
    in which they appear.

    Raises: InputError: no such file, damaged, empty, lines of different lengths, a weight that is no number.
    """
    import pyarrow as pa
    import pyarrow.csv as pc

    path = Path(path)
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as stream:
            lines = stream.read()
        start = 0
        while lines[start : start + 1] in (b"#", b"%"):
            start = lines.find(b"\n", start) + 1 or len(lines)
        first = lines[start:].split(b"\n", 1)[0].strip()
        delimiter = next((mark for mark in "\t," if mark.encode() in first), " ")
        columns = ["source", "target", "weight"][: len(first.split(delimiter.encode()))]
        table = pc.read_csv(
            pa.BufferReader(lines[start:]),
            read_options=pc.ReadOptions(column_names=columns, skip_rows=int(header)),
            parse_options=pc.ParseOptions(delimiter=delimiter),
            convert_options=pc.ConvertOptions(
                column_types={"source": pa.string(), "target": pa.string(), "weight": pa.float32()},
                strings_can_be_null=False,
            ),
        )
    except FileNotFoundError:
        raise InputError(f"no such file: {path}") from None
    except (OSError, EOFError, zlib.error, pa.ArrowInvalid) as error:
        raise InputError(f"cannot read {path}: {' '.join(str(error).split())}") from None
    if len(columns) < 2 or not len(table):
        raise InputError(f"{path} has no edges: a line is `source target` or `source target weight`")
    ends = pa.chunked_array([*table["source"].chunks, *table["target"].chunks]).combine_chunks().dictionary_encode()
    index = ends.indices.to_numpy().reshape(2, -1)
    weights = table["weight"].to_numpy() if len(columns) == 3 else None
    return NamedGraph(adjacency(index, weights=weights, directed=directed), ends.dictionary.to_pylist())


def blogcatalog(path: str | Path) -> LabelledGraph:
    """BlogCatalog3 (Tang & Liu 2009) as a MATLAB file: `network` (n, n) and `group` (n, K), 10,312 bloggers, 39 interests.

    Raises: InputError: no such file, no MATLAB file, or without these matrices.
    """
    from scipy import io, sparse

    if not Path(path).is_file():
        raise InputError(f"no such file: {path}")
    try:
        held = io.loadmat(Path(path), appendmat=False, variable_names=("network", "group"))
    except (OSError, ValueError, NotImplementedError, TypeError, zlib.error) as error:
        raise InputError(f"cannot read {path} as a MATLAB file: {' '.join(str(error).split())}") from None
    if not all(sparse.issparse(held.get(name)) for name in ("network", "group")):
        raise InputError(f"{path} does not hold the sparse matrices `network` and `group`")
    matrix, labels = adjacency(held["network"]), held["group"].toarray() > 0
    if len(labels) != (n := shape_of(matrix)[0]):
        raise InputError(f"{path}: `group` has {len(labels)} rows for {n} nodes")
    return LabelledGraph(matrix, labels)


def _from_edges(edges: Any, weights: npt.ArrayLike | None, nodes: int | None) -> csr_array:
    from scipy import sparse

    index = np.asarray(edges)
    if index.ndim != 2 or index.shape[0] != 2:
        rows = " (one edge a row? then give its transpose)" if index.ndim == 2 and index.shape[1] == 2 else ""
        raise InputError(f"a graph is a scipy sparse matrix or an edge index (2, E); got shape {index.shape}{rows}")
    if not np.issubdtype(index.dtype, np.integer):
        raise InputError(f"an edge index holds node numbers; got {index.dtype}")
    n = nodes if nodes is not None else int(index.max(initial=-1)) + 1
    wrong = (index < 0) | (index >= n)
    if wrong.any():
        edge = int(wrong.any(axis=0).argmax())
        raise InputError(f"node numbers must be in [0, {n}); edge {edge} is {index[:, edge].tolist()}")
    given = np.ones(index.shape[1], np.float32) if weights is None else np.asarray(weights, np.float32)
    if given.shape != index.shape[1:]:
        raise InputError(f"need one weight an edge: {index.shape[1]} edges, weights of shape {given.shape}")
    matrix = _checked(sparse.csr_array((given, (index[0], index[1])), shape=(n, n)))
    if weights is None:
        matrix.data[:] = 1
    return matrix


def _checked(matrix: csr_array) -> csr_array:
    if matrix.ndim != 2 or len({*shape_of(matrix)}) > 1:
        raise InputError(f"an adjacency matrix is square; got {matrix.shape}")
    wrong = ~((matrix.data >= 0) & (matrix.data < np.inf))
    if wrong.any():
        raise InputError(f"edge weights must be finite and not negative; found {matrix.data[wrong.argmax()]}")
    matrix.sum_duplicates()
    matrix.eliminate_zeros()
    return matrix


def _symmetric(matrix: csr_array) -> bool:
    other = matrix.T.tocsr()
    same = np.array_equal(matrix.indptr, other.indptr) and np.array_equal(matrix.indices, other.indices)
    return same and np.allclose(matrix.data, other.data, rtol=1e-6, atol=0)
