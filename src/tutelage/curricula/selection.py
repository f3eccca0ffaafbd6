"""Selections: the best of all, or the best of each group.

Scores decide, ties are broken by a seed (or by position), and everything returns indices into what was scored, best
first.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from tutelage.errors import InputError


def top_share(
    scores: Sequence[float] | np.ndarray, share: float, *, minimum: float = -np.inf, seed: int = 0
) -> np.ndarray:
    """Indices of the floor(share · N) highest scores that reach `minimum`, best first; ties in seeded random order.

    Raises: InputError: a share outside [0, 1], scores that are not finite.

    >>> top_share([0.1, 0.9, 0.5, 0.7], 0.5).tolist()
    [1, 3]
    """
    values = _scores(scores)
    if not 0 <= share <= 1:
        raise InputError(f"share is in [0, 1]; got {share}")
    # floor of the product as written: 0.29 · 100 is 28.999… in binary and means 29.
    count = int(np.floor(share * len(values) + 1e-9))
    order = np.lexsort((np.random.default_rng(seed).permutation(len(values)), -values))[:count]
    return order[values[order] >= minimum]


@dataclass(frozen=True)
class Chosen:
    """What `top_k_per_group` kept.

    Attributes: index: kept indices, group by group, best first; counts: group → how many; lowest: group → the lowest
        score that was kept.
    """

    index: np.ndarray
    counts: dict[Hashable, int]
    lowest: dict[Hashable, float]


def top_k_per_group(
    scores: Sequence[float] | np.ndarray,
    groups: Sequence[Hashable] | np.ndarray,
    k: int,
    *,
    minimum: float = -np.inf,
) -> Chosen:
    """The k highest scores of each group that reach `minimum`; ties by position.

    A small group may have fewer, and a rare class fills its quota with junk: look at `lowest`.

    Args: scores [N]: for a pool labelled by a teacher, the probability of the likeliest class; groups [N]: that class.

    Raises: InputError: lengths that differ, k < 1, scores that are not finite.

    >>> chosen = top_k_per_group([0.9, 0.8, 0.7, 0.6], ["a", "a", "a", "b"], k=2)
    >>> chosen.index.tolist(), chosen.counts, chosen.lowest
    ([0, 1, 3], {'a': 2, 'b': 1}, {'a': 0.8, 'b': 0.6})
    """
    values = _scores(scores)
    names = groups.tolist() if isinstance(groups, np.ndarray) else list(groups)
    if len(names) != len(values) or k < 1:
        raise InputError(f"need one group a score and k >= 1; got {len(names)} groups, {len(values)} scores, k = {k}")
    kept: dict[Hashable, list[int]] = {}
    for i in np.argsort(-values, kind="stable").tolist():
        members = kept.setdefault(names[i], [])
        if len(members) < k and values[i] >= minimum:
            members.append(i)
    index = np.array([i for group in sorted(kept, key=str) for i in kept[group]], dtype=np.int64)
    counts = {group: len(kept[group]) for group in sorted(kept, key=str)}
    return Chosen(index, counts, {group: float(values[kept[group][-1]]) for group in counts if kept[group]})


def _scores(scores: Sequence[float] | np.ndarray) -> np.ndarray:
    values = np.asarray(scores, dtype=np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise InputError("scores are one finite number each")
    return values
