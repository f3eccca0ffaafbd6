"""ZeroShotTeacher: label definitions against texts in the space of a sentence encoder.

A definition is a list of sub-topics, and an encoder of sentences blurs a long list; so the name, every phrase of the
definition (split at , and ;) and every example is embedded alone, and the label is the mean of these unit vectors:

    d_k = unit(mean_j e(phrase_kj)),     s_k = unit(x - m) · unit(d_k - mean_k d_k)

with x = e(text) and m the mean vector of a sample of the texts. Taking the two means away removes what all texts, and all
labels, have in common; without it a few labels attract everything (hubness; Radovanović et al., "Hubs in Space", 2010).

    single:  p = softmax(s / T)                 T = 0.05
    multi:   p_k = sigmoid((s_k - b) / T)       b = 0.2; labels are those with p_k >= 1/2

It needs no endpoint and no key, and is the default teacher. T (and b) can be fitted on reviewed labels: `calibrate`. The
sample's mean is settled once for a ledger, with the first texts that it sees, so that later texts are judged alike.
"""

from __future__ import annotations

import contextlib
import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from tutelage.data.labels import Label, LabelScheme
from tutelage.errors import InputError
from tutelage.teachers.base import Pool, Progress, ProgressEvent, fingerprint
from tutelage.teachers.ledger import Ledger
from tutelage.teachers.records import Answer

if TYPE_CHECKING:
    from tutelage.data.encoder import SentenceEncoder

LEAST_SAMPLE, MOST_SAMPLE = 50, 2_000
"""Fewer texts than this have no usable mean, and none is taken away; more do not change it."""

_BATCH = 512
_TINY = 1e-9
_PHRASE = re.compile(r"[,;]")


