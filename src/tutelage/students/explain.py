"""Why did it say so? The n-grams of a text with what each adds to a label's logit.

The n-gram student is linear, so its logit is a sum that can be read off, feature by feature, without an approximation:

    z_k = b_k + sum_h c_hk,        c_hk = (scale * T_h U)_k / sqrt(m)         over the m known features h of the text

The features are made anew by `tokens`, the plain definition of what the kernels do, because only that knows where in the
text a feature stands.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from tutelage.errors import InputError
from tutelage.students import tokens
from tutelage.students.features import is_known, rows_of
from tutelage.students.inputs import Label

if TYPE_CHECKING:
    from tutelage.students.ngram import NgramClassifier


class Contribution(NamedTuple):
    """What one n-gram, characters [start, end) of the text, adds to the explained label's logit.

    The first word stands there twice: as a word, and as the word that the text begins with.
    """

    start: int
    end: int
    text: str
    weight: float


class Explanation(NamedTuple):
    """Why a label: bias + sum of the contributions' weights = logit. Contributions are sorted, strongest first."""

    label: Label
    logit: float
    bias: float
    contributions: list[Contribution]


def explanation(student: NgramClassifier, text: str, label: Label | None = None) -> Explanation:
    """Which n-grams of a text spoke for a label (the likeliest one by default), and how strongly.

    Raises: NotFittedError: before `fit`; InputError: no such label.
    """
    chosen = student.classes_[int(student.predict_proba([text])[0].argmax())] if label is None else label
    found = np.flatnonzero(student.classes_ == chosen)
    if len(found) != 1:
        raise InputError(f"there is no label {label!r}; there are {', '.join(map(str, student.classes_))}")
    k = int(found[0])
    named = tokens.features(text, pairs=student.grams.pairs, chars=student.grams.chars)
    numbers = np.array([f.number for f in named], np.uint64)
    known = np.flatnonzero(is_known(numbers, student.known_))
    columns = slice(len(student.scale_))
    hidden = student.table_[rows_of(numbers[known], student.table_bits), columns] * student.scale_.astype(np.float64)
    weights = (hidden[:, k] if student.mix_ is None else hidden @ student.mix_[:, k]) / np.sqrt(max(1, len(known)))
    parts = [
        Contribution(f.start, f.end, text[f.start : f.end], float(w))
        for f, w in zip((named[i] for i in known), weights, strict=True)
    ]
    parts.sort(key=lambda part: -abs(part.weight))
    bias = float(student.bias_[k])
    return Explanation(student.classes_[k].item(), bias + float(weights.sum()), bias, parts)
