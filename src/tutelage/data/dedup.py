"""Exact and near duplicates of texts: agency copy that was printed twice must not sit on both sides of a split.

Two texts are exact duplicates when their normal forms are equal, and near duplicates when the Jaccard similarity of their
sets of word n-grams reaches a threshold. Candidates come from MinHash with locality-sensitive banding (Broder 1997;
Indyk & Motwani 1998): b bands of r rows find a pair of similarity s with probability

    1 − (1 − sʳ)ᵇ

r and b are chosen such that a pair at the threshold is missed once in ten thousand times, a closer one less often. A band
that very many texts share, because they are filled from one template, tells little: only its first texts are compared.
Every candidate is checked exactly in the end, so nothing is dropped that is not a duplicate.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tutelage.data.text import normalise

_MISS = 1e-4
_HASHES = 80  # rows in all bands together, at most where the threshold allows it
_CROWD = 200  # rows of one band that a text is compared with; bounds the work on corpora of boilerplate
_TOKEN = re.compile(r"[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]|[^\W\u3040-\u30ff\u3400-\u9fff\uac00-\ud7af]+")


@dataclass(frozen=True)
class Duplicates:
    """Which rows to drop, and why.

    Attributes:
        drop: (N,) bool, true for a row that repeats an earlier kept row or a held-out text.
        of: (N,) int64, the row that is kept instead; N + j for held-out text j; −1 for rows that stay.
        exact, near: how many rows are dropped for which reason.
    """

    drop: np.ndarray
    of: np.ndarray
    exact: int
    near: int


def near_duplicates(
    texts: Sequence[str], *, threshold: float = 0.8, n: int = 5, held_out: Sequence[str] = ()
) -> Duplicates:
    """Find rows that repeat an earlier row, or any held-out text: N texts -> `Duplicates`.

    Args:
        texts: N texts; the first of several duplicates is kept.
        threshold: Jaccard similarity of word n-grams in (0, 1] from which two texts count as near duplicates.
        n: words in an n-gram (each CJK character counts as a word); texts with fewer words are compared exactly only.
        held_out: texts of the other side, such as the gold test; a row that repeats one of them is dropped.

    >>> near_duplicates(["Rain in Bergen.", "rain  in bergen.", "Sun in Oslo."]).drop.tolist()
    [False, True, False]

    Raises: ValueError: threshold outside (0, 1] or n below 1.
    """
    if not 0 < threshold <= 1 or n < 1:
        raise ValueError(f"need 0 < threshold <= 1 and n >= 1; got threshold={threshold}, n={n}")
    total = len(texts)
    everything = [normalise(t) for t in (*held_out, *texts)]  # held-out rows come first, so that they are the ones kept
    offset = len(held_out)
    of = np.full(len(everything), -1, np.int64)
    first: dict[str, int] = {}
    for row, text in enumerate(everything):
        earlier = first.setdefault(text, row)
        if earlier != row and row >= offset:
            of[row] = earlier
    exact = int((of >= 0).sum())

    shingles, bounds = _shingles(everything, n)
    band_count, width = _bands(threshold)
    signatures = _minhash(shingles, bounds, band_count * width)
    slack = 4 * math.sqrt(threshold * (1 - threshold) / (band_count * width))  # four standard deviations of an estimate
    buckets: list[dict[bytes, list[int]]] = [{} for _ in range(band_count)]
    for row in range(len(everything)):
        mine = shingles[bounds[row] : bounds[row + 1]]
        if of[row] >= 0:  # an exact duplicate, perhaps of a row that is a near duplicate itself
            of[row] = of[of[row]] if of[of[row]] >= 0 else of[row]
            continue
        if len(mine) == 0:
            continue
        bands = [signatures[row, b * width : (b + 1) * width].tobytes() for b in range(band_count)]
        if row >= offset:
            candidates = np.array(sorted({r for b, key in enumerate(bands) for r in buckets[b].get(key, ())}), np.int64)
            if len(candidates):
                agreement = (signatures[candidates] == signatures[row]).mean(axis=1)  # estimates the similarity
                candidates = candidates[agreement >= threshold - slack]
                found = candidates[_jaccard(mine, candidates, shingles, bounds) >= threshold]
                of[row] = found[0] if len(found) else -1
        if of[row] < 0:
            for b, key in enumerate(bands):
                crowd = buckets[b].setdefault(key, [])
                if len(crowd) < _CROWD:
                    crowd.append(row)

    of = of[offset:]
    of = np.where(of < 0, -1, np.where(of >= offset, of - offset, of + total))
    return Duplicates(drop=of >= 0, of=of, exact=exact, near=int((of >= 0).sum()) - exact)


def _shingles(texts: Sequence[str], n: int) -> tuple[np.ndarray, np.ndarray]:
    """Distinct n-gram hashes of all texts, sorted within a text: uint64 values and (N + 1,) bounds."""
    vocabulary: dict[str, int] = {}
    values, bounds = [], [0]
    multipliers = np.random.default_rng(5).integers(1 << 62, size=n, dtype=np.uint64) * 2 + 1
    for text in texts:
        words = [vocabulary.setdefault(w, len(vocabulary) + 1) for w in _TOKEN.findall(text)]
        if len(words) >= n:
            windows = np.lib.stride_tricks.sliding_window_view(np.array(words, np.uint64), n)
            values.append(np.unique(_mix((windows * multipliers).sum(axis=1, dtype=np.uint64))))
            bounds.append(bounds[-1] + len(values[-1]))
        else:
            bounds.append(bounds[-1])
    flat = np.concatenate(values) if values else np.zeros(0, np.uint64)
    return flat, np.array(bounds, np.int64)


def _mix(x: np.ndarray) -> np.ndarray:
    """The finaliser of splitmix64: spreads every bit of x over all 64."""
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def _bands(threshold: float) -> tuple[int, int]:
    """How many bands of how many rows: as many rows as possible (few false candidates) within `_HASHES` in all.

    >>> _bands(0.8), _bands(0.5), _bands(1.0)
    ((18, 4), (33, 2), (1, 8))
    """
    fitting = []
    for rows in range(1, 9):
        chance = threshold**rows
        bands = 1 if chance > 1 - _MISS else math.ceil(math.log(_MISS) / math.log1p(-chance))
        if rows == 1 or bands * rows <= _HASHES:
            fitting.append((bands, rows))
    return fitting[-1]


def _minhash(shingles: np.ndarray, bounds: np.ndarray, hashes: int) -> np.ndarray:
    """(N, hashes) uint32: the least of each text's shingles under as many random orders, its lower half."""
    signatures = np.zeros((len(bounds) - 1, hashes), np.uint32)
    filled = np.flatnonzero(np.diff(bounds))
    if not len(filled):
        return signatures
    salts = np.random.default_rng(7).integers(1 << 62, size=hashes, dtype=np.uint64)
    for column, salt in enumerate(salts):
        signatures[filled, column] = np.minimum.reduceat(_mix(shingles ^ salt), bounds[filled]).astype(np.uint32)
    return signatures


def _jaccard(mine: np.ndarray, others: np.ndarray, shingles: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Similarity of one sorted set of shingles to the sets of the rows `others`: (len(others),) float."""
    starts, sizes = bounds[others], bounds[others + 1] - bounds[others]
    ends = np.cumsum(sizes)
    theirs = shingles[np.repeat(starts - ends + sizes, sizes) + np.arange(sizes.sum())]
    places = np.minimum(np.searchsorted(mine, theirs), len(mine) - 1)
    shared = np.bincount(np.repeat(np.arange(len(others)), sizes)[mine[places] == theirs], minlength=len(others))
    return shared / (len(mine) + sizes - shared)
