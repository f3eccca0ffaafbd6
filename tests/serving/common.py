"""A small student with a drift reference, for the tests of the service."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tutelage.evaluation.drift import Reference
from tutelage.students import NgramClassifier

SPORT = [
    "the team won the cup",
    "a late goal decided the match",
    "the striker joined a new club",
    "the coach praised the keeper",
]
MARKET = ["oil prices rose", "the bank raised its rate", "shares fell on profit news", "the fund sold its bonds"]
LABELS = ["market", "sport"]


def save_student(folder: Path, *, flip: bool = False, names: list[str] | None = None, window: int = 20) -> Path:
    """Write a student of two labels; `flip` teaches it the contrary."""
    texts, labels = (SPORT + MARKET) * 8, (["sport"] * 4 + ["market"] * 4) * 8
    if flip:
        labels = ["market" if label == "sport" else "sport" for label in labels]
    names = names or LABELS
    student = NgramClassifier(classes=names, seed=1).fit(texts, [names[LABELS.index(label)] for label in labels])
    probs = student.predict_proba(texts)
    given = np.eye(2, dtype=bool)[probs.argmax(1)]
    student.reference_ = Reference.learn(texts, texts, probs, given, window=window)
    return student.save(folder, provenance={"teacher": "people", "max_words": 64})
