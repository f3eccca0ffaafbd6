"""Area under the ROC curve: how often a right case is scored above a wrong one, and what each learner adds to it.

    AUC = 1/(m n) Σ_i Σ_j [x_i > y_j] + ½ [x_i = y_j],      x the m scores of positives, y the n scores of negatives

An AUC is no mean over items, so a bootstrap over learners would have to rank anew each time. Its influence function is
a mean: with V_i = P(y < x_i) and W_j = P(x > y_j) (ties half), learner g of G has

    φ_g = AUC + G/m Σ_{i in g} (V_i − AUC) + G/n Σ_{j in g} (W_j − AUC)

whose mean over learners is the AUC, and whose spread is that of the AUC under a resampling of learners, to first order.

Sources: DeLong, DeLong & Clarke-Pearson 1988; Obuchowski 1997 (clustered data).
Shapes: gold, scores, group (N,); figures of groups (G,) float64.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def auc(gold: npt.ArrayLike, scores: npt.ArrayLike) -> float:
    """The area under the ROC curve; NaN where all cases are positive or all negative.

    >>> auc([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1]), auc([1, 1], [0.5, 0.6])
    (0.75, nan)

    Raises: ValueError: shapes that differ, or scores that are not finite.
    """
    above_negatives, _, positive = _placements(gold, scores)
    return float(above_negatives[positive].mean()) if 0 < positive.sum() < len(positive) else float("nan")


def auc_by_group(gold: npt.ArrayLike, scores: npt.ArrayLike, group: npt.ArrayLike) -> np.ndarray:
    """φ of every group (learner), in the order of their names: values whose mean is the AUC, for a paired bootstrap.

    >>> auc_by_group([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1], ["a", "a", "b", "b"]).tolist()
    [0.75, 0.75]

    Raises: ValueError: as for `auc`, and cases of one kind only.
    """
    above, below, positive = _placements(gold, scores)
    m, n = int(positive.sum()), int((~positive).sum())
    if not m or not n:
        raise ValueError("an AUC needs positive and negative cases")
    area = above[positive].mean()
    names, member = np.unique(np.asarray(group), return_inverse=True)
    each = np.where(positive, (above - area) / m, (below - area) / n)
    return area + len(names) * np.bincount(member, weights=each, minlength=len(names))


def _placements(gold: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Share of negatives below each score, share of positives above it (ties half), and which cases are positive."""
    positive, values = np.asarray(gold).astype(bool), np.asarray(scores, np.float64)
    if positive.shape != values.shape or positive.ndim != 1 or not np.isfinite(values).all():
        raise ValueError(f"gold and scores must be (N,) and finite; got {positive.shape} and {values.shape}")

    def below(those: np.ndarray) -> np.ndarray:
        ordered = np.sort(those)
        return (np.searchsorted(ordered, values, "left") + np.searchsorted(ordered, values, "right")) / 2

    negatives, positives = values[~positive], values[positive]
    return below(negatives) / max(len(negatives), 1), 1 - below(positives) / max(len(positives), 1), positive
