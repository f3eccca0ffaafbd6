"""Class weights: what counts how much, for one label a text and for several."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score

from tutelage.errors import InputError
from tutelage.students import EmbeddingClassifier, NgramClassifier
from tutelage.students.linear import fit_linear, row_losses, sigmoid
from tutelage.students.weights import with_class_weight

LABELS = np.array(["often", "seldom", "rarely"])


def some_targets(n: int, seed: int, *, soft: bool) -> np.ndarray:
    rng = np.random.default_rng(seed)
    hard = (rng.random((n, 3)) < [0.5, 0.1, 0.02]).astype(np.float32)
    return np.abs(hard - rng.uniform(0, 0.4, (n, 3)).astype(np.float32)) if soft else hard


@given(seed=st.integers(0, 1000), soft=st.booleans())
def test_balanced_gives_both_sides_of_every_label_half_of_the_weight(seed, soft):
    y = some_targets(60, seed, soft=soft)
    mass = np.random.default_rng(seed).uniform(0.5, 2, 60)
    found = with_class_weight(mass, y, LABELS, "balanced", multi=True)
    assert found.emphasis is not None
    counted = found.weights[:, None] * found.emphasis
    for k in range(3):
        present = float(counted[:, k] @ found.targets[:, k])
        if 0 < y[:, k].sum() < 60:
            assert present == pytest.approx(mass.sum() / 2, rel=1e-4)
            assert counted[:, k].sum() - present == pytest.approx(mass.sum() / 2, rel=1e-4)


@given(seed=st.integers(0, 1000), how=st.sampled_from(["balanced", {"seldom": 4.0, "rarely": 0.0}]))
def test_the_loss_is_the_weighted_sum_of_what_is_and_what_is_not(seed, how):
    y = some_targets(30, seed, soft=True)
    probs = np.random.default_rng(seed).uniform(0.05, 0.95, (30, 3))
    found = with_class_weight(np.ones(30), y, LABELS, how, multi=True)
    if how == "balanced":
        holds, fails = 30 / (2 * y.sum(0)), 30 / (2 * (30 - y.sum(0)))
    else:
        holds, fails = np.array([1.0, 4.0, 0.0]), np.ones(3)
    expected = (-holds * y * np.log(probs) - fails * (1 - y) * np.log(1 - probs)).sum(1)
    assert np.allclose(
        found.weights * row_losses(probs, found.targets, found.emphasis, multi=True), expected, rtol=1e-4
    )


def test_equal_weights_are_no_weights():
    y = some_targets(50, 1, soft=False)
    found = with_class_weight(np.ones(50), y, LABELS, dict.fromkeys(LABELS.tolist(), 1.0), multi=True)
    assert found.emphasis is not None
    assert np.allclose(found.weights, 1)
    assert np.allclose(found.emphasis, 1)
    assert np.array_equal(found.targets, y)


def test_a_text_without_any_label_is_an_example_too():
    y = np.array([[1, 0], [0, 0], [0, 0], [0, 1]], np.float32)
    assert (with_class_weight(np.ones(4), y, LABELS[:2], "balanced", multi=True).weights > 0).all()


def test_several_balanced_labels_are_as_many_balanced_regressions():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(300, 4))
    y = (x[:, :3] + rng.normal(size=(300, 3)) > [0.0, 1.5, 2.5]).astype(np.float32)
    found = with_class_weight(np.ones(300), y, LABELS, "balanced", multi=True)
    head = fit_linear(x, *found, C=0.7, multi=True)
    for k in range(3):
        peer = LogisticRegression(C=0.7, tol=1e-8, max_iter=1000, class_weight="balanced").fit(x, y[:, k])
        assert np.allclose(sigmoid(x @ head.weight + head.bias)[:, k], peer.predict_proba(x)[:, 1], atol=3e-3)


def few_positives(n: int, seed: int) -> tuple[list[str], np.ndarray]:
    """Texts of noise, of which a half have the first label, one in 25 the second, one in 250 the third, and its words."""
    rng = np.random.default_rng(seed)
    y = np.stack([rng.random(n) < 0.5, np.arange(n) % 25 == 0, np.arange(n) % 250 == 0], 1).astype(int)
    noise = [f"w{i}" for i in range(150)]
    words = [
        [*rng.choice(noise, 8), *(f"k{k}x{rng.integers(3)}" for k in range(3) if row[k] or rng.random() < 0.01)]
        for row in y
    ]
    return [" ".join(rng.permutation(w)) for w in words], y


def words_as_vectors(texts: list[str]) -> np.ndarray:
    names = [f"k{k}x{j}" for k in range(3) for j in range(3)]
    return np.array([[float(name in text.split()) for name in names] for text in texts], np.float32)


@pytest.mark.parametrize("tier", ["ngram", "embedding"])
def test_a_label_with_few_positives_is_found_and_the_frequent_one_is_kept(tier):
    (texts, y), (others, gold) = few_positives(1500, 1), few_positives(1500, 2)
    found = {}
    for how in (None, "balanced"):
        options = {"multi": True, "classes": LABELS.tolist(), "class_weight": how}
        student = NgramClassifier(**options) if tier == "ngram" else EmbeddingClassifier(words_as_vectors, **options)
        found[how] = student.fit(texts, y).predict(others)
    recall = {how: gold[:, 2] @ said[:, 2] / gold[:, 2].sum() for how, said in found.items()}
    assert recall["balanced"] >= max(0.5, recall[None])
    assert f1_score(gold[:, 0], found["balanced"][:, 0]) > 0.95
    assert found["balanced"][:, 2].mean() < 0.1


@pytest.mark.parametrize(
    ("how", "message"),
    [("even", "'balanced' or a mapping"), ({"never": 2.0}, "never"), ({"often": -1.0}, "not negative")],
)
def test_weights_that_make_no_sense_are_refused(how, message):
    with pytest.raises(InputError, match=message):
        with_class_weight(np.ones(3), np.eye(3), LABELS, how)
