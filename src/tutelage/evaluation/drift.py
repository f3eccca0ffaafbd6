"""Drift: do the texts that come in still look like those the student was made for? Measured without labels or embeddings.

A window of W texts is compared with a reference in four ways:

    labels       PSI = sum_k (a_k - e_k) ln(a_k / e_k)   of the shares of the labels given (a) and expected (e)
    confidence   | mean confidence of the window - that of the reference |
    words        || mean of h(x) over the window - mean over the reference ||^2,   h = unit vector of hashed word counts
                 (the squared maximum mean discrepancy under a linear kernel)
    unknown      share of words that the training texts do not hold, less that share in the reference

Each has a band: what all but one in a thousand windows drawn from the reference stay within. An alarm is given when a
statistic leaves its band in two of three windows, so that one odd window wakes nobody.

Shapes: texts (N,), probabilities (N, K), labels given (N, K) bool, hashed word profiles (N, BUCKETS).
"""

from __future__ import annotations

import re
import zlib
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, Self

import numpy as np

from tutelage.errors import InputError

BUCKETS = 512
WORDS_BITS = 17
"""The words of the training texts are remembered as 2^17 bits (16 kB): about one unknown word in twelve passes as known
when there are ten thousand words, in the reference and in the window alike."""
DRAWS = 1_000
QUANTILE = 0.999
_WORD = re.compile(r"[^\W_]+")
NAMES: tuple[str, ...] = ("labels", "confidence", "words", "unknown")


def psi(actual: np.ndarray, expected: np.ndarray, floor: float = 1e-3) -> float:
    """Population stability index of two distributions (K,); shares below `floor` count as `floor`.

    >>> round(psi(np.array([0.5, 0.5]), np.array([0.5, 0.5])), 6), round(psi(np.array([0.9, 0.1]), np.array([0.5, 0.5])), 3)
    (0.0, 0.879)
    """
    a, e = np.maximum(actual, floor), np.maximum(expected, floor)
    a, e = a / a.sum(), e / e.sum()
    return float(((a - e) * np.log(a / e)).sum())


def word_numbers(text: str) -> np.ndarray:
    """A 32-bit number for each word of a text, case folded."""
    return np.array([zlib.crc32(word.encode()) for word in _WORD.findall(text.casefold())], np.uint32)


def word_profile(numbers: np.ndarray) -> np.ndarray:
    """(n,) word numbers -> (BUCKETS,) float32 of length one; zeros without words."""
    counts = np.bincount(numbers % BUCKETS, minlength=BUCKETS).astype(np.float32)
    length = float(np.linalg.norm(counts))
    return counts / length if length else counts


class Drift(NamedTuple):
    """One window: each statistic, its upper band, and which of them are outside."""

    values: dict[str, float]
    bands: dict[str, float]
    outside: list[str]


