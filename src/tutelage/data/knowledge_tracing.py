"""Answer logs: who answered what, in which order, right or wrong; the input of knowledge tracing.

A log holds the answers of S learners one after the other in flat arrays, and where each learner's begin:

    concept  1 1 3 | 2 2 2 2 | 1 …          (N,)    what each question was about, as an index into `concepts`
    correct  0 1 1 | 0 0 1 1 | 1 …          (N,)
    bounds   0       3         7 …          (S + 1,)

So a figure of every answer (a prediction, a count of earlier tries) is an array (N,) in the order of the log, and
`padded` lays any of them out as (S, L) for a network. `answer_files` reads logs from files.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from tutelage.data.split import group_split
from tutelage.errors import InputError


class Padded(NamedTuple):
    """A log as rectangles (S, L): concept (int64, 0 beyond the end), correct, and mask: which cells are answers."""

    concept: np.ndarray
    correct: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True, eq=False)
class AnswerLog:
    """The answers of S learners about K concepts, N in all.

    Attributes:
        learners: S names; a learner whose answers were cut into pieces has several rows.
        concepts: K names.
        bounds: (S + 1,) sequence s is the answers bounds[s] … bounds[s + 1] − 1; no sequence is empty.
        concept: (N,) int64 in [0, K).
        correct: (N,) bool.
        time: (N,) float64, in any unit, never falling within a sequence; None where it is not known.
        remarks: what a reader of the file should know, one sentence each.

    Raises: InputError: lengths that do not fit, a concept out of range, an empty sequence, time that runs backwards.

    >>> log = AnswerLog.of({"ann": [("add", 0), ("add", 1)], "bob": [("take", 1)]})
    >>> len(log), log.answers, log.concepts, log.padded().mask.tolist()
    (2, 3, ('add', 'take'), [[True, True], [True, False]])
    """

    learners: tuple[str, ...]
    concepts: tuple[str, ...]
    bounds: np.ndarray
    concept: np.ndarray
    correct: np.ndarray
    time: np.ndarray | None = None
    remarks: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        lengths = {"concept": len(self.concept), "correct": len(self.correct)}
        lengths |= {} if self.time is None else {"time": len(self.time)}
        if len(self.bounds) != len(self.learners) + 1 or set(lengths.values()) != {int(self.bounds[-1])}:
            raise InputError(
                f"an answer log does not fit together: {lengths}, bounds end at {int(self.bounds[-1])}, "
                f"{len(self.learners)} learners for {len(self.bounds)} bounds"
            )
        if not len(self.learners) or self.bounds[0] != 0 or (self.lengths < 1).any():
            raise InputError("an answer log needs at least one learner, and each at least one answer")
        if (wrong := (self.concept < 0) | (self.concept >= len(self.concepts))).any():
            place = int(wrong.nonzero()[0][0])
            raise InputError(
                f"concepts must be in [0, {len(self.concepts)}); found {self.concept[place]} at answer {place}"
            )
        if self.time is not None and (back := (np.diff(self.time) < 0) & (np.diff(self.sequence) == 0)).any():
            place = int(back.nonzero()[0][0])
            raise InputError(
                f"time runs backwards at answer {place + 1} of learner {self.learners[self.sequence[place]]}"
            )

    @classmethod
    def of(cls, answers: dict[str, list[tuple[str, int]]]) -> AnswerLog:
        """A log from (concept, correct) pairs by learner; concepts in alphabetical order."""
        names = sorted({concept for pairs in answers.values() for concept, _ in pairs})
        pairs = [pair for given in answers.values() for pair in given]
        return cls(
            tuple(answers),
            tuple(names),
            np.cumsum([0, *map(len, answers.values())]),
            np.array([names.index(concept) for concept, _ in pairs], np.int64),
            np.array([correct for _, correct in pairs], bool),
        )

    def __len__(self) -> int:
        return len(self.learners)

    @property
    def answers(self) -> int:
        """N."""
        return len(self.concept)

    @property
    def lengths(self) -> np.ndarray:
        """Answers of each sequence, (S,)."""
        return np.diff(self.bounds)

    @property
    def sequence(self) -> np.ndarray:
        """The sequence of each answer, (N,)."""
        return np.repeat(np.arange(len(self)), self.lengths)

    @property
    def step(self) -> np.ndarray:
        """The place of each answer in its sequence, from 0, (N,)."""
        return np.arange(self.answers) - self.bounds[self.sequence]

    def take(self, rows: Sequence[int] | np.ndarray) -> AnswerLog:
        """The sequences `rows`, in that order, about the same concepts."""
        rows = np.asarray(rows, np.int64)
        return self._cut(rows, self.bounds[rows], self.bounds[rows + 1])

    def latest(self, most: int) -> AnswerLog:
        """The last `most` answers of every sequence.

        >>> AnswerLog.of({"ann": [("add", 0), ("add", 1)], "bob": [("add", 1)]}).latest(1).correct.tolist()
        [True, True]
        """
        return self._cut(np.arange(len(self)), np.maximum(self.bounds[:-1], self.bounds[1:] - most), self.bounds[1:])

    def _cut(self, rows: np.ndarray, begin: np.ndarray, end: np.ndarray) -> AnswerLog:
        """The answers begin … end − 1 of each of the sequences `rows`."""
        lengths = end - begin
        bounds = np.concatenate([[0], np.cumsum(lengths)])
        kept = np.arange(bounds[-1]) + np.repeat(begin - bounds[:-1], lengths)
        return replace(
            self,
            learners=tuple(self.learners[row] for row in rows),
            bounds=bounds,
            concept=self.concept[kept],
            correct=self.correct[kept],
            time=None if self.time is None else self.time[kept],
        )

    def pieces(self, longest: int, shortest: int = 1) -> AnswerLog:
        """Sequences cut after every `longest` answers; pieces with fewer than `shortest` are left out.

        >>> AnswerLog.of({"ann": [("add", 1)] * 7}).pieces(3, shortest=2).lengths.tolist()
        [3, 3]

        Raises: InputError: nothing is left.
        """
        if longest < 1 or shortest > longest:
            raise InputError(f"pieces of {shortest} to {longest} answers: there are none")
        starts = np.flatnonzero(self.step % longest == 0)
        pieces = replace(
            self,
            learners=tuple(self.learners[s] for s in self.sequence[starts]),
            bounds=np.append(starts, self.answers),
        )
        kept = np.flatnonzero(pieces.lengths >= shortest)
        if not len(kept):
            raise InputError(
                f"no learner has {shortest} answers or more: the longest sequence has {self.lengths.max()}"
            )
        return pieces if len(kept) == len(pieces) else pieces.take(kept)

    def split(self, fractions: Sequence[float], *, seed: int = 0) -> list[AnswerLog]:
        """Parts of about these shares of the sequences; a learner is never in two of them.

        Raises: InputError: too few learners for so many parts; ValueError: fractions that do not sum to 1.
        """
        parts = group_split(self.learners, fractions, seed=seed)
        if any(not len(part) for part in parts):
            raise InputError(f"{len(set(self.learners))} learners are too few for parts of {list(fractions)}")
        return [self.take(part) for part in parts]

    def padded(self) -> Padded:
        """The log as rectangles (S, L), L the longest sequence."""
        shape, cell = (len(self), int(self.lengths.max())), (self.sequence, self.step)
        concept, correct, mask = np.zeros(shape, np.int64), np.zeros(shape, bool), np.zeros(shape, bool)
        concept[cell], correct[cell], mask[cell] = self.concept, self.correct, True
        return Padded(concept, correct, mask)

    def earlier(self) -> tuple[np.ndarray, np.ndarray]:
        """Right and wrong answers that the learner gave on the same concept before each answer: (N,), (N,) int64.

        >>> right, wrong = AnswerLog.of({"ann": [("a", 1), ("b", 0), ("a", 0), ("a", 1)]}).earlier()
        >>> right.tolist(), wrong.tolist()
        ([0, 0, 1, 1], [0, 0, 0, 1])
        """
        key = self.sequence * len(self.concepts) + self.concept
        order = np.argsort(key, kind="stable")
        first = np.concatenate([[True], np.diff(key[order]) != 0])
        start = np.flatnonzero(first)[np.cumsum(first) - 1]
        right_before = np.cumsum(self.correct[order]) - self.correct[order]
        right, tries = np.empty(self.answers, np.int64), np.empty(self.answers, np.int64)
        right[order] = right_before - right_before[start]
        tries[order] = np.arange(self.answers) - start
        return right, tries - right

    def totals(self) -> tuple[np.ndarray, np.ndarray]:
        """Right and wrong answers of each sequence on each concept: (S, K), (S, K) int64."""
        shape = (len(self), len(self.concepts))
        key = self.sequence * shape[1] + self.concept
        tries = np.bincount(key, minlength=shape[0] * shape[1]).reshape(shape)
        right = np.bincount(key[self.correct], minlength=shape[0] * shape[1]).reshape(shape)
        return right, tries - right

    def renamed(self, concepts: Sequence[str]) -> AnswerLog:
        """The same answers, with concepts numbered as in `concepts`.

        >>> AnswerLog.of({"ann": [("b", 1)]}).renamed(["a", "b"]).concept.tolist()
        [1]

        Raises: InputError: an answer is about a concept that is not among them.
        """
        place = {name: number for number, name in enumerate(concepts)}
        table = np.array([place.get(name, -1) for name in self.concepts], np.int64)
        numbers = table[self.concept]
        if (numbers < 0).any():
            name = self.concepts[self.concept[int((numbers < 0).nonzero()[0][0])]]
            raise InputError(f"the concept {name!r} is not among the {len(concepts)} that are known")
        return replace(self, concepts=tuple(concepts), concept=numbers)
