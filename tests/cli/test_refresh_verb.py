"""`tutelage refresh`: it asks before it replaces, and says who won."""

from __future__ import annotations

import pytest

import tutelage
from tests.cli.conftest import Cli
from tests.pipeline.corpora import SCHEME, Keywords, jsonl, rows
from tests.serving.test_refresh import WellRead, new_texts


@pytest.fixture
def run(tmp_path, monkeypatch):
    source = jsonl(tmp_path / "texts.jsonl", rows(120))
    tutelage.distill(source, SCHEME, out=tmp_path / "run", teacher=Keywords(), student="ngram", gold="topic")
    jsonl(tmp_path / "new.jsonl", new_texts())
    monkeypatch.setattr("tutelage.pipeline.teacher.teacher_of", lambda run, how: WellRead())
    return tmp_path / "run"


def test_without_yes_it_shows_and_keeps_with_yes_it_replaces(cli: Cli, run) -> None:
    before = (run / "student" / "manifest.json").read_bytes()
    shown = cli("refresh", run, run.parent / "new.jsonl")
    assert shown.code == 0
    assert "the teacher's labels: old 0." in shown.out
    assert "--yes" in shown.out
    assert (run / "student" / "manifest.json").read_bytes() == before
    done = cli("refresh", run, run.parent / "new.jsonl", "--yes", "--json")
    assert done.data["replaced"] is True
    assert done.data["texts"] == 90
    assert done.data["compared"][0]["new"] > done.data["compared"][0]["old"]
    assert (run / "student" / "manifest.json").read_bytes() != before


def test_nothing_new_is_one_line(cli: Cli, run) -> None:
    end = cli("refresh", run)
    assert end.code == 2
    assert "no samples of drifted texts" in end.line