@dataclass(frozen=True)
class Reference:
    """What texts and predictions looked like when the student was made; see `Reference.learn`.

    Attributes: shares (K,) of the labels; confidence: their mean; profile (BUCKETS,): mean of h; unknown: mean share of
        unknown words; words (2^17 / 8,) uint8: the known words; bands (4,) in the order of NAMES for windows of `window` texts.
    """

    shares: np.ndarray
    confidence: float
    profile: np.ndarray
    unknown: float
    words: np.ndarray
    bands: np.ndarray
    window: int

    @classmethod
    def learn(
        cls,
        train: Sequence[str],
        texts: Sequence[str],
        probs: np.ndarray,
        given: np.ndarray,
        *,
        window: int = 200,
        seed: int = 0,
    ) -> Self:
        """From the texts that were learned from, and others (N,) with what a student that has not seen them says of them.

        Args:
            train: texts whose words are known. texts, probs (N, K), given (N, K) bool: not learned from.

        Raises: InputError: no texts, or shapes that differ.
        """
        if not len(texts) or probs.shape != given.shape or len(probs) != len(texts):
            raise InputError(f"a drift reference needs texts with predictions; got {len(texts)} and {probs.shape}")
        words = np.zeros(1 << WORDS_BITS, bool)
        for text in train:
            words[word_numbers(text) % (1 << WORDS_BITS)] = True
        known = np.packbits(words)
        rows = _rows(texts, probs, given, known)
        n, rng = len(texts), np.random.default_rng(seed)
        drawn = [
            _statistics(rows.mean(rng.multinomial(window, [1 / n] * n)), rows.mean(rng.multinomial(n, [1 / n] * n)))
            for _ in range(DRAWS)
        ]
        mean = rows.mean(np.ones(n))
        return cls(
            mean.given, mean.confidence, mean.profile, mean.unknown, known, np.quantile(drawn, QUANTILE, axis=0), window
        )

    def measure(self, texts: Sequence[str], probs: np.ndarray, given: np.ndarray) -> Drift:
        """Compare a window with the reference. The bands hold for windows of `window` texts."""
        here = _rows(texts, probs, given, self.words).mean(np.ones(len(texts)))
        values = _statistics(here, _Means(self.shares, self.confidence, self.profile, self.unknown)).tolist()
        named, bands = (dict(zip(NAMES, numbers, strict=True)) for numbers in (values, self.bands.tolist()))
        return Drift(named, bands, [name for name in NAMES if named[name] > bands[name]])

    def arrays(self) -> dict[str, np.ndarray]:
        """As arrays for a safetensors file."""
        return {
            "shares": self.shares.astype(np.float64), "confidence": np.array([self.confidence]),
            "profile": self.profile.astype(np.float64), "unknown": np.array([self.unknown]), "words": self.words,
            "bands": self.bands.astype(np.float64),
            "window": np.array([self.window], np.int64),
        }  # fmt: skip

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, np.ndarray], classes: int) -> Self:
        """What `arrays` gave. Raises: InputError: an array is missing, or of another shape."""
        shapes = {
            "shares": (classes,), "confidence": (1,), "profile": (BUCKETS,), "unknown": (1,), "words": ((1 << WORDS_BITS) // 8,),
            "bands": (len(NAMES),), "window": (1,),
        }  # fmt: skip
        for name, shape in shapes.items():
            if name not in arrays or arrays[name].shape != shape:
                raise InputError(f"the drift reference is damaged: array {name!r} must have the shape {shape}")
        window = int(arrays["window"][0])
        if arrays["words"].dtype != np.uint8 or not 1 <= window <= 100_000:
            raise InputError("the drift reference is damaged: words must be bytes and the window in [1, 100,000]")
        shares = np.concatenate([arrays[name] for name in ("shares", "confidence", "profile", "unknown")])
        if not ((shares >= 0) & (shares <= 1 + 1e-6)).all():
            raise InputError("the drift reference is damaged: shares, confidence and profile must be in [0, 1]")
        confidence, unknown = float(arrays["confidence"][0]), float(arrays["unknown"][0])
        return cls(arrays["shares"], confidence, arrays["profile"], unknown, arrays["words"], arrays["bands"], window)


class _Means(NamedTuple):
    """Of some texts: labels given (K,), confidence, word profile (BUCKETS,), share of unknown words."""

    given: np.ndarray
    confidence: float
    profile: np.ndarray
    unknown: float


class _Rows(NamedTuple):
    """Per text: labels given (N, K), confidence (N,), word profiles (N, BUCKETS), share of unknown words (N,)."""

    given: np.ndarray
    confidence: np.ndarray
    profiles: np.ndarray
    unknown: np.ndarray

    def mean(self, counts: np.ndarray) -> _Means:
        """Over texts that count (N,) times each."""
        w = counts / counts.sum()
        return _Means(w @ self.given, float(w @ self.confidence), w @ self.profiles, float(w @ self.unknown))


def _rows(texts: Sequence[str], probs: np.ndarray, given: np.ndarray, words: np.ndarray) -> _Rows:
    known = np.unpackbits(words).astype(bool)
    numbers = [word_numbers(text) for text in texts]
    unknown = [float((~known[n % len(known)]).mean()) if len(n) else 0.0 for n in numbers]
    single = bool((given.sum(1) == 1).all())
    sure = probs.max(1) if single else np.maximum(probs, 1 - probs).prod(1)
    return _Rows(given.astype(float), sure, np.stack([word_profile(n) for n in numbers]), np.array(unknown))


def _statistics(here: _Means, there: _Means) -> np.ndarray:
    """(4,) in the order of NAMES."""
    a, e = here.given, there.given
    return np.array([
        psi(a / max(a.sum(), 1e-9), e / max(e.sum(), 1e-9)),
        abs(here.confidence - there.confidence),
        float(((here.profile - there.profile) ** 2).sum()),
        here.unknown - there.unknown,
    ])  # fmt: skip


@dataclass
class DriftMonitor:
    """Windows of texts as they come, and an alarm when a statistic is outside its band in two of three of them.

    Args:
        reference: what to compare with.

    Attributes: last: the latest full window's `Drift` or None; windows: how many were full; alarm: the statistics that
        give an alarm now.
    """

    reference: Reference
    last: Drift | None = None
    windows: int = 0
    alarm: list[str] = field(default_factory=list)
    _texts: list[str] = field(default_factory=list)
    _probs: list[np.ndarray] = field(default_factory=list)
    _given: list[np.ndarray] = field(default_factory=list)
    _outside: deque[list[str]] = field(default_factory=lambda: deque(maxlen=3))

    def add(self, texts: Sequence[str], probs: np.ndarray, given: np.ndarray) -> list[str]:
        """Take texts (N,), probabilities (N, K), labels given (N, K) -> texts of a window that raised the alarm, or []."""
        sample: list[str] = []
        for text, row, labels in zip(texts, probs, given, strict=True):
            self._texts.append(text)
            self._probs.append(row)
            self._given.append(labels)
            if len(self._texts) == self.reference.window:
                sample += self._close()
        return sample

    def _close(self) -> list[str]:
        texts, self._texts = self._texts, []
        self.last = self.reference.measure(texts, np.stack(self._probs), np.stack(self._given))
        self._probs, self._given = [], []
        self.windows += 1
        self._outside.append(self.last.outside)
        counts = {name: sum(name in window for window in self._outside) for name in NAMES}
        self.alarm = [name for name, n in counts.items() if n >= 2]
        return texts if self.alarm else []
