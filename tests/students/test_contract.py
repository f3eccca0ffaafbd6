"""What every student promises, whatever its tier: scikit-learn's contract on texts, soft labels, weights and a folder."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from sklearn.base import clone, is_classifier
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import Pipeline

from tutelage.data.labels import LabelScheme
from tutelage.errors import InputError
from tutelage.students import load_student

from .conftest import bag_of_words

CLASSES = ["sport", "money", "weather"]


def reload(student, folder):
    """Saved and loaded; an encoder that is a function is not saved and has to be given again."""
    student.save(folder)
    if student.tier == "embedding":
        return type(student).load(folder, encoder=bag_of_words)
    return load_student(folder)


def onehot(labels):
    return np.eye(3)[[CLASSES.index(label) for label in labels]]


def test_learns(make, texts, labels):
    student = make().fit(texts, labels)
    assert student.score(texts, labels) == 1.0
    assert is_classifier(student)
    assert student.nbytes > 0


def test_parameters_survive_clone_and_set(make):
    student = make(seed=3)
    assert clone(student).get_params() == student.get_params()
    assert student.set_params(seed=4).seed == 4
    assert type(student)().get_params().keys() == student.get_params().keys()


def test_unfitted_says_so(make, tmp_path):
    for call in (
        lambda s: s.predict(["x"]),
        lambda s: s.predict_proba(["x"]),
        lambda s: s.save(tmp_path),
        lambda s: s.nbytes,
    ):
        with pytest.raises(NotFittedError, match="call fit first"):
            call(make())


def test_classes_are_sorted_unless_given(make, texts, labels):
    assert make().fit(texts, labels).classes_.tolist() == sorted(CLASSES)
    assert make(classes=CLASSES).fit(texts, labels).classes_.tolist() == CLASSES


def test_a_class_without_rows_keeps_its_place(make, texts, labels):
    student = make(classes=["culture", *CLASSES]).fit(texts, labels)
    probs = student.predict_proba(texts)
    assert probs.shape == (18, 4)
    assert (probs[:, 0] < 0.34).all()


@pytest.mark.parametrize("kind", [int, str, bool])
def test_labels_come_back_as_they_went_in(make, texts, kind):
    y = [kind(i % 2) for i in range(len(texts))]
    predicted = make().fit(texts, y).predict(texts)
    assert predicted.dtype == np.asarray(y).dtype


def test_integers_are_positions_in_named_classes(make, texts, labels):
    numbers = [CLASSES.index(label) for label in labels]
    named, numbered = make(classes=CLASSES).fit(texts, labels), make(classes=CLASSES).fit(texts, numbers)
    assert np.array_equal(named.predict_proba(texts), numbered.predict_proba(texts))


def test_one_hot_soft_labels_are_hard_labels(make, texts, labels):
    hard, soft = make(classes=CLASSES).fit(texts, labels), make(classes=CLASSES).fit(texts, onehot(labels))
    assert np.array_equal(hard.predict_proba(texts), soft.predict_proba(texts))


def test_soft_labels_make_unsure_students(make, texts, labels):
    unsure = 0.4 * onehot(labels) + 0.2
    hard, soft = make(classes=CLASSES).fit(texts, labels), make(classes=CLASSES).fit(texts, unsure)
    assert soft.predict_proba(texts).max(1).mean() < hard.predict_proba(texts).max(1).mean()
    assert soft.score(texts, labels) > 0.9


def test_probabilities_are_distributions(make, texts, labels):
    probs = make().fit(texts, labels).predict_proba([*texts, "", "zzz qqq"])
    assert probs.dtype == np.float32
    assert np.allclose(probs.sum(1), 1.0, atol=1e-5)
    assert (probs >= 0).all()


def test_prediction_is_the_likeliest_label(make, texts, labels):
    student = make().fit(texts, labels)
    assert student.predict(texts).tolist() == student.classes_[student.predict_proba(texts).argmax(1)].tolist()


def test_all_containers_are_one(make, texts, labels):
    student = make().fit(texts, labels)
    expected = student.predict_proba(texts)
    containers = [
        tuple(texts),
        np.array(texts, dtype=object),
        np.array(texts),
        pd.Series(texts),
        pd.Series(texts, dtype="category"),
        pl.Series(texts),
        pa.array(texts),
        pa.array(texts, pa.large_string()),
        pa.array(texts, pa.string_view()),
        pa.array(["off", *texts]).slice(1),
        pa.chunked_array([texts[:5], [], texts[5:]]),
        pa.array(texts).dictionary_encode(),
    ]
    for container in containers:
        assert np.allclose(student.predict_proba(container), expected, atol=1e-6), type(container)
    assert np.allclose(make().fit(pl.Series(texts), pd.Series(labels)).predict_proba(texts), expected, atol=1e-5)


def test_one_row_and_none(make, texts, labels):
    student = make().fit(texts, labels)
    assert np.allclose(student.predict_proba(texts[:1]), student.predict_proba(texts)[:1], atol=1e-6)
    assert student.predict_proba([]).shape == (0, 3)
    assert student.predict([]).shape == (0,)
    assert student.predict_table(pa.table({"text": pa.array([], pa.string())})).num_rows == 0


def test_a_null_is_an_empty_text(make, texts, labels):
    probs = make().fit(texts, labels).predict_proba(pa.array([None, ""]))
    assert np.array_equal(probs[0], probs[1])


def test_refit_forgets(make, texts, labels):
    student = make().fit([f"{text} extra" for text in texts[::-1]], ["a", "b"] * 9)
    again = student.fit(texts, labels).predict_proba(texts)
    assert np.array_equal(again, make().fit(texts, labels).predict_proba(texts))


def test_one_seed_one_model(make, texts, labels):
    first, second = (make(seed=7).fit(texts, labels).predict_proba(texts) for _ in range(2))
    assert np.array_equal(first, second)


def test_a_weight_of_two_is_the_row_twice(make, texts, labels):
    if make.tier == "encoder":
        pytest.skip("minibatches differ")
    weights = np.array([2.0 if i % 3 == 0 else 1.0 for i in range(len(texts))])
    rows = np.repeat(np.arange(len(texts)), weights.astype(int))
    options = {"precision": "int16"} if make.tier == "ngram" else {}
    weighted = make(**options).fit(texts, labels, sample_weight=weights)
    repeated = make(**options).fit([texts[i] for i in rows], [labels[i] for i in rows])
    if make.tier == "static":  # words are counted once a text, so the tables differ a little
        repeated = make(table=weighted.table_).fit([texts[i] for i in rows], [labels[i] for i in rows])
    assert np.allclose(weighted.predict_proba(texts), repeated.predict_proba(texts), atol=2e-3)


def test_a_weight_of_zero_is_no_row(make, texts, labels):
    wrong = ["weather" if label == "sport" else label for label in labels]
    both = make().fit([*texts, *texts], [*labels, *wrong], sample_weight=[1.0] * 18 + [0.0] * 18)
    assert np.allclose(both.predict_proba(texts), make().fit(texts, labels).predict_proba(texts), atol=1e-5)


def test_balanced_weights_lift_the_rare_class(make, texts, labels):
    rare = [i for i, label in enumerate(labels) if label != "sport"][:6] * 4 + [0]
    x, y = ["the team" if i == 0 else texts[i] for i in rare], [labels[i] for i in rare]
    plain, even = (make(class_weight=how).fit(x, y) for how in (None, "balanced"))
    column = plain.classes_.tolist().index("sport")
    assert even.predict_proba(["the"])[0, column] > plain.predict_proba(["the"])[0, column]


def test_several_labels(make, texts, labels):
    y = [{label, "news"} if i % 2 else {label} for i, label in enumerate(labels)]
    student = make(multi=True, classes=[*CLASSES, "news"]).fit(texts, [list(row) for row in y])
    predicted = student.predict(texts)
    assert predicted.shape == (18, 4)
    assert set(np.unique(predicted)) <= {0, 1}
    assert (predicted[:, :3] == onehot(labels)).mean() > 0.9
    table = student.predict_table(pa.table({"text": texts}))
    assert table["label"].to_pylist()[0] == [
        name for name, on in zip(student.classes_, predicted[0], strict=True) if on
    ]
    assert all(0 <= c <= 1 for c in table["confidence"].to_pylist())


def test_a_dev_split_can_be_given(make, texts, labels):
    student = make(**({} if make.tier == "encoder" else {"C": (0.1, 10.0)}))
    student.fit(texts[:9], labels[:9], dev=(texts[9:], labels[9:]))
    assert student.score(texts, labels) > 0.9


def test_table_keeps_its_columns(make, texts, labels):
    student = make().fit(texts, labels)
    table = pa.table({"id": list(range(18)), "body": texts})
    out = student.predict_table(table, text="body")
    assert out.column_names == ["id", "body", "label", "confidence"]
    assert out["label"].to_pylist() == student.predict(texts).tolist()
    assert np.allclose(out["confidence"].to_numpy(), student.predict_proba(texts).max(1))
    with pytest.raises(InputError, match="no column 'text'; it has id, body"):
        student.predict_table(table)
    with pytest.raises(InputError, match="choose another name with label="):
        student.predict_table(out, text="body")


def test_saved_and_loaded_is_the_same_to_the_bit(make, texts, labels, tmp_path):
    scheme = LabelScheme.from_dict([{"name": name, "definition": name} for name in CLASSES])
    student = make(classes=CLASSES, class_weight={"sport": 2.0}).fit(texts, labels)
    student.save(tmp_path / "a", scheme=scheme, provenance={"teacher": "people", "texts": 18})
    back = reload(student, tmp_path / "b")
    assert np.array_equal(back.predict_proba(texts), student.predict_proba(texts))
    assert back.classes_.tolist() == CLASSES
    assert back.class_weight == {"sport": 2.0}
    if student.tier != "embedding":
        first = load_student(tmp_path / "a")
        assert first.scheme_ == scheme
        assert first.provenance_ == {"teacher": "people", "texts": 18}
        assert first.save(tmp_path / "c").is_dir()
        files = [json.loads((tmp_path / x / "manifest.json").read_text())["files"] for x in "ac"]
        ours = [
            {name: entry for name, entry in each.items() if name != "encoder/tokenizer_config.json"} for each in files
        ]
        assert ours[0] == ours[1]  # saving what was loaded writes the same files


def test_works_in_scikit_learns_tools(make, texts, labels):
    if make.tier == "encoder":
        pytest.skip("too slow to fit a dozen times")
    assert cross_val_score(make(), texts, labels, cv=2).min() > 0.9
    pipeline = Pipeline([("student", make())]).fit(texts, labels)
    assert pipeline.predict(texts).tolist() == labels
    search = GridSearchCV(make(), {"C": [1.0, 30.0]}, cv=2).fit(texts, labels)
    assert search.best_estimator_.score(texts, labels) == 1.0
    calibrated = CalibratedClassifierCV(make(), cv=2).fit(texts, labels)
    assert calibrated.predict_proba(texts).shape == (18, 3)


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        ("one string", ["a"], "got one string"),
        ([["a"], ["b"]], ["a", "b"], "texts must be strings"),
        (["a", 7], ["a", "b"], "row 1 is int"),
        (["a", "\ud800"], ["a", "b"], "row 1 holds a lone surrogate"),
        (["a", "b"], ["a"], "2 texts and 1 labels"),
        ([], [], "no texts were given"),
        (["a", "b"], ["a", "a"], "at least two classes"),
        (["a", "b"], ["a", None], "row 1 is None"),
        (["a", "b"], [0.5, 1.5], "names or integers"),
        (["a", "b"], [[0.5, 0.6], [0.5, 0.5]], "row 0 sums to 1.1"),
        (["a", "b"], [[0.5, 0.5], [1.5, -0.5]], "row 1 is"),
        (["a", "b"], np.zeros((2, 2, 2)), "got shape"),
    ],
)
def test_bad_input_is_one_clear_line(make, x, y, message):
    with pytest.raises(InputError, match=message) as caught:
        make().fit(x, y)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("classes", "y", "message"),
    [
        (["a", "b"], ["a", "c"], "label 'c' in row 1 is not among the classes"),
        (["a", "b"], [0, 23], r"labels must be in \[0, 2\); found 23 in row 1"),
        (["a", "b"], [[0.2, 0.3, 0.5]] * 2, "3 columns for 2 classes"),
        (["a", "a"], ["a", "a"], "must be distinct"),
        (["a"], ["a", "a"], "at least two classes"),
    ],
)
def test_labels_outside_the_classes_are_refused(make, classes, y, message):
    with pytest.raises(InputError, match=message):
        make(classes=classes).fit(["x", "y"], y)


@pytest.mark.parametrize(
    ("weights", "message"), [([1.0], "shape"), ([1.0, -1.0], "row 1"), ([0.0, 0.0], "all sample weights")]
)
def test_bad_weights_are_refused(make, weights, message):
    with pytest.raises(InputError, match=message):
        make().fit(["x", "y"], ["a", "b"], sample_weight=weights)


def test_a_scheme_with_other_labels_is_refused(make, texts, labels, tmp_path):
    scheme = LabelScheme.from_dict(["one", "two"])
    with pytest.raises(InputError, match="other labels than the student"):
        make().fit(texts, labels).save(tmp_path, scheme=scheme)