@dataclass(frozen=True)
class ZeroShotTeacher:
    """Nearest label, with probabilities.

    Args:
        encoder: a `SentenceEncoder` or the name of one.
        temperature: T above. threshold: b above, multi-label schemes only.
        template: how a label becomes one text, with "{name}" and "{definition}" filled in; None: phrase by phrase.
        centre: whether the means are taken away.
        max_words: what the teacher sees of a text; None: all.

    Raises: InputError: temperature not above zero, or a template without "{name}".
    """

    encoder: SentenceEncoder | str = "minilm"
    temperature: float = 0.05
    threshold: float = 0.2
    template: str | None = None
    centre: bool = True
    max_words: int | None = 512

    def __post_init__(self) -> None:
        if not self.temperature > 0:
            raise InputError(f"temperature must be above zero; got {self.temperature}")
        if isinstance(self.encoder, str):
            from tutelage.data.encoder import SentenceEncoder

            object.__setattr__(self, "encoder", SentenceEncoder(self.encoder))
        if self.template is not None and "{name}" not in self.template:
            raise InputError(f"the template of a label must hold {{name}}; got {self.template!r}")

    @property
    def name(self) -> str:
        return f"zero-shot:{self._encoder.name}"

    @property
    def _encoder(self) -> SentenceEncoder:
        assert not isinstance(self.encoder, str)
        return self.encoder

    def _description(self) -> dict[str, object]:
        return {
            "kind": "zero-shot", "encoder": self._encoder.fingerprint, "temperature": self.temperature,
            "threshold": self.threshold, "centre": self.centre,
        }  # fmt: skip

    @property
    def fingerprint(self) -> str:
        return fingerprint(self._description())

    def prompt_fingerprint(self, scheme: LabelScheme) -> str:
        return fingerprint({"scheme": scheme.fingerprint, "phrases": self.phrases(scheme)})

    def phrases(self, scheme: LabelScheme) -> list[list[str]]:
        """What stands for each label: K lists of strings.

        >>> ZeroShotTeacher("use-multilingual").phrases(LabelScheme.from_dict(
        ...     [{"name": "sport", "definition": "matches, results"}, "other"]))
        [['sport', 'matches', 'results'], ['other']]
        """
        return [self._phrases(label) for label in scheme.labels]

    def _phrases(self, label: Label) -> list[str]:
        if self.template is not None:
            return [self.template.replace("{definition}", label.definition).replace("{name}", label.name)]
        parts = (part.strip() for part in _PHRASE.split(label.definition))
        return list(dict.fromkeys([label.name, *(part for part in parts if part), *label.examples]))

    def prototypes(self, scheme: LabelScheme) -> np.ndarray:
        """One unit vector a label: (K, d) float32."""
        phrases = self.phrases(scheme)
        vectors = self._encoder.encode([phrase for some in phrases for phrase in some])
        bounds = np.cumsum([0, *map(len, phrases)])
        means = np.stack([vectors[a:b].mean(axis=0) for a, b in itertools.pairwise(bounds)])
        return _unit(means - means.mean(axis=0) if self.centre else means)

    def scores(self, texts: Sequence[str], scheme: LabelScheme, *, mean: np.ndarray | None = None) -> np.ndarray:
        """Cosines of N texts and K labels: (N, K) float32. `mean` (d,) is taken from the texts; by default their own."""
        vectors = self._encoder.encode(texts)
        return _unit(vectors - (self._mean(vectors) if mean is None else mean)) @ self.prototypes(scheme).T

    def probabilities(self, scores: np.ndarray, scheme: LabelScheme) -> np.ndarray:
        """(N, K) cosines to (N, K) probabilities; rows sum to one unless the scheme is multi-label."""
        if scheme.multi:
            return 1.0 / (1.0 + np.exp(-np.clip((scores - self.threshold) / self.temperature, -60, 60)))
        return softmax(scores / self.temperature)

    def settle(self, table: pa.Table, ledger: Ledger) -> None:
        """Take the mean of (a sample of) these texts for all that this ledger will be asked; a second call changes nothing."""
        self._settled(Pool.of(table, self.max_words), ledger)

    def annotate(
        self, table: pa.Table, scheme: LabelScheme, *, ledger: Ledger | None = None, sample: int = 0,
        progress: Progress | None = None,
    ) -> pa.Table:  # fmt: skip
        """Annotations of all texts; see `Teacher.annotate`. Answers go to the ledger in batches of 512."""
        pool = Pool.of(table, self.max_words)
        teacher, prompt = self.fingerprint, self.prompt_fingerprint(scheme)
        with contextlib.ExitStack() as stack:
            book = ledger or stack.enter_context(Ledger(":memory:"))
            book.describe(teacher, "teacher", {"name": self.name, **self._description()})
            book.describe(
                prompt, "prompt", {"scheme": scheme.name, "version": scheme.version, "phrases": self.phrases(scheme)}
            )
            book.register(pool.ids, pool.fingerprints, pool.truncated)
            held = book.get(teacher, prompt, pool.fingerprints, sample)
            todo = [(t, c) for t, c in dict(zip(pool.fingerprints, pool.texts, strict=True)).items() if t not in held]
            if not todo:
                return book.rows(pool.ids, pool.fingerprints, teacher, prompt, sample)
            mean, labels = self._settled(pool, book), self.prototypes(scheme)
            todo.sort(key=lambda item: len(item[1]))  # texts of one length share a batch without padding
            total = len(todo) + len(held)
            for start in range(0, len(todo), _BATCH):
                batch = todo[start : start + _BATCH]
                vectors = _unit(self._encoder.encode([content for _, content in batch]) - mean)
                probs = self.probabilities(vectors @ labels.T, scheme)
                book.put(
                    Answer(
                        teacher,
                        prompt,
                        text,
                        sample,
                        label=self._labels(row, scheme),
                        probs=tuple(row.tolist()),
                        cost=0.0,
                    )
                    for (text, _), row in zip(batch, probs, strict=True)
                )
                if progress:
                    progress(ProgressEvent(len(held) + start + len(batch), total))
            return book.rows(pool.ids, pool.fingerprints, teacher, prompt, sample)

    def answered(self, table: pa.Table, scheme: LabelScheme, ledger: Ledger, *, sample: int = 0) -> pa.Table:
        """What the ledger holds; see `Teacher.answered`."""
        pool = Pool.of(table, self.max_words)
        return ledger.rows(pool.ids, pool.fingerprints, self.fingerprint, self.prompt_fingerprint(scheme), sample)

    def reworded(self) -> ZeroShotTeacher:
        """The same teacher with another wording of the labels: a second opinion of a teacher that never varies."""
        return replace(self, template="This text is about {name}: {definition}" if self.template is None else None)

    def _labels(self, probs: np.ndarray, scheme: LabelScheme) -> tuple[str, ...]:
        if scheme.multi:
            return tuple(name for name, p in zip(scheme.names, probs, strict=True) if p >= 0.5)
        return (scheme.names[int(probs.argmax())],)

    def _settled(self, pool: Pool, ledger: Ledger) -> np.ndarray:
        """The mean (d,) that this ledger's texts are judged from."""
        key = fingerprint({"mean of": self._encoder.fingerprint, "centre": self.centre})
        known = ledger.sources().get(key)
        if known is None:
            rows = np.random.default_rng(0).permutation(len(pool.texts))[:MOST_SAMPLE]
            mean = self._mean(self._encoder.encode([pool.texts[row] for row in rows]))
            ledger.describe(
                key, "mean", {"encoder": self._encoder.fingerprint, "vector": [round(float(v), 7) for v in mean]}
            )
            known = ledger.sources()[key]
        return np.asarray(known["vector"], np.float32)

    def _mean(self, vectors: np.ndarray) -> np.ndarray:
        if not self.centre or len(vectors) < LEAST_SAMPLE:
            return np.zeros(vectors.shape[1], np.float32)
        return vectors.mean(axis=0)

    def calibrate(self, probs: np.ndarray, labels: np.ndarray) -> ZeroShotTeacher:
        """The same teacher with T (and b, where `labels` are indicators) fitted to reviewed labels.

        Args: probs: (N, K) what this teacher said; labels: (N,) integers, or (N, K) 0/1 in a multi-label scheme. Rows
            without a label (−1) are left out.

        Raises: InputError: no labelled row.
        """
        probs, labels = np.asarray(probs, float), np.asarray(labels)
        if labels.ndim == 1:
            return replace(
                self, temperature=fit_temperature(self.temperature * np.log(np.maximum(probs, _TINY)), labels)
            )
        clipped = np.clip(probs, _TINY, 1 - _TINY)
        scores = self.threshold + self.temperature * np.log(clipped / (1 - clipped))
        temperature, threshold = _fit_sigmoid(scores, labels, self.temperature, self.threshold)
        return replace(self, temperature=temperature, threshold=threshold)


