r"""How the n-gram student learns: softmax or sigmoid regression over hashed features.

Text i has the known features h with repetition, m_i of them. With values f_h (see `ngram_design`), weights s_i, targets y_i,

    z_i = b + U^T (1 / sqrt(m_i)) sum_h f_h E_h          E (V, r), U (r, K); U = identity unless a rank is asked for
    minimise  C sum_i s_i l(z_i, y_i) + (|E|^2 + |U|^2) / 2

where l is the cross-entropy of `tutelage.students.linear`. Without a rank the loss is convex, so that the result depends on the
data alone. Both passes over the data, z from E and dE from dz, are sums of listed rows of a dense matrix, the first by text and
the second, over the transposed lists, by feature: nothing is scattered, each sum has one fixed order, and so any number of
threads gives the same bits.

C is chosen by the loss on held-out rows, from strong shrinkage to weak, each starting where the last ended; held-out rows are
in the lists with weight zero, so their logits come for free. Strong shrinkage often ranks best and is too unsure of itself, so
the loss that is compared is that of the logits times the factor which suits them best; the strongest shrinkage within one
standard error of the least loss is taken. Then all rows are learned, and the logits keep the factor.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tutelage.students import dense_kernels, table_kernels, threads
from tutelage.students.linear import prior_logits, probabilities, row_losses
from tutelage.students.ngram_design import Design
from tutelage.students.optimise import lbfgs

_SHARPNESS = np.geomspace(0.25, 16.0, 37).tolist()
_MEMORY = 4
"""Steps that the optimiser remembers: more cost as much as a pass over the texts and save few."""
_ITEMS = 1 << 16
"""Listed rows that one thread sums at a time."""


class Problem:
    """The loss over a design as a function of one flat vector (E, U, b), with its gradient.

    Args:
        data: the texts.
        targets: (N, K).
        emphasis: (N, K) of the decisions, or None (see `weights.Weighted`).
        rank: columns of E, or None for K without a mix.
        workers: threads.
    """

    def __init__(
        self,
        data: Design,
        targets: np.ndarray,
        emphasis: np.ndarray | None = None,
        *,
        multi: bool,
        rank: int | None,
        workers: int | None,
    ) -> None:
        self.data, self.targets, self.emphasis, self.multi, self.workers = data, targets, emphasis, multi, workers
        self.v, self.k, self.rank = len(data.slots), targets.shape[1], rank
        self.r = rank or self.k
        self.passes = 0
        padded = table_kernels.lanes(self.r)
        self._rows = np.zeros((self.v, padded), np.float32)
        self._pull = np.zeros((self.v, padded), np.float32)
        self._sums = np.zeros((len(targets), padded), np.float32)
        self._push = np.zeros((len(targets), padded), np.float32)

    def start(self, weights: np.ndarray, seed: int) -> np.ndarray:
        """E = 0, the bias that fits best without it, and orthonormal rows or columns of U drawn by `seed`."""
        mix = np.zeros(0)
        if self.rank:
            mix = np.linalg.qr(np.random.default_rng(seed).normal(size=(self.k, self.rank)))[0].T.ravel()
        prior = prior_logits(self.targets, weights, self.multi, self.emphasis)
        return np.concatenate([np.zeros(self.v * self.r), mix, prior]).astype(np.float32)

    def split(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray | None, np.ndarray]:
        """The flat vector as E (V, r), U (r, K) or None, b (K,)."""
        size = self.v * self.r
        mix = x[size : -self.k].reshape(self.rank, self.k) if self.rank else None
        return x[:size].reshape(self.v, self.r), mix, x[-self.k :]

    def logits(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """z (N, K), and the hidden sums (N, r) they were made of."""
        e, mix, bias = self.split(x)
        np.multiply(e, self.data.value[:, None], out=self._rows[:, : self.r])
        self._gather(self._rows, self.data.columns, self.data.bounds, self._sums)
        hidden = self._sums[:, : self.r] * self.data.shrink[:, None]
        return (hidden if mix is None else hidden @ mix) + bias, hidden

    def objective(self, x: np.ndarray, weights: np.ndarray, C: float) -> tuple[float, np.ndarray]:
        """The loss divided by C sum s, and its gradient: one pass over the texts, which `passes` counts."""
        self.passes += 1
        e, mix, _ = self.split(x)
        share = weights / weights.sum()
        pull = np.float32(1.0 / (C * weights.sum()))
        z, hidden = self.logits(x)
        if self.multi:
            each, residual = np.logaddexp(0.0, z) - self.targets * z, probabilities(z, True) - self.targets
            if self.emphasis is not None:
                each *= self.emphasis
                residual *= self.emphasis
            loss = float(share @ each.sum(1))
            residual *= share[:, None]
        else:
            residual = np.empty_like(z)
            loss = dense_kernels.softmax_loss(z, self.targets, share, residual)
        self._push[:, : self.r] = (residual if mix is None else residual @ mix.T) * self.data.shrink[:, None]
        self._gather(self._push, self.data.texts, self.data.starts, self._pull)
        gradient = np.empty_like(x)
        d_e, d_mix, d_bias = self.split(gradient)
        np.multiply(self._pull[:, : self.r], self.data.value[:, None], out=d_e)
        d_e += pull * e
        d_bias[:] = residual.sum(0)
        size = float(np.vdot(e, e))
        if mix is not None and d_mix is not None:
            d_mix[:] = hidden.T @ residual + pull * mix
            size += float(np.vdot(mix, mix))
        return float(loss + 0.5 * pull * size), gradient

    def _gather(self, table: np.ndarray, lists: np.ndarray, bounds: np.ndarray, out: np.ndarray) -> None:
        """Sum the listed rows of `table` for every list, in blocks of about equal length."""
        cuts = np.unique(np.searchsorted(bounds, np.arange(0, bounds[-1] + _ITEMS, _ITEMS)))
        cuts[0], cuts[-1] = 0, len(bounds) - 1
        spans = list(zip(cuts[:-1].tolist(), cuts[1:].tolist(), strict=True))
        threads.run(lambda span: table_kernels.gather_sums(table, lists, bounds, *span, out), spans, self.workers)


def train(
    problem: Problem,
    weights: np.ndarray,
    held: np.ndarray | None,
    candidates: tuple[float, ...],
    *,
    tol: float,
    seed: int,
    max_steps: int = 200,
) -> tuple[np.ndarray, float]:
    """Choose C and the factor of the logits on the held-out rows, then learn all rows that have a weight.

    Args:
        weights: (N,).
        candidates: ascending.
        held: mask (N,) of the rows that judge, or None where there is one candidate.
        tol, max_steps: of the optimiser.
        seed: of the start.

    Returns: the flat vector, and the chosen C.
    """

    def fit(start: np.ndarray, share: np.ndarray, C: float) -> np.ndarray:
        loss = lambda x: problem.objective(x, share, C)
        return lbfgs(loss, start, tol=tol, max_steps=max_steps, memory=_MEMORY).x

    x, chosen, sharpness = problem.start(weights, seed), candidates[0], 1.0
    if held is not None and held.any() and (weights[~held] > 0).any():
        learned, judged = np.where(held, 0.0, weights), np.where(weights[held] > 0, weights[held], 1.0)
        trials: list[_Trial] = []
        for C in candidates:
            x = fit(x, learned, C)
            trials.append(_judge(problem.logits(x)[0][held], C, x, problem, held, judged))
            if len(trials) > 1 and trials[-1].loss > trials[-2].loss:
                break
        x, chosen, sharpness = _simplest(trials, judged)
    x = fit(x, weights, chosen)
    last = problem.v * problem.r if problem.rank else 0  # z = U^T (…) + b: with a mix, scaling U and b is enough
    x[last:] *= np.float32(sharpness)
    return x, chosen


class _Trial(NamedTuple):
    loss: float
    rows: np.ndarray
    C: float
    factor: float
    x: np.ndarray


def _judge(
    logits: np.ndarray, C: float, x: np.ndarray, problem: Problem, held: np.ndarray, weights: np.ndarray
) -> _Trial:
    """The held-out loss, in all and by row, of logits times the factor that suits them best."""
    trials = []
    emphasis = None if problem.emphasis is None else problem.emphasis[held]
    for factor in _SHARPNESS:
        probs = probabilities(logits * factor, problem.multi)
        rows = row_losses(probs, problem.targets[held], emphasis, multi=problem.multi)
        trials.append(_Trial(float(np.average(rows, weights=weights)), rows, C, factor, x))
    return min(trials, key=lambda trial: trial.loss)


def _simplest(trials: list[_Trial], weights: np.ndarray) -> tuple[np.ndarray, float, float]:
    """x, C and factor of the strongest shrinkage whose loss is within one standard error of the best: of their difference."""
    best = min(trials, key=lambda trial: trial.loss)
    for trial in trials:
        worse = trial.rows - best.rows
        error = np.sqrt(np.average((worse - np.average(worse, weights=weights)) ** 2, weights=weights) / len(worse))
        if trial.loss - best.loss <= error:
            return trial.x, trial.C, trial.factor
    return best.x, best.C, best.factor
