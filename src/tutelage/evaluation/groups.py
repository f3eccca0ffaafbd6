"""The same score for every group (language, domain, learner), and the group that is served worst."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class GroupScore:
    """A group's score and the number of items it rests on."""

    score: float
    n: int


def by_group(
    score: npt.ArrayLike | Callable[[np.ndarray], float], groups: Sequence[Hashable] | np.ndarray
) -> dict[Hashable, GroupScore]:
    """Score of each group, in the order of first appearance.

    Args:
        score: (N,) per-item scores, of which the mean is taken; or a function of row positions (n,) for scores that are
            not means, such as a macro-F1.
        groups: (N,) the group of each item; items with None belong to none.

    >>> by_group([1.0, 0.0, 1.0], ["en", "en", "de"])
    {'en': GroupScore(score=0.5, n=2), 'de': GroupScore(score=1.0, n=1)}
    """
    names = groups.tolist() if isinstance(groups, np.ndarray) else list(groups)
    rows: dict[Hashable, list[int]] = {}
    for row, name in enumerate(names):
        if name is not None:
            rows.setdefault(name, []).append(row)
    if callable(score):
        return {name: GroupScore(float(score(np.array(r))), len(r)) for name, r in rows.items()}
    values = np.asarray(score, np.float64)
    if values.shape != (len(names),):
        raise ValueError(f"scores have shape {values.shape} for {len(names)} items")
    return {name: GroupScore(float(values[r].mean()), len(r)) for name, r in rows.items()}


def mean_over_groups(table: dict[Hashable, GroupScore]) -> float:
    """Mean of the groups' scores, each group counting the same whatever its size.

    >>> mean_over_groups({"en": GroupScore(0.5, 90), "de": GroupScore(1.0, 10)})
    0.75
    """
    if not table:
        raise ValueError("there are no groups")
    return float(np.mean([group.score for group in table.values()]))


def worst_group(table: dict[Hashable, GroupScore], *, at_least: int = 1) -> tuple[Hashable, GroupScore]:
    """The group with the lowest score among those of `at_least` items; ties go to the one that comes first.

    >>> worst_group({"en": GroupScore(0.5, 90), "de": GroupScore(0.0, 1)}, at_least=10)
    ('en', GroupScore(score=0.5, n=90))
    """
    large = {name: group for name, group in table.items() if group.n >= at_least}
    if not large:
        raise ValueError(f"no group has {at_least} items or more")
    return min(large.items(), key=lambda pair: pair[1].score)
