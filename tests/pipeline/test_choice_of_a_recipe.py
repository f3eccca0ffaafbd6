"""Which recipe is taken, given how each did on the dev texts, and how the n-gram student is searched."""

from __future__ import annotations

import numpy as np
import pytest

from tests.pipeline.corpora import SCHEME, rows
from tutelage.pipeline.choose import STRENGTHS, Judged, choose, settled
from tutelage.pipeline.labelled import Labelled, one_hot, predicted
from tutelage.pipeline.learn import Recipe, fit
from tutelage.pipeline.train import dev_folds


def judged(sure: float, unsure: float = 0.5, right: range = range(80)) -> Judged:
    hits = np.isin(np.arange(100), right)
    return Judged(sure, sure, unsure, error=0.02, n=200, probs=np.zeros((200, 2)), hits=hits)


@pytest.fixture(scope="module")
def data() -> Labelled:
    taught = rows(120)
    hard = np.array([SCHEME.names.index(row["topic"]) for row in taught])
    soft = 0.8 * one_hot(hard, len(SCHEME)) + 0.2 / len(SCHEME)
    return Labelled(np.arange(120).astype(str), np.array([row["text"] for row in taught], object), hard, soft)


def test_of_n_grams_the_one_that_shrinks_most_within_a_standard_error_of_their_difference():
    tried = {
        Recipe("ngram", strength=3e3): judged(
            0.76, right=range(76)
        ),  # four texts apart: 0.04 > sqrt(0.04 * 0.96 / 100)
        Recipe("ngram", strength=1e4): judged(0.79, right=range(1, 80)),
        Recipe("ngram", form="soft", strength=1e4): judged(0.795, right=range(1, 80)),
        Recipe("ngram", form="soft", strength=1e5): judged(0.80),
    }
    assert settled(tried) == Recipe("ngram", form="soft", strength=1e4)
    assert judged(0.8).apart(judged(0.76, right=range(76))) == pytest.approx(np.sqrt(0.04 * 0.96 / 100))


def test_twins_differ_by_less_than_strangers():
    best = judged(0.80)
    assert best.apart(judged(0.79, right=range(79))) < best.apart(judged(0.79, right=range(21, 100)))


def test_of_heads_on_embeddings_the_one_that_imitates_least():
    tried = {
        Recipe("embedding", strength=500.0): judged(0.79, unsure=0.6),
        Recipe("embedding", strength=5e3): judged(0.80, unsure=0.7),
        Recipe("embedding", strength=5e4): judged(0.70, unsure=0.1),
    }
    assert settled(tried).strength == 500.0


def test_of_other_tiers_the_best():
    tried = {Recipe("static", form="hard"): judged(0.79, unsure=0.1), Recipe("static", form="soft"): judged(0.80)}
    assert settled(tried).form == "soft"


def test_the_n_gram_students_shrinkage_is_one_of_those_tried_and_means_the_same_for_all_sizes(data):
    recipe, found = choose(Recipe("ngram"), dev_folds(data, 0.2, 0), SCHEME)
    assert recipe.strength in STRENGTHS["ngram"]
    assert found.probs.shape == (len(data), len(SCHEME))
    half = data.rows(np.arange(60))
    sizes = [fit(recipe, part, SCHEME, sure=False).get_params()["C"] * len(part) for part in (data, half)]
    assert sizes == pytest.approx([recipe.strength] * 2)


def test_how_sure_a_student_may_be_does_not_change_what_it_says(data):
    recipe = Recipe("ngram", strength=3_000.0)
    bare, whole = (fit(recipe, data, SCHEME, sure=sure) for sure in (False, True))
    assert (predicted(bare, data.texts)[0] == predicted(whole, data.texts)[0]).mean() > 0.98
    assert not np.allclose(predicted(bare, data.texts)[1], predicted(whole, data.texts)[1])


def test_a_teacher_that_is_surest_of_texts_without_a_label_is_compared_on_all():
    taught = rows(60)
    hard = np.zeros((60, len(SCHEME)), np.int8)
    soft = np.full((60, len(SCHEME)), 0.01)
    for row in range(0, 60, 3):  # a third of the texts has a label, and of each of them the teacher is unsure
        label = SCHEME.names.index(taught[row + row // 3 % 3]["topic"])
        hard[row, label], soft[row, label] = 1, 0.6
    data = Labelled(np.arange(60).astype(str), np.array([row["text"] for row in taught], object), hard, soft)
    multi = SCHEME.model_copy(update={"kind": "multi"})
    recipe, found = choose(Recipe("ngram"), dev_folds(data, 0.2, 0), multi)
    assert np.isfinite(found.sure)
    assert found.sure == found.macro_f1
    assert recipe.strength in STRENGTHS["ngram"]
