"""The model card says what was measured, and says so where nothing was."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

import tutelage
from tests.pipeline.corpora import SCHEME, Keywords, jsonl, rows
from tutelage.errors import InputError
from tutelage.pipeline import export as exporting
from tutelage.pipeline.card import model_card
from tutelage.pipeline.distill import Distilled
from tutelage.pipeline.export import export
from tutelage.students import load_student


@pytest.fixture(scope="module")
def job(tmp_path_factory: pytest.TempPathFactory) -> Distilled:
    folder = tmp_path_factory.mktemp("card")
    texts = jsonl(folder / "texts.jsonl", rows())
    return tutelage.distill(
        texts, SCHEME, out=folder / "run", teacher=Keywords(wrong=10), student="ngram", gold="topic"
    )


def test_the_head_is_what_hubs_read(job: Distilled) -> None:
    head = yaml.safe_load(model_card(job.run).split("---")[1])
    assert head["pipeline_tag"] == "text-classification"
    (figure,) = head["model-index"][0]["results"][0]["metrics"]
    assert figure["value"] == pytest.approx(job.metrics["student"]["macro_f1"], abs=1e-4)


def test_it_names_teacher_labels_agreement_and_limits(job: Distilled) -> None:
    card = model_card(job.run)
    for part in (
        "keywords", *(f"`{name}`" for name in job.metrics["scheme"]["names"]), "Accepted", "72 texts", "not shielded",
        "| Teacher", "18 texts labelled by people",
    ):  # fmt: skip
        assert part in card


def test_what_was_not_measured_is_not_claimed(tmp_path: Path) -> None:
    texts = jsonl(tmp_path / "texts.jsonl", rows())
    done = tutelage.distill(texts, SCHEME, out=tmp_path / "run", teacher=Keywords(), student="ngram")
    card = model_card(done.run)
    assert "how often the two are right is not known" in card
    assert "model-index" not in card
    (done.run.path / "metrics.json").unlink()
    assert "Nothing has been measured" in model_card(done.run)
    assert "Nobody has checked it" in model_card(done.run)


def test_an_export_has_a_card_that_may_be_edited(job: Distilled, tmp_path: Path) -> None:
    export(job.run.path, tmp_path / "out")
    readme = tmp_path / "out" / "README.md"
    assert readme.read_text() == model_card(job.run)
    readme.write_text("mine")
    load_student(tmp_path / "out")


def test_an_export_can_be_pushed(job: Distilled, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pushed = []
    monkeypatch.setattr(exporting, "push_folder", lambda folder, name: pushed.append((folder, name)) or "there")
    facts = export(job.run.path, tmp_path / "out", hub="ada/news")
    assert pushed == [(tmp_path / "out", "ada/news")]
    assert "pushed: there" in str(facts["note"])


def test_a_bad_hub_name_is_refused_and_nothing_written(job: Distilled, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="owner/name"):
        export(job.run.path, tmp_path / "out", hub="no such/na me")
    assert not (tmp_path / "out").exists()
