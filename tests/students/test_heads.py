"""The linear heads, and what the static, embedding and encoder students add to the contract."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from tutelage.data.encoder import SentenceEncoder
from tutelage.errors import InputError
from tutelage.students import EmbeddingClassifier, EncoderClassifier, StaticClassifier, load_student
from tutelage.students.encoder import epochs_for_size
from tutelage.students.linear import Rows, fit_linear, learn_head, sigmoid, softmax
from tutelage.students.optimise import lbfgs
from tutelage.students.static import distil_tokens

from .conftest import bag_of_words

RNG = np.random.default_rng(0)
X = RNG.normal(size=(120, 5))
Y = (X @ RNG.normal(size=(5, 3)) + RNG.normal(size=(120, 3))).argmax(1)


def test_one_hot_targets_give_scikit_learns_logistic_regression():
    weights = np.linspace(0.5, 2.0, 120)
    head = fit_linear(X, np.eye(3)[Y], weights, C=0.7)
    peer = LogisticRegression(C=0.7, tol=1e-8, max_iter=1000).fit(X, Y, sample_weight=weights)
    assert np.allclose(softmax(X @ head.weight + head.bias), peer.predict_proba(X), atol=1e-3)


def test_several_labels_are_as_many_binary_regressions():
    targets = np.stack([Y == 0, X[:, 0] > 0.3, Y == 2], 1)
    head = fit_linear(X, targets, np.ones(120), C=0.7, multi=True)
    for k in range(3):
        peer = LogisticRegression(C=0.7, tol=1e-8, max_iter=1000).fit(X, targets[:, k])
        assert np.allclose(sigmoid(X @ head.weight + head.bias)[:, k], peer.predict_proba(X)[:, 1], atol=2e-3)


def test_soft_targets_are_the_mix_of_hard_rows():
    soft = np.full((120, 3), 0.1) + 0.7 * np.eye(3)[Y]
    split = fit_linear(np.repeat(X, 3, 0), np.tile(np.eye(3), (120, 1)), soft.ravel(), C=1.0)
    head = fit_linear(X, soft, np.ones(120), C=1.0)
    assert np.allclose(head.weight, split.weight, atol=1e-3)


def test_no_shrinkage_and_all_shrinkage():
    share = np.bincount(Y) / 120
    head = fit_linear(X, np.eye(3)[Y], np.ones(120), C=1e-6)
    assert np.allclose(softmax(X @ head.weight + head.bias), share, atol=1e-3)  # nothing but the prior is left
    assert fit_linear(X, np.eye(3)[Y], np.ones(120), C=1e3).weight.std() > head.weight.std()


def test_the_dev_split_chooses_c():
    noise = RNG.permutation(Y)
    weak, _ = learn_head(
        Rows(X, np.eye(3)[noise], np.ones(120)), Rows(X, np.eye(3)[Y], np.ones(120)), (1e-4, 100.0), multi=False, seed=0
    )
    strong, _ = learn_head(
        Rows(X, np.eye(3)[Y], np.ones(120)), Rows(X, np.eye(3)[Y], np.ones(120)), (1e-4, 100.0), multi=False, seed=0
    )
    assert (weak, strong) == (1e-4, 100.0)


def test_lbfgs_finds_the_minimum_of_a_badly_scaled_bowl():
    scale = np.geomspace(1, 1e4, 20)
    found = lbfgs(lambda x: (float(scale @ (x - 1) ** 2), 2 * scale * (x - 1)), np.zeros(20), tol=1e-14)
    assert np.allclose(found.x, 1, atol=1e-2)
    assert lbfgs(lambda x: (0.0, np.zeros(2)), np.ones(2)).steps == 0


def test_vectors_may_stand_for_texts(texts, labels):
    from_texts = EmbeddingClassifier(bag_of_words, C=1.0).fit(texts, labels)
    from_vectors = EmbeddingClassifier(bag_of_words, C=1.0).fit(bag_of_words(texts), labels)
    assert np.array_equal(from_texts.predict_proba(texts), from_vectors.predict_proba(bag_of_words(texts)))
    with pytest.raises(InputError, match="vectors of width"):
        from_texts.predict(np.zeros((2, 3), np.float32))


def test_an_encoder_that_is_a_function_has_to_be_given_again(texts, labels, tmp_path):
    EmbeddingClassifier(bag_of_words, C=1.0).fit(texts, labels).save(tmp_path)
    with pytest.raises(InputError, match="was a function, which is not saved"):
        load_student(tmp_path)


def test_another_encoders_weights_are_refused(texts, labels, tmp_path):
    class Named:
        def __init__(self, fingerprint: str) -> None:
            self.fingerprint, self.encode = fingerprint, bag_of_words

    EmbeddingClassifier(Named("words@1"), C=1.0).fit(texts, labels).save(tmp_path)
    assert EmbeddingClassifier.load(tmp_path, encoder=Named("words@1")).predict(texts).tolist() == labels
    with pytest.raises(InputError, match="learned on the encoder words@1, but this one is words@2"):
        EmbeddingClassifier.load(tmp_path, encoder=Named("words@2"))


@pytest.mark.parametrize("encoder", [lambda t: np.zeros(len(t)), lambda t: np.full((len(t), 2), np.nan), 7])
@pytest.mark.parametrize("kind", [EmbeddingClassifier, StaticClassifier])
def test_encoders_that_give_no_vectors_are_refused(kind, encoder, texts, labels):
    with pytest.raises(InputError, match="encoder must"):
        kind(encoder).fit(texts, labels)


def test_a_table_of_words_serves_many_students(texts, labels):
    asked = []
    table = distil_tokens(lambda words: (asked.append(len(words)), bag_of_words(words))[1], texts, dims=16)
    for y in (labels, ["a", "b"] * 9):
        StaticClassifier(table=table, C=1.0).fit(texts, y)
    assert asked == [len({word for text in texts for word in text.split()})]


def test_the_rarest_words_are_not_asked_about():
    asked: list[str] = []
    texts = ["often"] * 60 + ["seldom"] * 38 + ["once", "single"]
    distil_tokens(lambda words: (asked.extend(words), np.eye(len(words)))[1], texts, dims=2)
    assert asked == ["often", "seldom"]


def test_no_word_is_asked_about_twice_where_vectors_are_kept(texts, labels, tmp_path, monkeypatch):
    student = StaticClassifier("use-multilingual", C=10.0, dims=16, cache=tmp_path / "vectors.sqlite")
    first = student.fit(texts, labels).predict_proba(texts)
    monkeypatch.setattr(SentenceEncoder, "_backend", None)
    assert np.array_equal(student.fit(texts, labels).predict_proba(texts), first)


def test_words_that_were_not_distilled_say_nothing(texts, labels):
    student = StaticClassifier(bag_of_words, C=10.0, dims=16).fit(texts, labels)
    assert np.allclose(student.predict_proba(["the coach"]), student.predict_proba(["the unheard-of coach"]), atol=1e-6)
    assert np.allclose(student.predict_proba([""]), softmax(student.head_.bias[None]), atol=1e-6)


def test_distillation_needs_a_word():
    with pytest.raises(InputError, match="no words to distil"):
        distil_tokens(bag_of_words, ["", " - "])


def test_epochs_are_the_papers():
    table = {100_000: 3, 20_000: 3, 15_000: 5, 10_000: 9, 5_000: 10, 2_500: 22, 1_000: 24, 1: 24}
    assert {n: epochs_for_size(n) for n in table} == table


def test_the_best_epoch_is_kept_and_progress_told(texts, labels, tiny_encoder):
    steps = []
    options = {"epochs": 6, "lr": 0.05, "batch_size": 6, "max_length": 12, "progress": lambda *step: steps.append(step)}
    student = EncoderClassifier(tiny_encoder, **options).fit(texts, labels, dev=(texts, labels))
    probs = student.predict_proba(texts)
    loss = -np.log(probs[np.arange(18), [student.classes_.tolist().index(label) for label in labels]]).mean()
    assert loss == pytest.approx(min(student.history_), rel=1e-3)
    assert steps == [(i + 1, 18) for i in range(18)]


@pytest.mark.parametrize(
    "options", [{"lr": 0.0}, {"epochs": 0}, {"batch_size": 0}, {"max_length": 2}, {"dev_share": 1.0}]
)
def test_encoder_options_out_of_range_are_refused(options):
    with pytest.raises(InputError, match=next(iter(options))):
        EncoderClassifier(**options).fit(["a", "b"], [0, 1])


def test_a_model_that_is_not_there(tmp_path):
    with pytest.raises(InputError, match="cannot load encoder"):
        EncoderClassifier(tmp_path).fit(["a", "b"], [0, 1])
