"""Does a student carry over to languages that nobody labelled? `python benchmarks/cross_lingual.py`

On the corpus that ships with the package: the English teacher labels English news items, students learn from four fifths of
them and are tested on the last fifth and on all German, Spanish, French and Polish items, five times over. The figure is the
mean macro-F1 of the four other languages over the student's own English macro-F1, with a bootstrap interval over texts.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

from tutelage.data.labels import LabelScheme
from tutelage.data.sources import demo_corpus
from tutelage.data.split import group_split
from tutelage.evaluation.classification import macro_f1
from tutelage.pipeline.choose import choose
from tutelage.pipeline.labelled import Labelled, predicted
from tutelage.pipeline.learn import Recipe, Vectors, fit
from tutelage.pipeline.train import dev_folds
from tutelage.teachers.zero_shot import ZeroShotTeacher

OTHERS = ("de", "es", "fr", "pl")
WANTED = 0.90


def main() -> None:
    """Print the table."""
    table, scheme = demo_corpus(), LabelScheme.load("iptc")
    texts, lang = (np.array(table[name].to_pylist(), object) for name in ("text", "lang"))
    gold = np.array([scheme.index(name) for name in table["gold"].to_pylist()])
    english = np.flatnonzero(lang == "en")
    teacher = ZeroShotTeacher("minilm")
    soft = np.zeros((len(texts), len(scheme)), np.float32)
    soft[english] = teacher.probabilities(teacher.scores(texts[english].tolist(), scheme), scheme)
    print(f"teacher on English: macro-F1 {macro_f1(gold[english], soft[english].argmax(axis=1)):.3f}\n")
    print(f"{'student':12}{'en':>8}" + "".join(f"{name:>8}" for name in OTHERS) + f"{'ratio':>8}  95 % interval")

    with tempfile.TemporaryDirectory() as folder:
        vectors = Vectors("use-multilingual", Path(folder) / "vectors.sqlite")
        for tier in ("embedding", "ngram"):
            memory = vectors if tier == "embedding" else None
            own = np.full(len(texts), -1)
            elsewhere = np.full((5, len(texts)), -1)
            for number, held in enumerate(
                group_split(range(len(english)), [0.2] * 5, seed=0, stratify=gold[english].tolist())
            ):
                rows = np.delete(english, held)
                data = Labelled(rows.astype(str), texts[rows], soft[rows].argmax(axis=1), soft[rows])
                if number == 0:  # chosen once, on the teacher's labels of the first four fifths
                    first = Recipe(tier, encoder="use-multilingual" if memory else None)
                    recipe, _ = choose(first, dev_folds(data, 0.2, 0), scheme, vectors=memory)
                student = fit(recipe, data, scheme, vectors=memory)
                own[english[held]] = predicted(student, texts[english[held]])[0]
                away = np.flatnonzero(lang != "en")
                elsewhere[number, away] = predicted(student, texts[away])[0]

            def ratio(rows: np.ndarray, own: np.ndarray = own, elsewhere: np.ndarray = elsewhere) -> list[float]:
                at_home = rows[lang[rows] == "en"]
                home = macro_f1(gold[at_home], own[at_home])
                scores = []
                for name in OTHERS:
                    there = rows[lang[rows] == name]
                    scores.append(np.mean([macro_f1(gold[there], one[there]) for one in elsewhere]))
                return [home, *scores, float(np.mean(scores)) / home]

            figures = ratio(np.arange(len(texts)))
            rng = np.random.default_rng(0)
            strata = [np.flatnonzero(lang == name) for name in ("en", *OTHERS)]
            drawn = [ratio(np.concatenate([rng.choice(rows, len(rows)) for rows in strata]))[-1] for _ in range(1_000)]
            low, high = np.percentile(drawn, [2.5, 97.5])
            print(f"{tier:12}" + "".join(f"{value:8.3f}" for value in figures) + f"  {low:.3f} to {high:.3f}")
    print(f"\nwanted: embedding at least {WANTED}, ngram below it")


if __name__ == "__main__":
    main()
