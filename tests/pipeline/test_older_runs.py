"""Run folders that earlier versions wrote are opened, gone on with and predicted from; those of later ones are refused.

`formats/run_N.zip` holds texts.jsonl and a finished run of format N, with what its student said about the texts (expected.json).
A new format adds a file here; none is ever changed.
"""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

import tutelage
from tests.pipeline.corpora import SCHEME, Keywords
from tutelage.errors import InputError
from tutelage.pipeline.config import FORMAT
from tutelage.pipeline.folder import Run
from tutelage.pipeline.predict import open_student
from tutelage.pipeline.report import publish
from tutelage.pipeline.train import train

FORMATS = Path(__file__).parent / "formats"


@pytest.fixture(params=range(1, FORMAT + 1), ids="format {}".format)
def folder(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    with zipfile.ZipFile(FORMATS / f"run_{request.param}.zip") as archive:
        archive.extractall(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "run"


def texts(folder: Path) -> list[str]:
    return [json.loads(line)["text"] for line in (folder.parent / "texts.jsonl").read_text().splitlines()]


def test_its_student_says_what_it_said(folder: Path) -> None:
    said = open_student(folder).predict_proba(texts(folder))
    np.testing.assert_allclose(said, json.loads((folder / "expected.json").read_text()), atol=2e-5)


def test_the_same_command_asks_nothing_again(folder: Path) -> None:
    teacher = Keywords(wrong=10)
    done = tutelage.distill(
        "texts.jsonl", SCHEME, out=folder, teacher=teacher, student="ngram", gold="topic", force=True
    )
    assert teacher.asked == []
    assert done.metrics["pool"]["texts"] == 36


def test_it_can_be_trained_reported_and_looked_into(folder: Path) -> None:
    run = Run(folder)
    train(run)
    assert publish(run).is_file()
    with run.ledger(readonly=True) as ledger:
        assert ledger.verify() == []
        assert ledger.summary()["answered"] == 45


def test_a_later_format_is_refused_and_left_alone(folder: Path) -> None:
    config = folder / "run.yaml"
    config.write_text(config.read_text().replace(f"format: {FORMAT}", f"format: {FORMAT + 1}"))
    before = config.read_bytes()
    with pytest.raises(InputError, match="newer version of tutelage"):
        Run(folder)
    assert config.read_bytes() == before
