"""The tiers that `auto` does not try, from the command line to labels: a transformer, and words distilled from an encoder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.pipeline.corpora import SCHEME, Keywords, jsonl, rows, table
from tutelage.pipeline.annotate import annotate
from tutelage.pipeline.distill import configure
from tutelage.pipeline.folder import Run

ROWS = rows(60)


def labelled(cli: Cli, student: Path) -> list[str]:
    """Labels of three texts that are easy."""
    done = cli("predict", student, stdin="goal match striker league\nvote cabinet ballot bill\nrain gale frost snow\n")
    assert done.code == 0, done.err
    return [json.loads(line)["label"] for line in done.out.splitlines()]


def test_a_transformer_is_trained_kept_and_used(cli: Cli, tmp_path: Path) -> None:
    pytest.importorskip("transformers")
    from tests.methods.hub import write_checkpoint

    folder = write_checkpoint(tmp_path / "bert", [row["text"] for row in ROWS], words=70, layers=1, width=16)
    run = Run.create(tmp_path / "run", configure(jsonl(tmp_path / "texts.jsonl", ROWS), SCHEME, student="ngram"))
    annotate(run, Keywords())
    train = ("train", run.path, "--student", "encoder", "--encoder", folder, "--epochs", 2)
    done = cli(*train, "--json")
    assert done.code == 0, done.err
    (tried,) = done.data["tried"]
    assert (tried["tier"], tried["recipe"]["encoder"], tried["recipe"]["epochs"]) == ("encoder", str(folder), 2)
    assert json.loads((run.path / "student" / "config.json").read_text())["params"]["epochs"] == 2
    assert "up to date" in cli(*train).err
    assert set(labelled(cli, run.path)) <= set(SCHEME.names)
    assert labelled(cli, run.path) == labelled(cli, run.path / "student")
    wrong = cli("train", run.path, "--encoder", tmp_path / "nothing")
    assert (wrong.code, "cannot load encoder" in wrong.line) == (2, True)
    assert cli("predict", run.path, stdin="goal\n").code == 0, "a failed training leaves the student that was there"


def test_words_are_distilled_from_the_encoder_that_is_named(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "labels.yaml").write_text(SCHEME.to_yaml())
    people = table(tmp_path / "people.csv", [{"text": row["text"], "label": row["topic"]} for row in ROWS])
    done = cli(
        "distill", jsonl(tmp_path / "texts.jsonl", ROWS), "--labels", tmp_path / "labels.yaml", "--out", tmp_path / "run",
        "--teacher", f"human:{people}", "--student", "static", "--encoder", "use-multilingual",
    )  # fmt: skip
    assert done.code == 0, done.err
    config = json.loads((tmp_path / "run" / "student" / "config.json").read_text())
    assert (config["tier"], config["params"]["encoder"]) == ("static", "use-multilingual")
    assert labelled(cli, tmp_path / "run") == ["sport", "politics", "weather"]
