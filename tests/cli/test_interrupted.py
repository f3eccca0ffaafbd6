"""Ctrl-C, kill -9 and a second process: a run always goes on where it stopped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cli.conftest import KEY, Cli
from tests.pipeline.corpora import SCHEME, Keywords, environment, jsonl, rows, said
from tests.teachers.endpoint import Endpoint
from tutelage.pipeline.annotate import annotate
from tutelage.pipeline.distill import configure
from tutelage.pipeline.folder import Run

ROWS = rows(150)


def oracle(text: str, _: str) -> str:
    return json.dumps({"label": said(text)[0]})


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    with Endpoint(oracle, key=KEY, delay=0.02) as server:
        yield server


@pytest.fixture
def job(tmp_path: Path, endpoint: Endpoint) -> list[object]:
    labels = tmp_path / "labels.yaml"
    labels.write_text(SCHEME.to_yaml())
    return [
        "annotate", jsonl(tmp_path / "texts.jsonl", ROWS), "--labels", labels, "--teacher", "openai:any", "--base-url",
        endpoint.url, "--out", tmp_path / "run", "--concurrency", 4,
    ]  # fmt: skip


def start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "tutelage", *map(str, arguments)], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, env=environment(OPENAI_API_KEY=KEY),
    )  # fmt: skip


def stopped(process: subprocess.Popen[str], number: int) -> tuple[int, str]:
    """Send a signal and wait: exit code, and the last lines of standard error."""
    os.kill(process.pid, number)
    _, err = process.communicate(timeout=60)
    return process.returncode, err


def test_ctrl_c_while_annotating_leaves_a_run_that_resumes(
    cli: Cli, job: list[object], endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    process = start(*job)
    assert endpoint.wait_for(30)
    code, err = stopped(process, signal.SIGINT)
    assert code == 130
    assert err.splitlines()[-1].startswith("tutelage: interrupted")
    assert "Traceback" not in err
    there = Run(tmp_path / "run").table("annotations").num_rows
    assert 26 <= there < 150, "what was answered is there for the next step"
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert cli(*job).code == 0
    assert set(endpoint.completed) == {row["text"] for row in ROWS}
    assert endpoint.total <= 150 + 4, "only what was in flight is asked again"


def test_kill_9_while_annotating_loses_what_was_in_flight_at_most(
    cli: Cli, job: list[object], endpoint: Endpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for enough in (25, 75):
        process = start(*job)
        assert endpoint.wait_for(enough)
        assert stopped(process, signal.SIGKILL)[0] == -signal.SIGKILL
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    assert cli(*job).code == 0
    assert endpoint.total <= 150 + 2 * 4
    ids = Run(tmp_path / "run").table("annotations")["id"].to_pylist()
    assert Counter(ids) == Counter(row["id"] for row in ROWS)


def test_a_second_process_refuses_and_changes_nothing(
    cli: Cli, job: list[object], endpoint: Endpoint, tmp_path: Path
) -> None:
    process = start(*job)
    assert endpoint.wait_for(5)
    before = (tmp_path / "run" / "run.yaml").read_bytes()
    for arguments in ([*job, "--seed", 5], ["train", tmp_path / "run"], ["ledger", tmp_path / "run", "--forget", "t1"]):
        refused = cli(*arguments)
        assert refused.code == 2
        assert f"in use by process {process.pid}" in refused.line
    assert (tmp_path / "run" / "run.yaml").read_bytes() == before
    looking = cli("ledger", tmp_path / "run", "--json")
    assert looking.data["answered"] >= 1, "looking is allowed"
    process.kill()
    process.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_stopped_while_training(cli: Cli, tmp_path: Path, number: signal.Signals) -> None:
    run = Run.create(tmp_path / "run", configure(jsonl(tmp_path / "texts.jsonl", ROWS), SCHEME, student="ngram"))
    annotate(run, Keywords())
    process = start("train", run.path)
    assert process.stderr is not None
    assert any("training ngram" in line for line in iter(process.stderr.readline, ""))
    code, err = stopped(process, number)
    if number == signal.SIGINT:
        assert code == 130
        assert err.splitlines() == [
            "tutelage: interrupted; everything done so far is kept, the same command goes on from there"
        ]
    else:
        assert code == -signal.SIGKILL
    assert not (run.path / "student").exists()
    assert cli("train", run.path).code == 0
    assert cli("predict", run.path, stdin="goal match striker").out
