"""What the zero-shot teacher promises beyond being right: phrases, means that are settled once, and a teacher a language."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pytest

from tutelage.data.labels import LabelScheme
from tutelage.teachers.by_language import ByLanguage
from tutelage.teachers.ledger import Ledger
from tutelage.teachers.zero_shot import LEAST_SAMPLE, ZeroShotTeacher

SCHEME = LabelScheme.from_dict([{"name": "a", "definition": "b, c; d", "examples": ["e, f"]}, {"name": "g"}])


class Axes:
    """An encoder whose vectors are chosen by the test: the n-th new text is the n-th of a fixed set of random unit vectors."""

    languages = None

    def __init__(self, name: str = "axes", tilt: float = 0.0) -> None:
        self.name, self.fingerprint = name, f"{name}@0"
        self._tilt = tilt
        self.seen: dict[str, np.ndarray] = {}

    def encode(self, texts: Sequence[str]) -> np.ndarray:
        for text in texts:
            if text not in self.seen:
                vector = np.random.default_rng(zlib.crc32(text.encode())).normal(size=16) + self._tilt
                self.seen[text] = (vector / np.linalg.norm(vector)).astype(np.float32)
        return np.stack([self.seen[text] for text in texts])


def table(n: int, lang: Sequence[str] | None = None) -> pa.Table:
    columns = {"id": [str(i) for i in range(n)], "text": [f"text {i}" for i in range(n)]}
    return pa.table({**columns, "lang": lang} if lang else columns)


def test_a_definition_is_read_phrase_by_phrase_and_an_example_is_one_phrase() -> None:
    assert ZeroShotTeacher(Axes()).phrases(SCHEME) == [["a", "b", "c", "d", "e, f"], ["g"]]


def test_a_label_is_the_mean_of_its_phrases() -> None:
    encoder = Axes()
    prototypes = ZeroShotTeacher(encoder, centre=False).prototypes(SCHEME)
    mean = encoder.encode(["a", "b", "c", "d", "e, f"]).mean(axis=0)
    np.testing.assert_allclose(prototypes[0], mean / np.linalg.norm(mean), rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(prototypes, axis=1), 1, rtol=1e-5)


def test_what_all_texts_share_does_not_change_the_scores() -> None:
    """A common offset of all text vectors is taken away with their mean."""
    teacher = ZeroShotTeacher(Axes())
    texts = [f"text {i}" for i in range(LEAST_SAMPLE)]
    vectors = teacher._encoder.encode(texts)
    mean = vectors.mean(axis=0)
    assert np.allclose(teacher.scores(texts, SCHEME), teacher.scores(texts, SCHEME, mean=mean))
    assert abs((vectors - mean).mean()) < 1e-6


def test_few_texts_have_no_mean() -> None:
    teacher = ZeroShotTeacher(Axes(tilt=1.0))
    texts = [f"text {i}" for i in range(LEAST_SAMPLE - 1)]
    zero = np.zeros(16, np.float32)
    np.testing.assert_allclose(teacher.scores(texts, SCHEME), teacher.scores(texts, SCHEME, mean=zero))


def test_the_mean_is_settled_once_for_a_ledger_whatever_comes_later() -> None:
    pool = table(2 * LEAST_SAMPLE)
    with Ledger(":memory:") as whole, Ledger(":memory:") as parts:
        teacher = ZeroShotTeacher(Axes(tilt=1.0))
        teacher.settle(pool, whole)
        teacher.settle(pool, parts)
        at_once = teacher.annotate(pool, SCHEME, ledger=whole)
        for start in range(0, len(pool), 10):  # no portion has enough texts for a mean of its own
            teacher.annotate(pool.slice(start, 10), SCHEME, ledger=parts)
        assert teacher.answered(pool, SCHEME, parts)["probs"].to_pylist() == at_once["probs"].to_pylist()


def test_rewording_is_another_prompt_of_the_same_teacher() -> None:
    teacher = ZeroShotTeacher(Axes())
    other = teacher.reworded()
    assert other.fingerprint == teacher.fingerprint
    assert other.prompt_fingerprint(SCHEME) != teacher.prompt_fingerprint(SCHEME)
    assert other.reworded() == teacher


def test_each_text_goes_to_the_teacher_of_its_language_and_the_order_is_kept() -> None:
    english, others = ZeroShotTeacher(Axes("english")), ZeroShotTeacher(Axes("others"))
    teacher = ByLanguage("both", {"en": english}, others)
    pool = table(6, ["en", "de", "en-GB", "", "pl", "EN"])
    with Ledger(":memory:") as ledger:
        given = teacher.annotate(pool, SCHEME, ledger=ledger)
        assert given["id"].to_pylist() == pool["id"].to_pylist()
        assert [t == english.fingerprint for t in given["teacher"].to_pylist()] == [
            True,
            False,
            True,
            True,
            False,
            True,
        ]
        assert teacher.answered(pool, SCHEME, ledger).equals(given)
    alone = teacher.annotate(table(3), SCHEME)
    assert set(alone["teacher"].to_pylist()) == {english.fingerprint}


@pytest.mark.parametrize("centre", [True, False])
def test_probabilities_sum_to_one(centre: bool) -> None:
    given = ZeroShotTeacher(Axes(), centre=centre).annotate(table(60), SCHEME)
    np.testing.assert_allclose(np.array(given["probs"].to_pylist()).sum(axis=1), 1, rtol=1e-5)
