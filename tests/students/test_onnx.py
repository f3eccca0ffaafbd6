"""An exported student says what the student says."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tutelage.students import NgramClassifier
from tutelage.students.onnx import export_onnx, inputs

pytest.importorskip("onnx")
runtime = pytest.importorskip("onnxruntime")


def run(student, texts, path):
    session = runtime.InferenceSession(export_onnx(student, path / "student.onnx"))
    return session.run(["probabilities"], inputs(student, texts))[0]


@pytest.mark.parametrize("multi", [False, True])
def test_equal_probabilities_on_a_thousand_texts(make, texts, labels, tmp_path, multi):
    y = [[label] for label in labels] if multi else labels
    student = make(multi=multi, classes=sorted(set(labels))).fit(texts, y)
    rng = np.random.default_rng(0)
    words = sorted({word for text in texts for word in text.split()} | {"Unbekannt", "東京", ""})
    thousand = [" ".join(rng.choice(words, rng.integers(0, 12))) for _ in range(1000)]
    exported = run(student, thousand, tmp_path)
    assert np.allclose(exported, student.predict_proba(thousand), atol=2e-6)


def test_low_rank_and_character_grams(texts, labels, tmp_path):
    student = NgramClassifier(C=10.0, rank=2, chars=(2, 3)).fit(texts, labels)
    assert np.allclose(run(student, texts, tmp_path), student.predict_proba(texts), atol=1e-6)


def test_labels_stand_in_the_file(texts, labels, tmp_path):
    student = NgramClassifier(C=10.0).fit(texts, labels)
    meta = runtime.InferenceSession(export_onnx(student, tmp_path / "x" / "s.onnx")).get_modelmeta()
    assert json.loads(meta.custom_metadata_map["classes"]) == student.classes_.tolist()


def test_one_empty_text(texts, labels, tmp_path):
    student = NgramClassifier(C=10.0).fit(texts, labels)
    assert np.allclose(run(student, [""], tmp_path), student.predict_proba([""]), atol=1e-6)