def _unit(vectors: np.ndarray) -> np.ndarray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), _TINY)


def softmax(logits: np.ndarray) -> np.ndarray:
    """Row-wise softmax: (N, K) -> (N, K).

    >>> softmax(np.log([[1.0, 3.0]])).round(2).tolist()
    [[0.25, 0.75]]
    """
    weights = np.exp(logits - logits.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def fit_temperature(scores: np.ndarray, labels: np.ndarray) -> float:
    """T in [0.001, 10] that gives the labels the highest likelihood under softmax(scores / T).

    Guo et al., "On Calibration of Modern Neural Networks", 2017 (arXiv:1706.04599). Scores may be shifted by a constant a
    row, so T·log p of an already softened p will do. Rows labelled −1 are left out.

    Raises: InputError: no labelled row.
    """
    from scipy.optimize import minimize_scalar

    known = np.asarray(labels) >= 0
    if not known.any():
        raise InputError("calibration needs at least one reviewed label")
    rows, wanted = np.asarray(scores, float)[known], np.asarray(labels)[known]

    def loss(log_temperature: float) -> float:
        p = softmax(rows / np.exp(log_temperature))[np.arange(len(rows)), wanted]
        return float(-np.log(np.maximum(p, 1e-300)).mean())

    found = minimize_scalar(loss, bounds=(np.log(1e-3), np.log(10.0)), method="bounded")
    return float(np.exp(found.x))  # type: ignore[attr-defined]


def _fit_sigmoid(scores: np.ndarray, labels: np.ndarray, temperature: float, threshold: float) -> tuple[float, float]:
    """T and b of sigmoid((s − b) / T) with the highest likelihood: Platt scaling, one pair for all labels."""
    from scipy.optimize import minimize

    def loss(parameters: np.ndarray) -> float:
        margin = (scores - parameters[1]) / np.exp(parameters[0])
        return float((np.logaddexp(0.0, margin) - labels * margin).mean())

    bounds = [(np.log(1e-3), np.log(10.0)), (-1.0, 1.0)]
    found = minimize(loss, np.array([np.log(temperature), threshold]), bounds=bounds, method="L-BFGS-B").x
    return float(np.exp(found[0])), float(found[1])
