"""What several studies of labelling compare with: the zero-shot teacher, and the usual tf-idf pipeline."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa

from tutelage.data.annotations import soft_targets
from tutelage.data.labels import LabelScheme
from tutelage.studies.vectors import encode_once, encoder
from tutelage.teachers.zero_shot import ZeroShotTeacher


def zero_shot(name: str, texts: Sequence[str], scheme: LabelScheme, scratch: Path) -> np.ndarray:
    """What `ZeroShotTeacher` says: N texts -> probabilities (N, K) float32."""
    encode_once(name, texts, scratch)
    teacher = ZeroShotTeacher(encoder(name, scratch))
    table = pa.table({"id": [str(n) for n in range(len(texts))], "text": list(texts)})
    return soft_targets(teacher.annotate(table, scheme), scheme)


def logistic(
    analyzer: str, grams: tuple[int, int], texts: Sequence[str], targets: np.ndarray, test: Sequence[str]
) -> np.ndarray:
    """tf-idf and logistic regression (C = 10) on the likeliest labels of (N, K): probabilities (N_test, K) float64."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline

    model = make_pipeline(
        TfidfVectorizer(analyzer=analyzer, ngram_range=grams, sublinear_tf=True), LogisticRegression(C=10, max_iter=300)
    ).fit(texts, targets.argmax(1))
    probs = np.zeros((len(test), targets.shape[1]))
    probs[:, model.classes_] = model.predict_proba(test)
    return probs
