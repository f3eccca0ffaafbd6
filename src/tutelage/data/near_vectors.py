"""Exact and near duplicates of vectors: a picture of the test set must not sit in the pool that a student learns from.

Two rows are exact duplicates when their bytes are equal, and near duplicates when their cosine reaches a threshold. What
the rows are (pixels, embeddings) and which cosine means "the same picture" is the caller's to know.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tutelage.data.dedup import Duplicates
from tutelage.errors import InputError

_BLOCK = 1024


def near_duplicate_vectors(
    features: npt.ArrayLike, *, threshold: float | None = 0.98, held_out: npt.ArrayLike | None = None
) -> Duplicates:
    """Find rows that repeat an earlier row, or any held-out row: (N, d) → `Duplicates`.

    Args:
        features: (N, d); the first of several duplicates is kept.
        threshold: cosine in (0, 1] from which two rows count as near duplicates; None compares exactly only.
        held_out: (M, d) rows of the other side; a row that repeats one of them is dropped.

    Raises: InputError: threshold outside (0, 1], rows of different length, values that are not finite.

    >>> near_duplicate_vectors([[1.0, 0.0], [2.0, 0.01], [0.0, 1.0]], held_out=[[0.0, 1.0]]).of.tolist()
    [-1, 0, 3]
    """
    rows = _matrix("features", features)
    others = rows[:0] if held_out is None else _matrix("held_out", held_out)
    if others.shape[1] != rows.shape[1]:
        raise InputError(f"features have {rows.shape[1]} columns, held-out rows {others.shape[1]}")
    if threshold is not None and not 0 < threshold <= 1:
        raise InputError(f"the threshold is a cosine in (0, 1], or None; got {threshold}")
    total, offset = len(rows), len(others)
    everything = np.concatenate([others, rows])
    of = np.full(offset + total, -1, np.int64)
    first: dict[bytes, int] = {}
    for row, vector in enumerate(everything):
        earlier = first.setdefault(vector.tobytes(), row)
        if earlier != row and row >= offset:
            of[row] = earlier
    exact = int((of >= 0).sum())
    if threshold is not None:
        _mark_near(everything, of, offset, threshold)
    of = np.where((of >= 0) & (of[of] >= 0), of[of], of)[offset:]
    of = np.where(of < 0, -1, np.where(of >= offset, of - offset, of + total))
    return Duplicates(drop=of >= 0, of=of, exact=exact, near=int((of >= 0).sum()) - exact)


def _mark_near(everything: np.ndarray, of: np.ndarray, offset: int, threshold: float) -> None:
    """Point every row that is left to its nearest earlier kept row, where that is near enough."""
    length = np.linalg.norm(everything, axis=1, keepdims=True)
    unit = everything / np.where(length > 0, length, 1)
    kept = list(range(offset))
    for start in range(offset, len(unit), _BLOCK):
        block = range(start, min(start + _BLOCK, len(unit)))
        to_kept = unit[block.start : block.stop] @ unit[kept].T if kept else np.zeros((len(block), 0))
        inside = unit[block.start : block.stop] @ unit[block.start : block.stop].T
        new: list[int] = []
        for row in block:
            if of[row] >= 0:
                continue
            candidates = np.concatenate([to_kept[row - start], inside[row - start, [other - start for other in new]]])
            names = kept + new
            if len(candidates) and candidates.max() >= threshold:
                of[row] = names[int(candidates.argmax())]
            else:
                new.append(row)
        kept += new


def _matrix(what: str, values: npt.ArrayLike) -> np.ndarray:
    matrix = np.ascontiguousarray(values, np.float32)
    if matrix.ndim != 2 or not matrix.shape[1] or not np.isfinite(matrix).all():
        raise InputError(f"{what} must be finite rows of one length; got shape {matrix.shape}")
    return matrix + 0.0  # −0.0 becomes 0.0: equal numbers have equal bytes
