"""docs/predict.md: its commands run as they stand (that with Ray in tests/pipeline/test_predict_ray.py)."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.pipeline.corpora import SCHEME, environment, jsonl, rows
from tutelage.students import NgramClassifier

PAGE = (Path(__file__).parents[2] / "docs" / "predict.md").read_text(encoding="utf-8")
COMMANDS = [line for block in re.findall(r"```console\n(.*?)```", PAGE, re.DOTALL) for line in block.splitlines()]


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with everything that the page names."""
    folder = tmp_path_factory.mktemp("office")
    taught = rows(90)
    model = NgramClassifier(classes=list(SCHEME.names)).fit([r["text"] for r in taught], [r["topic"] for r in taught])
    model.save(folder / "runs" / "tickets" / "student", SCHEME, {"max_words": 512})
    (folder / "runs" / "tickets" / "run.yaml").write_text("")
    (folder / "archive").mkdir()
    for number, file in enumerate(("more.parquet", "archive/2024.parquet", "archive/2025.parquet")):
        pq.write_table(pa.Table.from_pylist(rows(20, seed=number)), folder / file)
    for number, file in enumerate(("monday.jsonl", "tuesday.jsonl", "tickets.jsonl")):
        jsonl(folder / file, rows(10, seed=number))
    with gzip.open(folder / "tickets.jsonl.gz", "wb") as stream:
        stream.write((folder / "tickets.jsonl").read_bytes())
    return folder


def run(office: Path, *command: str) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    done = subprocess.run(
        command, cwd=office, env=environment(PATH=path), capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.parametrize(
    "command", [line for line in COMMANDS if "tutelage predict" in line and "--engine" not in line]
)
def test_a_command_of_the_page_runs(office: Path, command: str) -> None:
    done = run(office, "bash", "-c", f"set -o pipefail; {command}")
    if "--out" in command:
        (out,) = re.findall(r"--out (\S+)", command)
        assert (office / out).stat().st_size > 0
        assert re.search(r"\d+ rows labelled", done.stderr)
    else:
        assert (len(done.stdout.splitlines()), done.stderr) == (3, "")


def test_the_python_of_the_page_runs(office: Path) -> None:
    (example,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    assert run(office, sys.executable, "-c", example).stdout.startswith("20 ")
