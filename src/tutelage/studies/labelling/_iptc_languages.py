"""Part B of the study `iptc`: students in seven languages of which one, or four, were labelled."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from tutelage.data.split import group_split
from tutelage.evaluation.classification import macro_f1
from tutelage.students.embedding import EmbeddingClassifier
from tutelage.studies import Arm, Bar, Metric, Part, Results, Role, Setup, Trial, reaches
from tutelage.studies.labelling._debian import FILE, LANGUAGES, SECTIONS, Packages, packages
from tutelage.studies.labelling._shared import logistic, zero_shot
from tutelage.studies.vectors import encode_once


@dataclass(frozen=True)
class Debian:
    """Labels that students learn from, share of the packages that is for training, the teachers, and a part of the file."""

    labels: int = 600
    train: float = 0.7
    encoder: str = "use-multilingual"
    second: str = "minilm"
    packages: int | None = None


@dataclass(frozen=True)
class Tongues:
    """Packages, by language their vectors and the teacher's probabilities, the second teacher's (English), and the split."""

    packages: Packages
    vectors: dict[str, np.ndarray]
    probs: dict[str, np.ndarray]
    second: np.ndarray
    train: np.ndarray
    test: np.ndarray


def tongues(setup: Setup[Debian]) -> Tongues:
    """Each language's own texts, labelled by the teacher with English definitions; split by source package."""
    s = setup.settings
    data = packages(setup.file(FILE), s.packages)
    vectors = {lang: encode_once(s.encoder, data.texts[lang], setup.scratch) for lang in LANGUAGES}
    probs = {lang: zero_shot(s.encoder, data.texts[lang], SECTIONS, setup.scratch) for lang in LANGUAGES}
    second = zero_shot(s.second, data.texts["en"], SECTIONS, setup.scratch)
    train, test = group_split(data.source, [s.train, 1 - s.train], seed=setup.seed)
    return Tongues(data, vectors, probs, second, train, test)


def per_language(data: Tongues, predict: Callable[[str, np.ndarray], np.ndarray]) -> dict[str, float]:
    """Macro-F1 in each language of predict(language, places) -> probabilities."""
    figures = {}
    for lang in LANGUAGES:
        places = data.packages.take(lang, data.test)
        gold = data.packages.section[data.packages.rows[lang][places]]
        figures[lang] = macro_f1(gold, predict(lang, places).argmax(1))
    return figures


def learn_in(
    name: str,
    role: Role,
    langs: tuple[str, ...],
    *,
    labels: str = "teacher",
    all_rows: bool = False,
    chars: bool = False,
) -> Arm[Tongues, Debian]:
    """A student of labels in these languages (the same number in all, each package once), tested in all seven.

    Args: labels: "teacher", "second" or "gold"; all_rows: every training package; chars: character n-grams, not vectors.
    """

    def run(data: Tongues, trial: Trial[Debian]) -> dict[str, float]:
        order = np.random.default_rng(trial.seed).permutation(data.train)
        order = order if all_rows else order[: trial.settings.labels]
        trial.budget.count(examples=len(order))
        shares = dict(zip(langs, np.array_split(order, len(langs)), strict=True))
        places = {lang: data.packages.take(lang, rows) for lang, rows in shares.items()}
        source = {"teacher": data.probs, "second": {"en": data.second}}.get(labels)
        gold = np.eye(len(SECTIONS))[data.packages.section]
        targets = np.concatenate(
            [gold[data.packages.rows[lang][p]] if source is None else source[lang][p] for lang, p in places.items()]
        )
        if chars:
            texts = [data.packages.texts[lang][place] for lang, p in places.items() for place in p]
            tests = {
                lang: [data.packages.texts[lang][n] for n in data.packages.take(lang, data.test)] for lang in LANGUAGES
            }
            said = logistic("char_wb", (2, 5), texts, targets, list(itertools.chain(*tests.values())))
            parts = dict(zip(tests, np.split(said, np.cumsum([len(t) for t in tests.values()])[:-1]), strict=True))
            return per_language(data, lambda lang, _: parts[lang])
        student = EmbeddingClassifier(classes=list(SECTIONS.names), seed=trial.seed)
        student.fit(np.concatenate([data.vectors[lang][p] for lang, p in places.items()]), targets.astype(np.float32))
        return per_language(data, lambda lang, p: student.predict_proba(data.vectors[lang][p]))

    return Arm(name, role, run)


OWN, NEW = LANGUAGES[:4], LANGUAGES[4:]


def mean_of(r: Results, arm: str, langs: tuple[str, ...]) -> np.ndarray:
    """An arm's macro-F1, averaged over languages: (S,)."""
    return np.mean([r[arm, lang] for lang in langs], axis=0)


def worst_transfer(r: Results) -> np.ndarray:
    """Of the students of one language: mean of the other six over its own, the worst of the four (of means over seeds)."""
    ratios = [mean_of(r, own, tuple(x for x in LANGUAGES if x != own)) / np.maximum(r[own, own], 1e-9) for own in OWN]
    return ratios[int(np.argmin([ratio.mean() for ratio in ratios]))]


LANGUAGES_PART = Part(
    name="B · seven languages",
    data=tongues,
    arms=(
        Arm("teacher", "reference", lambda data, trial: per_language(data, lambda lang, p: data.probs[lang][p])),
        *(learn_in(lang, "method" if lang == "en" else "ablation", (lang,)) for lang in OWN),
        learn_in("multilingual", "method", OWN),
        learn_in("char n-grams, en", "baseline", ("en",), chars=True),
        learn_in("second teacher, 600", "ablation", ("en",), labels="second"),
        learn_in("second teacher, all", "ablation", ("en",), labels="second", all_rows=True),
        learn_in("gold labels, en", "reference", ("en",), labels="gold"),
    ),
    metrics=tuple(Metric(lang) for lang in LANGUAGES),
    bars=(
        Bar(
            "a student of one language keeps 0.90 of its macro-F1 in the six others",
            lambda r: reaches(worst_transfer(r), 0.90),
            paper="0.95 to 1.03 (three others)",
        ),
        Bar(
            "in languages never labelled it beats character n-grams, on every split",
            lambda r: reaches(mean_of(r, "en", NEW) - mean_of(r, "char n-grams, en", NEW), 0.0, every_seed=True),
        ),
        Bar(
            "the same number of labels in four languages costs each at most 0.03",
            lambda r: reaches(mean_of(r, "multilingual", OWN) - np.mean([r[x, x] for x in OWN], axis=0), -0.03),
        ),
        Bar(
            "the multilingual student is at most 0.01 below its teacher",
            lambda r: reaches(mean_of(r, "multilingual", LANGUAGES) - mean_of(r, "teacher", LANGUAGES), -0.01),
        ),
    ),
    settings=Debian(),
    fast=Debian(labels=16, second="use-multilingual", packages=16),
    seeds=5,
    files=(FILE,),
)
