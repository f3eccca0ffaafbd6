"""The n-gram student against other linear students of text, all with the labels of one teacher: which is right most often?

Used by `students.py --corpus …`. For every split the teacher labels the pool, each arm learns from these labels, and macro-F1
is measured on the human labels of texts that nobody has seen. No arm sees a human label: each chooses its options on the
same dev folds of the teacher's labels, by macro-F1 on the half of which the teacher is surest.

| arm | what | chosen on the dev folds |
|---|---|---|
| ngram | what `tutelage distill --student ngram` trains | hard, trusted or soft labels; C; characters or not; balanced or not |
| tfidf-word | tf-idf of words and pairs, logistic regression | hard, trusted or soft labels; C |
| tfidf-char | tf-idf of 2- to 5-grams of characters inside words, logistic regression | the same |
| tfidf-both | both, side by side | the same |
| tfidf-svm | tf-idf of words and pairs, linear support vectors | hard or trusted labels; C |
| naive-bayes | counts of words and pairs, complement naive Bayes | hard or trusted labels; smoothing |

fastText is not among them: on so few texts most of its runs end in "Encountered NaN", and the others below 0.1.

`trusted` are hard labels weighted by the teacher's confidence; `soft` are its probabilities, which scikit-learn takes as one
weighted row for every label of more than a hundredth. Every peer has two rows: `best` takes the setting with the best score,
as one usually does; `1se` the one that shrinks most of those within a standard error of the difference, as the n-gram student's
pipeline does, because a student that agrees more with its teacher is not the better one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np

from corpora import Corpus, split, taught
from tutelage.data.labels import LabelScheme
from tutelage.evaluation.classification import macro_f1
from tutelage.pipeline.choose import Fold, choose
from tutelage.pipeline.labelled import Labelled, predicted
from tutelage.pipeline.learn import Recipe, fit
from tutelage.pipeline.train import dev_folds

STRENGTHS = (1.0, 3.0, 10.0, 30.0, 100.0, 300.0)
"""What is tried for C of logistic regression, from strong shrinkage to weak; support vectors have a tenth of it."""

Predict = Callable[[Sequence[str]], np.ndarray]
"""Texts -> codes (N,)."""


class Setting(NamedTuple):
    """What a peer was trained with: how little it shrinks (a rank, least first), and the options by name."""

    rank: int
    options: str


Trials = Callable[[Labelled], Iterator[tuple[Setting, Predict]]]
"""Labelled texts -> every setting of a peer, trained on them."""


class Learned(NamedTuple):
    """A trained arm: how it predicts, and the setting that it chose."""

    predict: Predict
    chosen: str


def ngram(data: Labelled, folds: list[Fold], scheme: LabelScheme, seed: int) -> dict[str, Learned]:
    """The student as the pipeline trains it."""
    recipe, _ = choose(Recipe("ngram", seed=seed), folds, scheme)
    student = fit(recipe, data, scheme)
    return {"": Learned(lambda texts: predicted(student, texts)[0], f"{recipe.describe()}, C·N = {recipe.strength:g}")}


def peer(path: Trials, data: Labelled, folds: list[Fold], scheme: LabelScheme, seed: int) -> dict[str, Learned]:
    """A peer with the setting that each of the two rules takes."""
    said: dict[Setting, list[np.ndarray]] = {}
    for fold in folds:
        for setting, predict in path(fold.train):
            said.setdefault(setting, []).append(predict(fold.dev.texts))
    given = np.concatenate([fold.dev.hard for fold in folds])
    trust = np.concatenate([fold.dev.confidence for fold in folds])
    sure = trust >= np.median(trust)
    codes = {setting: np.concatenate(parts)[sure] for setting, parts in said.items()}
    scores = {setting: macro_f1(given[sure], answers) for setting, answers in codes.items()}
    best = max(scores, key=lambda setting: scores[setting])
    hits = {setting: (answers == given[sure]).astype(float) for setting, answers in codes.items()}
    error = {setting: np.std(hits[best] - own) / np.sqrt(len(own)) for setting, own in hits.items()}
    close = [setting for setting, score in scores.items() if score >= scores[best] - error[setting]]
    chosen = {" best": best, " 1se": min(close, key=lambda setting: (setting.rank, -scores[setting]))}
    models = {setting: train_at(path, data, setting) for setting in set(chosen.values())}
    return {rule: Learned(models[setting], setting.options) for rule, setting in chosen.items()}


def train_at(path: Trials, data: Labelled, wanted: Setting) -> Predict:
    """The peer with one setting."""
    return next(predict for setting, predict in path(data) if setting == wanted)


def vectoriser(kind: str):
    """tf-idf or counts of words and pairs, of characters, or of both."""
    from sklearn.feature_extraction.text import CountVectorizer, TfidfVectorizer
    from sklearn.pipeline import make_union

    weighted = partial(TfidfVectorizer, sublinear_tf=True, dtype=np.float32)
    words = {"ngram_range": (1, 2), "token_pattern": r"\w+"}
    chars = weighted(analyzer="char_wb", ngram_range=(2, 5), min_df=2)
    match kind:
        case "word":
            return weighted(**words)
        case "char":
            return chars
        case "both":
            return make_union(weighted(**words), chars)
        case _:
            return CountVectorizer(**words)


def logistic(kind: str, data: Labelled) -> Iterator[tuple[Setting, Predict]]:
    """Logistic regression on each form of the labels, with each C.

    With rows X of N texts and L L^T = X X^T, the rows of L are those of X turned into N dimensions. Shrinkage does not see the
    turn, so the regression is the same; it is only found many times faster than with a weight for each of the features.
    """
    from scipy.linalg import solve_triangular
    from sklearn.linear_model import LogisticRegression

    maker = vectoriser(kind)
    X = maker.fit_transform(data.texts)
    L = np.linalg.cholesky((X @ X.T).toarray().astype(np.float64) + 1e-6 * np.eye(X.shape[0]))
    turned = lambda texts: solve_triangular(L, (X @ maker.transform(texts).T).toarray(), lower=True).T
    row, label = np.nonzero(data.soft > 0.01)
    taught_by = {
        "hard": (L, data.hard, None),
        "trusted": (L, data.hard, data.confidence),
        "soft": (L[row], label, data.soft[row, label]),
    }
    for form, rows in taught_by.items():
        for rank, C in enumerate(STRENGTHS):
            model = LogisticRegression(C=C, max_iter=1000).fit(*rows)
            yield Setting(rank, f"{form}, C = {C:g}"), lambda texts, m=model: m.predict(turned(texts))


def vectors(data: Labelled) -> Iterator[tuple[Setting, Predict]]:
    """Linear support vectors."""
    from sklearn.svm import LinearSVC

    maker = vectoriser("word")
    X = maker.fit_transform(data.texts)
    for form, weights in (("hard", None), ("trusted", data.confidence)):
        for rank, C in enumerate(STRENGTHS):
            model = LinearSVC(C=C / 10).fit(X, data.hard, weights)
            yield Setting(rank, f"{form}, C = {C / 10:g}"), lambda texts, m=model: m.predict(maker.transform(texts))


def bayes(data: Labelled) -> Iterator[tuple[Setting, Predict]]:
    """Complement naive Bayes."""
    from sklearn.naive_bayes import ComplementNB

    maker = vectoriser("count")
    X = maker.fit_transform(data.texts)
    for form, weights in (("hard", None), ("trusted", data.confidence)):
        for rank, alpha in enumerate((3.0, 1.0, 0.3, 0.1, 0.03)):
            model = ComplementNB(alpha=alpha).fit(X, data.hard, sample_weight=weights)
            yield Setting(rank, f"{form}, alpha = {alpha:g}"), lambda texts, m=model: m.predict(maker.transform(texts))


Arm = Callable[[Labelled, list[Fold], LabelScheme, int], dict[str, Learned]]
ARMS: dict[str, Arm] = {
    "ngram": ngram,
    "tfidf-word": partial(peer, partial(logistic, "word")),
    "tfidf-char": partial(peer, partial(logistic, "char")),
    "tfidf-both": partial(peer, partial(logistic, "both")),
    "tfidf-svm": partial(peer, vectors),
    "naive-bayes": partial(peer, bayes),
}


def compare(corpus: Corpus, arms: Sequence[str], splits: Sequence[int], *, names_only: bool, cache: Path) -> None:
    """Print one line an arm: mean and deviation of macro-F1 over the splits, and what the n-gram student has more."""
    figures: dict[str, list[float]] = {}
    for seed in splits:
        pool, held = split(corpus, seed)
        data = taught(corpus, pool, names_only=names_only, cache=cache)
        folds = dev_folds(data, 0.2, seed)
        figures.setdefault("teacher", []).append(macro_f1(corpus.gold[pool], data.hard))
        for name in arms:
            for rule, learned in ARMS[name](data, folds, corpus.scheme, seed).items():
                score = macro_f1(corpus.gold[held], learned.predict(corpus.texts[held]))
                figures.setdefault(name + rule, []).append(score)
                print(f"split {seed}  {name + rule:<17}{score:.4f}  {learned.chosen}", flush=True)
    print(f"\nmacro-F1 on human labels, mean ± sd over {len(splits)} splits; the teacher's is its own on the pool")
    for name, values in figures.items():
        line = f"{name:<17}{np.mean(values):.4f} ± {np.std(values):.4f}"
        if "ngram" in figures and name not in ("teacher", "ngram"):
            more = np.array(figures["ngram"]) - np.array(values)
            line += f"   ngram {more.mean():+.4f}, better on {int((more > 0).sum())} of {len(more)}"
        print(line)
