"""What the n-gram student adds to the contract: threads, budgets, explanations, many labels, and the equation it learns by."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest

from tutelage.errors import InputError
from tutelage.students import NgramClassifier, features, tokens
from tutelage.students import ngram_training as training
from tutelage.students.linear import softmax
from tutelage.students.ngram_design import design
from tutelage.students.quantise import quantise


def make_texts(n: int, k: int, seed: int = 0) -> tuple[list[str], np.ndarray]:
    """Texts of ten words, three of which tell the label."""
    rng = np.random.default_rng(seed)
    y = rng.integers(0, k, n)
    noise = [f"w{i}" for i in range(200)]
    return [" ".join([*rng.choice(noise, 7), *(f"k{label}x{rng.integers(5)}" for _ in range(3))]) for label in y], y


def test_threads_do_not_change_the_model(monkeypatch):
    monkeypatch.setattr(features, "BLOCK_ROWS", 16)
    monkeypatch.setattr(training, "_ITEMS", 256)
    texts, y = make_texts(300, 3)
    one, two = (NgramClassifier(threads=n).fit(texts, y) for n in (1, 2))
    assert np.array_equal(one.table_, two.table_)
    assert np.array_equal(one.predict_proba(texts), two.predict_proba(texts))


def test_the_order_of_the_texts_hardly_matters():
    texts, y = make_texts(200, 3)
    order = np.random.default_rng(1).permutation(200)
    first = NgramClassifier(C=5.0, tol=1e-9).fit(texts, y)
    second = NgramClassifier(C=5.0, tol=1e-9).fit([texts[i] for i in order], y[order])
    assert np.allclose(first.predict_proba(texts), second.predict_proba(texts), atol=1e-2)


def test_it_predicts_what_the_equation_says():
    texts, y = make_texts(200, 5)
    student = NgramClassifier(C=5.0).fit(texts, y)
    for text in [*texts[:5], "", "nothing known here", "k1x1 k1x1"]:
        numbers = np.array([f.number for f in tokens.features(text)], np.uint64)
        known = numbers[features.is_known(numbers, student.known_)]
        total = student.table_[features.rows_of(known, student.table_bits)].astype(np.int64).sum(0)[:5]
        logits = total * student.scale_ / np.sqrt(max(1, len(known))) + student.bias_
        assert np.allclose(student.predict_proba([text])[0], softmax(logits[None])[0], atol=1e-6)


@pytest.mark.parametrize(("multi", "rank"), [(False, None), (True, None), (False, 2), (True, 2)])
def test_the_gradient_is_the_losss(multi, rank):
    texts, y = make_texts(40, 4)
    targets = np.eye(4, dtype=np.float32)[y]
    numbers, bounds = features.feature_numbers(pa.chunked_array([texts]), features.Grams(True, None), 1)
    weights = np.linspace(0.5, 2, 40)
    problem = training.Problem(design(numbers, bounds, weights), targets, multi=multi, rank=rank, workers=1)
    rng = np.random.default_rng(0)
    start = problem.start(weights, 0).astype(np.float64)
    x = start + rng.normal(0, 0.1, start.size)
    direction = rng.normal(size=x.size)
    _, gradient = problem.objective(x, weights, 3.0)
    up, down = (problem.objective(x + step * direction, weights, 3.0)[0] for step in (1e-2, -1e-2))
    assert (up - down) / 2e-2 == pytest.approx(float(gradient @ direction), rel=2e-3, abs=1e-4)


@pytest.mark.parametrize("options", [{}, {"chars": (2, 3)}, {"rank": 2}, {"pairs": False, "precision": "int16"}])
def test_contributions_sum_to_the_logit(options):
    texts, y = make_texts(200, 4)
    student = NgramClassifier(C=5.0, **options).fit(texts, y)
    probs = student.predict_proba(texts[:1])[0].astype(np.float64)
    logits = []
    for label in student.classes_:
        why = student.explain(texts[0], label)
        assert why.bias + sum(c.weight for c in why.contributions) == pytest.approx(why.logit, abs=1e-9)
        assert all(texts[0][c.start : c.end] == c.text for c in why.contributions)
        logits.append(why.logit)
    assert np.allclose(softmax(np.array([logits]))[0], probs, atol=1e-5)
    assert student.explain(texts[0]).label == student.predict(texts[:1])[0]


def test_explain_names_the_word_that_decided():
    texts, y = make_texts(300, 3)
    why = NgramClassifier(C=5.0).fit(texts, y).explain("w1 w2 K2x3, w4")
    assert (why.label, why.contributions[0].text) == (2, "K2x3")
    with pytest.raises(InputError, match="no label"):
        NgramClassifier(C=5.0).fit(texts, y).explain("x", 9)


def test_quantisation_is_measured_and_small():
    texts, y = make_texts(400, 4)
    student = NgramClassifier(C=5.0).fit(texts, y)
    assert student.losses_["int8"] == pytest.approx(student.losses_["float32"], rel=0.02)
    fine = NgramClassifier(C=5.0, precision="int16").fit(texts, y)
    assert fine.table_.dtype == np.int16
    assert abs(fine.losses_["int16"] - fine.losses_["float32"]) < 1e-3


def test_quantised_rows_are_near_and_zero_stays_zero():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(500, 3)).astype(np.float32)
    rows[0] = 0
    small = quantise(rows, np.ones(500), "int16")
    assert np.abs(small.values - rows).max() < np.abs(rows).max()
    assert np.median(np.abs(small.values - rows)) < 1e-3
    assert not small.values[0].any()


def test_a_feature_budget_keeps_what_tells_the_labels_apart():
    texts, y = make_texts(400, 3)
    student = NgramClassifier(max_features=20, C=5.0).fit(texts, y)
    assert np.unpackbits(student.known_.view(np.uint8)).sum() <= 20
    assert student.score(texts, y) > 0.97
    assert student.nbytes < NgramClassifier(C=5.0).fit(texts, y).nbytes


def test_hundreds_of_labels_share_a_low_rank_table():
    texts, y = make_texts(2000, 100)
    student = NgramClassifier(C=30.0).fit(texts, y)
    assert student.mix_.shape == (32, 100)
    assert student.table_.shape[1] == 32
    assert student.score(texts, y) > 0.9


def test_many_labels_a_text():
    texts, y = make_texts(600, 80)
    targets = np.eye(80)[y] + np.eye(80)[(y + 1) % 80]
    student = NgramClassifier(multi=True, classes=list(range(80)), C=30.0).fit(texts, targets)
    found = student.predict_proba(texts).argsort(1)[:, -2:]
    assert np.mean([{a, (a + 1) % 80} == set(pair) for a, pair in zip(y, found.tolist(), strict=True)]) > 0.8


def test_with_several_labels_the_likeliest_is_explained():
    texts, y = make_texts(300, 3)
    student = NgramClassifier(C=5.0, multi=True, classes=[0, 1, 2]).fit(texts, np.eye(3)[y])
    why = student.explain("w1 k2x3")
    assert (why.label, why.contributions[0].text) == (2, "k2x3")
    assert student.predict_proba(["w1 k2x3"])[0, 2] == pytest.approx(1 / (1 + np.exp(-why.logit)), abs=1e-5)


def test_a_pair_counts_half_of_a_word_or_its_characters():
    numbers, bounds = features.feature_numbers(pa.chunked_array([["ab cd"] * 3]), features.Grams(True, (1, 1)), 1)
    found = design(numbers, bounds, np.ones(3))
    kind = {"word": numbers[0], "pair": numbers[5], "characters": numbers[2]}
    value = {
        name: found.value[found.slots == features.rows_of(np.array([n]), found.bits)][0] for name, n in kind.items()
    }
    assert value["word"] == value["characters"] == pytest.approx(2 * value["pair"])


def test_passes_are_counted(monkeypatch):
    calls = []
    objective = training.Problem.objective
    monkeypatch.setattr(training.Problem, "objective", lambda *args: calls.append(1) or objective(*args))
    texts, y = make_texts(200, 3)
    student = NgramClassifier().fit(texts, y)
    assert student.passes_ == len(calls) > 10


def test_a_list_of_one_finds_out_how_sure_the_student_may_be():
    texts, y = make_texts(600, 3)
    y = np.where(np.random.default_rng(5).random(600) < 0.3, (y + 1) % 3, y)  # a teacher that is wrong in three of ten
    plain, judged = (NgramClassifier(C=C, tol=1e-9, precision="int16").fit(texts, y) for C in (0.05, [0.05]))
    assert (plain.predict(texts) == judged.predict(texts)).mean() > 0.99
    sure = [student.predict_proba(texts).max(1).mean() for student in (plain, judged)]
    assert sure[0] < sure[1] == pytest.approx(0.7, abs=0.1)


def test_words_nobody_learned_say_nothing():
    texts, y = make_texts(300, 3)
    student = NgramClassifier(C=5.0).fit(texts, y)
    empty, unknown = student.predict_proba(["", "zzz yyy"])
    assert np.allclose(empty, unknown, atol=0.05)


def test_c_is_chosen_and_held_out_rows_are_learned_too():
    texts, y = make_texts(400, 3)
    student = NgramClassifier(C=(1e-6, 5.0)).fit(texts, y)
    assert student.C_ == 5.0
    assert student.score(texts, y) == 1.0


@pytest.mark.parametrize(
    "options",
    [
        {"C": 0.0},
        {"C": ()},
        {"chars": (3, 2)},
        {"bits": 40},
        {"precision": "int4"},
        {"rank": 0},
        {"dev_share": 1.0},
        {"threads": 0},
    ],
)
def test_options_out_of_range_are_refused(options):
    with pytest.raises(InputError, match=next(iter(options))):
        NgramClassifier(**options).fit(["a", "b"], [0, 1])


def test_two_threads_may_predict_at_once():
    from concurrent.futures import ThreadPoolExecutor

    texts, y = make_texts(300, 3)
    student = NgramClassifier(C=5.0).fit(texts, y)
    expected = student.predict_proba(texts)
    with ThreadPoolExecutor(4) as pool:
        for result in pool.map(student.predict_proba, [texts] * 8):
            assert np.array_equal(result, expected)


def test_a_forked_child_can_predict():
    import multiprocessing

    texts, y = make_texts(300, 3)
    student = NgramClassifier(C=5.0, threads=2).fit(texts, y)
    context = multiprocessing.get_context("fork")
    results: multiprocessing.SimpleQueue = context.SimpleQueue()
    child = context.Process(target=lambda: results.put(student.predict(texts[:5]).tolist()))
    child.start()
    assert results.get() == student.predict(texts[:5]).tolist()
    child.join()
