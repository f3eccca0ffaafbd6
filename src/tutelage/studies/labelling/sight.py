"""Does agreement among people say which categories a language model can code, and can a student take these over?

A, replication: the reliability of nine categories, computed anew from the authors' 289 comments with two people's codes and
GPT-3.5's answers in three styles of prompt; then how the model's agreement with people (HM) follows that among people (HH).

B, teacher to student: GPT-3.5's published codes of 15,400 other comments teach a student for each of the three categories
that the authors scaled; both are judged by the two people's codes of the sample. Comments whose text is in the sample are
held out by text, since the coded sample lies inside the full file.

The student (features, balanced classes) was settled on seeds 0 and 1.
"""

from __future__ import annotations

import re

import numpy as np

from tutelage.evaluation.raters import kappa_gain, mean_agreement, reliability_report
from tutelage.methods.labelling.sight import RubricStudents, relation
from tutelage.students.ngram import NgramClassifier
from tutelage.studies import (
    Arm,
    Bar,
    Finding,
    Metric,
    Paper,
    Part,
    Results,
    Role,
    Study,
    Trial,
    beats,
    exactly,
    reaches,
)  # fmt: skip
from tutelage.studies.labelling._sight_data import (
    CATEGORIES,
    LABELS,
    PEOPLE,
    SAMPLE,
    SCALED,
    STYLES,
    Comments,
    Figures,
    Sample,
    Sizes,
    comments,
    kept,
    sample,
)  # fmt: skip
from tutelage.studies.verdict import p_value

KEYWORDS = {
    "setup": r"board|chalk|audio|camera|video quality|volume|sound|mic|marker",
    "confusion": r"\?|mistake|wrong|error",
    "pedagogy": r"example|proof|step|visual|analog|intuiti|explain|teaching",
}


def style(name: str, role: Role) -> Arm[Sample, Sizes]:
    """A style of prompt: HM of every category, and how it follows HH."""

    def run(data: Sample, trial: Trial[Sizes]) -> Figures:
        trial.budget.count(examples=len(data.model[name]))
        report = reliability_report(
            data.people, CATEGORIES, data.model[name], resamples=trial.settings.resamples, seed=trial.seed
        )
        found = relation(report)
        model = {line.category: line.model for line in report if line.model}
        return {
            **{category: hm.value for category, hm in model.items()},
            "mean kappa": float(np.mean([hm.value for hm in model.values()])),
            "Pearson": found.pearson, "low": found.interval[0], "high": found.interval[1],
            "Spearman": found.spearman, "p": found.p,
            "intervals": [bound for hm in model.values() for bound in hm.interval],
        }  # fmt: skip

    return Arm(name, role, run)


def people(data: Sample, trial: Trial[Sizes]) -> Figures:
    """HH of every category."""
    report = reliability_report(data.people, CATEGORIES, resamples=trial.settings.resamples, seed=trial.seed)
    figures: Figures = {line.category: line.people.value for line in report}
    return figures | {"mean kappa": float(np.mean([line.people.value for line in report]))}


def replicated(r: Results) -> Finding:
    """How many of the 36 published kappas come out of the published codes."""
    published = {"people": PEOPLE, **STYLES}
    away = [abs(float(r[arm, c][0]) - value) for arm, table in published.items() for c, value in table.items()]
    right = sum(distance <= 1e-3 for distance in away)
    return exactly(right == len(away), right, f"of {len(away)}; the largest difference is {max(away):.4f}")


def follows(r: Results) -> Finding:
    """Zero-shot HM against HH over nine categories."""
    pearson, low, high, p = (float(r["zero-shot", name][0]) for name in ("Pearson", "low", "high", "p"))
    outcome = "holds" if pearson > 0.6 and p < 0.05 else "fails" if pearson <= 0 else "inconclusive"
    note = f"nine categories, Fisher's interval, exact permutation test p {p_value(p)}"
    return Finding(outcome, pearson, low, high, note=note)


def in_words(r: Results) -> str:
    """The other styles, and how wide the intervals of single categories are."""
    others = ", ".join(f"{name} {float(r[name, 'Pearson'][0]):.2f}" for name in ("3-shot", "3-shot, reasoning"))
    low, high = np.array(r.items("zero-shot", "intervals")[0]).reshape(-1, 2).T
    return (
        f"The relation is one of the zero-shot prompts: with worked examples r is {others}. Intervals of single "
        f"categories (zero-shot) are {float((high - low).mean()):.2f} wide on average: 289 comments, some with 10 positives."
    )


RELIABILITY = Part(
    name="A · reliability",
    data=sample,
    arms=(
        Arm("people", "reference", people),
        style("zero-shot", "method"),
        style("3-shot", "ablation"),
        style("3-shot, reasoning", "ablation"),
    ),
    metrics=(
        Metric("mean kappa"),
        *(Metric(name, shown=False) for name in CATEGORIES),
        Metric("Pearson"),
        Metric("Spearman"),
        Metric("p", higher_is_better=False),
    ),
    bars=(
        Bar("all 36 published kappas come out within 0.001", replicated, paper="36"),
        Bar("zero-shot HM follows HH: r > 0.6, one-sided p < .05", follows, paper="0.829"),
    ),
    settings=Sizes(),
    fast=Sizes(resamples=20),
    seeds=1,
    files=(SAMPLE,),
    sentence=in_words,
)


