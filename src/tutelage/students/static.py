"""The static student: word vectors distilled from a sentence encoder, averaged, and a linear head on top.

    e(text) = sum_t T_t / |sum_t T_t|,        p = softmax(W e + b)

T holds one vector a word: what the sentence encoder says about the word alone, projected to its principal components and
weighted by a / (a + p(word)), so that frequent words count less (SIF: Arora et al., "A Simple but Tough-to-Beat Baseline for
Sentence Embeddings", 2017; the distillation is Model2Vec's, with the corpus's own words as its vocabulary). The encoder is
needed once, for some thousand words; predicting is the n-gram student's kernel. Words that were not distilled add nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import pyarrow as pa

from tutelage.errors import InputError
from tutelage.students import artifact, tokens
from tutelage.students.artifact import Json
from tutelage.students.base import Examples, State, Student
from tutelage.students.embedding import Encode
from tutelage.students.features import Grams, feature_numbers, filter_of, is_known, rows_of, summed
from tutelage.students.inputs import Label, Texts, as_list, as_texts
from tutelage.students.linear import Head, Rows, learn_head, probabilities
from tutelage.students.quantise import quantise
from tutelage.students.table_kernels import lanes
from tutelage.students.weights import ClassWeight

_WORDS = Grams(pairs=False, chars=None)
_SIF = 1e-3
_COVERED = 0.98


class TokenTable(NamedTuple):
    """V words as vectors of d small integers.

    numbers (V,) uint64: the words' feature numbers, no two with the same highest `bits` bits; vectors (V, S) int8 in rows
    padded to S; scale (d,) float32; bits: of the look-up by number.
    """

    numbers: np.ndarray
    vectors: np.ndarray
    scale: np.ndarray
    bits: int

    @property
    def place(self) -> np.ndarray:
        """(2^bits,) int32: the vector of a number's highest bits."""
        place = np.zeros(1 << self.bits, np.int32)
        place[rows_of(self.numbers, self.bits)] = np.arange(len(self.numbers), dtype=np.int32)
        return place


def distil_tokens(encode: Encode, texts: Texts, *, dims: int = 128, max_words: int = 30_000) -> TokenTable:
    """The most frequent words of the texts, as the encoder sees them.

    The rarest words, which together are 2 % of all running words, are left out: each costs the encoder as much as any other,
    and is hardly ever met again.

    Args:
        encode: words -> (V, D) vectors.
        texts: where the words are taken from; no labels are needed, so all languages and all texts there are can be given.
        dims: principal components kept, at most D.
        max_words: how many words at most, by frequency and then alphabet.

    >>> table = distil_tokens(lambda words: np.array([[len(w), 1.0] for w in words]), ["a few more words", "a few"], dims=2)
    >>> table.vectors.shape
    (4, 4)

    Raises: InputError: texts without a single word, an encoder that gives no (V, D) array of finite numbers.
    """
    pieces: Counter[str] = Counter()
    for text in as_list(as_texts(texts)):
        pieces.update(text.split())
    counts: Counter[str] = Counter()
    for piece, count in pieces.items():
        for token in tokens.tokenise(piece):
            counts[token.folded] += count
    if not counts:
        raise InputError("there are no words to distil: every text is empty")
    words = sorted(counts, key=lambda word: (-counts[word], word))
    running = np.cumsum([counts[word] for word in words])
    words = words[: min(max_words, int(np.searchsorted(running, _COVERED * running[-1])) + 1)]
    numbers = np.array([tokens.hash_bytes(word.encode()) | 1 for word in words], np.uint64)
    bits = min(24, max(16, (32 * len(words)).bit_length()))
    _, first = np.unique(rows_of(numbers, bits), return_index=True)
    kept = np.sort(first)  # of two words in one place the more frequent one stays
    words, numbers = [words[i] for i in kept], numbers[kept]
    vectors = np.asarray(encode(words), np.float64)
    if vectors.ndim != 2 or len(vectors) != len(words) or not np.isfinite(vectors).all():
        raise InputError(f"the encoder must give ({len(words)}, D) finite numbers; got shape {vectors.shape}")
    centred = vectors - vectors.mean(0)
    _, axes = np.linalg.eigh(centred.T @ centred)
    share = np.array([counts[word] for word in words]) / sum(counts.values())
    weighted = centred @ axes[:, ::-1][:, :dims] * (_SIF / (_SIF + share))[:, None]
    small = quantise(weighted.astype(np.float32), share, "int8")
    table = np.zeros((len(words), lanes(weighted.shape[1])), np.int8)
    table[:, : weighted.shape[1]] = small.integers
    return TokenTable(numbers, table, small.scale, bits)


