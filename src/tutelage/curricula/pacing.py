"""How much of the data is used, phase by phase: schedules of sizes S_t in (0, 1], shares of the data set.

A phase passes once over its S_t · N examples, so a schedule costs Σ S_t plain epochs: `budget` says how many, and schedules
of one budget are comparable whatever their number of phases.

    cycle    start, start/m, …, end, end·m, …, start, start/m, …
    sharp    start, start/m, …, end, start, start/m, …, end, …
    grow     start, …, end: each size for the same number of phases
    shrink   the same, largest size first

Kesgin and Amasyali, "Cyclical Curriculum Learning", 2023 (arXiv:2202.05531).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from itertools import cycle

from tutelage.errors import InputError


def cycle_sizes(start: float = 0.25, end: float = 1.0, multiplier: float = 0.5, *, budget: float) -> list[float]:
    """Up and down again between `start` and `end`, until the sizes add up to the budget.

    Raises: InputError: unless 0 < start < end <= 1, 0 < multiplier < 1 and budget > 0.

    >>> cycle_sizes(0.25, 1.0, 0.5, budget=4)
    [0.25, 0.5, 1.0, 0.5, 0.25, 0.5, 1.0]
    """
    up = _levels(start, end, multiplier)
    down = [end]
    while (size := down[-1] * multiplier) > start * (1 + 1e-9):
        down.append(size)
    return _until(cycle([*up, *down[1:]]), budget)


def sharp_sizes(start: float = 0.25, end: float = 1.0, multiplier: float = 0.5, *, budget: float) -> list[float]:
    """Up to `end`, then at once back to `start`. Raises: InputError: as `cycle_sizes`.

    >>> sharp_sizes(0.25, 1.0, 0.5, budget=2.5)
    [0.25, 0.5, 1.0, 0.25, 0.5]
    """
    return _until(cycle(_levels(start, end, multiplier)), budget)


def grow_sizes(start: float = 0.25, end: float = 1.0, multiplier: float = 0.5, *, budget: float) -> list[float]:
    """From `start` to `end`, once. Raises: InputError: as `cycle_sizes`.

    >>> grow_sizes(0.25, 1.0, 0.5, budget=3)
    [0.25, 0.25, 0.5, 0.5, 1.0, 1.0]
    """
    levels = _levels(start, end, multiplier)
    return _until((size for size in levels for _ in range(_held(levels, budget))), budget)


def shrink_sizes(start: float = 0.25, end: float = 1.0, multiplier: float = 0.5, *, budget: float) -> list[float]:
    """From `end` to `start`, once. Raises: InputError: as `cycle_sizes`.

    >>> shrink_sizes(0.25, 1.0, 0.5, budget=3)
    [1.0, 1.0, 0.5, 0.5]
    """
    levels = _levels(start, end, multiplier)[::-1]
    return _until((size for size in levels for _ in range(_held(levels, budget))), budget)


def phase_counts(sizes: Iterable[float], examples: int) -> list[int]:
    """How many of N examples each phase uses; remainders are carried on, so that nothing of the budget is lost.

    Raises: InputError: a size outside (0, 1], or one too small for a single example.

    >>> phase_counts([0.5, 0.5, 1.0], 5)
    [2, 3, 5]
    """
    counts, total, before = [], 0.0, 0
    for number, size in enumerate(sizes):
        if not 0 < size <= 1:
            raise InputError(f"sizes are shares of the data in (0, 1]; phase {number} has {size}")
        total += size
        until = math.floor(total * examples + 1e-6)
        if until == before:
            raise InputError(f"phase {number} would use {size:g} of {examples} examples, which is less than one")
        counts.append(until - before)
        before = until
    if not counts:
        raise InputError("there are no phases")
    return counts


def _levels(start: float, end: float, multiplier: float) -> list[float]:
    if not (0 < start < end <= 1 and 0 < multiplier < 1):
        raise InputError(
            f"need 0 < start < end <= 1 and a multiplier in (0, 1); got {start:g}, {end:g} and {multiplier:g}"
        )
    levels = [start]
    while levels[-1] < end:
        size = levels[-1] / multiplier
        levels.append(end if size >= end * (1 - 1e-9) else size)
    return levels


def _held(levels: list[float], budget: float) -> int:
    return math.ceil(budget / sum(levels) - 1e-9)


def _until(sizes: Iterator[float], budget: float) -> list[float]:
    """The beginning of `sizes` that adds up to the budget or just beyond."""
    if not (budget > 0 and math.isfinite(budget)):
        raise InputError(f"the budget is a positive number of plain epochs; got {budget}")
    taken: list[float] = []
    total = 0.0
    while total < budget - 1e-9:
        taken.append(next(sizes))
        total += taken[-1]
    return taken
