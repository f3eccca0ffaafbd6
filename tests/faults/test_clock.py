"""A clock that goes backwards."""

from __future__ import annotations

import itertools
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import tutelage
from tests.pipeline.corpora import SCHEME, Keywords, jsonl, rows
from tests.teachers.endpoint import Endpoint
from tests.teachers.helpers import SCHEME as NEWS
from tests.teachers.helpers import oracle, pool, truth
from tutelage.pipeline.distill import Distilled
from tutelage.teachers import ledger
from tutelage.teachers.ledger import Ledger
from tutelage.teachers.llm.endpoint import OpenAIChat
from tutelage.teachers.llm.teacher import LLMTeacher


@pytest.fixture
def backwards(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each look at the clock finds it an hour earlier than the last one."""
    hours = itertools.count()
    start = datetime(2026, 3, 29, 3, tzinfo=UTC)
    earlier = lambda: start - timedelta(hours=next(hours))
    monkeypatch.setattr(ledger, "now", lambda: earlier().isoformat(timespec="milliseconds"))
    monkeypatch.setattr(time, "time", lambda: earlier().timestamp())


def figures(done: Distilled) -> dict[str, object]:
    kept = {"scheme", "pool", "labels", "agreement", "gold", "learning_curve", "disagreements"}
    return {name: value for name, value in done.metrics.items() if name in kept}


def test_a_clock_that_goes_backwards_changes_nothing(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    source = jsonl(tmp_path / "texts.jsonl", rows(60))
    job = {"labels": SCHEME, "student": "ngram", "gold": "topic"}
    usual = tutelage.distill(source, out=tmp_path / "usual", teacher=Keywords(wrong=10), **job)
    request.getfixturevalue("backwards")
    done = tutelage.distill(source, out=tmp_path / "run", teacher=Keywords(wrong=10), **job)
    assert figures(done) == figures(usual)
    again = Keywords(wrong=10)
    tutelage.distill(source, out=tmp_path / "run", teacher=again, **job)
    assert again.asked == []


def test_an_endpoint_is_asked_once_all_the_same(tmp_path: Path, backwards: None) -> None:
    texts = pool(40)
    with Endpoint(oracle, faults={"429": 0.2}, retry_after="0") as endpoint:
        for _ in range(2):
            with Ledger(tmp_path / "labels.sqlite") as book:
                table = LLMTeacher(OpenAIChat("m", endpoint.url)).annotate(texts, NEWS, ledger=book)
                assert book.verify() == []
        assert table["label"].to_pylist() == [[truth(text)] for text in texts["text"].to_pylist()]
        assert endpoint.total == 40
