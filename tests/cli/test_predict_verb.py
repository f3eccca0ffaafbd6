"""`tutelage predict`: every row that goes in with a text comes out with a label, in order, or nothing comes out at all."""

from __future__ import annotations

import csv
import json
import re
import signal
import subprocess
import sys
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.cli.conftest import Cli
from tests.pipeline.corpora import MULTI, SCHEME, environment, jsonl, rows, said
from tutelage.students import NgramClassifier

ROWS = rows(60, seed=4)


@pytest.fixture(scope="module")
def student(tmp_path_factory: pytest.TempPathFactory) -> Path:
    taught = rows(90)
    model = NgramClassifier(classes=list(SCHEME.names)).fit([r["text"] for r in taught], [r["topic"] for r in taught])
    return model.save(tmp_path_factory.mktemp("student") / "s", SCHEME, {"max_words": 512})


@pytest.fixture
def texts(tmp_path: Path) -> Path:
    return jsonl(tmp_path / "new.jsonl", ROWS)


def records(file: Path) -> list[dict[str, object]]:
    match file.suffix:
        case ".parquet":
            return pq.read_table(file).to_pylist()
        case ".jsonl":
            return [json.loads(line) for line in file.read_text().splitlines()]
        case _:
            with file.open(newline="") as stream:
                return list(csv.DictReader(stream, delimiter="\t" if file.suffix == ".tsv" else ","))


@pytest.mark.parametrize("ending", ["parquet", "jsonl", "csv", "tsv"])
def test_all_columns_and_the_order_are_kept(cli: Cli, student: Path, texts: Path, tmp_path: Path, ending: str) -> None:
    out = tmp_path / f"out.{ending}"
    done = cli("predict", student, texts, "--out", out, "--batch-rows", 7)
    assert done.code == 0, done.err
    assert "60 rows labelled" in done.err
    found = records(out)
    assert [row["id"] for row in found] == [row["id"] for row in ROWS]
    assert list(found[0]) == ["id", "text", "topic", "label", "confidence"]
    right = sum(row["label"] == row["topic"] for row in found)
    assert right >= 57
    assert all(1 / 3 <= float(str(row["confidence"])) <= 1 for row in found)


def test_standard_input_to_standard_output(cli: Cli, student: Path) -> None:
    done = cli("predict", student, "-", stdin="goal match striker\nrain gale frost\n")
    assert [json.loads(line)["label"] for line in done.out.splitlines()] == ["sport", "weather"]
    done = cli("predict", student, stdin=json.dumps({"n": 1, "text": "vote cabinet ballot"}))
    assert json.loads(done.out) | {"confidence": 0} == {
        "n": 1, "text": "vote cabinet ballot", "label": "politics", "confidence": 0,
    }  # fmt: skip


def test_below_the_threshold_it_abstains(cli: Cli, student: Path, texts: Path, tmp_path: Path) -> None:
    cli("predict", student, texts, "--out", tmp_path / "all.jsonl")
    done = cli("predict", student, texts, "--out", tmp_path / "sure.jsonl", "--threshold", 0.7)
    sure = [float(str(row["confidence"])) >= 0.7 for row in records(tmp_path / "all.jsonl")]
    assert [row["label"] is not None for row in records(tmp_path / "sure.jsonl")] == sure
    assert f"{60 - sum(sure)} below the threshold" in done.err
    nothing = cli("predict", student, texts, "--out", tmp_path / "none.csv", "--threshold", 1.0)
    assert nothing.code == 0
    assert cli("predict", student, texts, "--threshold", "1.5").code == 2


def test_bad_rows_are_skipped_with_their_reasons_or_stop_it(cli: Cli, student: Path, tmp_path: Path) -> None:
    file = tmp_path / "bad.jsonl"
    file.write_bytes(b'{"text": "goal match"}\n{"text": ""}\n{"text": "\xff"}\nnonsense\n{"text": "rain"}\n')
    done = cli("predict", student, file, "--out", tmp_path / "out.csv")
    assert done.code == 0
    assert "3 bad rows skipped (1 empty, 1 invalid_utf8, 1 bad_json)" in " ".join(done.err.split())
    assert [line for line in done.err.splitlines() if line.startswith("row")] == [
        "row 2 skipped: empty", "row 3 skipped: invalid_utf8", "row 4 skipped: bad_json",
    ]  # fmt: skip
    assert len(records(tmp_path / "out.csv")) == 2
    strict = cli("predict", student, file, "--out", tmp_path / "strict.csv", "--strict")
    assert (strict.code, "row 2" in strict.line) == (2, True)
    assert not list(tmp_path.glob("*strict*"))


