"""The kernels that only training needs: which features there are, where they occur, and how wrong the logits are.

Serial, without the GIL, as in `tutelage.students.text_kernels`.
"""

from __future__ import annotations

import numpy as np

from tutelage.students.compiled import jit


@jit
def identify(numbers, bounds, weights, keys, slots, ids, mass):
    """Give distinct numbers the ids 0, 1 … in order of appearance, and sum the weights of the texts that hold each.

    keys (uint64) and slots (int32, -1) are the hash table, a power of two longer than the count of distinct numbers; fills
    ids as long as numbers, mass (distinct,) with each text counted once; returns the count.
    """
    mask = np.uint64(len(keys) - 1)
    last = np.full(len(mass), -1, np.int64)
    distinct = 0
    for i in range(len(weights)):
        for j in range(bounds[i], bounds[i + 1]):
            number = numbers[j]
            place = number >> np.uint64(20) & mask
            while slots[place] >= 0 and keys[place] != number:
                place = (place + np.uint64(1)) & mask
            if slots[place] < 0:
                slots[place] = distinct
                keys[place] = number
                distinct += 1
            c = slots[place]
            ids[j] = c
            if last[c] != i:
                last[c] = i
                mass[c] += weights[i]
    return distinct


@jit
def renumber(rows, bounds, column, kept, kept_bounds):
    """Ids -> columns, those with column -1 left out: fills kept and kept_bounds (R + 1,); returns the total."""
    total = 0
    for i in range(len(bounds) - 1):
        for j in range(bounds[i], bounds[i + 1]):
            c = column[rows[j]]
            if c >= 0:
                kept[total] = c
                total += 1
        kept_bounds[i + 1] = total
    return total


@jit
def transpose(columns, bounds, starts, texts):
    """For every column the texts that hold it, ascending: starts (V,) are consumed as cursors; fills texts."""
    for i in range(len(bounds) - 1):
        for j in range(bounds[i], bounds[i + 1]):
            c = columns[j]
            texts[starts[c]] = i
            starts[c] += 1
