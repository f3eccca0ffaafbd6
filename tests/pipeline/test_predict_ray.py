"""Prediction with Ray gives what the local engine gives: rows, order, bad rows, errors; and leaves nothing behind."""

from __future__ import annotations

import json
import os
import re
import shlex
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.pipeline.corpora import SCHEME, environment, jsonl, rows
from tutelage.errors import InputError, MissingExtra
from tutelage.pipeline import predict_ray
from tutelage.pipeline.cluster import knock
from tutelage.pipeline.predict import Report, open_student, predict
from tutelage.pipeline.predict_ray import Labeller, Task, predict_on_ray
from tutelage.students import NgramClassifier

needs_ray = pytest.mark.skipif(find_spec("ray") is None, reason="Ray is not installed: pip install 'tutelage[ray]'")


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    taught = rows(90)
    model = NgramClassifier(classes=list(SCHEME.names)).fit([r["text"] for r in taught], [r["topic"] for r in taught])
    return model.save(tmp_path_factory.mktemp("student") / "s", SCHEME, {"max_words": 512})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two Parquet files of several row groups, a bad text in each."""
    path = tmp_path / "texts"
    path.mkdir()
    for number in range(2):
        records = rows(40, seed=number)
        records[17 + number]["text"] = ""
        table = pa.Table.from_pylist(records).append_column("n", pa.array(range(40), pa.int16()))
        pq.write_table(table, path / f"{number}.parquet", row_group_size=7)
    return path


@pytest.fixture
def lines(tmp_path: Path) -> Path:
    """Sixty texts as JSON Lines, with a blank line, a broken one and an empty text."""
    path = jsonl(tmp_path / "texts.jsonl", rows(60, seed=3))
    text = path.read_text().splitlines()
    path.write_text("\n".join([*text[:20], "", "broken", *text[20:50], '{"text": " "}', *text[50:]]))
    return path


class Serial:
    """As much of `ray.data` as the engine uses, in this process; the parts come back in the wrong order."""

    def __init__(self, stop_after: int | None = None) -> None:
        self.stop_after = stop_after
        self.parts = 0
        self.data, self.exceptions = self, SimpleNamespace(RayError=ZeroDivisionError)

    def ActorPoolStrategy(self, size: int) -> None:
        self.workers = size

    def from_items(self, items: list[dict[str, Any]], override_num_blocks: int) -> Serial:
        self.items, self.parts = items, override_num_blocks
        return self

    def map(self, make: type[Labeller], *, fn_constructor_args: tuple[Task], compute: None, num_cpus: int) -> Serial:
        self.worker = make(*fn_constructor_args)
        return self

    def iter_rows(self) -> Iterator[dict[str, Any]]:
        for number, item in enumerate(reversed(self.items)):
            if number == self.stop_after:
                raise KeyboardInterrupt
            yield self.worker(item)


@pytest.fixture
def serial(monkeypatch: pytest.MonkeyPatch) -> Serial:
    """The engine on `Serial`, with parts as small as they get."""
    ray = Serial()

    @contextmanager
    def cluster(workers: int | None) -> Iterator[tuple[Serial, int]]:
        yield ray, workers or 2

    monkeypatch.setattr(predict_ray, "cluster", cluster)
    monkeypatch.setattr(predict_ray, "ray_module", lambda: ray)
    monkeypatch.setattr(predict_ray, "LEAST_PART", 300)
    monkeypatch.setattr(predict_ray, "MOST_PART", 300)
    return ray


def both(student: Path, sources: list[Path], folder: Path, ending: str, **options: Any) -> list[tuple[bytes, Report]]:
    """What the two engines write and report."""
    local, ray = (folder / f"{engine}{ending}" for engine in ("local", "ray"))
    reports = (
        predict(open_student(student), sources, local, **options), predict_on_ray(student, sources, ray, **options)
    )  # fmt: skip
    return [(path.read_bytes(), report) for path, report in zip((local, ray), reports, strict=True)]


def test_new_columns_under_another_name(serial: Serial, student: Path, lines: Path, tmp_path: Path) -> None:
    local, ray = both(student, [lines], tmp_path, ".jsonl", prefix="said_")
    assert ray == local
    assert {"said_label", "said_confidence"} < set(json.loads(ray[0].splitlines()[0]))


@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".parquet"])
def test_values_of_json_keep_their_kind(serial: Serial, student: Path, tmp_path: Path, ending: str) -> None:
    values = [7, "7", None, [1, "a"], 0.25, True]
    source = jsonl(tmp_path / "t.jsonl", [{"text": f"goal {i}", "value": values[i % 6]} for i in range(60)])
    local, ray = both(student, [source], tmp_path, ending)
    assert serial.parts > 3
    if ending == ".parquet":
        tables = [pq.read_table(tmp_path / f"{engine}{ending}") for engine in ("local", "ray")]
        assert tables[0] == tables[1]
        return
    assert ray == local
    if ending == ".jsonl":
        assert [json.loads(line)["value"] for line in ray[0].splitlines()] == values * 10


@pytest.mark.parametrize("ending", [".jsonl", ".csv", ".tsv"])
@pytest.mark.parametrize("kind", ["lines", "folder", "several"])
def test_the_joined_file_and_the_report_are_those_of_the_local_engine(
    serial: Serial, student: Path, request: pytest.FixtureRequest, tmp_path: Path, kind: str, ending: str
) -> None:
    path = request.getfixturevalue("lines" if kind == "several" else kind)
    sources = [path, path] if kind == "several" else [path]
    local, ray = both(student, sources, tmp_path, ending, threshold=0.6)
    assert ray == local
    assert serial.parts > 10
    assert ray[1].rows == {"lines": 60, "folder": 78, "several": 120}[kind]
    assert len(ray[1].rejects) == {"lines": 2, "folder": 2, "several": 4}[kind]
    assert {path.name for path in tmp_path.iterdir()} == {path.name, f"local{ending}", f"ray{ending}"}


def test_a_folder_of_parts_in_the_order_of_their_names(
    serial: Serial, student: Path, folder: Path, tmp_path: Path
) -> None:
    predict(open_student(student), folder, tmp_path / "local.parquet")
    (tmp_path / "out").mkdir()  # an empty folder may be there
    counted: list[int] = []
    report = predict_on_ray(student, [folder], tmp_path / "out", progress=counted.append)
    files = sorted((tmp_path / "out").iterdir())
    assert len(files) > 10
    table = pa.concat_tables([pq.read_table(file) for file in files])
    assert table == pq.read_table(tmp_path / "local.parquet")
    assert counted == sorted(counted)
    assert counted[-1] == report.rows == 78
    with pytest.raises(InputError, match="not empty"):
        predict_on_ray(student, [folder], tmp_path / "out")
    predict_on_ray(student, [folder], f"{tmp_path}/lines.v2/", format="jsonl")
    assert {file.suffix for file in (tmp_path / "lines.v2").iterdir()} == {".jsonl"}
    with pytest.raises(InputError, match="folder of parts can be"):
        predict_on_ray(student, [folder], tmp_path / "cells", format="csv")


def test_strict_is_the_first_bad_row_by_its_number_in_the_file(
    serial: Serial, student: Path, lines: Path, tmp_path: Path
) -> None:
    out = tmp_path / "out.jsonl"
    with pytest.raises(InputError, match="row 22") as local:
        predict(open_student(student), lines, out, strict=True)
    with pytest.raises(InputError) as ray:
        predict_on_ray(student, [lines], out, strict=True)
    assert str(ray.value) == str(local.value)
    assert {path.name for path in tmp_path.iterdir()} == {"texts.jsonl"}


def test_what_goes_wrong_in_a_part_is_one_line_and_nothing_is_left(
    serial: Serial, student: Path, tmp_path: Path
) -> None:
    source = jsonl(tmp_path / "a.jsonl", [{"text": f"goal {i}", "label": "mine"} for i in range(60)])
    out = tmp_path / "out.parquet"
    out.write_text("precious")
    with pytest.raises(InputError, match="already has a column 'label'"):
        predict_on_ray(student, [source], out)
    with pytest.raises(InputError, match="standard input"):
        predict_on_ray(student, ["-"], out)
    with pytest.raises(InputError, match="cannot write"):
        predict_on_ray(student, [source], tmp_path / "no" / "folder")
    source.write_text('{"text": ""}\n' * 9)
    with pytest.raises(InputError, match="no usable text in the files: 9 empty"):
        predict_on_ray(student, [source], tmp_path / "parts")
    assert out.read_text() == "precious"
    assert {path.name for path in tmp_path.iterdir()} == {"a.jsonl", "out.parquet"}


def test_pipes_and_standard_output_take_the_joined_parts(
    serial: Serial, student: Path, lines: Path, tmp_path: Path, capsysbinary: pytest.CaptureFixture[bytes]
) -> None:
    predict(open_student(student), lines, tmp_path / "local.csv")
    expected = (tmp_path / "local.csv").read_bytes()
    predict_on_ray(student, [lines], "-", format="csv")
    assert capsysbinary.readouterr().out == expected
    os.mkfifo(tmp_path / "pipe")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_bytes()))
    reader.start()
    predict_on_ray(student, [lines], tmp_path / "pipe", format="csv")
    reader.join()
    assert read == [expected]
    assert not list(Path(tempfile.gettempdir()).glob(f".*.{os.getpid()}.parts"))


def test_ctrl_c_leaves_nothing_of_a_file(serial: Serial, student: Path, lines: Path, tmp_path: Path) -> None:
    serial.stop_after = 3
    with pytest.raises(KeyboardInterrupt):
        predict_on_ray(student, [lines], tmp_path / "out.jsonl")
    assert {path.name for path in tmp_path.iterdir()} == {"texts.jsonl"}


def test_a_folder_that_was_stopped_is_gone_on_with_and_no_part_is_done_again(
    serial: Serial, student: Path, folder: Path, tmp_path: Path
) -> None:
    serial.stop_after = 3
    with pytest.raises(KeyboardInterrupt):
        predict_on_ray(student, [folder], tmp_path / "out")
    assert not (tmp_path / "out").exists()
    (kept,) = tmp_path.glob(".out.*.parts")
    finished = {file: file.stat().st_mtime_ns for file in kept.glob("part-*")}
    parts, serial.stop_after = serial.parts, None
    assert len(finished) == 3
    report = predict_on_ray(student, [folder], tmp_path / "out", workers=5)
    assert serial.parts == parts - 3
    assert report == predict(open_student(student), folder, tmp_path / "local.parquet")
    files = sorted((tmp_path / "out").iterdir())
    assert {kept / file.name: file.stat().st_mtime_ns for file in files if kept / file.name in finished} == finished
    assert pa.concat_tables([pq.read_table(file) for file in files]) == pq.read_table(tmp_path / "local.parquet")
    assert {path.name for path in tmp_path.iterdir()} == {"texts", "out", "local.parquet"}


def test_another_job_does_not_go_on_with_it(serial: Serial, student: Path, folder: Path, tmp_path: Path) -> None:
    serial.stop_after = 3
    with pytest.raises(KeyboardInterrupt):
        predict_on_ray(student, [folder], tmp_path / "out")
    parts, serial.stop_after = serial.parts, None
    predict_on_ray(student, [folder], tmp_path / "out", threshold=0.9)
    assert serial.parts == parts


def test_a_worker_loads_its_student_once_and_runs_on_one_thread(
    student: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened: list[str] = []
    load: Callable[[str], object] = predict_ray.open_student
    monkeypatch.setattr(predict_ray, "open_student", lambda path: opened.append(path) or load(path))
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    worker = Labeller(Task(str(student), str(tmp_path), ".jsonl", 0.0, 100))
    source = jsonl(tmp_path / "a.jsonl", rows(9))
    for number in range(3):
        part = json.dumps({"source": str(source), "text": "text", "columns": ["id", "text", "topic"]})
        worker({"number": number, "part": part})
    assert opened == [str(student)]
    assert worker.student.get_params()["threads"] == 1
    assert os.environ["OMP_NUM_THREADS"] == "1"
    assert len({file.read_bytes() for file in tmp_path.glob("part-*.jsonl")}) == 1


def test_without_ray_it_says_what_to_install(student: Path, lines: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(MissingExtra, match=r"pip install 'tutelage\[ray\]'"):
        predict_on_ray(student, [lines], "-")


def test_a_cluster_that_does_not_answer_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"
        knock(address)
    with pytest.raises(InputError, match=f"no Ray answers at RAY_ADDRESS={address}"):
        knock(address)
    for other in ("local", "auto", "ray://127.0.0.1:1"):
        knock(other)


WATCH = """
from tutelage.cli import main
from tutelage.pipeline import cluster, predict_ray
ray = cluster.ray_module()
addresses = []
def mapped(*arguments, inner=predict_ray._mapped):
    addresses.extend(node["NodeManagerAddress"] for node in ray.nodes())
    return inner(*arguments)
