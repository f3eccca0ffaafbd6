"""kill -9 at twenty random moments of an annotation of 2,000 texts: nothing is lost, nothing is paid for twice."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.teachers.endpoint import Endpoint
from tests.teachers.helpers import SCHEME, oracle, pool, truth
from tutelage.teachers.ledger import Ledger
from tutelage.teachers.llm.endpoint import OpenAIChat
from tutelage.teachers.llm.teacher import LLMTeacher

TEXTS, KILLS, CONCURRENCY = 2000, 20, 8


@pytest.fixture
def nursery() -> Iterator[subprocess.Popen[str]]:
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(root / "src"), str(root)])}
    command = [sys.executable, "-m", "tests.teachers.nursery"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        yield process
        process.stdin.close()  # type: ignore[union-attr]


def test_twenty_kills_lose_nothing_and_repeat_only_what_was_in_flight(
    nursery: subprocess.Popen[str], tmp_path: Path
) -> None:
    path = tmp_path / "labels.sqlite"
    draw = random.Random(11)
    assert nursery.stdout
    assert nursery.stdin
    assert nursery.stdout.readline() == "ready\n"
    with Endpoint(oracle, delay=0.001) as endpoint:

        def start() -> int:
            nursery.stdin.write(f"{endpoint.url} {path} {TEXTS} {CONCURRENCY}\n")  # type: ignore[union-attr]
            nursery.stdin.flush()  # type: ignore[union-attr]
            return int(nursery.stdout.readline())  # type: ignore[union-attr]

        for _ in range(KILLS):
            child = start()
            assert endpoint.wait_for(endpoint.total + draw.randint(1, 150))
            os.kill(child, signal.SIGKILL)
            assert nursery.stdout.readline() == "end -9\n"
        start()
        assert nursery.stdout.readline() == "end 0\n"
        completed = endpoint.total

    with Ledger(path) as ledger:
        assert ledger.verify() == []
        summary = ledger.summary()
        assert (summary["texts"], summary["answered"], summary["failed"], summary["pending"]) == (TEXTS, TEXTS, 0, 0)
        lost = ledger._read("SELECT COUNT(*) FROM requests WHERE outcome = 'lost'")[0][0]
        assert lost <= KILLS * CONCURRENCY
        assert TEXTS <= completed <= TEXTS + lost
        texts = pool(TEXTS)
        answers = LLMTeacher(OpenAIChat("m", "http://127.0.0.1:1/v1")).answered(texts, SCHEME, ledger)
    assert answers["id"].to_pylist() == texts["id"].to_pylist()
    assert answers["label"].to_pylist() == [[truth(text)] for text in texts["text"].to_pylist()]


def test_ctrl_c_leaves_a_ledger_that_goes_on(nursery: subprocess.Popen[str], tmp_path: Path) -> None:
    path = tmp_path / "labels.sqlite"
    assert nursery.stdout
    assert nursery.stdin
    assert nursery.stdout.readline() == "ready\n"
    with Endpoint(oracle, delay=0.002) as endpoint:
        for end in ("end 130\n", "end 0\n"):
            nursery.stdin.write(f"{endpoint.url} {path} 150 {CONCURRENCY}\n")
            nursery.stdin.flush()
            child = int(nursery.stdout.readline())
            if end != "end 0\n":
                assert endpoint.wait_for(40)
                os.kill(child, signal.SIGINT)
            assert nursery.stdout.readline() == end
        with Ledger(path) as ledger:
            assert ledger.summary()["answered"] == 150
            cut = ledger._read("SELECT COUNT(*) FROM requests WHERE outcome = 'cancelled'")[0][0]
            assert ledger._read("SELECT COUNT(*) FROM requests WHERE outcome = 'lost'") == [(0,)]
        assert endpoint.total <= 150 + cut