def student(name: str, role: Role, size: int | None = None) -> Arm[Comments, Sizes]:
    """Students of the first `size` codes (all of them), rare as their positives may be."""

    def run(data: Comments, trial: Trial[Sizes]) -> Figures:
        n = min(size or len(data.texts), len(data.texts))
        trial.budget.count(examples=n)
        make = lambda: NgramClassifier(chars=trial.settings.chars, class_weight="balanced", threads=1, seed=trial.seed)
        students = RubricStudents(SCALED, least=1, make=make).fit(data.texts[:n], data.codes[:n])
        return data.kappas(students.predict(data.test).astype(np.float64))

    return Arm(name, role, run)


def tfidf(data: Comments, trial: Trial[Sizes]) -> Figures:
    """The usual pipeline on the same codes: tf-idf of words and word pairs, balanced logistic regression."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression

    trial.budget.count(examples=len(data.texts))
    words = TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True).fit(data.texts)
    x, test = words.transform(data.texts), words.transform(data.test)
    said = []
    for y in data.codes.T:
        rows = np.flatnonzero(np.isfinite(y))
        model = LogisticRegression(C=30, class_weight="balanced", solver="liblinear").fit(x[rows], y[rows])
        said.append(model.predict(test))
    return data.kappas(np.column_stack(said))


def keywords(data: Comments, trial: Trial[Sizes]) -> Figures:
    """What somebody would write without any model."""
    said = [[float(bool(re.search(KEYWORDS[c], text, re.IGNORECASE))) for c in SCALED] for text in data.test]
    return data.kappas(np.array(said))


def each_other(data: Comments, trial: Trial[Sizes]) -> Figures:
    """The two people."""
    pairs = zip(data.people[0].T, data.people[1].T, strict=True)
    figures = {c: mean_agreement([pair], resamples=1).value for c, pair in zip(SCALED, pairs, strict=True)}
    codes = {f"{c} {who}": kept(p[:, k]) for who, p in enumerate(data.people) for k, c in enumerate(SCALED)}
    return figures | {"mean": float(np.mean(list(figures.values())))} | codes


def keeps(category: str, share: float) -> Bar:
    """The student keeps a share of its teacher's kappa."""
    return Bar(
        f"student keeps {share:g} of GPT-3.5's kappa on {category}",
        lambda r: reaches(r["student", category] / r["GPT-3.5", category], share),
    )


def passes_on_pedagogy(r: Results) -> Finding:
    """Student minus teacher in kappa, bootstrapped over comments; seeds of the student are averaged in each resample."""

    def codes(arm: str, name: str) -> list[np.ndarray]:
        return [np.where(items >= 0, items, np.nan) for items in r.items(arm, name)]

    first, second = codes("people", "pedagogy 0"), codes("people", "pedagogy 1")
    runs = zip(first, second, codes("student", "pedagogy codes"), codes("GPT-3.5", "pedagogy codes"), strict=True)
    gains = np.mean([kappa_gain([(a, s), (b, s)], [(a, t), (b, t)]) for a, b, s, t in runs], axis=0)
    above, effect = float((gains > 0).mean()), float((r["student", "pedagogy"] - r["GPT-3.5", "pedagogy"]).mean())
    low, high = (float(x) for x in np.quantile(gains[np.isfinite(gains)], (0.025, 0.975)))
    outcome = "holds" if above >= 0.95 else "fails" if above < 0.05 else "inconclusive"
    return Finding(
        outcome, effect, low, high, 1 - above, f"above its teacher in {above:.1%} of resamples of the comments"
    )


STUDENTS = Part(
    name="B · a student of GPT-3.5",
    data=comments,
    arms=(
        Arm("people", "reference", each_other),
        Arm("GPT-3.5", "reference", lambda data, trial: data.kappas(data.published)),
        student("student 500", "ablation", 500),
        student("student 2,000", "ablation", 2_000),
        student("student 8,000", "ablation", 8_000),
        student("student", "method"),
        Arm("tf-idf", "baseline", tfidf),
        Arm("keywords", "reference", keywords),
    ),
    metrics=(*(Metric(c) for c in SCALED), Metric("mean")),
    bars=(
        keeps("setup", 0.75),
        keeps("confusion", 0.75),
        Bar("student passes GPT-3.5 on pedagogy, over the comments", passes_on_pedagogy),
        beats("student", "keywords", "mean", wins=1.0),
        beats("student", "tf-idf", "mean", gated=False),
    ),
    settings=Sizes(),
    fast=Sizes(labels=400, chars=None),
    seeds=5,
    files=(SAMPLE, LABELS),
)

STUDY = Study(
    slug="sight",
    paper=Paper(
        "SIGHT: A Large Annotated Dataset on Student Insights Gathered from Higher Education Transcripts",
        "Wang et al.",
        2023,
        "2306.09343",
    ),
    claim="reliability between people tells in advance which categories a language model can code, and those it can code "
    "can be handed to a student that costs nothing to run",
    parts=(RELIABILITY, STUDENTS),
)