predict_ray._mapped, predict_ray.LEAST_PART = mapped, 2000
try:
    main()
finally:
    print(addresses, ray.is_initialized())
"""


@needs_ray
def test_the_command_of_the_page_on_a_ray_of_its_own_that_listens_on_loopback_and_ends(
    student: Path, folder: Path, tmp_path: Path
) -> None:
    page = (Path(__file__).parents[2] / "docs" / "predict.md").read_text(encoding="utf-8")
    (command,) = re.findall(r"^tutelage (predict runs/tickets archive/ --engine ray .*)$", page, re.MULTILINE)
    (tmp_path / "watch.py").write_text(WATCH)
    (tmp_path / "home").mkdir()
    (tmp_path / "runs").mkdir()
    (tmp_path / "runs" / "tickets").symlink_to(student)
    folder.rename(tmp_path / "archive")
    before = set(Path("/tmp").glob("tutelage-ray-*"))
    done = subprocess.run(
        [sys.executable, tmp_path / "watch.py", *shlex.split(command)], cwd=tmp_path, capture_output=True, text=True,
        check=False, timeout=300, env=environment(HOME=str(tmp_path / "home")),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout == "['127.0.0.1'] False\n"
    assert done.stderr.splitlines() == [
        "archive/0.parquet, row 18 skipped: empty", "archive/1.parquet, row 19 skipped: empty",
        "78 rows labelled, 2 bad rows skipped (2 empty)",
    ]  # fmt: skip
    predict(open_student(student), tmp_path / "archive", tmp_path / "local.parquet")
    files = sorted((tmp_path / "labelled").iterdir())
    assert len(files) > 2
    assert pa.concat_tables([pq.read_table(file) for file in files]) == pq.read_table(tmp_path / "local.parquet")
    assert set(Path("/tmp").glob("tutelage-ray-*")) <= before
    assert list((tmp_path / "home").iterdir()) == []
