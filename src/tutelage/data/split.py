"""Splits that never put one group, source or near-duplicate on two sides, and samples that are seeded.

All functions return positions (int64 arrays, ascending unless stated) and depend on nothing but their arguments.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Hashable, Sequence

import numpy as np


def hash_split(keys: Sequence[str]) -> np.ndarray:
    """A split that is fixed for ever by the key: sha1(key) mod 10: 0–6 "train", 7 "val", 8–9 "test": (N,) of str.

    >>> hash_split(["bash", "make", "tar", "vim", "zsh"]).tolist()
    ['train', 'test', 'test', 'train', 'train']
    """
    parts = np.array(["train"] * 7 + ["val"] + ["test"] * 2)
    digests = [hashlib.sha1(str(key).encode("utf-8", "surrogatepass"), usedforsecurity=False) for key in keys]
    return parts[np.array([int(digest.hexdigest(), 16) % 10 for digest in digests], np.int64)]


def group_split(
    keys: Sequence[Hashable], fractions: Sequence[float], *, seed: int = 0, stratify: Sequence[Hashable] | None = None
) -> list[np.ndarray]:
    """Split N rows into parts of about the given fractions so that rows of one key stay together.

    Args:
        keys: (N,) what must not be torn apart (a source, a learner, a dialogue); give positions for plain rows.
        fractions: shares of the parts, summing to one.
        seed: same seed, same parts.
        stratify: (N,) labels; each label's rows are shared out in these fractions, as far as whole keys allow it
            (a key counts for the label that most of its rows have).

    Returns: one array of positions a part. A key goes to the part that is furthest below its share of the label, where
        what earlier labels left over is made good, so that many rare labels do not all end in the largest part.

    >>> a, b = group_split(["x", "x", "y", "z"], [0.5, 0.5], seed=1)
    >>> sorted([*a, *b]) == [0, 1, 2, 3]
    True

    Raises: ValueError: fractions that are negative or do not sum to one; lengths that differ.
    """
    shares = np.asarray(fractions, float)
    if len(shares) == 0 or (shares < 0).any() or not np.isclose(shares.sum(), 1.0):
        raise ValueError(f"fractions must be positive and sum to 1; got {list(fractions)}")
    if stratify is not None and len(stratify) != len(keys):
        raise ValueError(f"stratify has {len(stratify)} entries for {len(keys)} rows")
    members: dict[Hashable, list[int]] = {}
    for row, key in enumerate(keys):
        members.setdefault(key, []).append(row)
    strata: dict[Hashable, list[list[int]]] = {}
    for rows in members.values():
        label: Hashable = None
        if stratify is not None:
            counts = Counter(stratify[row] for row in rows)
            label = max(sorted(counts, key=str), key=counts.__getitem__)
        strata.setdefault(label, []).append(rows)
    rng = np.random.default_rng(seed)
    parts: list[list[int]] = [[] for _ in shares]
    lacking = np.zeros(len(shares))
    for label in sorted(strata, key=str):
        groups = strata[label]
        lacking += shares * sum(map(len, groups))
        for position in rng.permutation(len(groups)):
            part = int(np.argmax(np.where(shares > 0, lacking, -np.inf)))
            parts[part] += groups[position]
            lacking[part] -= len(groups[position])
    return [np.array(sorted(part), np.int64) for part in parts]


def few_per_class(y: Sequence[Hashable], n: int | float, *, seed: int = 0) -> np.ndarray:
    """Positions of `n` rows a class (or a share of each class, where `n` is a fraction below 1), at least one each.

    Classes with fewer rows than asked give all they have.

    >>> few_per_class(["a", "a", "b"], 1, seed=0).shape
    (2,)
    """
    if n <= 0:
        raise ValueError(f"n must be positive; got {n}")
    rng = np.random.default_rng(seed)
    labels = np.asarray([str(v) for v in y])
    chosen = []
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        size = max(1, round(n * len(rows))) if n < 1 else int(n)
        chosen.append(rows[:size])
    return np.sort(np.concatenate(chosen)) if chosen else np.zeros(0, np.int64)


def drop_classes(y: Sequence[Hashable], classes: Sequence[Hashable]) -> np.ndarray:
    """Positions of the rows whose class is not among `classes`.

    >>> drop_classes(["a", "b", "a"], ["a"]).tolist()
    [1]
    """
    gone = set(classes)
    return np.array([row for row, label in enumerate(y) if label not in gone], np.int64)


def nested_sizes(y: Sequence[Hashable], sizes: Sequence[int], *, seed: int = 0) -> list[np.ndarray]:
    """Stratified samples of growing size, each a prefix of the next, so that a learning curve adds labels to labels.

    One permutation orders all rows so that every prefix has about the label shares of the whole (each label's rows are
    spread evenly over the order, from a random start). The sample of size n is its first n rows, in that order.

    >>> small, large = nested_sizes(list("aabbab"), [2, 4], seed=3)
    >>> set(small) <= set(large)
    True

    Raises: ValueError: a size outside [1, N].
    """
    total = len(y)
    wrong = [size for size in sizes if not 1 <= size <= total]
    if wrong:
        raise ValueError(f"sizes must be in [1, {total}]; got {wrong}")
    rng = np.random.default_rng(seed)
    labels = np.asarray([str(v) for v in y])
    place = np.empty(total)
    for label in np.unique(labels):
        rows = rng.permutation(np.flatnonzero(labels == label))
        place[rows] = (np.arange(len(rows)) + rng.random()) / len(rows)
    order = np.argsort(place, kind="stable")
    return [order[:size] for size in sizes]
