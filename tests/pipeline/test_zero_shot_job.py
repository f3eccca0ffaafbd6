"""The job with nothing but the package: a zero-shot teacher, the demo corpus, two languages, every quick tier."""

from __future__ import annotations

import pytest

import tutelage
from tests.pipeline.corpora import jsonl
from tutelage.data.labels import LabelScheme
from tutelage.data.sources import demo_corpus
from tutelage.pipeline.distill import Distilled

TOPICS = ("sport", "weather", "religion", "education")


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Distilled:
    folder = tmp_path_factory.mktemp("demo")
    iptc = LabelScheme.load("iptc")
    scheme = LabelScheme(name="four", labels=tuple(label for label in iptc.labels if label.name in TOPICS))
    news = [row for row in demo_corpus().to_pylist() if row["gold"] in TOPICS and row["lang"] in ("en", "de")]
    some = [row for lang, n in (("en", 20), ("de", 10)) for t in TOPICS for row in _first(news, lang, t, n)]
    assert len(some) == 120
    return tutelage.distill(
        jsonl(folder / "news.jsonl", some), scheme, out=folder / "run", teacher="zero-shot:use-multilingual", gold="gold",
        lang="lang", rerun=20,
    )  # fmt: skip


def _first(news: list[dict[str, str]], lang: str, topic: str, n: int) -> list[dict[str, str]]:
    return [row for row in news if (row["lang"], row["gold"]) == (lang, topic)][:n]


def test_the_student_is_about_as_good_as_its_teacher(done: Distilled) -> None:
    metrics = done.metrics
    assert metrics["teacher"]["name"] == "zero-shot:use-multilingual"
    assert metrics["teacher"]["macro_f1"] > 0.7
    assert metrics["student"]["macro_f1"] > metrics["teacher"]["macro_f1"] - 0.1
    assert metrics["student"]["macro_f1"] > metrics["dummy"]["macro_f1"] + 0.3
    assert {row["tier"] for row in metrics["students"]} >= {"ngram", "embedding"}
    assert sum(row["chosen"] for row in metrics["students"]) == 1
    assert metrics["acceptance"]["outcome"] in {"accepted", "refused"}


def test_every_language_is_reported(done: Distilled) -> None:
    for who in ("teacher", "student"):
        per = done.metrics[who]["per_language"]
        assert {name: row["n"] for name, row in per.items()} == {"en": 16, "de": 8}
    assert done.metrics["pool"]["languages"] == {"en": 64, "de": 32}


def test_a_second_opinion_is_another_wording(done: Distilled) -> None:
    again = done.metrics["agreement"]["teacher_teacher"]
    assert again["n"] == 20
    assert again["alpha"] <= 1


def test_confidence_is_judged(done: Distilled) -> None:
    student = done.metrics["student"]
    assert 0 <= student["calibration"]["ece"] <= 1
    assert student["coverage"][0]["coverage"] > 0
    assert set(student["thresholds"]) == {"0.8", "0.9", "0.95"}
