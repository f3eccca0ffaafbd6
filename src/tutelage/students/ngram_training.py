r"""How the n-gram student learns: softmax or sigmoid regression over hashed features.

Text i has the known features h with repetition, m_i of them. With values f_h, weights s_i and targets y_i,

    z_i = b + U^T (1 / sqrt(m_i)) sum_h f_h E_h          E (V, r), U (r, K); U = identity unless a rank is asked for
    minimise  C sum_i s_i l(z_i, y_i) + (|E|^2 + |U|^2) / 2,      idf_h = 1 + ln((1 + sum s) / (1 + mass_h))

with f_h = g idf_h^2 for words and half of that for the rest: what is rare learns more easily than what is frequent, and a word
more easily than a pair, which pays on clean labels and more so on a teacher's. Here mass_h is the weight of the texts that hold
h, l the cross-entropy of `tutelage.students.linear`, and g makes the mean squared length of a text one, so that C means what it
means in scikit-learn. Without a rank the loss is convex, so that the result depends on the data alone. Both passes over the
data, z from E and dE from dz, are sums of listed rows of a dense matrix, the first by text and the second, over the transposed
lists, by feature: nothing is scattered, each sum has one fixed order, and so any number of threads gives the same bits.

C is chosen by the loss on held-out rows, from strong shrinkage to weak, each starting where the last ended; held-out rows are
in the lists with weight zero, so their logits come for free. Strong shrinkage often ranks best and is too unsure of itself, so
the loss that is compared is that of the logits times the factor which suits them best; the strongest shrinkage within one
standard error of the least loss is taken. Then all rows are learned, and the logits keep the factor.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from tutelage.students import dense_kernels, kernels, threads, training_kernels
from tutelage.students.features import rows_of
from tutelage.students.linear import prior_logits, probabilities, row_losses
from tutelage.students.optimise import lbfgs

BITS = (10, 22)
"""Least and greatest table size, as a power of two."""
REST = 0.5
"""Value of a pair or character n-gram, where a word of the same frequency has 1."""
_SHARPNESS = np.geomspace(0.25, 16.0, 37).tolist()
_ITEMS = 1 << 16
"""Listed rows that one thread sums at a time."""


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
    words = np.zeros(len(slots), bool)
    words[place[shared[word[active]]]] = True
    value = idf**2 * np.where(words, 1.0, REST)
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


class Problem:
    """The loss over a design as a function of one flat vector (E, U, b), with its gradient.

    Args:
        data: the texts.
        targets: (N, K).
        rank: columns of E, or None for K without a mix.
        workers: threads.
    """

    def __init__(
        self, data: Design, targets: np.ndarray, *, multi: bool, rank: int | None, workers: int | None
    ) -> None:
        self.data, self.targets, self.multi, self.workers = data, targets, multi, workers
        self.v, self.k, self.rank = len(data.slots), targets.shape[1], rank
        self.r = rank or self.k
        padded = lanes(self.r)
        self._rows = np.zeros((self.v, padded), np.float32)
        self._pull = np.zeros((self.v, padded), np.float32)
        self._sums = np.zeros((len(targets), padded), np.float32)
        self._push = np.zeros((len(targets), padded), np.float32)

    def start(self, weights: np.ndarray, seed: int) -> np.ndarray:
        """E = 0, the bias that fits best without it, and orthonormal rows or columns of U drawn by `seed`."""
        mix = np.zeros(0)
        if self.rank:
            mix = np.linalg.qr(np.random.default_rng(seed).normal(size=(self.k, self.rank)))[0].T.ravel()
        prior = prior_logits(self.targets, weights, self.multi)
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
        """The loss divided by C sum s, and its gradient."""
        e, mix, _ = self.split(x)
        share = weights / weights.sum()
        pull = np.float32(1.0 / (C * weights.sum()))
        z, hidden = self.logits(x)
        residual = np.empty_like(z)
        if self.multi:
            loss = float(share @ (np.logaddexp(0.0, z).sum(1) - np.einsum("ij,ij->i", self.targets, z)))
            residual[:] = (probabilities(z, True) - self.targets) * share[:, None]
        else:
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
        threads.run(lambda span: kernels.gather_sums(table, lists, bounds, *span, out), spans, self.workers)


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
        return lbfgs(lambda x: problem.objective(x, share, C), start, tol=tol, max_steps=max_steps).x

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
    for factor in _SHARPNESS:
        rows = row_losses(probabilities(logits * factor, problem.multi), problem.targets[held], multi=problem.multi)
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


def lanes(columns: int) -> int:
    """The least width of a table row with vector code that holds so many columns.

    >>> lanes(3), lanes(17), lanes(100)
    (4, 32, 128)
    """
    return next(
        (width for width in kernels.LANES if columns <= width), -(-columns // kernels.LANES[-1]) * kernels.LANES[-1]
    )
