"""What the n-gram student learns from: which features there are, what they count, and where they occur.

    f_h = g kind_h idf_h^2,        idf_h = 1 + ln((1 + sum s) / (1 + mass_h)),        kind_h = 1, of word pairs a half

mass_h is the weight of the texts that hold feature h, s_i the weight of text i. What is rare learns more easily than what is
frequent, and a word or its characters more easily than a pair, which pays on clean labels and more so on a teacher's. g makes
the mean squared length of a text one, so that C means what it means in scikit-learn.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tutelage.students import training_kernels
from tutelage.students.features import rows_of

BITS = (10, 22)
"""Least and greatest table size, as a power of two."""
PAIR = 0.5
"""Kind of a word pair, where a word or a character n-gram has 1."""


class Design(NamedTuple):
    """N texts over V columns, most frequent first; a column is a row of the student's table of 2^bits rows.

    numbers (A,) uint64: the known features, of which several may share a column; slots (V,): the columns' table rows;
    mass (V,): weight of the texts that hold a column; value (V,) f_h; text lists: columns (n,) uint32, bounds (N + 1,);
    column lists: texts (n,) uint32, starts (V + 1,); shrink (N,) = 1 / sqrt(m_i), 0 for a text without known features.
    """

    bits: int
    numbers: np.ndarray
    slots: np.ndarray
    mass: np.ndarray
    value: np.ndarray
    columns: np.ndarray
    bounds: np.ndarray
    texts: np.ndarray
    starts: np.ndarray
    shrink: np.ndarray


def design(
    numbers: np.ndarray,
    bounds: np.ndarray,
    weights: np.ndarray,
    *,
    bits: int | None = None,
    among: np.ndarray | None = None,
) -> Design:
    """Choose the features and lay out the lists.

    Every word is a feature; a pair or a character n-gram must occur in texts of more weight than 1: in two texts where all
    weights are one.

    Args:
        numbers, bounds: see `features.feature_numbers`.
        weights: (N,) of the texts.
        bits: of the table; None makes it at least four times as long as there are features, within `BITS`.
        among: (A,) feature numbers to choose from.
    """
    n = len(bounds) - 1
    ids, number_of, mass = _identify(numbers, bounds, weights)
    word = number_of & np.uint64(1) == 1
    known = word | (mass > 1 + 1e-9)
    if among is not None:
        known &= np.isin(number_of, among)
    active = np.flatnonzero(known)
    active = active[np.argsort(-mass[active], kind="stable")]
    if bits is None:
        bits = int(np.clip((4 * len(active) - 1).bit_length(), *BITS))
    slots, first, shared = np.unique(rows_of(number_of[active], bits), return_index=True, return_inverse=True)
    order = np.argsort(first, kind="stable")
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    column = np.full(len(mass), -1, np.int32)
    column[active] = place[shared]
    mass = np.bincount(place[shared], weights=mass[active], minlength=len(slots))
    columns, kept = np.empty(len(numbers), np.uint32), np.zeros(n + 1, np.int64)
    columns = columns[: training_kernels.renumber(ids, bounds, column, columns, kept)].copy()
    starts = np.concatenate([[0], np.cumsum(np.bincount(columns, minlength=len(slots)))])
    texts = np.empty(len(columns), np.uint32)
    training_kernels.transpose(columns, kept, starts[:-1].copy(), texts)
    count = np.diff(kept)
    shrink = np.divide(1.0, np.sqrt(count), out=np.zeros(n), where=count > 0)
    idf = 1 + np.log((1 + weights.sum()) / (1 + np.minimum(mass, weights.sum())))
    kind = np.zeros(len(slots))
    np.maximum.at(kind, place[shared], np.where(number_of[active] & np.uint64(3) == 0, PAIR, 1.0))
    value = idf**2 * kind
    squares = np.concatenate([[0.0], np.cumsum(value[columns] ** 2)])
    length = float(np.average((squares[kept[1:]] - squares[kept[:-1]]) * shrink**2, weights=weights))
    value = value / np.sqrt(length) if length > 0 else value
    return Design(
        bits, number_of[active], slots[order], mass, value.astype(np.float32), columns, kept, texts, starts, shrink
    )


def _identify(
    numbers: np.ndarray, bounds: np.ndarray, weights: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Dense ids of the feature numbers (F,) uint32, the number of each id, the weight of the texts that hold it."""
    slots = 1 << max(4, (3 * len(numbers) // 2).bit_length())
    ids, mass = np.empty(len(numbers), np.uint32), np.zeros(max(1, len(numbers)))
    keys, place = np.zeros(slots, np.uint64), np.full(slots, -1, np.int32)
    distinct = training_kernels.identify(numbers, bounds, weights, keys, place, ids, mass)
    used = np.flatnonzero(place >= 0)
    number_of = np.empty(distinct, np.uint64)
    number_of[place[used]] = keys[used]
    return ids, number_of, mass[:distinct]
