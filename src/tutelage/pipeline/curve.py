"""The learning curve of a run: how good the student is with a part of the labels, and whether more would pay."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from tutelage.data.split import group_split, nested_sizes
from tutelage.pipeline.folder import Run
from tutelage.pipeline.labelled import Labelled, predicted
from tutelage.pipeline.learn import Recipe, Vectors, fit

if TYPE_CHECKING:
    from tutelage.evaluation.curves import LearningCurve

SEEDS = 3
LEAST = 50


def sizes_for(n: int) -> list[int]:
    """Doubling sizes that end at n, at most six of them, none below 50.

    >>> sizes_for(1000)
    [62, 125, 250, 500, 1000]
    """
    sizes = [n]
    while len(sizes) < 6 and sizes[0] // 2 >= LEAST:
        sizes.insert(0, sizes[0] // 2)
    return sizes


def learning_curve_of(
    run: Run,
    data: Labelled,
    *,
    recipe: Recipe | None = None,
    vectors: Vectors | None = None,
    judge: tuple[np.ndarray, np.ndarray] | None = None,
) -> LearningCurve | None:
    """Macro-F1 at doubling numbers of teacher labels, three seeds each; None with too few labels for three sizes.

    Args:
        recipe: the student; the n-gram one by default, because it is cheap.
        judge: (texts, hard labels) to score on, such as the gold; without it a fifth of `data` is held out, and the curve
            shows agreement with the teacher.
    """
    from tutelage.evaluation.classification import macro_f1
    from tutelage.evaluation.curves import learning_curve

    recipe = recipe or Recipe("ngram", seed=run.config.seed)
    if judge is None:
        rest, held = group_split(range(len(data)), [0.8, 0.2], seed=run.config.seed, stratify=data.strata)
        judge = data.texts[held], data.hard[held]
        data = data.rows(rest)
    sizes = sizes_for(len(data))
    if len(sizes) < 3:
        return None
    nested = [nested_sizes(data.strata, sizes, seed=seed) for seed in range(SEEDS)]
    texts, gold = judge

    def score(size: int, seed: int) -> float:
        student = fit(recipe, data.rows(nested[seed][sizes.index(size)]), run.config.labels, vectors=vectors)
        return macro_f1(gold, predicted(student, texts)[0])

    return learning_curve(score, sizes, range(SEEDS))
