"""Topics: relevance by hand, coherence at its ends, the number of topics, and texts that have none."""

from __future__ import annotations

import math

import numpy as np
import pytest

from tutelage.errors import InputError
from tutelage.students.topics import TopicModel, coherence

WORDS = (("goal", "match", "striker"), ("vote", "minister", "ballot"), ("rain", "frost", "gale"))


def corpus(n: int = 20) -> tuple[list[str], np.ndarray]:
    """n texts of each of three themes, and vectors that tell them apart."""
    rng = np.random.default_rng(0)
    texts = [f"{rng.choice(words)} {rng.choice(words)} {rng.choice(words)} today" for words in WORDS for _ in range(n)]
    vectors = np.repeat(np.eye(3, 8), n, axis=0) + 0.05 * rng.normal(size=(3 * n, 8))
    return texts, vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def test_relevance_runs_from_exclusive_to_frequent():
    texts, vectors = corpus()
    model = TopicModel(3).fit(texts, vectors)
    p, base = model.terms_[0], model.base_
    assert np.allclose(model.relevance(0, 1.0), np.log(p + 1e-12))
    assert np.allclose(model.relevance(0, 0.0), np.log((p + 1e-12) / (base + 1e-12)))
    assert np.allclose(model.relevance(0, 0.5), 0.5 * (model.relevance(0, 1.0) + model.relevance(0, 0.0)))
    assert np.allclose(model.terms_.sum(axis=1), 1)


def test_each_theme_is_a_topic_with_its_own_words():
    texts, vectors = corpus()
    model = TopicModel(3).fit(texts, vectors)
    found = {frozenset(model.terms(t, 0.6, 3)) for t in range(3)}
    assert found == {frozenset(words) for words in WORDS}
    assert all(len(set(model.topic_[20 * k : 20 * k + 20])) == 1 for k in range(3))
    assert len(model.central(0, 4)) == 4
    assert (model.topic_[model.central(1, 3)] == 1).all()
    assert np.abs(model.places_).max() == pytest.approx(1)


def test_topics_are_in_the_order_of_their_size_and_repeatable():
    texts, vectors = corpus()
    order = [*range(5), *range(20, 60)]
    first, second = (TopicModel(3).fit([texts[i] for i in order], vectors[order]) for _ in range(2))
    counts = np.bincount(first.topic_)
    assert sorted(counts, reverse=True) == counts.tolist()
    assert np.array_equal(first.topic_, second.topic_)


def test_the_number_of_topics_is_the_most_coherent_without_crumbs():
    texts, vectors = corpus()
    model = TopicModel().fit(texts, vectors)
    assert 2 <= len(model.terms_) <= 12
    assert np.bincount(model.topic_).min() >= 3
    assert model.coherence_ == pytest.approx(coherence(model.counts_, model.terms_))


def test_lda_needs_no_vectors():
    texts, _ = corpus()
    model = TopicModel(3, kind="lda").fit(texts)
    assert model.terms_.shape == (3, len(model.vocabulary_))
    assert np.allclose(model.terms_.sum(axis=1), 1)


def test_coherence_by_hand():
    counts = np.array([[1, 1], [1, 0], [0, 1], [0, 0]])  # p_u = p_v = 1/2, p_uv = 1/4: independent
    assert coherence(counts, np.array([[0.5, 0.5]]), top=2) == pytest.approx(0.0)
    always = np.ones((4, 2))
    assert coherence(always, np.array([[0.5, 0.5]]), top=2) == 1.0
    half = np.array([[1, 1], [1, 1], [0, 0], [0, 0]])  # log(.5 / .25) / -log .5 = 1
    assert coherence(half, np.array([[0.5, 0.5]]), top=2) == pytest.approx(1.0)
    some = np.array([[1, 1], [1, 0], [1, 0], [0, 1]])
    expected = math.log(0.25 / (0.75 * 0.5)) / -math.log(0.25)
    assert coherence(some, np.array([[0.5, 0.5]]), top=2) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("options", "n", "message"),
    [
        ({}, 6, "18 texts are too few for topics; 20 are the least"),
        ({"k": 13}, 20, "60 texts take 2 to 12 topics; got k=13"),
        ({"k": 1}, 20, "got k=1"),
    ],
)
def test_refuses_more_topics_than_the_texts_have(options: dict[str, int], n: int, message: str):
    texts, vectors = corpus(n)
    with pytest.raises(InputError, match=message):
        TopicModel(**options).fit(texts, vectors)  # type: ignore[arg-type]


def test_refuses_what_it_cannot_read():
    texts, vectors = corpus()
    with pytest.raises(InputError, match="one vector a text; got 3 for 60"):
        TopicModel(3).fit(texts, vectors[:3])
    with pytest.raises(InputError, match="no words"):
        TopicModel(3, kind="lda").fit(["the and of"] * 20)
    with pytest.raises(InputError, match=r"lambda is in \[0, 1\]"):
        TopicModel(3).fit(texts, vectors).relevance(0, 1.5)
