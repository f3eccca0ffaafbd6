"""SIGHT: which categories of a rubric can be handed to a model, and from the model to a student that costs nothing.

Wang et al., "SIGHT: A Large Annotated Dataset on Student Insights Gathered from Higher Education Transcripts", 2023
(arXiv:2306.09343).

People code a small sample with a rubric (many categories, each applies or not), a language model answers one yes/no question
for every category and text (`teachers.rubric.RubricTeacher`), and kappa tells by category how far they agree:

    HH(c) = kappa(person, person)      HM(c) = mean over people of kappa(person, model)      (`evaluation.raters`)

The finding: where people agree, the model agrees with them too, so HH, which is cheap, says beforehand what a model can do.
Categories where both are high are coded for all texts, and their codes then teach one small student each:

    ready(c)  <=>  HH(c) >= 0.8  and  HM(c) >= 0.65           (the bounds are ours)

A category with 4 % positives has 20 of them in 500 texts; from so few a student may learn to say no (`RubricStudents.least`).

Shapes: N texts, C categories: codes (N, C) of 1, 0 and NaN for "not coded".
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tutelage.errors import InputError
from tutelage.evaluation.agreement import Agreement
from tutelage.evaluation.raters import Reliability, mean_agreement
from tutelage.students.ngram import NgramClassifier

Outcome = Literal["ready", "needs a better rubric", "needs a better model", "unknown"]

_HANDLE = re.compile(r"(?<!\w)@[\w.-]+")


@dataclass(frozen=True)
class Relation:
    """How HM follows HH over C categories: Pearson's r with its 95 % interval (Fisher's), Spearman's, one-sided p of r.

    p is exact (all C! ways of pairing the two) up to nine categories, and from 20,000 random pairings beyond.
    """

    pearson: float
    interval: tuple[float, float]
    spearman: float
    p: float
    n: int


def relation(report: Sequence[Reliability], *, seed: int = 0) -> Relation:
    """Does agreement among people tell which categories the model gets right?

    Categories whose HH or HM is undefined are left out.

    Raises: InputError: fewer than four categories are left, or one side does not vary.

    >>> lines = [Reliability(f"c{i}", Agreement(i, (i, i), 9), Agreement(i, (i, i), 9), 0.5, 9) for i in range(4)]
    >>> found = relation(lines)
    >>> round(found.pearson, 6), round(found.p, 4)  # one of 24 pairings
    (1.0, 0.0417)
    """
    from scipy import stats

    points = [(line.people.value, line.model.value) for line in report if line.model is not None]
    points = [point for point in points if np.isfinite(point).all()]
    if len(points) < 4:
        raise InputError(f"a relation over categories needs at least four that are defined; there are {len(points)}")
    people, model = np.array(points, np.float64).T
    if np.ptp(people) == 0 or np.ptp(model) == 0:
        raise InputError("all categories have the same kappa: there is no relation to see")
    found: Any = stats.pearsonr(people, model)
    low, high = found.confidence_interval()
    ranks: Any = stats.spearmanr(people, model)
    shuffled = _pairings(len(points), seed)
    as_high = _standard(people[shuffled]) @ _standard(model) / len(points) >= found.statistic - 1e-12
    return Relation(
        float(found.statistic), (float(low), float(high)), float(ranks.statistic), float(as_high.mean()), len(points)
    )


def _pairings(n: int, seed: int) -> np.ndarray:
    """All orders of n things up to nine, beyond 20,000 random ones, the given order among them: (R, n)."""
    if n <= 9:
        return np.array(list(itertools.permutations(range(n))))
    drawn = np.random.default_rng(seed).permuted(np.tile(np.arange(n), (20_000, 1)), axis=1)
    return np.vstack([np.arange(n), drawn])


def _standard(values: np.ndarray) -> np.ndarray:
    """Mean 0 and variance 1 along the last axis."""
    return (values - values.mean(-1, keepdims=True)) / values.std(-1, keepdims=True)


@dataclass(frozen=True)
class CategoryGate:
    """Which categories may be coded by the model for all texts.

    >>> sure, unsure = Agreement(0.9, (0.8, 1.0), 200), Agreement(0.5, (0.3, 0.7), 200)
    >>> CategoryGate().outcome(Reliability("setup", sure, unsure, 0.1, 20))
    'needs a better model'
    """

    people: float = 0.8
    model: float = 0.65

    def outcome(self, line: Reliability) -> Outcome:
        """What to do with a category; where people disagree the rubric comes first."""
        if math.isnan(line.people.value):
            return "unknown"
        if line.people.value < self.people:
            return "needs a better rubric"
        if line.model is None or math.isnan(line.model.value):
            return "unknown"
        return "ready" if line.model.value >= self.model else "needs a better model"

    def select(self, report: Sequence[Reliability]) -> list[str]:
        """The categories that are ready, in the order of the report."""
        return [line.category for line in report if self.outcome(line) == "ready"]


@dataclass(frozen=True)
class Version:
    """The wording that won, its mean kappa with people where it was chosen, and where it was not."""

    name: str
    chosen_on: Agreement
    tested_on: Agreement


def choose_version(
    versions: Mapping[str, np.ndarray],
    people: Sequence[np.ndarray],
    *,
    choose: np.ndarray,
    test: np.ndarray,
    resamples: int = 1_000,
) -> Version:
    """Of many wordings of one category's prompt the best on one part of the sample, scored once on another.

    The best of seventy wordings on the sample that also reports it is selection on the test; this keeps the two apart.

    Args: versions: codes (N,) by wording; people: codes (N,) of each person; choose, test: positions of the two parts.

    Raises: InputError: the parts overlap, or no wording has a defined kappa on the first.
    """
    if np.intersect1d(choose, test).size:
        raise InputError("the units that choose a wording and those that test it must not overlap")

    def kappa_on(name: str, rows: np.ndarray) -> Agreement:
        return mean_agreement([(person[rows], versions[name][rows]) for person in people], resamples=resamples)

    scored = {name: kappa_on(name, np.asarray(choose)) for name in versions}
    defined = {name: found for name, found in scored.items() if not math.isnan(found.value)}
    if not defined:
        raise InputError("no wording has a defined kappa where one is to be chosen: its raters never vary there")
    best = max(defined, key=lambda name: defined[name].value)
    return Version(best, defined[best], kappa_on(best, np.asarray(test)))


def _student() -> NgramClassifier:
    return NgramClassifier(chars=(2, 5), class_weight="balanced")


@dataclass
class RubricStudents:
    """One small student a category, taught by the model's codes; cells without a code are left out.

    Args: categories: names of the C columns; least: positives (and negatives) below which a category is refused; make: a
        fresh classifier of 0 and 1.

    >>> texts = ["great board work", "the chalk squeaks", "what is an eigenvalue?", "why is it real?"] * 3
    >>> codes = np.array([[1.0], [1], [0], [0]] * 3)
    >>> RubricStudents(["setup"], least=2).fit(texts, codes).predict(["more chalk", "why?"]).tolist()
    [[1], [0]]
    """

    categories: Sequence[str]
    least: int = 50
    make: Callable[[], NgramClassifier] = _student

    def fit(self, texts: Sequence[str], codes: np.ndarray) -> RubricStudents:
        """Learn from codes (N, C). Raises: InputError: another shape, or a category with too few of one answer."""
        table = np.asarray(codes, np.float64)
        if table.shape != (len(texts), len(self.categories)):
            raise InputError(f"codes must be ({len(texts)}, {len(self.categories)}); got {table.shape}")
        few = {c: int(min((y == 1).sum(), (y == 0).sum())) for c, y in zip(self.categories, table.T, strict=True)}
        if rare := [f"{category} ({count})" for category, count in few.items() if count < self.least]:
            raise InputError(
                f"fewer than {self.least} texts with one of the answers in {', '.join(rare)}: a student would learn to "
                "always give the other; code more texts, leave the category out, or lower `least`"
            )
        self.students_ = []
        for y in table.T:
            rows = np.flatnonzero(np.isfinite(y)).tolist()
            self.students_.append(self.make().fit([texts[row] for row in rows], y[rows].astype(np.int64)))
        return self

    def predict_proba(self, texts: Sequence[str]) -> np.ndarray:
        """Probability of each category: (N, C). Raises: InputError: before `fit`."""
        if not hasattr(self, "students_"):
            raise InputError("these RubricStudents have not learned anything yet: call fit first")
        return np.column_stack([student.predict_proba(list(texts))[:, 1] for student in self.students_])

    def predict(self, texts: Sequence[str]) -> np.ndarray:
        """Codes (N, C) of 0 and 1: probability at least a half."""
        return (self.predict_proba(texts) >= 0.5).astype(np.int64)


def digest(
    texts: Sequence[str], groups: Sequence[str], codes: np.ndarray, categories: Sequence[str], *, examples: int = 3
) -> list[dict[str, object]]:
    """What a lecturer reads: for each group (a lecture) and category the count and the first few comments.

    Names after an @ are masked: comments are by the public.

    >>> digest(["thanks @ann!", "louder please"], ["l1", "l1"], np.array([[0], [1]]), ["setup"])
    [{'group': 'l1', 'category': 'setup', 'count': 1, 'of': 2, 'examples': ['louder please']}]
    """
    rows: list[dict[str, object]] = []
    for group in dict.fromkeys(groups):
        members = [row for row, name in enumerate(groups) if name == group]
        for k, category in enumerate(categories):
            given = [row for row in members if codes[row, k] == 1]
            shown = [_HANDLE.sub("@…", texts[row]) for row in given[:examples]]
            rows.append(
                {"group": group, "category": category, "count": len(given), "of": len(members), "examples": shown}
            )
    return rows