class StaticClassifier(Student):
    """Word vectors distilled from a sentence encoder, averaged -> linear.

    Args:
        encoder: name of a `SentenceEncoder`, an object with `encode(texts)` or a function texts -> (N, D); only used by `fit`.
        table: a table from `distil_tokens`; None distils the words of the training texts.
        cache: a file where the words' vectors are kept (only for encoders given by name), so that no word is asked about twice.
        dims, max_words: see `distil_tokens`.
        C, classes, multi, class_weight, seed: as in `EmbeddingClassifier`.
        threads: None for all CPUs.

    >>> def lengths(words: list[str]) -> np.ndarray:
    ...     return np.array([[len(w), 1.0] for w in words])
    >>> student = StaticClassifier(lengths, C=100.0).fit(["a", "bb", "cccccc", "ddddddd"], ["short"] * 2 + ["long"] * 2)
    >>> student.predict(["bb", "cccccc"]).tolist()
    ['short', 'long']

    Raises: InputError: see `distil_tokens`.
    """

    tier = "static"

    def __init__(
        self,
        encoder: str | Encode | object = "minilm",
        *,
        table: TokenTable | None = None,
        cache: str | Path | None = None,
        dims: int = 128,
        max_words: int = 30_000,
        C: float | Sequence[float] = (0.3, 1.0, 3.0, 10.0, 30.0),
        classes: Sequence[Label] | None = None,
        multi: bool = False,
        class_weight: ClassWeight = None,
        threads: int | None = None,
        seed: int = 0,
    ) -> None:
        self.encoder = encoder
        self.table = table
        self.cache = cache
        self.dims = dims
        self.max_words = max_words
        self.C = C
        self.classes = classes
        self.multi = multi
        self.class_weight = class_weight
        self.threads = threads
        self.seed = seed

    def _fit(self, train: Examples, dev: Examples | None) -> None:
        if self.dims < 1 or self.max_words < 1:
            raise InputError(f"dims and max_words must be at least 1; got {self.dims} and {self.max_words}")
        table = self.table
        if table is None:
            table = distil_tokens(self._encode(), train.texts, dims=self.dims, max_words=self.max_words)
        self._use(table)
        rows = Rows(self._vectors(train.texts), train.targets, train.weights, train.emphasis)
        judges = None if dev is None else Rows(self._vectors(dev.texts), dev.targets, dev.weights)
        self.C_, self.head_ = learn_head(rows, judges, self.C, multi=self.multi, seed=self.seed)

    def _use(self, table: TokenTable) -> None:
        self.table_ = table
        self._known, self._place = filter_of(table.numbers), table.place

    def _proba(self, texts: pa.ChunkedArray) -> np.ndarray:
        return probabilities(self._vectors(texts) @ self.head_.weight + self.head_.bias, self.multi).astype(np.float32)

    def _divide_logits(self, temperature: float) -> None:
        self.head_ = Head(*(np.asarray(part / temperature, np.float32) for part in self.head_))

    def _vectors(self, texts: pa.ChunkedArray) -> np.ndarray:
        """Unit vectors of the texts (N, d) float32; zero for a text without known words."""

        def finish(totals: np.ndarray, counts: np.ndarray) -> np.ndarray:
            sums = totals[:, : len(self.table_.scale)] * self.table_.scale
            return sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)

        return summed(texts, _WORDS, self._known, self._place, self.table_.vectors, finish, self.threads)

    def rows(self, texts: Texts) -> tuple[np.ndarray, np.ndarray]:
        """The table rows of each text's known words, all in one (F,) int32, and their bounds (N + 1,)."""
        self._check_fitted()
        numbers, bounds = feature_numbers(self._as_texts(texts), _WORDS, self.threads)
        known = is_known(numbers, self._known)
        kept = np.concatenate([[0], np.cumsum(known)])
        return self._place[rows_of(numbers[known], self.table_.bits)], kept[bounds]

    def _encode(self) -> Encode:
        if isinstance(self.encoder, str):
            from tutelage.data.encoder import SentenceEncoder

            return SentenceEncoder(self.encoder, cache=self.cache).encode
        encode = getattr(self.encoder, "encode", self.encoder)
        if not callable(encode):
            raise InputError(
                f"encoder must be a name, an object with encode(texts) or a function; got {self.encoder!r}"
            )
        return cast(Encode, encode)

    @property
    def nbytes(self) -> int:
        self._check_fitted()
        table = self.table_
        return sum(a.nbytes for a in (table.vectors, table.scale, self._known, self._place, *self.head_))

    def _plain_params(self) -> dict[str, Json]:
        name = self.encoder if isinstance(self.encoder, str) else getattr(self.encoder, "name", None)
        kept = {"encoder": name if isinstance(name, str) else None, "table": None, "cache": None}
        return self._json({**self.get_params(deep=False), **kept})

    def _state(self, folder: Path) -> State:
        table = self.table_
        arrays = {"numbers": table.numbers, "vectors": table.vectors, "scale": table.scale}
        return State(
            {"C": self.C_, "bits": table.bits}, {**arrays, "weight": self.head_.weight, "bias": self.head_.bias}
        )

    def _restore(self, state: State, folder: Path) -> None:
        k, arrays = len(self.classes_), state.arrays
        scale = artifact.require(arrays, "scale", "float32", (None,), folder)
        numbers = artifact.require(arrays, "numbers", "uint64", (None,), folder)
        vectors = artifact.require(arrays, "vectors", "int8", (len(numbers), lanes(len(scale))), folder)
        bits = int(artifact.number(state.config, "bits", 1, 24, folder))
        if len(numbers) == 0 or len(np.unique(rows_of(numbers, bits))) != len(numbers):
            raise InputError(f"{folder}: the words' numbers are not distinct in their highest {bits} bits")
        self._use(TokenTable(numbers, vectors, scale, bits))
        weight = artifact.require(arrays, "weight", "float32", (len(scale), k), folder)
        self.head_ = Head(weight, artifact.require(arrays, "bias", "float32", (k,), folder))
        self.C_ = artifact.number(state.config, "C", 0, 1e12, folder)