def test_csv_cells_that_a_spreadsheet_would_run_are_quoted(cli: Cli, student: Path, tmp_path: Path) -> None:
    risky = ["=cmd|'/C calc'!A0 goal", "+rain gale", "-vote cabinet", "@SUM(A1) match", "\tgoal", "fine goal"]
    cells = [{"text": text, "n": "-3.5", "m": "+1e5"} for text in risky]
    cli("predict", student, jsonl(tmp_path / "risky.jsonl", cells), "--out", tmp_path / "out.csv")
    found = records(tmp_path / "out.csv")
    assert [row["text"] for row in found] == ["'" + text for text in risky[:5]] + ["fine goal"]
    assert {(row["n"], row["m"]) for row in found} == {("-3.5", "+1e5")}, "numbers are harmless and stay numbers"


def test_a_column_of_the_same_name_is_not_overwritten(cli: Cli, student: Path, tmp_path: Path) -> None:
    source = jsonl(tmp_path / "l.jsonl", [{"text": "goal", "label": "mine"}])
    done = cli("predict", student, source, "--out", tmp_path / "o.parquet")
    assert (done.code, "'label'" in done.line) == (2, True)
    assert not list(tmp_path.glob("*o.parquet*"))


def test_a_file_may_be_labelled_in_place(cli: Cli, student: Path, texts: Path) -> None:
    assert cli("predict", student, texts, "--out", texts).code == 0
    assert len(records(texts)) == 60


@pytest.mark.parametrize(
    ("out", "says"), [("o.xlsx", "ending must be"), ("missing/o.csv", "No such file"), (".", "ending must be")]
)
def test_places_that_cannot_be_written(
    cli: Cli, student: Path, texts: Path, tmp_path: Path, out: str, says: str
) -> None:
    done = cli("predict", student, texts, "--out", tmp_path / out)
    assert (done.code, says in done.line) == (2, True)


