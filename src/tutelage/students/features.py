"""From Arrow texts to feature numbers and table rows: `text_kernels` and `table_kernels` over blocks of rows.

A block is at most `BLOCK_ROWS` texts of one Arrow chunk, as the byte buffer and the bounds of each text in it: nothing is
copied, sliced arrays and both widths of offsets are read where they lie, and the bytes under a null are never looked at.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, TypeAlias

import numpy as np
import pyarrow as pa

from tutelage.students import table_kernels, text_kernels, threads, unicode

BLOCK_ROWS = 4096
BLOCK_BYTES = 4 << 20


class Block(NamedTuple):
    """R texts: data (B,) uint8 read-only, starts (R,) and ends (R,) int64 in it."""

    data: np.ndarray
    starts: np.ndarray
    ends: np.ndarray


class Grams(NamedTuple):
    """Which features a text has (see `tutelage.students.tokens`): token pairs or not, lengths of character n-grams or none."""

    pairs: bool
    chars: tuple[int, int] | None

    @property
    def kernel(self) -> tuple[bool, int, int]:
        """The three arguments of the kernels."""
        shortest, longest = self.chars or (1, 0)
        return self.pairs, shortest, longest

    def most(self, size: int, rows: int) -> int:
        """At most so many features do `rows` texts of `size` bytes in all have."""
        lengths = self.chars[1] - self.chars[0] + 1 if self.chars else 0
        return (size // 2 + rows) * (2 if self.pairs else 1) + size * lengths


def blocks(texts: pa.ChunkedArray) -> list[Block]:
    """The blocks of the texts, in order.

    >>> [b.ends - b.starts for b in blocks(pa.chunked_array([["ab", None, ""]]))]
    [array([2, 0, 0])]
    """
    found = []
    for chunk in texts.chunks:
        if len(chunk) == 0:
            continue
        valid, offsets, data = chunk.buffers()
        width = np.int64 if pa.types.is_large_string(chunk.type) else np.int32
        bounds = np.frombuffer(offsets, width)[chunk.offset : chunk.offset + len(chunk) + 1].astype(np.int64)
        bytes_ = np.frombuffer(data, np.uint8) if data is not None and data.size else np.zeros(1, np.uint8)
        bytes_.flags.writeable = False
        starts, ends = bounds[:-1], bounds[1:]
        if valid is not None and chunk.null_count:
            ends = np.where(chunk.is_valid().to_numpy(zero_copy_only=False), ends, starts)
        first = 0
        while first < len(chunk):
            full = int(np.searchsorted(bounds, bounds[first] + BLOCK_BYTES))
            last = max(first + 1, min(first + BLOCK_ROWS, full - 1, len(chunk)))
            found.append(
                Block(bytes_, np.ascontiguousarray(starts[first:last]), np.ascontiguousarray(ends[first:last]))
            )
            first = last
    return found


def feature_numbers(texts: pa.ChunkedArray, grams: Grams, workers: int | None) -> tuple[np.ndarray, np.ndarray]:
    """All features of N texts: numbers (F,) uint64, and bounds (N + 1,) int64 of each text's features in them.

    >>> numbers, bounds = feature_numbers(pa.chunked_array([["a b", ""]]), Grams(True, None), 1)
    >>> bounds.tolist()
    [0, 4, 4]
    """
    chars = unicode.table()

    def work(block: Block) -> tuple[np.ndarray, np.ndarray]:
        size = int((block.ends - block.starts).sum())
        out = np.empty(grams.most(size, len(block.starts)), np.uint64)
        counts = np.empty(len(block.starts), np.int64)
        total = text_kernels.feature_numbers(*block, *chars, *grams.kernel, out, counts)
        return out[:total].copy(), counts

    parts = threads.run(work, blocks(texts), workers)
    if not parts:
        return np.zeros(0, np.uint64), np.zeros(1, np.int64)
    counts = np.concatenate([part[1] for part in parts])
    return np.concatenate([part[0] for part in parts]), np.concatenate([[0], np.cumsum(counts)])


Finish: TypeAlias = Callable[[np.ndarray, np.ndarray], np.ndarray]
"""Integer sums (R, S) and feature counts (R,) of a block -> what is wanted of it (R, …)."""


def summed(
    texts: pa.ChunkedArray,
    grams: Grams,
    known: np.ndarray,
    place: np.ndarray | None,
    table: np.ndarray,
    finish: Finish,
    workers: int | None,
) -> np.ndarray:
    """Sum each text's known table rows and finish every block on its own thread: N texts -> (N, …).

    Args:
        known: (words,) uint64, see `filter_of`.
        place: (2^b,) int32 row of the table for a feature's highest b bits; None: these are the row.
        table: (V or 2^b, S) int8 or int16.
        finish: makes logits or labels of the sums.
    """
    chars = unicode.table()
    where = np.zeros(0, np.int32) if place is None else place

    def work(block: Block) -> np.ndarray:
        totals = np.empty((len(block.starts), table.shape[1]), np.int32)
        counts = np.empty(len(block.starts), np.int64)
        table_kernels.sum_rows(*block, *chars, *grams.kernel, known, where, table, totals, counts)
        return finish(totals, counts)

    parts = threads.run(work, blocks(texts), workers)
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def rows_of(numbers: np.ndarray, bits: int) -> np.ndarray:
    """Table rows of feature numbers: their highest `bits` bits. (F,) uint64 -> (F,) uint32."""
    return (numbers >> np.uint64(64 - bits)).astype(np.uint32)


def filter_of(numbers: np.ndarray, bits_per_feature: int = 24) -> np.ndarray:
    """The Bloom filter of the known features: (V,) uint64 -> a power of two of 64-bit words.

    An unknown feature passes with probability at most 1 / bits_per_feature.

    >>> known = filter_of(np.array([1 << 40, 5 << 50], np.uint64))
    >>> is_known(np.array([1 << 40, 1 << 8], np.uint64), known).tolist()
    [True, False]
    """
    words = max(1, len(numbers) * bits_per_feature // 64)
    known = np.zeros(1 << (words - 1).bit_length(), np.uint64)
    word, bit = _place(numbers, known)
    np.bitwise_or.at(known, word, np.uint64(1) << bit)
    return known


def is_known(numbers: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Which features pass the filter: (F,) uint64 -> (F,) bool."""
    word, bit = _place(numbers, known)
    return (known[word] >> bit & np.uint64(1)).astype(bool)


def _place(numbers: np.ndarray, known: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    word = (numbers >> np.uint64(14) & np.uint64(len(known) - 1)).astype(np.int64)
    return word, numbers >> np.uint64(8) & np.uint64(63)
