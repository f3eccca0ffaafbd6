"""Topics of many short texts: clusters of sentence vectors, or latent Dirichlet allocation, with terms and coherence.

Either way a topic t is a distribution over words, p(w|t), from the words of its texts (clusters) or as fitted (LDA). Terms
are ranked by relevance (Sievert & Shirley, "LDAvis", 2014):

    r(w, t | λ) = λ log p(w|t) + (1 − λ) log (p(w|t) / p(w)),       λ = 1 frequent, λ = 0 exclusive terms

The number of topics is the one with the best coherence: the mean over topics, and over pairs of a topic's ten most frequent
terms, of NPMI(u, v) = log(p_uv / (p_u p_v)) / (−log p_uv), by how often they share a text (Bouma 2009).

Shapes: texts N, topics k, vocabulary V: counts (N, V), p(w|t) (k, V).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from tutelage.errors import InputError

LEAST_TEXTS = 20
"""Of fewer texts nobody should make topics."""

MOST_TOPICS = 15
_LEAST_IN_TOPIC = 3
_TOP = 10
_TERM = r"[^\W\d_][\w'-]{2,}"
_EPSILON = 1e-12


class TopicModel:
    """Topics of texts.

    Args:
        k: number of topics; "auto": from 2 to 15, and at most N / 5, the one with the best coherence among those that leave
            no topic with fewer than three texts (or of all, where each of them does).
        kind: "clusters" (k-means on the vectors that `fit` gets) or "lda" (words alone).
        stopwords: words that are no terms; default: scikit-learn's English ones.
        seed: of the clustering.

    Fitted attributes: topic_ (N,) the topic of each text, largest topic first; vocabulary_ (V,); terms_ (k, V) p(w|t);
        base_ (V,) p(w); centrality_ (N,) how near a text is to its topic; places_ (k, 2) of a map of the topics.

    >>> texts = ["the keeper saved a penalty", "a late penalty for the striker"] * 12
    >>> texts += ["the minister lost a vote", "parliament took a vote"] * 8
    >>> vectors = np.repeat([[1.0, 0.0], [0.0, 1.0]], [24, 16], axis=0)
    >>> model = TopicModel(2).fit(texts, vectors)
    >>> [model.terms(t, most=1)[0] for t in range(2)]
    ['penalty', 'vote']

    Raises: InputError: fewer than twenty texts, more topics than a fifth of the texts, no words, no vectors for clusters.
    """

    def __init__(
        self,
        k: int | Literal["auto"] = "auto",
        *,
        kind: Literal["clusters", "lda"] = "clusters",
        stopwords: Sequence[str] | None = None,
        seed: int = 0,
    ) -> None:
        self.k = k
        self.kind = kind
        self.stopwords = stopwords
        self.seed = seed

    def fit(self, texts: Sequence[str], vectors: np.ndarray | None = None) -> TopicModel:
        """Learn the topics of N texts; `vectors` (N, d) of unit length are needed for clusters."""
        n = len(texts)
        if n < LEAST_TEXTS:
            raise InputError(f"{n} texts are too few for topics; {LEAST_TEXTS} are the least")
        if self.kind == "clusters" and (vectors is None or len(vectors) != n):
            raise InputError(
                f"clusters need one vector a text; got {None if vectors is None else len(vectors)} for {n}"
            )
        sizes = list(range(2, min(MOST_TOPICS, n // 5) + 1)) if isinstance(self.k, str) else [self.k]
        if not 2 <= max(sizes) <= max(2, n // 5):
            raise InputError(f"{n} texts take 2 to {n // 5} topics; got k={self.k}")
        self.counts_, self.vocabulary_ = self._words(texts)
        self.base_ = np.asarray(self.counts_.sum(axis=0), np.float64).ravel() / self.counts_.sum()
        tried = []
        for k in sizes:
            made = self._split(k, vectors)
            whole = np.bincount(made[0], minlength=k).min() >= _LEAST_IN_TOPIC
            tried.append((bool(whole), coherence(self.counts_, made[1]), made))
        _, self.coherence_, (topic, terms, self.centrality_) = max(tried, key=lambda one: one[:2])
        order = np.argsort(-np.bincount(topic, minlength=len(terms)), kind="stable")
        self.topic_ = np.argsort(order)[topic]
        self.terms_ = terms[order]
        self.places_ = _map(self.terms_)
        return self

    def _words(self, texts: Sequence[str]) -> tuple[Any, np.ndarray]:
        from sklearn.feature_extraction.text import CountVectorizer

        words = CountVectorizer(
            stop_words="english" if self.stopwords is None else list(self.stopwords),
            token_pattern=_TERM,
            max_df=0.6,
        )
        try:
            counts = words.fit_transform(texts)
        except ValueError:
            raise InputError("the texts hold no words that could name a topic") from None
        return counts, words.get_feature_names_out()

    def _split(self, k: int, vectors: np.ndarray | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Topics (N,), p(w|t) (k, V) and centrality (N,)."""
        if self.kind == "lda":
            from sklearn.decomposition import LatentDirichletAllocation

            model = LatentDirichletAllocation(k, learning_method="batch", max_iter=10, random_state=self.seed)
            shares = model.fit_transform(self.counts_)
            terms = model.components_ / model.components_.sum(axis=1, keepdims=True)
            return shares.argmax(axis=1), terms, shares.max(axis=1)
        from sklearn.cluster import KMeans

        assert vectors is not None
        options: Any = {"n_init": 10, "random_state": self.seed}
        found: Any = KMeans(k, **options).fit(vectors)
        topic = np.asarray(found.labels_)
        counts = np.eye(k)[topic].T @ self.counts_ + 0.01 * self.base_
        centre = found.cluster_centers_ / np.maximum(
            np.linalg.norm(found.cluster_centers_, axis=1, keepdims=True), _EPSILON
        )
        return topic, counts / counts.sum(axis=1, keepdims=True), (vectors * centre[topic]).sum(axis=1)

    def relevance(self, topic: int, lambda_: float = 1.0) -> np.ndarray:
        """r(w, t | λ) of all words: (V,). Raises: InputError: λ outside [0, 1]."""
        if not 0 <= lambda_ <= 1:
            raise InputError(f"lambda is in [0, 1]; got {lambda_}")
        log_p = np.log(self.terms_[topic] + _EPSILON)
        return lambda_ * log_p + (1 - lambda_) * (log_p - np.log(self.base_ + _EPSILON))

    def terms(self, topic: int, lambda_: float = 0.6, most: int = 30) -> list[str]:
        """The most relevant words of a topic, among those that occur in it."""
        scores = np.where(
            self.terms_[topic] > 1.01 * self.terms_[topic].min(), self.relevance(topic, lambda_), -math.inf
        )
        order = np.argsort(-scores, kind="stable")[:most]
        return [str(self.vocabulary_[w]) for w in order if math.isfinite(scores[w])]

    def central(self, topic: int, most: int = 5) -> list[int]:
        """The texts of a topic that stand for it best, first the nearest."""
        rows = np.flatnonzero(self.topic_ == topic)
        return rows[np.argsort(-self.centrality_[rows], kind="stable")][:most].tolist()


