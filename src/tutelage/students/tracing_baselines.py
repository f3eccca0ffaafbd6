"""Knowledge tracers without a network: what any other has to beat.

`ConceptMean` knows how hard a concept is and nothing of the learner. `Pfa` is the learning curve as a logistic regression,

    logit p = β_k + γ_k log(1 + s_k) + ρ_k log(1 + f_k) + γ log(1 + s) + ρ log(1 + f)

with s_k, f_k the learner's right and wrong answers so far on the asked concept k, and s, f on all concepts.

Sources: Pavlik, Cen and Koedinger, "Performance Factors Analysis", 2009 (per concept); Gervet et al., "When is Deep Learning the
    Best Approach to Knowledge Tracing?", 2020 (logarithms of counts, and the learner's totals).
Shapes: N answers, S sequences, K concepts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tutelage.data.knowledge_tracing import AnswerLog
from tutelage.errors import InputError

if TYPE_CHECKING:
    from scipy.sparse import csr_matrix


class ConceptMean:
    """How often each concept was answered right, drawn towards the mean of all by `weight` imaginary answers.

    >>> log = AnswerLog.of({"ann": [("add", 1), ("add", 1), ("take", 0)]})
    >>> ConceptMean(weight=1.0).fit(log).predict(log).round(3).tolist()
    [0.889, 0.889, 0.333]
    """

    def __init__(self, weight: float = 5.0) -> None:
        self.weight = weight

    def fit(self, train: AnswerLog, val: AnswerLog | None = None) -> ConceptMean:
        """Count. `val` is not used."""
        self.concepts_ = train.concepts
        right, wrong = (counts.sum(0) for counts in train.totals())
        overall = train.correct.mean()
        self.means_ = (right + self.weight * overall) / (right + wrong + self.weight)
        return self

    def predict(self, log: AnswerLog) -> np.ndarray:
        """p(right) of every answer: (N,)."""
        return self.means_[log.renamed(self.concepts_).concept]

    def mastery(self, log: AnswerLog) -> np.ndarray:
        """The same row for every sequence: (S, K)."""
        return np.tile(self.means_, (len(log), 1))


class Pfa:
    """Performance factors: a logistic regression on counts of right and wrong answers.

    Args: c: inverse strength of the L2 penalty.

    >>> log = AnswerLog.of({name: [("add", 0), ("add", 1), ("add", 1)] for name in ("ann", "bob")})
    >>> tracer = Pfa().fit(log)
    >>> bool((np.diff(tracer.predict(log)[:3]) > 0).all()), tracer.mastery(log).shape
    (True, (2, 1))

    Raises: InputError: a training log in which all answers are right, or all wrong.
    """

    def __init__(self, c: float = 1.0) -> None:
        self.c = c

    def fit(self, train: AnswerLog, val: AnswerLog | None = None) -> Pfa:
        """Fit the regression. `val` is not used."""
        from sklearn.linear_model import LogisticRegression

        if train.correct.all() or not train.correct.any():
            raise InputError("all answers of the training log have the same outcome: there is nothing to learn")
        self.concepts_ = train.concepts
        self.model_ = LogisticRegression(C=self.c, max_iter=1000).fit(self._of_answers(train), train.correct)
        return self

    def predict(self, log: AnswerLog) -> np.ndarray:
        """p(right) of every answer, given the learner's earlier ones: (N,)."""
        return self.model_.predict_proba(self._of_answers(log.renamed(self.concepts_)))[:, 1]

    def mastery(self, log: AnswerLog) -> np.ndarray:
        """p(right) of every concept, were it asked next: (S, K)."""
        log = log.renamed(self.concepts_)
        right, wrong = log.totals()
        concepts = np.tile(np.arange(right.shape[1]), len(right))
        overall = [np.repeat(counts.sum(1), right.shape[1]) for counts in (right, wrong)]
        rows = self._features(concepts, right.ravel(), wrong.ravel(), *overall)
        return self.model_.predict_proba(rows)[:, 1].reshape(right.shape)

    def _of_answers(self, log: AnswerLog) -> csr_matrix:
        right = np.cumsum(log.correct) - log.correct
        right = right - right[log.bounds[log.sequence]]
        return self._features(log.concept, *log.earlier(), right, log.step - right)

    def _features(self, concept: np.ndarray, *counts: np.ndarray) -> csr_matrix:
        """Rows of [one-hot, log counts at the concept's place (2 K), log counts of the learner (2)]."""
        from scipy.sparse import csr_matrix

        size = len(self.concepts_)
        logs = [np.log1p(count) for count in counts]
        values = np.column_stack([np.ones(len(concept)), *logs])
        places = [concept, size + concept, 2 * size + concept, *(np.full(len(concept), 3 * size + n) for n in (0, 1))]
        rows = np.arange(len(concept) + 1) * values.shape[1]
        return csr_matrix((values.ravel(), np.column_stack(places).ravel(), rows), (len(concept), 3 * size + 2))
