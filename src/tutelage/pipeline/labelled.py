"""Texts with a teacher's labels, as they go between labelling, training and evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from tutelage.data.split import group_split

if TYPE_CHECKING:
    from tutelage.students.base import Student

_MANY = 20_000  # labels above which the second view is learned in halves instead of fifths


@dataclass(frozen=True)
class Labelled:
    """N texts with what was said about them.

    Attributes: ids, texts (N,); hard: codes (N,) int64 or indicators (N, K); soft: (N, K) float32; lang: (N,) or None;
        degree: how private each text is, (N,), and bare: the texts without what is private, (N,), or None for no shield.
    """

    ids: np.ndarray
    texts: np.ndarray
    hard: np.ndarray
    soft: np.ndarray
    lang: np.ndarray | None = None
    degree: np.ndarray | None = None
    bare: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def rows(self, index: np.ndarray) -> Labelled:
        """The rows of a mask or of positions."""
        columns = {field.name: getattr(self, field.name) for field in fields(self)}
        return replace(self, **{name: column[index] for name, column in columns.items() if column is not None})

    @property
    def read(self) -> np.ndarray:
        """(N,) the texts as a student reads them while it learns."""
        return self.texts if self.bare is None else self.bare

    @property
    def confidence(self) -> np.ndarray:
        """(N,) the teacher's probability of its own answer."""
        if self.hard.ndim == 2:
            return np.maximum(self.soft, 1 - self.soft).prod(axis=1)
        return self.soft.max(axis=1)

    @cached_property
    def agreed(self) -> np.ndarray:
        """(N,) 1.0 where an n-gram student that has not seen the text's label gives the same one, else 0.0.

        Teacher and n-grams see a text in different ways, so their mistakes coincide seldom: what both say is cleaner than
        what either says (Blum & Mitchell, "Combining Labeled and Unlabeled Data with Co-Training", 1998).
        """
        from tutelage.students import NgramClassifier

        k = self.soft.shape[1]
        folds = group_split(range(len(self)), [0.2] * 5 if len(self) <= _MANY else [0.5] * 2, stratify=self.strata)
        same = np.zeros(len(self))
        for fold in folds:
            rest = np.setdiff1d(np.arange(len(self)), fold)
            if not len(fold) or len(np.unique(self.hard[rest], axis=0)) < 2:
                continue
            student = NgramClassifier(classes=list(range(k)), multi=self.hard.ndim == 2)
            student.fit(pa.array(self.read[rest].tolist()), one_hot(self.hard[rest], k))
            codes = predicted(student, self.read[fold])[0]
            hits = codes == self.hard[fold]
            same[fold] = hits if hits.ndim == 1 else hits.all(axis=1)
        return same

    @property
    def is_soft(self) -> bool:
        """Whether the teacher gave probabilities at all."""
        return bool(((self.soft > 0) & (self.soft < 1)).any())

    @property
    def strata(self) -> list[str]:
        """(N,) label and language as one key, for stratified splits."""
        codes = self.hard if self.hard.ndim == 1 else [row.tobytes().hex() for row in self.hard]
        langs = self.lang if self.lang is not None else [""] * len(self)
        return [f"{code}|{lang}" for code, lang in zip(codes, langs, strict=True)]


def one_hot(hard: np.ndarray, k: int) -> np.ndarray:
    """Codes (N,) or indicators (N, K) -> targets (N, K) float32."""
    return np.eye(k, dtype=np.float32)[hard] if hard.ndim == 1 else hard.astype(np.float32)


def predicted(student: Student, texts: np.ndarray | Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """(codes (N,) or indicators (N, K), probabilities (N, K))."""
    probs = student.predict_proba(pa.array(list(texts), pa.string()))
    codes = student.decide(probs)
    return (codes.astype(np.int8) if codes.ndim == 2 else codes), probs
