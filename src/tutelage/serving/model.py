"""The student that is served: loaded once, checked, warmed up, and replaced when a newer one stands in its place.

A reload happens beside the service: the new folder is verified and run on one text before it takes over, and a request is
answered by the student that it began with. A folder that is being written, or damaged, leaves the old student in place.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from tutelage.data.text import truncate_words
from tutelage.errors import InputError
from tutelage.pipeline.predict import open_student

if TYPE_CHECKING:
    from tutelage.students.base import Student


@dataclass(frozen=True)
class Model:
    """A loaded student. `version` is the first 12 hex digits of its manifest's sha256: same version, same answers."""

    student: Student
    version: str

    @classmethod
    def open(cls, path: str | Path) -> Model:
        """Load the student of a run or an exported folder, and run it once.

        Raises: InputError: nothing there, or damaged.
        """
        version = _version(path)
        student = open_student(path)
        if "threads" in student.get_params(deep=False):
            student.set_params(threads=1)  # a worker is one core
        model = cls(student, version)
        model.probabilities([""])
        return model

    @property
    def labels(self) -> list[str]:
        """Names of the K labels, in the order of the probabilities."""
        return [str(name) for name in self.student.classes_]

    @property
    def multi(self) -> bool:
        """Whether a text may have several labels."""
        return bool(getattr(self.student, "multi", False))

    def probabilities(self, texts: Sequence[str]) -> np.ndarray:
        """(N,) texts -> (N, K) float32. Texts are cut to as many words as those that the student learned from."""
        limit = (self.student.provenance_ or {}).get("max_words")
        if isinstance(limit, int | float):
            texts = [truncate_words(text, int(limit))[0] for text in texts]
        return self.student.predict_proba(texts)

    def given(self, probs: np.ndarray) -> np.ndarray:
        """(N, K) probabilities -> (N, K) bool: the labels that they stand for."""
        if self.multi:
            return self.student.decide(probs).astype(bool)
        given = np.zeros(probs.shape, bool)
        given[np.arange(len(probs)), probs.argmax(1)] = True
        return given


class Watched:
    """The model at a path, with a newer one in its place when there is one.

    Args:
        path: a run folder or an exported student.

    Attributes: model; reloads: how often it was replaced; fault: why the newest folder could not be loaded, or None.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        self.model = Model.open(self.path)
        self.reloads = 0
        self.fault: str | None = None
        self._refused: str | None = None

    def refresh(self) -> bool:
        """Look at the folder, and load what is new: -> whether the model was replaced. Slow; not for the event loop."""
        try:
            version = _version(self.path)
            if version == self.model.version:
                self.fault = None  # what was wrong with the folder is over
            if version in (self.model.version, self._refused):
                return False
            fresh = Model.open(self.path)
        except InputError as error:
            self.fault = str(error)
            return False
        except Exception as error:  # whatever it was, the old one goes on, and so does the watch
            self.fault = f"the newer student cannot be loaded: {type(error).__name__} {error}"
            return False
        if fresh.labels != self.model.labels or fresh.multi != self.model.multi:
            self._refused = version
            self.fault = "the newer student has other labels: restart the service to serve it"
            return False
        self.model, self.fault, self.reloads = fresh, None, self.reloads + 1
        return True


def _version(path: str | Path) -> str:
    folder = Path(path)
    folder = folder / "student" if (folder / "run.yaml").exists() else folder
    try:
        return hashlib.sha256((folder / "manifest.json").read_bytes()).hexdigest()[:12]
    except OSError as error:
        raise InputError(f"no student at {folder}: cannot read its manifest ({error.strerror})") from None
