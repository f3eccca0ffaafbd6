"""`tutelage ledger`: labels out and in, and texts that are to be forgotten."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import tutelage
from tests.cli.conftest import Cli
from tests.pipeline.corpora import MULTI, SCHEME, Keywords, jsonl, rows, said, table
from tutelage.pipeline.annotate import annotate
from tutelage.pipeline.distill import configure
from tutelage.pipeline.folder import Run
from tutelage.teachers.ledger import Ledger

ROWS = rows(60)


@pytest.fixture
def labels(tmp_path: Path) -> Path:
    file = tmp_path / "labels.yaml"
    file.write_text(SCHEME.to_yaml())
    return file


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """A run whose texts a teacher has labelled."""
    made = Run.create(tmp_path / "run", configure(jsonl(tmp_path / "texts.jsonl", ROWS), SCHEME, student="ngram"))
    annotate(made, Keywords())
    return made


def test_exports_hold_id_label_and_status(cli: Cli, run: Run, tmp_path: Path) -> None:
    for ending in ("parquet", "jsonl", "csv"):
        file = tmp_path / f"labels.{ending}"
        assert cli("ledger", run.path, "--export", file, "--json").data == {"rows": 60, "file": str(file)}
    truth = {row["id"]: row["topic"] for row in ROWS}
    columns = pq.read_table(tmp_path / "labels.parquet").to_pydict()
    assert dict(zip(columns["id"], (x[0] for x in columns["label"]), strict=True)) == truth
    lines = [json.loads(line) for line in (tmp_path / "labels.jsonl").read_text().splitlines()]
    assert {line["id"]: line["label"][0] for line in lines} == truth
    with (tmp_path / "labels.csv").open(newline="") as stream:
        cells = list(csv.DictReader(stream))
    assert {cell["id"]: cell["label"] for cell in cells} == truth
    assert {cell["status"] for cell in cells} == {"ok"}


def test_an_export_of_an_unknown_ending_writes_nothing(cli: Cli, run: Run, tmp_path: Path) -> None:
    done = cli("ledger", run.path, "--export", tmp_path / "labels.xlsx")
    assert (done.code, ".parquet" in done.line) == (2, True)
    assert not (tmp_path / "labels.xlsx").exists()


@pytest.mark.parametrize("ending", ["parquet", "jsonl", "csv"])
def test_what_is_exported_can_be_imported_elsewhere(cli: Cli, run: Run, tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"labels.{ending}"
    cli("ledger", run.path, "--export", file)
    other = Run.create(tmp_path / "other", configure(tmp_path / "texts.jsonl", SCHEME, student="ngram"))
    done = cli("ledger", other.path, "--import", file, "--json")
    assert done.data == {"imported": 60, "skipped": 0, "unknown": 0}
    mine, theirs = run.table("annotations"), Run(other.path).table("annotations")
    assert theirs.select(["id", "label"]) == mine.select(["id", "label"])
    if ending == "parquet":
        teacher = Keywords()
        tutelage.distill(tmp_path / "texts.jsonl", SCHEME, out=other.path, teacher=teacher, student="ngram")
        assert teacher.asked == [], "the answers came with the fingerprints of their teacher"


def test_labels_of_others_make_a_run_of_their_own(cli: Cli, labels: Path, tmp_path: Path) -> None:
    given = [{"comment": r["text"], "label": r["topic"], "status": "ok"} for r in ROWS]
    given[0]["status"], given[1]["label"] = "refusal", ""
    file = table(tmp_path / "theirs.csv", given)
    done = cli("ledger", tmp_path / "new", "--import", file, "--labels", labels, "--json")
    assert done.code == 0, done.err
    assert done.data == {"imported": 58, "skipped": 2, "unknown": 0}
    assert cli("train", tmp_path / "new", "--student", "ngram", "-q").code == 0
    gold = table(tmp_path / "gold.csv", [{"comment": r["text"], "label": r["topic"]} for r in ROWS[:20]])
    done = cli("evaluate", tmp_path / "new", "--gold", gold, "--json")
    assert done.code == 0, done.err
    assert done.data["teacher"]["name"] == "import:theirs.csv"
    assert done.data["agreement"]["teacher_human"]["n"] == 18, "two of the gold texts have no imported label"
    assert done.data["agreement"]["teacher_human"]["alpha"] == 1.0
    assert done.data["pool"]["texts"] == 40


def test_a_newer_file_of_the_same_name_replaces_the_older(cli: Cli, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "labels.jsonl"
    jsonl(file, [{"id": r["id"], "label": r["topic"]} for r in ROWS])
    cli("ledger", run.path, "--import", file)
    jsonl(file, [{"id": r["id"], "label": "weather"} for r in ROWS[:30]])
    assert cli("ledger", run.path, "--import", file, "--json").data["imported"] == 30
    assert set(map(tuple, Run(run.path).table("annotations")["label"].to_pylist())) == {("weather",)}


def test_wide_columns_of_a_multi_label_file(cli: Cli, tmp_path: Path) -> None:
    scheme = tmp_path / "multi.yaml"
    scheme.write_text(MULTI.to_yaml())
    wide = [
        {"id": r["id"], "text": r["text"], **{name: int(name in said(r["text"])) for name in MULTI.names}} for r in ROWS
    ]
    wide[4] |= {"sport": 1, "politics": 1}
    wide[5] |= dict.fromkeys(MULTI.names, 0)
    wide[6]["sport"] = ""  # type: ignore[assignment]
    done = cli("ledger", tmp_path / "wide", "--import", table(tmp_path / "w.csv", wide), "--labels", scheme, "--json")
    assert done.data == {"imported": 59, "skipped": 1, "unknown": 0}
    labels = dict(
        zip(*(Run(tmp_path / "wide").table("annotations")[n].to_pylist() for n in ("id", "label")), strict=True)
    )
    assert labels["t4"] == ["sport", "politics"]
    assert labels["t5"] == []
    assert labels["t0"] == ["sport"]


@pytest.mark.parametrize(
    ("records", "says"),
    [
        ([{"text": "x", "label": "astrology"}], "'astrology' is not a label"),
        ([{"text": "x", "what": "sport"}], "no column `label`"),
        ([{"label": "sport", "n": "1"}], "need a text or an id"),
        ([{"id": "nobody", "label": "sport"}], "belongs to the texts"),
    ],
)
def test_files_that_cannot_be_imported(
    cli: Cli, run: Run, tmp_path: Path, records: list[dict[str, str]], says: str
) -> None:
    before = run.table("annotations")
    done = cli("ledger", run.path, "--import", table(tmp_path / "odd.csv", records))
    assert done.code == 2
    assert says in done.line
    assert Run(run.path).table("annotations") == before


def test_an_import_without_a_run_or_scheme(cli: Cli, tmp_path: Path) -> None:
    done = cli("ledger", tmp_path / "none", "--import", table(tmp_path / "x.csv", [{"text": "a", "label": "sport"}]))
    assert (done.code, "--labels" in done.line) == (2, True)
    done = cli("ledger", tmp_path / "none")
    assert (done.code, "no such run" in done.line) == (2, True)


def readable(folder: Path) -> bytes:
    """Every byte of a run: raw files, decoded tables, all rows of all databases."""
    import sqlite3

    parts = []
    for file in sorted(folder.rglob("*")):
        if file.is_file():
            parts.append(file.read_bytes())
            if file.suffix == ".parquet":
                parts.append(json.dumps(pq.read_table(file).to_pylist(), default=str, ensure_ascii=False).encode())
            if file.suffix == ".sqlite":
                with sqlite3.connect(file) as db:
                    parts += ["\n".join(db.iterdump()).encode("utf-8", "replace")]
    return b"\n".join(parts)


def test_a_forgotten_text_is_nowhere_in_the_run(cli: Cli, tmp_path: Path) -> None:
    import uuid

    secret = f"zqx{uuid.uuid4().hex}"
    records = [dict(row) for row in ROWS]
    records[7] |= {
        "text": f"minister vote {secret} rain gale frost sunshine snow",
        "topic": "politics",
    }  # a likely disagreement
    records[8] |= {"text": f"goal match {secret}2 vote cabinet", "topic": "weather"}
    records[8]["topic"] = "politics"
    twin = {**records[7], "id": "twin"}
    source = jsonl(tmp_path / "texts.jsonl", [*records, twin])
    folder = tmp_path / "run"
    done = tutelage.distill(source, SCHEME, out=folder, teacher=Keywords(), student="ngram", gold="topic", force=True)
    gold = set(done.run.table("gold")["id"].to_pylist())
    stale = folder / ".pool.parquet.99999.tmp"
    stale.write_bytes(secret.encode())
    assert secret.encode() in readable(folder)
    assert cli("ledger", folder, "--forget", "t7", "--forget", "t8", "--json").data == {"forgotten": 2}
    assert secret.encode() not in readable(folder)
    with Ledger(folder / "labels.sqlite", readonly=True) as ledger:
        assert not {"t7", "t8"} & set(ledger.to_table()["id"].to_pylist())
    again = tutelage.distill(
        source, SCHEME, out=folder, teacher=Keywords(), student="ngram", gold="topic", force=True, seed=1
    )
    assert secret.encode() not in readable(folder), "not under another id either, nor after another split"
    assert again.metrics["pool"]["texts"] + again.metrics["gold"]["n"] == 58
    assert gold


def test_a_forgotten_text_leaves_a_review_and_what_came_later_under_any_id(cli: Cli, run: Run) -> None:
    from tutelage.pipeline.reviewing import Review

    secret = next(row["text"] for row in ROWS if row["id"] == "t7")
    review = Review.begin(run, "ann", per_label=60)
    for id in ("t7", "t8"):
        review.give("ann", id, [said(next(row["text"] for row in ROWS if row["id"] == id))[0]])
    file = review.write_gold()
    run.put_table("added", pa.table({"id": ["later", "other"], "text": [secret, "quite another text"]}))
    left = Run.create(run.path / ".refresh", run.config)
    left.put_table("pool", run.table("pool"))
    assert secret in file.read_text()
    assert cli("ledger", run.path, "--forget", "t7", "--json").data == {"forgotten": 1}
    assert secret.encode() not in readable(run.path)
    with file.open(newline="") as stream:
        assert [row["id"] for row in csv.DictReader(stream)] == ["t8"]
    assert run.table("added")["id"].to_pylist() == ["other"]


def test_one_thing_at_a_time(cli: Cli, run: Run, tmp_path: Path) -> None:
    file = tmp_path / "labels.csv"
    done = cli("ledger", run.path, "--export", file, "--forget", "t1")
    assert (done.code, "--export" in done.line, "--forget" in done.line) == (2, True, True)
    assert not file.exists()
    assert cli("ledger", run.path, "--labels", "ag-news").code == 2, "an option of --import alone"


def test_an_import_says_which_rows_found_no_text(cli: Cli, run: Run, tmp_path: Path) -> None:
    file = table(tmp_path / "some.csv", [{"id": "t1", "label": "sport"}, {"id": "nobody", "label": "sport"}])
    assert "1 rows belong to no text of the run" in cli("ledger", run.path, "--import", file).out


def test_forgetting_keeps_a_report_without_texts_without_texts(cli: Cli, tmp_path: Path) -> None:
    source = jsonl(tmp_path / "texts.jsonl", ROWS)
    folder = tmp_path / "run"
    noisy = Keywords(wrong=30)
    tutelage.distill(source, SCHEME, out=folder, teacher=noisy, student="ngram", keep_texts=False)
    assert Run(folder).json("metrics")["disagreements"]
    assert cli("ledger", folder, "--forget", ROWS[0]["id"]).code == 0
    texts = [row["text"] for row in ROWS]
    page = (folder / "report.html").read_text()
    assert not [text for text in texts if text in page]


def test_an_unknown_id_deletes_nothing(cli: Cli, run: Run) -> None:
    before = readable(run.path)
    done = cli("ledger", run.path, "--forget", "t1", "--forget", "nobody")
    assert (done.code, "'nobody'" in done.line) == (2, True)
    assert Run(run.path).table("pool").num_rows == 60
    assert b"t1" in before
