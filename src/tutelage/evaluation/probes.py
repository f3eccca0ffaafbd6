"""How much do frozen features know: linear models on top of them, scored on rows that they have not seen.

`MultiLabelProbe` is the protocol of node embeddings (Perozzi et al. 2014, DeepWalk): one logistic regression a label, and
for a row with k_i labels the k_i labels of the highest scores. That row's number of labels is taken as known, so its F1 is
comparable with that literature, and with nothing else.

    minimise over W, b    ½ ‖W‖² + C Σ_i Σ_k log(1 + exp(−y_ik (W_k · x_i + b_k))),      y_ik = ±1

Shapes: features x (n, d), labels (n, K) bool.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tutelage.errors import InputError
from tutelage.evaluation.classification import macro_f1, micro_f1


class MultiLabelProbe:
    """Logistic regressions of all K labels, solved together by L-BFGS.

    Args: C: weight of the data against ½ ‖W‖², as in scikit-learn; > 0. Give it features of like scale.

    Attributes: weight (K, d), bias (K,) float32, after `fit`.

    >>> x = np.array([[-1.0], [-2.0], [1.0], [2.0]])
    >>> probe = MultiLabelProbe(C=10).fit(x, x[:, [0, 0]] > [[0, 1.5]])
    >>> probe.predict(x, [0, 0, 1, 2]).tolist()
    [[False, False], [False, False], [True, False], [True, True]]
    """

    weight: np.ndarray
    bias: np.ndarray

    def __init__(self, C: float = 1.0) -> None:
        if not 0 < C < np.inf:
            raise InputError(f"C must be positive; got {C}")
        self.C = C

    def fit(self, x: npt.ArrayLike, labels: npt.ArrayLike) -> MultiLabelProbe:
        """Learn from rows x (n, d) with labels (n, K). Raises: InputError: shapes that do not fit, values not finite."""
        from scipy.optimize import minimize

        rows, gold = _checked(x, labels)
        n, d = rows.shape
        rows = np.column_stack([rows, np.ones(n, np.float32)])
        signs = np.where(gold, np.float32(-1), np.float32(1))

        def cost(flat: np.ndarray) -> tuple[float, np.ndarray]:
            weights = flat.reshape(d + 1, -1).astype(np.float32)
            margins = signs * (rows @ weights)  # log(1 + exp(margin)) and its slope, without overflow
            small = np.exp(-np.abs(margins))
            loss = np.maximum(margins, 0) + np.log1p(small)
            slope = np.where(margins > 0, 1, small) / (1 + small)
            penalised = np.vstack([weights[:-1], np.zeros_like(weights[:1])])
            gradient = penalised + np.float32(self.C) * (rows.T @ (signs * slope))
            value = 0.5 * float((penalised**2).sum(dtype=np.float64)) + self.C * float(loss.sum(dtype=np.float64))
            return value, gradient.ravel().astype(np.float64)

        rates = (gold.sum(axis=0) + 0.5) / (n + 1)
        start = np.vstack([np.zeros((d, gold.shape[1])), np.log(rates / (1 - rates))]).ravel()
        options = {"maxiter": 1000, "ftol": 1e-6, "gtol": 1e-3 * self.C}
        solved = minimize(cost, start, jac=True, method="L-BFGS-B", options=options).x.reshape(d + 1, -1)
        self.weight, self.bias = solved[:-1].T.astype(np.float32), solved[-1].astype(np.float32)
        return self

    def scores(self, x: npt.ArrayLike) -> np.ndarray:
        """Log odds of every label: (n, d) → (n, K) float32."""
        return np.asarray(x, np.float32) @ self.weight.T + self.bias

    def predict(self, x: npt.ArrayLike, counts: npt.ArrayLike) -> np.ndarray:
        """The counts_i best labels of row i: (n, d), (n,) → (n, K) bool."""
        ranks = (-self.scores(x)).argsort(axis=1, kind="stable").argsort(axis=1)
        return ranks < np.asarray(counts)[:, None]

    def f1(self, x: npt.ArrayLike, labels: npt.ArrayLike) -> dict[str, float]:
        """Micro-F1 and macro-F1 (over labels present in gold) where each row's number of labels is known."""
        gold = np.asarray(labels, bool)
        predicted = self.predict(x, gold.sum(axis=1))
        return {"micro-F1": micro_f1(gold, predicted), "macro-F1": macro_f1(gold, predicted)}


def _checked(x: npt.ArrayLike, labels: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    rows, gold = np.asarray(x, np.float32), np.asarray(labels)
    if rows.ndim != 2 or gold.ndim != 2 or len(rows) != len(gold) or not len(rows):
        raise InputError(f"need features (n, d) and labels (n, K) of the same rows; got {rows.shape} and {gold.shape}")
    if not np.isfinite(rows).all():
        raise InputError(f"row {int((~np.isfinite(rows)).any(axis=1).argmax())} of the features is not finite")
    if not np.isin(gold, (0, 1)).all():
        raise InputError("labels are 0 or 1, a column a label")
    return rows, gold.astype(bool)