def test_what_is_there_stays_when_it_fails_half_way(cli: Cli, student: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.jsonl"
    out.write_text("precious\n")
    good = [{"text": f"goal {i}"} for i in range(2000)]
    source = jsonl(tmp_path / "long.jsonl", [*good, {"text": ""}])
    done = cli("predict", student, source, "--out", out, "--strict", "--batch-rows", 100)
    assert (done.code, "row 2001" in done.line) == (2, True)
    assert out.read_text() == "precious\n"
    assert {file.name for file in tmp_path.iterdir()} == {"out.jsonl", "long.jsonl"}


def test_parquet_keeps_types_and_goes_through_a_pipe(student: Path, tmp_path: Path) -> None:
    source = tmp_path / "in.parquet"
    pq.write_table(pa.table({"text": ["goal match", "rain gale"], "n": pa.array([1, 2], pa.int16())}), source)
    done = subprocess.run(
        [sys.executable, "-m", "tutelage", "predict", student, source, "--format", "parquet"],
        capture_output=True, env=environment(), check=True,
    )  # fmt: skip
    table = pq.read_table(pa.BufferReader(done.stdout))
    assert table.schema.field("n").type == pa.int16()
    assert table["label"].to_pylist() == ["sport", "weather"]


def test_a_reader_that_leaves_early_is_no_error(student: Path, tmp_path: Path) -> None:
    source = jsonl(tmp_path / "many.jsonl", [{"text": f"goal match {i}"} for i in range(20_000)])
    process = subprocess.Popen(
        [sys.executable, "-m", "tutelage", "predict", student, source, "-q", "--batch-rows", "500"],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(),
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline()
    process.stdout.close()
    assert process.wait(60) == 141
    assert process.stderr.read() == b""
    process.stderr.close()


def test_several_files_follow_each_other(cli: Cli, student: Path, texts: Path, tmp_path: Path) -> None:
    more = jsonl(tmp_path / "more.jsonl", [{"text": "goal match", "id": "x"}, {"text": ""}])
    done = cli("predict", student, texts, more, "--out", tmp_path / "o.jsonl")
    found = records(tmp_path / "o.jsonl")
    assert [row["id"] for row in found] == [*(row["id"] for row in ROWS), "x"]
    assert {tuple(row) for row in found} == {("id", "text", "topic", "label", "confidence")}
    assert f"{more}, row 2 skipped: empty" in done.err.splitlines()
    assert "61 rows labelled, 1 bad row skipped (1 empty)" in done.err
    gone = cli("predict", student, texts, tmp_path / "no.jsonl", "--out", tmp_path / "p.jsonl")
    assert (gone.code, "no such file" in gone.line) == (2, True)
    assert cli("predict", student, texts, "-").code == 2


def test_a_folder_of_parquet_files_is_one_table(cli: Cli, student: Path, tmp_path: Path) -> None:
    folder = tmp_path / "set.parquet"
    folder.mkdir()
    for number, part in enumerate((ROWS[:20], ROWS[20:])):
        pq.write_table(pa.Table.from_pylist(part), folder / f"part-{number}.parquet")
    done = cli("predict", student, folder, "--out", tmp_path / "o.parquet")
    assert done.code == 0, done.err
    assert [row["id"] for row in records(tmp_path / "o.parquet")] == [row["id"] for row in ROWS]
    pq.write_table(pa.table({"body": ["x"]}), folder / "part-2.parquet")
    done = cli("predict", student, folder, "--out", tmp_path / "p.parquet")
    assert (done.code, "part-2.parquet has other columns" in done.line) == (2, True)
    assert not list(tmp_path.glob("*p.parquet"))


@pytest.mark.parametrize(
    ("table", "says"),
    [
        (pa.table({"text": pa.array([], pa.string())}), "is empty"),
        (pa.table({"text": pa.array([None, None], pa.null())}), "none of its 2 rows is usable: 2 empty"),
        (pa.table({"text": ["", "\x00"]}), "1 empty, 1 nul_bytes"),
        (pa.table({"a": ["x"], "b": ["y"]}), "which column holds the text? Name it with --text COLUMN; columns: a, b"),
    ],
)
def test_tables_without_a_usable_text(cli: Cli, student: Path, tmp_path: Path, table: pa.Table, says: str) -> None:
    pq.write_table(table, tmp_path / "in.parquet")
    done = cli("predict", student, tmp_path / "in.parquet", "--out", tmp_path / "o.jsonl")
    assert (done.code, says in done.line) == (2, True), done.err
    assert {file.name for file in tmp_path.iterdir()} == {"in.parquet"}


def test_texts_as_bytes_are_texts(cli: Cli, student: Path, tmp_path: Path) -> None:
    pq.write_table(pa.table({"text": [b"goal caf\xc3\xa9", b"\xff", None], "raw": [b"r"] * 3}), tmp_path / "in.parquet")
    done = cli("predict", student, tmp_path / "in.parquet")
    assert [json.loads(line) | {"confidence": 0} for line in done.out.splitlines()] == [
        {"text": "goal café", "raw": "r", "label": "sport", "confidence": 0}
    ]
    assert "row 2 skipped: invalid_utf8" in done.err


def test_a_damaged_file_leaves_what_was_there(cli: Cli, student: Path, texts: Path, tmp_path: Path) -> None:
    whole = tmp_path / "whole.parquet"
    assert cli("predict", student, texts, "--out", whole).code == 0
    (tmp_path / "cut.parquet").write_bytes(whole.read_bytes()[:-40])
    before = whole.read_bytes()
    done = cli("predict", student, tmp_path / "cut.parquet", "--out", whole)
    assert (done.code, "cannot read" in done.line, "cut.parquet" in done.line) == (2, True, True)
    assert whole.read_bytes() == before


def begun(student: Path, lines: int, *options: object) -> subprocess.Popen[bytes]:
    """The command at work on standard input, which stays open; of more than 64 KiB of lines it has taken some already."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tutelage", "predict", student, "-", "--batch-rows", "100", *map(str, options)],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment(),
    )  # fmt: skip
    assert process.stdin is not None
    process.stdin.write(b"goal match striker league\n" * lines)
    process.stdin.flush()
    return process


@pytest.mark.parametrize(("ending", "there"), [("jsonl", False), ("parquet", True)])
def test_ctrl_c_leaves_what_was_there_and_says_so(student: Path, tmp_path: Path, ending: str, there: bool) -> None:
    out = tmp_path / f"o.{ending}"
    if there:
        out.write_text("precious")
    process = begun(student, 20_000, "--out", out)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    (line,) = err.decode().splitlines()
    assert re.match(r"tutelage: interrupted after [\d,]+ rows; ", line)
    assert line.endswith("o." + ending + (" is as it was before" if there else " is not written"))
    assert [file.name for file in tmp_path.iterdir()] == ([out.name] if there else [])


def test_ctrl_c_while_writing_to_a_pipe(student: Path) -> None:
    with begun(student, 2_000) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        first = process.stdout.readline()
        process.send_signal(signal.SIGINT)
        rest, err = process.stdout.read(), process.stderr.read()
    assert process.returncode == 130
    assert {json.loads(line)["label"] for line in [first, *rest.splitlines()[:-1]]} == {"sport"}
    assert b"interrupted after" in err
    assert b"standard output" in err


def test_a_closed_standard_output_is_one_line(student: Path, texts: Path) -> None:
    done = subprocess.run(
        ["sh", "-c", 'exec "$@" >&-', "sh", sys.executable, "-m", "tutelage", "predict", student, texts],
        capture_output=True, env=environment(), check=False, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "standard output: it is closed" in done.stderr


def test_a_file_that_has_labels_already_gets_more_under_another_name(
    cli: Cli, student: Path, texts: Path, tmp_path: Path
) -> None:
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    cli("predict", student, texts, "--out", first)
    refused = cli("predict", student, first, "--out", second)
    assert (refused.code, "--prefix predicted_" in refused.line) == (2, True)
    assert cli("predict", student, first, "--out", second, "--prefix", "predicted_").code == 0
    for line in second.read_text().splitlines():
        row = json.loads(line)
        assert (row["predicted_label"], row["predicted_confidence"]) == (row["label"], row["confidence"])


def test_values_of_json_lines_come_out_as_they_went_in(cli: Cli, student: Path, tmp_path: Path) -> None:
    """Numbers, booleans, nested values, a key that is now a number and now a string, and one that only some rows have."""
    given = [
        {
            "text": "a goal",
            "n": 5,
            "x": 0.5,
            "ok": True,
            "tags": ["a", "b"],
            "inner": {"k": [1, None]},
            "zip": "01",
            "mixed": 7,
        },
        {"text": "a match", "n": None, "x": 1e300, "ok": False, "tags": [], "inner": {}, "zip": "02", "mixed": "7"},
        {"text": "a coach", "n": 2**70, "zip": None, "mixed": ["7"]},
    ]
    source, out, cells = jsonl(tmp_path / "t.jsonl", given), tmp_path / "o.jsonl", tmp_path / "o.csv"
    assert cli("predict", student, source, "--out", out).code == 0
    for row, line in zip(given, out.read_text().splitlines(), strict=True):
        assert json.loads(line).items() >= row.items()
    assert cli("predict", student, source, "--out", cells).code == 0
    with cells.open(newline="") as stream:
        first, second, third = csv.DictReader(stream)
    assert (first["n"], first["ok"], first["tags"], first["mixed"]) == ("5", "true", '["a", "b"]', "7")
    assert (second["n"], second["zip"], second["mixed"]) == ("", "02", "7")
    assert third["mixed"] == '["7"]'
    assert cli("predict", student, source, "--out", tmp_path / "o.parquet").code == 0
    assert pq.read_table(tmp_path / "o.parquet")["mixed"].to_pylist() == ["7", "7", '["7"]']


@pytest.mark.parametrize(
    ("options", "says"), [(["--engine", "spark"], "there are local and ray"), (["--workers", 2], "--workers is for")]
)
def test_engines(cli: Cli, student: Path, texts: Path, options: list[object], says: str) -> None:
    done = cli("predict", student, texts, *options)
    assert (done.code, says in done.line) == (2, True)


def test_without_ray_it_says_what_to_install(
    cli: Cli, student: Path, texts: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    done = cli("predict", student, texts, "--engine", "ray")
    assert (done.code, "pip install 'tutelage[ray]'" in done.line) == (2, True)


def test_several_labels_a_text(cli: Cli, tmp_path: Path) -> None:
    taught = rows(90)
    both = [f"{a['text']} {b['text']}" for a, b in pairwise(taught)]
    texts = [r["text"] for r in taught] + both
    model = NgramClassifier(classes=list(MULTI.names), multi=True).fit(texts, [said(text) for text in texts])
    folder = model.save(tmp_path / "m", MULTI)
    source = jsonl(tmp_path / "t.jsonl", [{"text": text} for text in texts[:100]])
    for ending in ("jsonl", "parquet", "csv"):
        done = cli("predict", folder, source, "--out", tmp_path / f"o.{ending}", "--threshold", 0.5)
        assert done.code == 0, done.err
    lists, columns, cells = (records(tmp_path / f"o.{e}") for e in ("jsonl", "parquet", "csv"))
    assert [r["label"] for r in lists] == [r["label"] for r in columns]
    assert [(r["label"] or "").split("|") if r["label"] else [] for r in cells] == [r["label"] or [] for r in lists]
    assert any(len(r["label"] or []) == 2 for r in lists)


def test_no_student_there(cli: Cli, tmp_path: Path, texts: Path) -> None:
    done = cli("predict", tmp_path / "nothing", texts)
    assert (done.code, "nothing" in done.line) == (2, True)
