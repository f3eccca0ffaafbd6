"""kill -9 at a hundred random moments, in every stage: the same command goes on, and ends where an undisturbed run ends.

Each stage starts from a copy of the folder as the stage before left it, is killed somewhere between its start and its usual
end, and is then run again to its end. What it has made must then be what a run that nobody disturbed has made, but for clocks.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cli.conftest import KEY
from tests.pipeline.corpora import SCHEME, environment, jsonl, rows, said
from tests.teachers.endpoint import Endpoint
from tutelage.pipeline.folder import Run
from tutelage.students import artifact, load_student
from tutelage.teachers.ledger import Ledger

ROWS = rows(72)
KILLS = 20
"""A stage; there are five."""
STAGES = ("annotate", "train", "evaluate", "export")
CLOCKS = {"created", "seconds", "texts_per_second", "seconds_to_train", "cost", "made_from", "tutelage"}


class Nursery:
    """The process that forks commands."""

    def __init__(self, log: Path) -> None:
        self._log = log.open("w")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.nursery"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
            stderr=self._log, text=True, env=environment(OPENAI_API_KEY=KEY), cwd=Path(__file__).parents[2],
        )  # fmt: skip
        assert self._line() == "ready", log.read_text()

    def _line(self) -> str:
        assert self._process.stdout
        return self._process.stdout.readline().strip()

    def start(self, arguments: list[object]) -> int:
        """Fork a command: -> its process id."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps([*map(str, arguments)]) + "\n")
        self._process.stdin.flush()
        return int(self._line())

    def end(self) -> int:
        """Wait for it: -> how it ended."""
        return int(self._line())

    def close(self) -> None:
        assert self._process.stdin
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._log.close()


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    made = Nursery(tmp_path_factory.mktemp("nursery") / "log.txt")
    yield made
    made.close()


@pytest.fixture(scope="module")
def endpoint() -> Iterator[Endpoint]:
    with Endpoint(lambda text, _: json.dumps({"label": said(text)[0]}), key=KEY, delay=0.01) as server:
        yield server


@pytest.fixture(scope="module")
def stages(
    nursery: Nursery, endpoint: Endpoint, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, tuple[Path, list[object], float]]:
    """Stage -> the folder before it (a copy), its command, its usual seconds; and "done" -> the folder at the end."""
    base = tmp_path_factory.mktemp("undisturbed")
    labels = base / "labels.yaml"
    labels.write_text(SCHEME.to_yaml())
    work = base / "work"
    run = work / "run"
    work.mkdir()
    commands: dict[str, list[object]] = {
        "annotate": [
            "annotate", jsonl(base / "texts.jsonl", ROWS), "--labels", labels, "--teacher", "openai:any", "--base-url",
            endpoint.url, "--out", run, "--concurrency", 4, "--gold", "topic",
        ],
        "train": ["train", run, "--student", "ngram"],
        "evaluate": ["evaluate", run, "--force"],
        "export": ["export", run, "--to", work / "exported"],
    }  # fmt: skip
    made: dict[str, tuple[Path, list[object], float]] = {}
    for stage in STAGES:
        before = base / f"before-{stage}"
        shutil.copytree(work, before)
        started = time.perf_counter()
        nursery.start(commands[stage])
        assert nursery.end() == 0, stage
        made[stage] = before, commands[stage], time.perf_counter() - started
    shutil.copytree(work, base / "done")
    made["done"] = base / "done", [work], 0.0
    return made


def without_clocks(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_clocks(each) for key, each in value.items() if key not in CLOCKS}
    return [without_clocks(each) for each in value] if isinstance(value, list) else value


def outcome(work: Path, stage: str) -> dict[str, Any]:
    """What a stage has made, as values that can be compared."""
    run = Run(work / "run")
    match stage:
        case "annotate":
            with Ledger(run.path / "labels.sqlite", readonly=True) as ledger:
                assert ledger.verify() == []
            return {name: run.table(name).to_pydict() for name in ("pool", "annotations", "gold")}
        case "train":
            files = sorted(artifact.check(run.path / "student").iterdir())
            return {file.name: file.read_bytes() for file in files}
        case "evaluate":
            return without_clocks(run.json("metrics"))
        case _:
            return {"answers": load_student(work / "exported").predict_proba([row["text"] for row in ROWS]).tolist()}


def leftovers(work: Path) -> list[str]:
    return [path.name for path in work.rglob("*") if path.name.endswith((".tmp", ".part", ".new"))]


@pytest.mark.parametrize("stage", STAGES)
def test_a_stage_killed_at_any_moment_goes_on(
    nursery: Nursery, endpoint: Endpoint, stages: dict[str, tuple[Path, list[object], float]], stage: str
) -> None:
    before, command, usual = stages[stage]
    done, (work,), _ = stages["done"]
    assert isinstance(work, Path)
    wanted = outcome(done, stage)
    draw = random.Random(STAGES.index(stage))
    killed = 0
    for _ in range(KILLS):
        shutil.rmtree(work)
        shutil.copytree(before, work)
        asked = endpoint.total
        child = nursery.start(command)
        time.sleep(draw.random() * usual)
        with contextlib.suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
        killed += nursery.end() == -signal.SIGKILL
        nursery.start(command)
        code = nursery.end()
        if stage == "export" and code == 2:  # it was through when the signal came: a full folder is not overwritten
            assert load_student(work / "exported")
        else:
            assert code == 0
        assert outcome(work, stage) == wanted
        assert leftovers(work) == []
        if stage == "annotate":
            assert endpoint.total - asked <= len(ROWS) + 4, "only what was in flight is asked again"
    assert killed >= KILLS // 2, "most of the signals must have found it at work"


def test_a_service_answers_while_its_students_writer_is_killed(
    nursery: Nursery, stages: dict[str, Any], tmp_path: Path
) -> None:
    """The service watches a run whose student is trained anew and killed while it is written: no request fails."""
    pytest.importorskip("fastapi", reason="needs the extra `serve`")
    from tests.serving.test_process import Process, ask

    work = tmp_path / "work"
    shutil.copytree(stages["done"][0], work)
    run, draw = work / "run", random.Random(9)
    usual = stages["train"][2]
    codes: list[int] = []
    enough = threading.Event()
    with Process(run) as service:

        def load() -> None:
            connection = service.connect()
            while not enough.is_set():
                codes.append(ask(connection, ROWS[0]["text"])[0])

        client = threading.Thread(target=load)
        client.start()
        try:
            for seed in range(KILLS):
                config = run / "run.yaml"
                config.write_text(config.read_text().replace(f"seed: {seed}\n", f"seed: {seed + 1}\n"))
                child = nursery.start(["train", run, "--student", "ngram"])
                time.sleep(draw.random() * usual)
                with contextlib.suppress(ProcessLookupError):
                    os.kill(child, signal.SIGKILL)
                nursery.end()
        finally:
            enough.set()
            client.join()
        assert set(codes) == {200}
        assert len(codes) > KILLS
