"""Annotation with Ray gives what one process gives, keeps what has arrived, and asks for nothing twice."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from tests.pipeline.corpora import SCHEME, Keywords, jsonl, rows
from tests.pipeline.machines import two_machines
from tests.pipeline.test_predict_ray import Serial
from tutelage.errors import InputError
from tutelage.pipeline import annotate_ray
from tutelage.pipeline.annotate import annotate
from tutelage.pipeline.annotate_ray import Assistant, Spread, check_spread
from tutelage.pipeline.distill import configure
from tutelage.pipeline.folder import Run
from tutelage.pipeline.teacher import Service, teacher_of
from tutelage.teachers.base import text_fingerprint

ROWS = rows(60)
ROOT = Path(__file__).parents[2]
needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: pip install 'tutelage[ray]'")


class Spelling(Assistant):
    """A worker whose teacher counts words, and which has no folder to look into."""

    def __init__(self, run: str, sources: dict[str, Any]) -> None:
        self._run, self._sources, self._teacher = Run(run), sources, Keywords(wrong=20)


class Dying(Spelling):
    """The first of them is gone in the middle of its work, without a word."""

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        try:
            (self._run.path / "died").touch(exist_ok=False)
        except FileExistsError:
            return super().__call__(row)
        os._exit(1)


class Falling(Spelling):
    """The first of them that works away from the head takes its whole machine with it: a machine is its raylet."""

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        import ray

        here = ray.get_runtime_context().get_node_id()
        if here != (self._run.path / "head").read_text() and not (self._run.path / "died").exists():
            (self._run.path / "died").write_text(here)
            os.kill(os.getppid(), signal.SIGKILL)
            os._exit(1)
        return super().__call__(row)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    return Run.create(tmp_path / "run", configure(jsonl(tmp_path / "texts.jsonl", ROWS), SCHEME, teacher="zero-shot"))


@pytest.fixture
def spread(run: Run, monkeypatch: pytest.MonkeyPatch) -> Spread:
    """The run's teacher with workers, which are `Spelling`; small blocks."""
    monkeypatch.setattr(annotate_ray, "BLOCK", 8)
    monkeypatch.setattr(annotate_ray, "Assistant", Spelling)
    monkeypatch.setattr(annotate_ray, "teacher_of", lambda run: Keywords(wrong=20))
    return Spread(run, workers=2)


@pytest.fixture
def serial(monkeypatch: pytest.MonkeyPatch) -> Serial:
    ray = Serial()

    @contextmanager
    def cluster(workers: int | None) -> Iterator[tuple[Serial, int]]:
        yield ray, workers or 2

    monkeypatch.setattr(annotate_ray, "cluster", cluster)
    monkeypatch.setattr(annotate_ray, "ray_module", lambda: ray)
    return ray


def alone(tmp_path: Path) -> pa.Table:
    """What one process makes of the same texts."""
    source = jsonl(tmp_path / "alone.jsonl", ROWS)
    run = Run.create(tmp_path / "alone", configure(source, SCHEME, teacher="keywords"))
    annotate(run, Keywords(wrong=20))
    return run.table("annotations")


def test_the_answers_are_those_of_one_process(serial: Serial, spread: Spread, run: Run, tmp_path: Path) -> None:
    seen: list[int] = []
    annotate(run, spread, progress=lambda event: seen.append(event.done))
    assert serial.parts == 8
    assert run.table("annotations").equals(alone(tmp_path))
    assert seen == sorted(seen)
    assert seen[-1] == 60
    assert run.stage("annotate")["teacher"] == "keywords"
    with run.ledger(readonly=True) as ledger:
        assert ledger.verify() == []


def test_what_has_arrived_is_kept_and_not_done_again(serial: Serial, spread: Spread, run: Run, tmp_path: Path) -> None:
    serial.stop_after = 3
    with pytest.raises(KeyboardInterrupt):
        annotate(run, spread)
    there = run.table("annotations").num_rows
    assert 20 <= there < 60
    serial.stop_after = None
    annotate(run, spread)
    assert serial.parts == -(-(60 - there) // 8)
    assert run.table("annotations").equals(alone(tmp_path))
    annotate(run, spread)
    assert serial.parts == -(-(60 - there) // 8), "nothing is left to send out"


def test_a_teacher_that_refuses_is_one_line_and_the_rest_is_kept(
    serial: Serial, spread: Spread, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Keywords, text: str, key: str, scheme: object) -> tuple[str, ...]:
        raise InputError("this teacher is on strike")

    monkeypatch.setattr(Keywords, "_label", refuse)
    with pytest.raises(InputError, match="on strike"):
        annotate(run, spread)
    assert run.table("annotations").num_rows == 0


@pytest.mark.parametrize(
    ("how", "says"),
    [
        (Service(budget="1usd"), "--budget"), (Service(concurrency=2), "--concurrency"), (Service(rpm=9), "--rpm"),
        (Service(tpm=9), "--tpm"), (Service(batch=True), "--batch"), (Service(retry_failed=True), "--retry-failed"),
    ],
)  # fmt: skip
def test_what_only_one_process_can_keep_is_refused(serial: Serial, how: Service, says: str) -> None:
    with pytest.raises(InputError, match=f"^{says} is kept by one process: leave it out, or leave out --engine ray$"):
        check_spread("zero-shot", how)


@pytest.mark.parametrize("spec", ["openai:gpt", "rubric:openai:gpt", "ensemble:zero-shot+openai:gpt", "import:a.csv#1"])
def test_an_endpoint_is_asked_by_one_process(tmp_path: Path, spec: str) -> None:
    run = Run.create(tmp_path / "run", configure(jsonl(tmp_path / "t.jsonl", ROWS), SCHEME, teacher=spec))
    with pytest.raises(InputError, match="teachers that compute"):
        Spread(run)


def test_a_worker_settles_on_the_mean_that_the_run_has_settled_on(run: Run) -> None:
    """A zero-shot teacher that saw its own block only would judge from another point."""
    teacher = teacher_of(run)
    texts = [row["text"] for row in ROWS[:12]]
    table = pa.table({"id": [str(i) for i in range(12)], "text": texts})
    with run.ledger() as ledger:
        teacher.settle(pa.table({"id": [row["id"] for row in ROWS], "text": [row["text"] for row in ROWS]}), ledger)
        sources = ledger.sources()
        wanted = teacher.annotate(table, SCHEME, ledger=ledger)["probs"].to_pylist()
    worker = Assistant(str(run.path), sources)
    row = worker({"texts": json.dumps(texts[:4]), "sample": 0})
    answers = pa.ipc.open_stream(row["answers"]).read_all()
    said = dict(zip(answers["text_sha256"].to_pylist(), answers["probs"].to_pylist(), strict=True))
    for text, probs in zip(texts[:4], wanted[:4], strict=True):
        assert said[text_fingerprint(text)] == pytest.approx(probs, abs=1e-4)


@needs_ray
def test_a_worker_that_dies_loses_nothing(
    spread: Spread, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a real Ray of two workers, one of which is gone in the middle of its first block."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(annotate_ray, "Assistant", Dying)
    annotate(run, spread)
    assert (run.path / "died").exists()
    assert run.table("annotations").equals(alone(tmp_path))


@needs_ray
def test_a_machine_that_dies_loses_nothing(
    spread: Spread, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On a cluster of two machines (two raylets, each with an object store of its own), of which one is killed."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(annotate_ray, "Assistant", Falling)
    with two_machines() as head:
        (run.path / "head").write_text(head)
        annotate(run, spread)
    assert (run.path / "died").read_text() != head
    assert run.table("annotations").equals(alone(tmp_path))
