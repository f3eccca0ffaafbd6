"""Label-free distillation on real news with human gold: `python benchmarks/ag_news.py ag_news_test.csv`.

Five times the 7,600 items of AG News' test file are split anew into a pool of 5,000 and 2,600 held-out items. The zero-shot
teacher labels the pool; students learn from 250 to 5,000 of its labels. No human label is seen before the last line of a
table is computed. Beside them stands one fixed pipeline, tf-idf and logistic regression, trained on the pool's human labels.
"""

from __future__ import annotations

import argparse
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from tutelage.data.encoder import SentenceEncoder
from tutelage.data.labels import LabelScheme
from tutelage.data.sources import ag_news
from tutelage.data.split import group_split
from tutelage.evaluation.agreement import alpha
from tutelage.evaluation.classification import dummy, macro_f1, macro_f1_difference
from tutelage.evaluation.cost import texts_per_second
from tutelage.pipeline.choose import choose
from tutelage.pipeline.labelled import Labelled, predicted
from tutelage.pipeline.learn import Recipe, Vectors, fit
from tutelage.pipeline.train import dev_folds
from tutelage.teachers.zero_shot import ZeroShotTeacher

POOL = 5_000
SIZES = (250, 500, 1_000, 2_500, 5_000)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", type=Path)
    parser.add_argument("--samples", type=int, default=5)
    parser.add_argument(
        "--cache", type=Path, default=Path("runs/ag-news-vectors.sqlite"), help="sentence vectors, kept"
    )
    asked = parser.parse_args()

    table, scheme = ag_news(asked.file), LabelScheme.load("ag-news")
    texts = np.array(table["text"].to_pylist(), object)
    gold = np.array([scheme.index(name) for name in table["gold"].to_pylist()])
    vectors = Vectors("minilm", asked.cache)
    teacher = ZeroShotTeacher(SentenceEncoder("minilm", cache=asked.cache))
    begin = time.perf_counter()
    vectors.encode(texts.tolist())
    print(f"sentence vectors ready after {time.perf_counter() - begin:.0f} s\n")

    rows: dict[str, list[float]] = {}
    curves: dict[str, dict[int, list[float]]] = {"ngram": {}, "embedding": {}}
    differences, chosen_for = [], []
    for sample in range(asked.samples):
        order = np.random.default_rng(100 + sample).permutation(len(texts))
        pool, held = order[:POOL], order[POOL:]
        note = lambda name, value: rows.setdefault(name, []).append(value)

        scores = teacher.scores(texts[pool].tolist(), scheme)
        soft = teacher.probabilities(scores, scheme).astype(np.float32)
        mean = teacher._mean(vectors.encode(texts[pool].tolist()))
        said = teacher.scores(texts[held].tolist(), scheme, mean=mean).argmax(axis=1)
        second = teacher.reworded().scores(texts[held].tolist(), scheme, mean=mean).argmax(axis=1)
        names = LabelScheme.from_dict(list(scheme.names))
        only_names = replace(teacher, template="{name}").scores(texts[held].tolist(), names, mean=mean).argmax(axis=1)
        note("teacher", macro_f1(gold[held], said))
        note("teacher, label names only", macro_f1(gold[held], only_names))
        note(
            "dummy, stratified",
            macro_f1(gold[held], dummy(soft.argmax(axis=1), len(held), strategy="stratified", seed=sample)),
        )
        note("dummy, most frequent", macro_f1(gold[held], dummy(soft.argmax(axis=1), len(held))))
        note("alpha teacher, gold", alpha([gold[held], said]).value)
        note("alpha second wording, gold", alpha([gold[held], second]).value)
        note("alpha teacher, second wording", alpha([said, second]).value)

        data = Labelled(pool.astype(str), texts[pool], soft.argmax(axis=1), soft)
        folds = dev_folds(data, 0.2, sample)
        judged = {}
        for tier in ("ngram", "embedding"):
            memory = vectors if tier == "embedding" else None
            recipe = Recipe(tier, encoder="minilm" if memory else None, seed=sample)
            recipe, found = choose(recipe, folds, scheme, vectors=memory)
            student = fit(recipe, data, scheme, vectors=memory)
            codes, probs = predicted(student, texts[held])
            judged[tier] = (found.sure, codes, probs, student, recipe)
            note(f"student {tier}", macro_f1(gold[held], codes))
            for size in SIZES:
                part = group_split(range(POOL), [size / POOL, 1 - size / POOL], seed=sample, stratify=data.strata)[0]
                small = fit(recipe, data.rows(part), scheme, vectors=memory) if size < POOL else student
                curves[tier].setdefault(size, []).append(macro_f1(gold[held], predicted(small, texts[held])[0]))
        best = max(judged, key=lambda tier: judged[tier][0])
        _, codes, probs, student, recipe = judged[best]
        chosen_for.append(recipe.describe())
        note("student auto", macro_f1(gold[held], codes))
        note("alpha student, gold", alpha([gold[held], codes]).value)
        note("alpha student, teacher", alpha([said, codes]).value)
        sure = probs.max(axis=1) >= np.quantile(probs.max(axis=1), 0.2)
        note("accuracy, all", float((codes == gold[held]).mean()))
        note("accuracy, surest 80 %", float((codes == gold[held])[sure].mean()))
        differences.append(macro_f1_difference(gold[held], codes, said, resamples=1_000, seed=sample))
        fixed = make_pipeline(
            TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True), LogisticRegression(C=10, max_iter=1_000)
        )
        fixed.fit(texts[pool], gold[pool])
        note("tf-idf + logistic on gold", macro_f1(gold[held], fixed.predict(texts[held])))
        if sample == 0:
            few = texts[held][:200].tolist()
            fresh = ZeroShotTeacher("minilm")
            speed = {"teacher": texts_per_second(lambda t, teacher=fresh: teacher.scores(t, scheme), few, repeats=1)}
            for tier in judged:
                some = few if tier == "embedding" else texts[held].tolist()
                model = fit(judged[tier][4], data, scheme) if tier == "embedding" else judged[tier][3]
                speed[f"student {tier}"] = texts_per_second(
                    lambda t, m=model: m.predict_proba(pa.array(t)), some, repeats=1
                )

    print(f"mean ± sd over {asked.samples} splits of {POOL:,} pool and {len(texts) - POOL:,} held-out items")
    for name, values in rows.items():
        print(f"{name:32} {np.mean(values):.3f} ± {np.std(values):.3f}")
    gain = np.array([d.value for d in differences])
    print(
        f"\nstudent − teacher: {100 * gain.mean():+.1f} points of macro-F1, per split {np.round(100 * gain, 1).tolist()},"
    )
    print(
        f"  mean lower 95 % bound {100 * np.mean([d.interval[0] for d in differences]):+.1f}; chosen: {sorted(set(chosen_for))}"
    )
    print(
        f"student / tf-idf on gold: {np.mean(rows['student auto']) / np.mean(rows['tf-idf + logistic on gold']):.3f}\n"
    )
    print("labels".ljust(12) + "".join(f"{size:>9,}" for size in SIZES))
    for tier, curve in curves.items():
        print(tier.ljust(12) + "".join(f"{np.mean(curve[size]):9.3f}" for size in SIZES))
    print("\ntexts per second: " + ", ".join(f"{name} {value:,.0f}" for name, value in speed.items()))


if __name__ == "__main__":
    main()
