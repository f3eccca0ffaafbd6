"""The contract of every student: scikit-learn's, with hard or soft labels, texts of any container, and a folder on disk.

A tier says how to learn (`_fit`), what it thinks (`_proba`) and what to keep (`_state`, `_restore`); everything a user
touches is here, so that all tiers check, name and store things alike.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, NamedTuple, Self

import numpy as np
import pyarrow as pa
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.exceptions import NotFittedError

from tutelage.errors import InputError
from tutelage.students import artifact, hub, stored
from tutelage.students.artifact import Json
from tutelage.students.inputs import Labels, Texts, Weights, as_targets, as_texts
from tutelage.students.stored import State
from tutelage.students.threads import one_blas_thread
from tutelage.students.thresholds import best_thresholds
from tutelage.students.weights import as_weights, with_class_weight

__all__ = ["Examples", "State", "Student"]

if TYPE_CHECKING:
    from tutelage.data.labels import LabelScheme
    from tutelage.evaluation.drift import Reference


class Examples(NamedTuple):
    """What a tier learns from: N texts, targets (N, K) float32 in [0, 1], weights (N,) float64.

    `weights` are the sample weights times the class weights, and `emphasis` (N, K) or None is what the single decisions of a
    text count (see `weights.Weighted`); `mass` (N,) are the sample weights alone, for what depends on the texts and not on
    the labels.
    """

    texts: pa.ChunkedArray
    targets: np.ndarray
    weights: np.ndarray
    mass: np.ndarray
    emphasis: np.ndarray | None = None

    def rows(self, mask: np.ndarray) -> Examples:
        """The examples of a mask (N,)."""
        emphasis = None if self.emphasis is None else self.emphasis[mask]
        return Examples(
            self.texts.filter(pa.array(mask)), self.targets[mask], self.weights[mask], self.mass[mask], emphasis
        )


class Student(ClassifierMixin, BaseEstimator, ABC):
    """Base of the tiers; see `NgramClassifier` for the arguments that all share (classes, multi, class_weight, seed).

    Fitted attributes: classes_ (K,): the labels in the order of the probabilities; scheme_, provenance_: what was saved
    with it, or None; reference_: what texts looked like when it was made, for `tutelage.evaluation.drift`, or None.
    """

    tier: ClassVar[str]
    classes_: np.ndarray
    thresholds_: np.ndarray | None = None
    scheme_: LabelScheme | None = None
    reference_: Reference | None = None
    provenance_: dict[str, Json] | None = None

    @abstractmethod
    def _fit(self, train: Examples, dev: Examples | None) -> None: ...

    @abstractmethod
    def _proba(self, texts: pa.ChunkedArray) -> np.ndarray: ...

    @abstractmethod
    def _state(self, folder: Path) -> State: ...

    @abstractmethod
    def _restore(self, state: State, folder: Path) -> None: ...

    @property
    @abstractmethod
    def nbytes(self) -> int:
        """Size of what prediction needs, in bytes (a shared encoder not counted)."""

    def fit(
        self,
        texts: Texts,
        y: Labels,
        sample_weight: Weights | None = None,
        *,
        dev: tuple[Texts, Labels] | None = None,
    ) -> Self:
        """Learn from N texts.

        Args:
            texts: list, Series or Arrow array; a null is the empty text.
            y: (N,) names or integers, (N, K) soft labels, or with `multi` indicators or sets of names.
            sample_weight: (N,) not negative; a row of weight 2 counts as that row twice.
            dev: texts and labels on which choices are made (shrinkage, epochs); without it a seeded share of the training
                rows is held out for the choice and then learned from too.

        Raises: InputError: see `tutelage.students.inputs`.
        """
        rows = self._as_texts(texts)
        classes, targets = as_targets(y, getattr(self, "classes", None), len(rows), multi=self._multi)
        mass = as_weights(sample_weight, len(rows))
        how = getattr(self, "class_weight", None)
        targets, weights, emphasis = with_class_weight(mass, targets, classes, how, multi=self._multi)
        train = Examples(rows, targets, weights, mass, emphasis)
        if not weights.all():
            train = train.rows(weights > 0)
        held = None
        if dev is not None:
            dev_rows = self._as_texts(dev[0])
            _, dev_targets = as_targets(dev[1], classes.tolist(), len(dev_rows), multi=self._multi)
            held = Examples(dev_rows, dev_targets, np.ones(len(dev_rows)), np.ones(len(dev_rows)))
        self.classes_ = classes
        self.scheme_ = self.provenance_ = self.reference_ = self.thresholds_ = None
        with one_blas_thread():
            self._fit(train, held)
        return self

    def predict_proba(self, texts: Texts) -> np.ndarray:
        """Probabilities (N, K) float32 in the order of `classes_`; rows sum to one unless `multi`.

        Raises: NotFittedError: before `fit`; InputError: texts that are none.
        """
        self._check_fitted()
        rows = self._as_texts(texts)
        if len(rows) == 0:
            return np.zeros((0, len(self.classes_)), np.float32)
        return self._proba(rows)

    def predict(self, texts: Texts) -> np.ndarray:
        """The likeliest label of each text (N,); with `multi` a matrix (N, K) of 0 and 1; see `decide`."""
        probs = self.predict_proba(texts)
        return self.decide(probs).astype(np.int64) if self._multi else self.classes_[probs.argmax(1)]

    def decide(self, probs: np.ndarray) -> np.ndarray:
        """Which labels probabilities (N, K) stand for: (N, K) bool with `multi`, else positions (N,).

        With `multi` a label is given from its threshold on: a half, unless `tune_thresholds` has found better ones.
        """
        if not self._multi:
            return probs.argmax(1)
        return probs >= (0.5 if self.thresholds_ is None else self.thresholds_)

    def confidence(self, probs: np.ndarray) -> np.ndarray:
        """How likely the decision on probabilities (N, K) is right (N,): that of the label; with `multi` that of the whole set.

        A set's is the product over all labels of p where it is given and 1 - p where it is not: as if labels were independent.
        """
        if not self._multi:
            return probs.max(1, initial=0.0)
        return np.where(self.decide(probs), probs, 1 - probs).prod(1)

    def tune_thresholds(self, probs: np.ndarray, targets: np.ndarray) -> Self:
        """Set each label's threshold to where its F1 is best: probabilities (N, K) of texts not learned from, 0/1 (N, K).

        A rare label seldom reaches a probability of a half, however right the order of the texts is. A label without a
        positive text keeps a half.

        Raises: InputError: shapes that differ, or a student with one label a text.
        """
        if not self._multi:
            raise InputError("thresholds are for students with several labels a text (multi=True)")
        self.thresholds_ = best_thresholds(probs, targets, len(self.classes_))
        return self

    def sharpen(self, temperature: float) -> Self:
        """Divide the logits by a temperature fitted elsewhere: other confidences, the same labels.

        A student that learned under strong shrinkage is right more often than it believes.

        Raises: InputError: a temperature that is not above zero.
        """
        self._check_fitted()
        if not temperature > 0:
            raise InputError(f"temperature must be above zero; got {temperature}")
        self._divide_logits(temperature)
        return self

    def _divide_logits(self, temperature: float) -> None:
        raise InputError(f"the logits of tier {self.tier!r} stay as they are learned")

    def predict_table(
        self, table: pa.Table, text: str = "text", *, label: str = "label", confidence: str = "confidence"
    ) -> pa.Table:
        """The table with two more columns: the label, and the probability (float32) that it is right.

        With `multi` the label is a list (possibly empty). See `decide` and `confidence`.

        Raises: InputError: no column `text`, or the new columns are there already (name them with `label=`).
        """
        self._check_fitted()
        if text not in table.column_names:
            raise InputError(f"the table has no column {text!r}; it has {', '.join(table.column_names)}")
        for name, option in ((label, "label"), (confidence, "confidence")):
            if name in table.column_names:
                raise InputError(f"the table already has a column {name!r}: choose another name with {option}=")
        probs = self.predict_proba(table[text])
        names = pa.array(self.classes_.tolist())
        if self._multi:
            row, column = np.nonzero(self.decide(probs))
            offsets = np.searchsorted(row, np.arange(len(probs) + 1)).astype(np.int32)
            labels = pa.ListArray.from_arrays(pa.array(offsets), names.take(pa.array(column)))
        else:
            labels = names.take(pa.array(probs.argmax(1)))
        sure = pa.array(self.confidence(probs), pa.float32())
        return table.append_column(label, labels).append_column(confidence, sure)

    def save(
        self,
        folder: str | Path,
        scheme: LabelScheme | None = None,
        provenance: Mapping[str, object] | None = None,
    ) -> Path:
        """Write the student as a folder (see `tutelage.students.artifact`) that `load` restores to the bit.

        Raises: InputError: the folder cannot be written, the scheme has other labels; NotFittedError: before `fit`.
        """
        return stored.save(self, folder, scheme, provenance)

    @classmethod
    def load(cls, folder: str | Path) -> Self:
        """A student from its folder. Raises: InputError: damaged, of another tier, or not a student; one line says which."""
        return stored.load(cls, folder)

    def push_to_hub(self, name: str, *, private: bool = True, card: str | None = None) -> str:
        """Write the student to a hub (extra `hub`): -> the commit's address. Raises: see `tutelage.students.hub.push`."""
        return hub.push(self, name, private=private, card=card)

    @classmethod
    def from_pretrained(cls, name: str | Path) -> Self:
        """A student of a folder, else of a hub: "owner/name", "owner/name@revision". Raises: as `load`, and `hub.fetched`."""
        return cls.load(name if Path(name).is_dir() else hub.fetched(str(name)))

    @property
    def _multi(self) -> bool:
        return bool(getattr(self, "multi", False))

    def _as_texts(self, texts: Texts) -> pa.ChunkedArray:
        return as_texts(texts)

    def _plain_params(self) -> dict[str, Json]:
        """Parameters as JSON; a tier replaces those that are objects."""
        return self._json(self.get_params(deep=False))

    @staticmethod
    def _json(params: Mapping[str, object]) -> dict[str, Json]:
        return {name: artifact.plain(value) for name, value in params.items()}

    def _check_fitted(self) -> None:
        if not hasattr(self, "classes_"):
            raise NotFittedError(f"this {type(self).__name__} has not learned anything yet: call fit first")

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "classes_")

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string = True
        tags.input_tags.two_d_array = False
        tags.input_tags.one_d_array = True
        tags.classifier_tags.multi_label = self._multi
        return tags
