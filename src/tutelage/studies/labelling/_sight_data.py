"""What the study `sight` reads: the coded sample, GPT-3.5's codes of the other comments, and the published tables."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from tutelage.data.sources import sight_coded, sight_comments
from tutelage.data.text import normalise
from tutelage.evaluation.raters import mean_agreement
from tutelage.studies import Setup

PEOPLE = {
    "general": 0.754, "confusion": 0.910, "pedagogy": 0.787, "setup": 0.951, "gratitude": 0.922,
    "personal_experience": 0.743, "clarification": 0.830, "non_english": 0.937, "na": 0.737,
}  # fmt: skip
"""HH: Cohen's kappa of the two people."""

STYLES = {
    style: dict(zip(PEOPLE, values, strict=True))
    for style, values in {
        "zero-shot": (0.476, 0.724, 0.346, 0.845, 0.919, 0.325, 0.484, 0.870, 0.650),
        "3-shot": (0.501, 0.689, 0.524, 0.748, 0.850, 0.574, 0.162, 0.642, 0.499),
        "3-shot, reasoning": (0.518, 0.757, 0.575, 0.850, 0.933, 0.372, 0.324, 0.498, 0.473),
    }.items()
}
"""HM: mean kappa of GPT-3.5 with the two people."""

VERSIONS = {
    style: dict(zip(PEOPLE, names.split(), strict=True))
    for style, names in {
        "zero-shot": "v39 v8 v73d v0 v1 v46 v1 v0 v3",
        "3-shot": "v74 v74 v73c v74 v74 v50 v74 v74 v74",
        "3-shot, reasoning": "v75 v75 v75 v75 v75 v75 v75 v75 v75",
    }.items()
}
"""The prompts that the authors publish for each style, by the version in their columns' names."""

SAMPLE, LABELS = "sight_sample_dataset.csv", "sight_gpt_labels.csv.gz"
CATEGORIES = tuple(PEOPLE)
SCALED = ("setup", "confusion", "pedagogy")
Figures = dict[str, float | list[float]]


@dataclass(frozen=True)
class Sample:
    """N coded comments: people's codes (N, 9) by person, the model's by style, NaN where nobody said."""

    people: dict[str, np.ndarray]
    model: dict[str, np.ndarray]


@dataclass(frozen=True)
class Sizes:
    """Bootstrap resamples; for B, how many of the codes there are to learn from, and of those the smaller shares."""

    resamples: int = 1_000
    labels: int = 1_000_000
    chars: tuple[int, int] | None = (2, 5)


def sample(setup: Setup[Sizes]) -> Sample:
    """The authors' file of coded comments."""
    table = sight_coded(setup.file(SAMPLE))

    def column(name: str) -> np.ndarray:
        return np.array([float(cell) if str(cell).strip() else np.nan for cell in table[name].to_pylist()])

    people = {who: np.column_stack([column(f"annotator_{who}_{c}") for c in CATEGORIES]) for who in ("H1", "H2")}
    asked = {
        style: np.column_stack([column(f"annotator_openaichat_{VERSIONS[style][c]}_{c}") for c in CATEGORIES])
        for style in STYLES
    }
    return Sample(people, asked)


@dataclass(frozen=True)
class Comments:
    """Comments to learn from with GPT-3.5's codes (N, 3), and the sample (M texts) with people's and GPT-3.5's codes."""

    texts: list[str]
    codes: np.ndarray
    test: list[str]
    people: list[np.ndarray]
    published: np.ndarray

    def kappas(self, said: np.ndarray) -> Figures:
        """Mean kappa of codes (M, 3) with the two people, by category; the codes themselves as items, −1 for none."""
        figures: Figures = {
            c: mean_agreement([(person[:, k], said[:, k]) for person in self.people], resamples=1).value
            for k, c in enumerate(SCALED)
        }
        mean = float(np.mean([figures[c] for c in SCALED]))
        return figures | {"mean": mean} | {f"{c} codes": kept(said[:, k]) for k, c in enumerate(SCALED)}


def comments(setup: Setup[Sizes]) -> Comments:
    """All comments whose text is not in the sample, in an order of this seed."""
    coded = sample(setup)
    columns = [CATEGORIES.index(c) for c in SCALED]
    test = [str(text) for text in sight_coded(setup.file(SAMPLE))["comment"].to_pylist()]
    rows = sight_comments(setup.file(LABELS)).to_pylist()
    codes = np.array([[np.nan if row[c] is None else row[c] for c in SCALED] for row in rows], np.float64)
    names = [normalise(str(row["text"])) for row in rows]
    place = {name: row for row, name in reversed(list(enumerate(names)))}
    published = np.array([codes[place[normalise(t)]] if normalise(t) in place else [np.nan] * 3 for t in test])
    held = {normalise(text) for text in test}
    free = np.flatnonzero([bool(name) and name not in held for name in names])
    order = np.random.default_rng(setup.seed).permutation(free)[: setup.settings.labels]
    everyone = [who[:, columns] for who in coded.people.values()]
    return Comments([str(rows[n]["text"]) for n in order], codes[order], test, everyone, published)


def kept(codes: np.ndarray) -> list[float]:
    """Codes as items of a figure: −1 stands for NaN, which JSON has not."""
    return np.nan_to_num(codes, nan=-1.0).tolist()
