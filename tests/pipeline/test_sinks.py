"""Where predictions go: values that a format has no form for, sizes of row groups, devices and pipes, and failing half way."""

from __future__ import annotations

import csv
import gc
import json
import math
import os
import stat
import threading
from contextlib import suppress
from datetime import date
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tutelage.errors import InputError
from tutelage.pipeline import sinks
from tutelage.pipeline.sinks import Writer

ODD = pa.table({
    "text": ["one", "two"], "x": [math.nan, -math.inf], "nested": [{"a": [1.0, math.nan]}, {"a": None}],
    "raw": [b"caf\xc3\xa9", b"\xff"], "day": [date(2026, 1, 2), None], "labels": [["a", "b"], []],
})  # fmt: skip


def test_json_lines_are_json_whatever_the_values(tmp_path: Path) -> None:
    with Writer.open(tmp_path / "o.jsonl") as writer:
        writer.write(ODD)
    found = [json.loads(line, parse_constant=pytest.fail) for line in (tmp_path / "o.jsonl").read_text().splitlines()]
    assert found[0] == {
        "text": "one", "x": None, "nested": {"a": [1.0, None]}, "raw": "café", "day": "2026-01-02", "labels": ["a", "b"],
    }  # fmt: skip
    assert (found[1]["raw"], found[1]["day"], found[1]["nested"]) == ("\ufffd", None, {"a": None})


def test_cells_are_texts_and_not_python(tmp_path: Path) -> None:
    with Writer.open(tmp_path / "o.csv") as writer:
        writer.write(ODD)
        writer.write(ODD)
    with (tmp_path / "o.csv").open(newline="") as stream:
        header, first, *rest = csv.reader(stream)
    assert header == ODD.column_names
    assert first == ["one", "nan", '{"a": [1.0, NaN]}', "café", "2026-01-02", "a|b"]
    assert len(rest) == 3


def test_row_groups_have_the_size_that_readers_like(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def groups(batches: int) -> list[int]:
        with Writer.open(tmp_path / "o.parquet") as writer:
            for start in range(0, 30 * batches, 30):
                writer.write(pa.table({"n": range(start, start + 30)}))
        about = pq.read_metadata(tmp_path / "o.parquet")
        assert pq.read_table(tmp_path / "o.parquet")["n"].to_pylist() == list(range(30 * batches))
        return [about.row_group(i).num_rows for i in range(about.num_row_groups)]

    assert groups(40) == [1200]
    monkeypatch.setattr(sinks, "_GROUP_ROWS", 100)
    assert sum(groups(10)) == 300
    assert max(groups(10)) <= 100
    monkeypatch.setattr(sinks, "_GROUP_BYTES", 400)
    assert groups(10) == [60] * 5


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
@pytest.mark.parametrize("form", ["parquet", "jsonl", "csv"])
@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_a_full_disk_is_one_line(form: str) -> None:
    with pytest.raises(InputError, match=r"cannot write /dev/full: No space left on device"):
        with Writer.open("/dev/full", form) as writer:
            writer.write(pa.table({"text": ["x" * 100_000]}))
    gc.collect()
    assert stat.S_ISCHR(Path("/dev/full").stat().st_mode), "a device is written to and never replaced"


@pytest.mark.parametrize("ending", ["parquet", "jsonl", "csv"])
@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_half_way_nothing_is_left(tmp_path: Path, ending: str) -> None:
    with suppress(KeyboardInterrupt), Writer.open(tmp_path / f"o.{ending}") as writer:
        writer.write(ODD.select(["text"]))
        raise KeyboardInterrupt
    gc.collect()
    assert list(tmp_path.iterdir()) == []


def test_a_pipe_stays_a_pipe_and_a_link_a_link(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    read: list[str] = []
    reader = threading.Thread(target=lambda: read.append((tmp_path / "pipe").read_text()))
    reader.start()
    with Writer.open(tmp_path / "pipe", "jsonl") as writer:
        writer.write(pa.table({"n": [1, 2]}))
    reader.join()
    assert read == ['{"n": 1}\n{"n": 2}\n']
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    (tmp_path / "link.jsonl").symlink_to(tmp_path / "real.jsonl")
    with Writer.open(tmp_path / "link.jsonl") as writer:
        writer.write(pa.table({"n": [1]}))
    assert (tmp_path / "link.jsonl").is_symlink()
    assert (tmp_path / "real.jsonl").read_text() == '{"n": 1}\n'


@pytest.mark.parametrize("ending", ["parquet", "jsonl", "tsv"])
def test_a_file_of_another_writer_is_appended(tmp_path: Path, ending: str) -> None:
    kind = "jsonl" if ending == "jsonl" else "parquet"
    for number in range(2):
        with Writer.open(tmp_path / f"{number}.{kind}") as writer:
            writer.write(pa.table({"n": [number, 7]}))
    with Writer.open(tmp_path / f"all.{ending}") as writer:
        for number in range(2):
            writer.append(tmp_path / f"{number}.{kind}")
    with Writer.open(tmp_path / f"once.{ending}") as writer:
        writer.write(pa.table({"n": [0, 7, 1, 7]}))
    assert (tmp_path / f"all.{ending}").read_bytes() == (tmp_path / f"once.{ending}").read_bytes()


def test_a_type_that_a_format_does_not_have_is_one_line(tmp_path: Path) -> None:
    union = pa.UnionArray.from_sparse(pa.array([0], pa.int8()), [pa.array([1])])
    with pytest.raises(InputError, match="cannot write"):
        with Writer.open(tmp_path / "o.parquet") as writer:
            writer.write(pa.table({"u": union}))
    assert list(tmp_path.iterdir()) == []
