"""Wrong labels on purpose."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from tutelage.errors import InputError


def corrupt_labels(
    y: Sequence[int] | np.ndarray,
    rate: float,
    *,
    kind: Literal["symmetric", "positive", "negative"] = "symmetric",
    classes: int | None = None,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Labels of which a share is wrong, and the mask of those that were changed.

    Args:
        y: classes 0 … K − 1.
        rate: share that is changed, of all labels ("symmetric": to another class, all others alike), of the 1s
            ("positive": to 0) or of the 0s ("negative": to 1). Exactly round(rate · n) labels change.
        classes: K (default: the largest label + 1).

    Raises: InputError: a rate outside [0, 1], labels outside [0, K), labels that are not binary where they must be.

    >>> y, changed = corrupt_labels([0, 1, 2, 0, 1, 2, 0, 1, 2, 0], 0.2, seed=1)
    >>> int(changed.sum()), bool((y[changed] != np.array([0, 1, 2] * 3 + [0])[changed]).all())
    (2, True)
    """
    labels = np.asarray(y, dtype=np.int64)
    count = int(labels.max(initial=0)) + 1 if classes is None else classes
    if not 0 <= rate <= 1 or labels.ndim != 1 or labels.min(initial=0) < 0 or labels.max(initial=0) >= count:
        raise InputError(f"need a rate in [0, 1] and labels in [0, {count}); got rate {rate}")
    if kind not in {"symmetric", "positive", "negative"}:
        raise InputError(f"kind is 'symmetric', 'positive' or 'negative'; got {kind!r}")
    if (kind != "symmetric" and count > 2) or (kind == "symmetric" and count < 2):
        raise InputError(f"'{kind}' noise does not fit {count} classes")
    rng = np.random.default_rng(seed)
    pool = np.arange(len(labels)) if kind == "symmetric" else np.flatnonzero(labels == (kind == "positive"))
    chosen = rng.choice(pool, size=round(rate * len(pool)), replace=False)
    noisy = labels.copy()
    noisy[chosen] = (labels[chosen] + rng.integers(1, count, size=len(chosen))) % count
    return noisy, noisy != labels
