"""The embedding student: a frozen sentence encoder and a linear head on top.

    p(text) = softmax(W e(text) + b),    e: text -> unit vector (d,), never changed

Only W and b learn, from hard or soft labels, with the shrinkage that has the least loss on the dev split. A multilingual
encoder puts translations close together, so the head carries over to languages in which nothing was labelled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Self, TypeAlias, cast

import numpy as np
import pyarrow as pa

from tutelage.errors import InputError
from tutelage.students import artifact
from tutelage.students.artifact import Json
from tutelage.students.base import Examples, State, Student
from tutelage.students.inputs import Label, Texts, as_list
from tutelage.students.linear import Head, Rows, learn_head, probabilities
from tutelage.students.weights import ClassWeight

Encode: TypeAlias = Callable[[list[str]], np.ndarray]
"""N texts -> (N, d) float vectors."""


class EmbeddingClassifier(Student):
    """A frozen sentence encoder -> logistic head.

    Args:
        encoder: name of a `SentenceEncoder` ("minilm", "use-multilingual", a folder or hub name), an object with
            `encode(texts)`, or a plain function texts -> (N, d).
        C: inverse shrinkage; of several values the one with the least dev loss is taken, then all rows are learned.
        cache: a file where vectors by text are kept (only for encoders given by name).
        classes: the labels, in the order of the probabilities; without it the sorted labels of `y`.
        multi: a text may have any number of labels (sigmoids instead of a softmax).
        class_weight: None, "balanced" or {label: weight}.
        seed: draws the rows that are held out to choose C.

    `fit` and `predict` also take vectors (N, d) that were made beforehand, in place of texts.

    >>> def lengths(texts: list[str]) -> np.ndarray:
    ...     return np.array([[len(t), 1.0] for t in texts])
    >>> student = EmbeddingClassifier(lengths, C=100.0).fit(["a", "bb", "cccccc", "ddddddd"], ["short"] * 2 + ["long"] * 2)
    >>> student.predict(["x", "yyyyyyyy"]).tolist()
    ['short', 'long']

    Raises: InputError: an encoder that gives no (N, d) array of finite numbers, no C; MissingExtra: see `SentenceEncoder`.
    """

    tier = "embedding"

    def __init__(
        self,
        encoder: str | Encode | object = "minilm",
        *,
        C: float | Sequence[float] = (0.3, 1.0, 3.0, 10.0, 30.0, 100.0),
        cache: str | Path | None = None,
        classes: Sequence[Label] | None = None,
        multi: bool = False,
        class_weight: ClassWeight = None,
        seed: int = 0,
    ) -> None:
        self.encoder = encoder
        self.C = C
        self.cache = cache
        self.classes = classes
        self.multi = multi
        self.class_weight = class_weight
        self.seed = seed

    def _fit(self, train: Examples, dev: Examples | None) -> None:
        rows = Rows(self._vectors(train.texts), train.targets, train.weights, train.emphasis)
        judges = None if dev is None else Rows(self._vectors(dev.texts), dev.targets, dev.weights)
        self.C_, self.head_ = learn_head(rows, judges, self.C, multi=self.multi, seed=self.seed)
        self.fingerprint_ = self._fingerprint()

    def _divide_logits(self, temperature: float) -> None:
        self.head_ = Head(*(np.asarray(part / temperature, np.float32) for part in self.head_))

    def _proba(self, texts: pa.ChunkedArray) -> np.ndarray:
        vectors = self._vectors(texts)
        if vectors.shape[1] != len(self.head_.weight):
            raise InputError(f"the head learned from vectors of width {len(self.head_.weight)}; got {vectors.shape[1]}")
        return probabilities(vectors @ self.head_.weight + self.head_.bias, self.multi).astype(np.float32)

    def _as_texts(self, texts: Texts | np.ndarray) -> pa.ChunkedArray:
        """Texts as Arrow; vectors pass as a fixed-size list array, so that rows can be taken from both alike."""
        if isinstance(texts, np.ndarray) and texts.ndim == 2 and texts.dtype.kind == "f":
            flat = pa.array(np.ascontiguousarray(texts, np.float32).ravel())
            return pa.chunked_array([pa.FixedSizeListArray.from_arrays(flat, texts.shape[1])])
        return super()._as_texts(cast(Texts, texts))

    def vectors(self, texts: Texts | np.ndarray) -> np.ndarray:
        """What the encoder says: N texts -> (N, d) float32."""
        return self._vectors(self._as_texts(texts))

    def _vectors(self, texts: pa.ChunkedArray) -> np.ndarray:
        if pa.types.is_fixed_size_list(texts.type):
            flat = np.concatenate([chunk.flatten().to_numpy() for chunk in texts.chunks])
            vectors = flat.reshape(len(texts), texts.type.list_size)
        else:
            vectors = np.asarray(self._encode()(as_list(texts)), np.float32)
        if vectors.ndim != 2 or len(vectors) != len(texts) or not np.isfinite(vectors).all():
            raise InputError(f"the encoder must give ({len(texts)}, d) finite numbers; got shape {vectors.shape}")
        return vectors

    def _encode(self) -> Encode:
        if isinstance(self.encoder, str):
            model = getattr(self, "_model", None)
            if model is None or model.name != self.encoder:
                from tutelage.data.encoder import SentenceEncoder

                model = self._model = SentenceEncoder(self.encoder, cache=Path(self.cache) if self.cache else None)
            return model.encode
        encode = getattr(self.encoder, "encode", self.encoder)
        if not callable(encode):
            raise InputError(
                f"encoder must be a name, an object with encode(texts) or a function; got {self.encoder!r}"
            )
        return cast(Encode, encode)

    def _fingerprint(self) -> str | None:
        """What the vectors came from, where the encoder can say so."""
        model = getattr(self, "_model", None) if isinstance(self.encoder, str) else self.encoder
        mark = getattr(model, "fingerprint", None)
        return mark if isinstance(mark, str) else None

    def __getstate__(self) -> dict[str, object]:
        state = cast(dict[str, object], super().__getstate__())
        return {name: value for name, value in state.items() if name != "_model"}

    @property
    def nbytes(self) -> int:
        self._check_fitted()
        return self.head_.weight.nbytes + self.head_.bias.nbytes

    def _plain_params(self) -> dict[str, Json]:
        name = self.encoder if isinstance(self.encoder, str) else getattr(self.encoder, "name", None)
        return self._json(
            {**self.get_params(deep=False), "encoder": name if isinstance(name, str) else None, "cache": None}
        )

    def _state(self, folder: Path) -> State:
        return State(
            {"C": self.C_, "fingerprint": self.fingerprint_}, {"weight": self.head_.weight, "bias": self.head_.bias}
        )

    def _restore(self, state: State, folder: Path) -> None:
        k = len(self.classes_)
        weight = artifact.require(state.arrays, "weight", "float32", (None, k), folder)
        self.head_ = Head(weight, artifact.require(state.arrays, "bias", "float32", (k,), folder))
        self.C_ = artifact.number(state.config, "C", 0, 1e12, folder)
        mark = state.config.get("fingerprint")
        self.fingerprint_ = mark if isinstance(mark, str) else None

    @classmethod
    def load(cls, folder: str | Path, *, encoder: Encode | object | None = None) -> Self:
        """A student from its folder; `encoder` replaces the one it was saved with (needed where that was a function).

        Raises: InputError: damaged, no encoder, or an encoder whose weights are not those of the training.
        """
        student = super().load(folder)
        if encoder is not None:
            student.encoder = encoder
        if student.encoder is None:
            raise InputError(f"{folder}: the encoder was a function, which is not saved: load(folder, encoder=...)")
        if isinstance(student.encoder, str):
            student._encode()
        found = student._fingerprint()
        if found and student.fingerprint_ and found != student.fingerprint_:
            raise InputError(f"{folder}: learned on the encoder {student.fingerprint_}, but this one is {found}")
        return student