def coherence(counts: Any, terms: np.ndarray, top: int = _TOP) -> float:
    """Mean NPMI of each topic's `top` most frequent terms: counts (N, V) sparse or dense, p(w|t) (k, V) -> [−1, 1].

    Words that never share a text count −1, words that always do 1.

    >>> together = np.array([[1, 1, 0], [1, 1, 0], [0, 0, 1]])
    >>> [round(coherence(together, np.array([row]), top=2), 6) for row in ([0.5, 0.5, 0.0], [0.5, 0.0, 0.5])]
    [1.0, -1.0]
    """
    n = counts.shape[0]
    scores = []
    for row in terms:
        best = np.argsort(-row, kind="stable")[:top]
        seen = counts[:, best]
        seen = (np.asarray(seen.todense()) if hasattr(seen, "todense") else np.asarray(seen)) > 0
        both = (seen.T.astype(np.float64) @ seen) / n
        alone = np.diag(both)
        first, second = np.triu_indices(len(best), 1)
        p = both[first, second]
        with np.errstate(divide="ignore", invalid="ignore"):
            npmi = np.log(p / (alone[first] * alone[second])) / -np.log(p)
        scores.append(np.where(p > 0, np.where(p < 1, npmi, 1.0), -1.0).mean())
    return float(np.mean(scores))


def _map(terms: np.ndarray) -> np.ndarray:
    """Topics in the plane (k, 2) by the Jensen–Shannon distance of their words (classical scaling), largest extent 1."""
    from scipy.spatial.distance import jensenshannon

    k = len(terms)
    apart = np.array([[jensenshannon(a, b) ** 2 for b in terms] for a in terms])
    centre = np.eye(k) - 1 / k
    values, axes = np.linalg.eigh(-0.5 * centre @ np.nan_to_num(apart) @ centre)
    places = axes[:, ::-1][:, :2] * np.sqrt(np.maximum(values[::-1][:2], 0))
    places *= np.where(places[np.abs(places).argmax(axis=0), np.arange(places.shape[1])] < 0, -1, 1)
    return places / max(float(np.abs(places).max()), _EPSILON)
