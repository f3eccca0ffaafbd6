"""Refreshing: new words are learned, a worse student never takes over, and nothing changes before it is said so."""

from __future__ import annotations

import hashlib
import json
import random
import shutil
from pathlib import Path

import pytest

import tutelage
from tests.pipeline.corpora import FILLER, SCHEME, Keywords, jsonl, rows
from tutelage.data.labels import LabelScheme
from tutelage.errors import InputError, Refused
from tutelage.pipeline.annotate import annotate
from tutelage.pipeline.folder import Run
from tutelage.pipeline.forget import forget
from tutelage.pipeline.predict import open_student
from tutelage.serving.refresh import Candidate, propose

NEW = {
    "sport": ["surfing", "skating", "climbing", "rowing", "darts", "cycling"],
    "politics": ["recount", "whip", "quorum", "caucus", "lobby", "decree"],
    "weather": ["heatwave", "monsoon", "hail", "smog", "typhoon", "drought"],
}


class WellRead(Keywords):
    """The teacher of the run, who also knows what the new words mean; `fooled` gives any label for them."""

    def __init__(self, fooled: bool = False) -> None:
        super().__init__()
        self.fooled = fooled

    def _label(self, text: str, key: str, scheme: LabelScheme) -> tuple[str, ...]:
        for label, telling in NEW.items():
            if set(telling) & set(text.split()):
                return (scheme.names[int(key[:8], 16) % 3] if self.fooled else label,)
        return super()._label(text, key, scheme)


def new_texts(n: int = 90) -> list[dict[str, str]]:
    rng = random.Random(5)
    names = list(NEW)
    return [
        {"text": " ".join([*rng.sample(NEW[names[i % 3]], 4), *rng.sample(FILLER, 6), f"fresh{i}x"])} for i in range(n)
    ]


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("job")
    source = jsonl(folder / "texts.jsonl", rows(120))
    tutelage.distill(source, SCHEME, out=folder / "run", teacher=Keywords(), student="ngram", gold="topic")
    return folder / "run"


@pytest.fixture
def run(made: Path, tmp_path: Path) -> Run:
    shutil.copytree(made, tmp_path / "run")
    jsonl_folder = tmp_path / "run" / "drift"
    jsonl_folder.mkdir()
    jsonl(jsonl_folder / "1-words.jsonl", new_texts())
    return Run(tmp_path / "run")


def state(run: Run) -> dict[str, str]:
    """Every file of a run but the ledger and the caches, by checksum."""
    return {
        str(path.relative_to(run.path)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(run.path.rglob("*"))
        if path.is_file() and not path.name.startswith(("labels.sqlite", ".lock")) and "cache" not in path.parts
    }


def proposed(run: Run, teacher: Keywords) -> Candidate:
    with run.working():
        return propose(run, teacher)


def test_a_student_that_has_learned_the_new_words_takes_over(run):
    candidate = proposed(run, WellRead())
    assert candidate.fault is None
    assert candidate.drifted.new > candidate.drifted.old + 0.2
    assert candidate.drifted.texts == 30, "a third of the new texts judges and is not learned from"
    assert candidate.gold is not None
    candidate.adopt()
    student = open_student(run.path)
    assert student.predict(["surfing skating darts"]).tolist() == ["sport"]
    assert run.table("added").num_rows == 90
    assert not list((run.path / "drift").iterdir()), "the samples' texts are in the tables now"
    assert not (run.path / ".refresh").exists()


def test_what_was_added_stays_and_is_paid_for_once(run):
    proposed(run, WellRead()).adopt()
    teacher = WellRead()
    with run.working():
        annotate(run, teacher)
    assert teacher.asked == []
    assert {row["text"] for row in new_texts()} <= set(run.table("pool")["text"].to_pylist())
    assert set(run.table("annotations")["id"].to_pylist()) == set(run.table("pool")["id"].to_pylist())


def test_until_it_is_adopted_nothing_changes_but_the_ledger(run):
    before = state(run)
    candidate = proposed(run, WellRead())
    candidate.discard()
    assert state(run) == before
    teacher = WellRead()
    proposed(run, teacher).discard()
    assert teacher.asked == [], "the answers were kept"


def test_a_student_that_lost_is_refused_unless_forced(run):
    candidate = proposed(run, WellRead())
    worse = Candidate(**{**vars(candidate), "drifted": candidate.drifted.__class__(
        "drifted", 0.9, 0.5, -0.4, (-0.5, -0.3), 30
    )})  # fmt: skip
    before = state(run)
    with pytest.raises(Refused, match="drifted texts it is worse"):
        worse.adopt()
    assert state(run) == before
    worse.adopt(force=True)
    assert state(run) != before


def test_peoples_labels_count_for_more_than_drift(run):
    candidate = proposed(run, WellRead())
    assert candidate.gold is not None
    losing = candidate.gold.__class__("people's labels", 0.9, 0.8, -0.1, (-0.2, 0.0), 24)
    assert "people's labels" in str(Candidate(**{**vars(candidate), "gold": losing}).fault)
    candidate.discard()


def test_texts_that_the_run_has_are_not_new(run):
    have = [{"text": row["text"]} for row in rows(120)]
    jsonl(run.path / "drift" / "1-words.jsonl", have)
    with pytest.raises(InputError, match="0 texts are new"):
        proposed(run, WellRead())


def test_no_samples_says_what_to_do(run):
    shutil.rmtree(run.path / "drift")
    with pytest.raises(InputError, match="name a file of new texts"):
        proposed(run, WellRead())


def test_a_forgotten_text_leaves_the_samples_and_does_not_come_back(run):
    proposed(run, WellRead()).adopt()
    key, text = (run.table("added")[name].to_pylist()[0] for name in ("id", "text"))
    (run.path / "drift").mkdir(exist_ok=True)
    jsonl(run.path / "drift" / "2-words.jsonl", [{"text": text}, {"text": "another text"}])
    with run.working():
        forget(run, [key])
    assert text not in run.table("added")["text"].to_pylist()
    left = [json.loads(line)["text"] for line in (run.path / "drift" / "2-words.jsonl").read_text().splitlines()]
    assert left == ["another text"]


def test_a_trained_student_carries_its_drift_reference(made):
    reference = open_student(made).reference_
    assert reference is not None
    assert reference.shares.sum() == pytest.approx(1)


def test_a_shielded_student_carries_none_for_it_would_tell_which_words_were_in_the_texts(tmp_path):
    source = jsonl(tmp_path / "texts.jsonl", rows(90))
    tutelage.distill(source, SCHEME, out=tmp_path / "run", teacher=Keywords(), student="ngram", shield=True)
    assert open_student(tmp_path / "run").reference_ is None
    assert not (tmp_path / "run" / "student" / "drift.safetensors").exists()
