"""The n-gram student: hashed words and word pairs -> linear; the fastest of the tiers.

    z = b + U^T (scale / sqrt(m)) sum_{h in known features of the text} T_h,        p = softmax(z)

T is a table of 2^b rows of small integers, a feature's row the highest b bits of its 64-bit number, and the m known features
those whose bit is set in a Bloom filter: a word pair that was never learned adds nothing, instead of the noise of whichever
row it hashes to. U is the identity, or a mix for hundreds of labels. Features are defined in `tokens`, learned in
`ngram_training`, made small in `quantise`; `table_kernels` does it all in one pass over Arrow buffers.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from tutelage.errors import InputError
from tutelage.students import artifact, dense_kernels
from tutelage.students.base import Examples, State, Student
from tutelage.students.explain import Explanation, explanation
from tutelage.students.features import Grams, feature_numbers, filter_of, is_known, rows_of, summed
from tutelage.students.inputs import Label, Texts
from tutelage.students.linear import cross_entropy, positive, probabilities
from tutelage.students.ngram_design import BITS, Design, design
from tutelage.students.ngram_training import Problem
from tutelage.students.ngram_training import train as learn_table
from tutelage.students.quantise import PRECISIONS, quantise
from tutelage.students.table_kernels import lanes
from tutelage.students.weights import ClassWeight, holdout

WIDE = 64
"""More classes than this share a low-rank table unless `rank` says otherwise."""


class NgramClassifier(Student):
    """Hashed words and word pairs -> linear, trained on hard or soft labels.

    Args:
        pairs: also use pairs of neighbouring words.
        chars: shortest and longest character n-gram inside words, such as (3, 5); None for none (about four times as fast).
        C: inverse shrinkage. A number is taken as it is; of a list the least whose dev loss is as good as the best, and then
            the dev rows also tell how sure the student may be (so does a list of one).
        dev_share: share of the rows that judges when `fit` is given no dev split; they are learned from in the end.
        bits: the table has 2^bits rows; None chooses from the number of features.
        max_features: keep only so many features, those that move the logits most.
        rank: columns of a low-rank table; None: as many as classes, or 32 beyond 64 classes.
        precision: "int8", or "int16" where the loss that `losses_` shows is too much.
        tol: of the optimiser, see `optimise.lbfgs`.
        classes: the labels, in the order of the probabilities; without it the sorted labels of `y`.
        multi: a text may have any number of labels (sigmoids instead of a softmax).
        class_weight: None, "balanced" or {label: weight}.
        threads: None for all CPUs. The result does not depend on it.
        seed: draws the rows that judge C, and the start of a low-rank table.

    Fitted attributes: table_ (2^bits, S) int8 or int16; known_: the filter; scale_, bias_ (K,), mix_ (rank, K) or None; C_;
        losses_: mean cross-entropy of the judging rows before and after quantisation (of all rows when none judge); passes_:
            how often training went over the texts, all values of C together (not kept by `save`).

    >>> student = NgramClassifier().fit(["good film", "bad film", "good book", "bad book"], ["+", "-", "+", "-"])
    >>> student.predict(["a good day"]).tolist()
    ['+']

    Raises: InputError: an option out of range.
    """

    tier = "ngram"

    def __init__(
        self,
        *,
        pairs: bool = True,
        chars: tuple[int, int] | None = None,
        C: float | Sequence[float] = (1.0, 4.0, 16.0, 64.0, 256.0),
        dev_share: float = 0.1,
        bits: int | None = None,
        max_features: int | None = None,
        rank: int | None = None,
        precision: str = "int8",
        tol: float = 1e-3,
        classes: Sequence[Label] | None = None,
        multi: bool = False,
        class_weight: ClassWeight = None,
        threads: int | None = None,
        seed: int = 0,
    ) -> None:
        self.pairs = pairs
        self.chars = chars
        self.C = C
        self.dev_share = dev_share
        self.bits = bits
        self.max_features = max_features
        self.rank = rank
        self.precision = precision
        self.tol = tol
        self.classes = classes
        self.multi = multi
        self.class_weight = class_weight
        self.threads = threads
        self.seed = seed

    def _fit(self, train: Examples, dev: Examples | None) -> None:
        candidates = self._check_options()
        texts, targets, weights = train.texts, train.targets, train.weights
        mass, emphasis, held = train.mass, train.emphasis, None
        judged = np.ndim(self.C) > 0  # type: ignore[arg-type]
        if dev is not None and judged:
            texts = pa.chunked_array([*texts.cast(pa.large_string()).chunks, *dev.texts.cast(pa.large_string()).chunks])
            held = np.repeat([False, True], [len(targets), len(dev.targets)])
            targets, weights = np.concatenate([targets, dev.targets]), np.append(weights, np.zeros(len(dev.targets)))
            mass = np.append(mass, np.zeros(len(dev.targets)))
            if emphasis is not None:
                emphasis = np.concatenate([emphasis, np.ones_like(dev.targets)])
        elif judged and self.dev_share:
            held = holdout(targets, self.dev_share, self.seed)
        numbers, bounds = feature_numbers(texts, self.grams, self.threads)
        data = design(numbers, bounds, mass, bits=self.bits)
        rank = self._rank(targets.shape[1])
        self.passes_ = 0

        def learn(data: Design, tol: float) -> tuple[Problem, np.ndarray, float]:
            problem = Problem(data, targets, emphasis, multi=self.multi, rank=rank, workers=self.threads)
            x, chosen = learn_table(problem, weights, held, candidates, tol=tol, seed=self.seed)
            self.passes_ += problem.passes
            return problem, x, chosen

        problem, x, self.C_ = learn(data, self.tol if self.max_features is None else 10 * self.tol)
        if self.max_features is not None and len(data.numbers) > self.max_features:
            data = design(numbers, bounds, mass, bits=self.bits, among=_strongest(data, problem, x, self.max_features))
            problem, x, self.C_ = learn(data, self.tol)
        self._keep(data, problem, x, held if held is not None and held.any() else np.ones(len(targets), bool))

    def _keep(self, data: Design, problem: Problem, x: np.ndarray, judges: np.ndarray) -> None:
        """Quantise what was learned and measure what that costs on the judging rows."""
        e, mix, bias = problem.split(x)
        rows = (e * data.value[:, None]).astype(np.float32)
        small = quantise(rows, data.mass, self.precision)
        rounded = x.copy()
        problem.split(rounded)[0][:] = small.values / data.value[:, None]
        self.losses_: dict[str, float] = {}
        for name, point in (("float32", x), (self.precision, rounded)):
            probs = probabilities(problem.logits(point)[0][judges], self.multi)
            counts = None if problem.emphasis is None else problem.emphasis[judges]
            even = np.ones(len(probs))
            self.losses_[name] = cross_entropy(probs, problem.targets[judges], even, counts, multi=self.multi)
        self.table_ = np.zeros((1 << data.bits, lanes(rows.shape[1])), small.integers.dtype)
        self.table_[data.slots, : rows.shape[1]] = small.integers
        self.known_ = filter_of(data.numbers)
        self.scale_ = small.scale
        self.bias_ = bias.astype(np.float32)
        self.mix_ = None if mix is None else mix.astype(np.float32)

    def _proba(self, texts: pa.ChunkedArray) -> np.ndarray:
        def finish(totals: np.ndarray, counts: np.ndarray) -> np.ndarray:
            logits = self._logits(totals, counts)
            if self.multi:
                return probabilities(logits, True)
            np.exp(logits, out=logits)
            dense_kernels.normalise_rows(logits)
            return logits

        return summed(texts, self.grams, self.known_, None, self.table_, finish, self.threads)

    def predict(self, texts: Texts) -> np.ndarray:
        """The likeliest label of each text (N,); with `multi` a matrix (N, K) of 0 and 1: probability at least a half."""
        self._check_fitted()
        rows = self._as_texts(texts)
        if self.multi or len(rows) == 0:
            return super().predict(texts)

        def finish(totals: np.ndarray, counts: np.ndarray) -> np.ndarray:
            best = np.empty(len(totals), np.int64)
            dense_kernels.best_columns(self._logits(totals, counts), best)
            return best

        return self.classes_[summed(rows, self.grams, self.known_, None, self.table_, finish, self.threads)]

    def _logits(self, totals: np.ndarray, counts: np.ndarray) -> np.ndarray:
        """(R, S) sums, (R,) counts -> logits (R, K) float32; for a softmax less each row's greatest."""
        if self.mix_ is None and not self.multi:
            logits = np.empty((len(totals), len(self.bias_)), np.float32)
            dense_kernels.centred_logits(totals, counts, self.scale_, self.bias_, logits)
            return logits
        shrink = (1 / np.sqrt(np.maximum(counts, 1))).astype(np.float32)
        hidden = totals[:, : len(self.scale_)] * self.scale_ * shrink[:, None]
        logits = (hidden if self.mix_ is None else hidden @ self.mix_) + self.bias_
        return logits if self.multi else logits - logits.max(1, keepdims=True)

    def _divide_logits(self, temperature: float) -> None:
        self.scale_, self.bias_ = (np.asarray(part / temperature, np.float32) for part in (self.scale_, self.bias_))

    def rows(self, texts: Texts) -> tuple[np.ndarray, np.ndarray]:
        """The table rows of each text's known features, all in one (F,) uint32, and their bounds (N + 1,).

        What an exported ONNX model is fed with (see `tutelage.students.onnx`).
        """
        self._check_fitted()
        numbers, bounds = feature_numbers(self._as_texts(texts), self.grams, self.threads)
        known = is_known(numbers, self.known_)
        kept = np.concatenate([[0], np.cumsum(known)])
        return rows_of(numbers[known], self.table_bits), kept[bounds]

    def explain(self, text: str, label: Label | None = None) -> Explanation:
        """Which n-grams spoke for a label (the predicted one by default), and how strongly.

        >>> texts, labels = ["good film", "bad film", "good book", "bad book"], ["+", "-", "+", "-"]
        >>> why = NgramClassifier().fit(texts, labels).explain("A good day", "+")
        >>> why.contributions[0].text, abs(why.bias + sum(c.weight for c in why.contributions) - why.logit) < 1e-6
        ('good', True)

        Raises: InputError: no such label.
        """
        return explanation(self, text, label)

    @property
    def nbytes(self) -> int:
        self._check_fitted()
        mix = 0 if self.mix_ is None else self.mix_.nbytes
        return self.table_.nbytes + self.known_.nbytes + self.scale_.nbytes + self.bias_.nbytes + mix

    @property
    def grams(self) -> Grams:
        """Which features a text has."""
        return Grams(bool(self.pairs), tuple(self.chars) if self.chars else None)  # type: ignore[arg-type]

    @property
    def table_bits(self) -> int:
        """b of the table's 2^b rows."""
        return len(self.table_).bit_length() - 1

    def _rank(self, k: int) -> int | None:
        rank = self.rank if self.rank is not None else (32 if k > WIDE else k)
        return rank if rank < k else None

    def _check_options(self) -> tuple[float, ...]:
        candidates = positive(self.C)
        if self.chars is not None and not (len(self.chars) == 2 and 1 <= self.chars[0] <= self.chars[1] <= 8):
            raise InputError(
                f"chars must be (shortest, longest) with 1 <= shortest <= longest <= 8; got {self.chars!r}"
            )
        if self.bits is not None and not BITS[0] <= self.bits <= BITS[1]:
            raise InputError(f"bits must be in [{BITS[0]}, {BITS[1]}]; got {self.bits}")
        if self.precision not in PRECISIONS:
            raise InputError(f"precision must be one of {', '.join(PRECISIONS)}; got {self.precision!r}")
        for name in ("rank", "max_features", "threads"):
            if getattr(self, name) is not None and getattr(self, name) < 1:
                raise InputError(f"{name} must be at least 1; got {getattr(self, name)}")
        if not 0 <= self.dev_share < 1:
            raise InputError(f"dev_share must be in [0, 1); got {self.dev_share}")
        return candidates

    def _state(self, folder: Path) -> State:
        arrays = {"table": self.table_, "known": self.known_, "scale": self.scale_, "bias": self.bias_}
        if self.mix_ is not None:
            arrays["mix"] = self.mix_
        return State({"C": self.C_, "losses": {**self.losses_}, "unicode": tokens_version()}, arrays)

    def _restore(self, state: State, folder: Path) -> None:
        self._check_options()
        arrays, k = state.arrays, len(self.classes_)
        if state.config.get("unicode") != tokens_version():
            raise InputError(
                f"{folder}: made with the character table {state.config.get('unicode')}, not {tokens_version()}"
            )
        self.scale_ = artifact.require(arrays, "scale", "float32", (None,), folder)
        self.bias_ = artifact.require(arrays, "bias", "float32", (k,), folder)
        self.mix_ = (
            artifact.require(arrays, "mix", "float32", (len(self.scale_), k), folder) if "mix" in arrays else None
        )
        self.table_ = artifact.require(arrays, "table", PRECISIONS, (None, lanes(len(self.scale_))), folder)
        self.known_ = artifact.require(arrays, "known", "uint64", (None,), folder)
        for name, length, low, high in (("table", len(self.table_), *BITS), ("known", len(self.known_), 0, 40)):
            if length & (length - 1) or not low <= length.bit_length() - 1 <= high:
                raise InputError(f"{folder}: array {name!r} has {length} rows, which is no allowed power of two")
        if self.mix_ is None and len(self.scale_) != k:
            raise InputError(f"{folder}: {len(self.scale_)} columns for {k} classes")
        losses = state.config.get("losses")
        self.C_ = artifact.number(state.config, "C", 0, 1e12, folder)
        self.losses_ = (
            {n: float(v) for n, v in losses.items() if isinstance(v, int | float)} if isinstance(losses, dict) else {}
        )


def tokens_version() -> str:
    """The version of the features' definition that a saved table depends on."""
    from tutelage.students.unicode import VERSION

    return f"unicode-{VERSION}"


def _strongest(data: Design, problem: Problem, x: np.ndarray, count: int) -> np.ndarray:
    """Numbers of the features that move the logits most: by mass times squared length of their row."""
    e, _, _ = problem.split(x)
    power = data.mass * ((e * data.value[:, None]) ** 2).sum(1)
    column = {slot: i for i, slot in enumerate(data.slots.tolist())}
    of_feature = power[[column[row] for row in rows_of(data.numbers, data.bits).tolist()]]
    return data.numbers[np.argsort(-of_feature, kind="stable")[:count]]
