"""`tutelage annotate --engine`: what cannot be done is refused before anything is made."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.pipeline.corpora import SCHEME, jsonl, rows


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--engine", "spark"], "there are local and ray"),
        (["--workers", 2], "--workers is for --engine ray"),
        (["--engine", "ray", "--rpm", 5], "--rpm is kept by one process"),
        (["--engine", "ray", "--teacher", "openai:gpt"], "for teachers that compute"),
    ],
)
def test_refused_before_a_run_is_made(cli: Cli, tmp_path: Path, options: list[object], says: str) -> None:
    labels = tmp_path / "labels.yaml"
    labels.write_text(SCHEME.to_yaml())
    done = cli(
        "annotate", jsonl(tmp_path / "t.jsonl", rows(9)), "--labels", labels, "--out", tmp_path / "run", *options
    )
    assert done.code == 2
    assert says in done.line
    assert not (tmp_path / "run").exists()
