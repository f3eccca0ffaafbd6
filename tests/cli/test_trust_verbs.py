"""`distill` and `evaluate` when people have, have not, or have not enough agreed with the teacher."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from tests.cli.conftest import Cli
from tests.pipeline.corpora import SCHEME, jsonl, rows, table

ROWS = rows(90)


@pytest.fixture
def job(tmp_path: Path) -> list[object]:
    labels = tmp_path / "labels.yaml"
    labels.write_text(SCHEME.to_yaml())
    truth = table(tmp_path / "truth.csv", [{"id": r["id"], "label": r["topic"]} for r in ROWS])
    texts = jsonl(tmp_path / "texts.jsonl", ROWS)
    return [texts, "--labels", labels, "--teacher", f"human:{truth}", "--student", "ngram", "--out", tmp_path / "run"]


def people(folder: Path, shift: int) -> Path:
    """A reviewed file in which people name the right label, or with a shift another one."""
    names = SCHEME.names
    filled = [{"id": r["id"], "label": names[(names.index(r["topic"]) + shift) % 3]} for r in ROWS[:30]]
    return table(folder / f"gold{shift}.csv", filled)


def test_refused_unless_forced(cli: Cli, job: list[object], tmp_path: Path) -> None:
    done = cli("distill", *job, "--gold", people(tmp_path, 1))
    assert done.code == 4
    assert "do not distil from this teacher" in done.line
    assert "REFUSED" in done.out, "the figures are shown all the same"
    assert (tmp_path / "run" / "report.html").exists()
    assert cli("evaluate", tmp_path / "run").code == 4
    assert cli("evaluate", tmp_path / "run", "--force").code == 0
    assert cli("evaluate", tmp_path / "run", "--gold", people(tmp_path, 0), "-q").code == 0


def test_unchecked_says_how_to_check(cli: Cli, job: list[object], tmp_path: Path) -> None:
    done = cli("distill", *job)
    assert done.code == 0, done.err
    assert "UNCHECKED" in done.out
    run, sample = tmp_path / "run", tmp_path / "to_review.csv"
    assert f"tutelage evaluate {run} --sample to_review.csv" in done.out
    assert cli("evaluate", run, "--sample", sample, "--per-label", 6, "--json").data["texts"] == 18
    again = cli("evaluate", run, "--sample", sample)
    assert (again.code, "may hold somebody" in again.line) == (2, True)
    truth = {row["id"]: row["topic"] for row in ROWS}
    with sample.open(newline="") as stream:
        filled = [row | {"label": truth[row["id"]], "label_2": truth[row["id"]]} for row in csv.DictReader(stream)]
    table(sample, filled)
    done = cli("evaluate", run, "--gold", sample, "--json")
    assert done.code == 0, done.err
    assert done.data["acceptance"]["outcome"] == "accepted"
    assert done.data["agreement"]["human_human"]["alpha"] == 1.0
    assert done.data["pool"]["texts"] == 72, "the reviewed texts have left the training labels"
    assert done.data["labels"]["answered"] == 72


def test_steps_one_by_one_give_what_distill_gives(cli: Cli, job: list[object], tmp_path: Path) -> None:
    texts, labels, teacher = job[0], job[2], job[4]
    whole = cli("distill", *job, "--json").data
    steps = tmp_path / "steps"
    assert cli("annotate", texts, "--labels", labels, "--teacher", teacher, "--out", steps, "-q").code == 0
    trained = cli("train", steps, "--student", "ngram", "--json")
    assert trained.data["labels"] == 90
    judged = cli("evaluate", steps, "--json").data
    assert cli("report", steps, "--no-texts").out.strip() == str(steps / "report.html")
    for key in ("agreement", "labels", "pool", "learning_curve", "disagreements"):
        assert judged.get(key) == whole.get(key)
    wrong = cli("train", steps, "--student", "giant")
    assert (wrong.code, "'ngram'" in wrong.line) == (2, True)
    assert cli("predict", steps, stdin="goal match striker league").code == 0


def test_a_report_without_texts_stays_so_until_it_is_to_have_them(cli: Cli, job: list[object], tmp_path: Path) -> None:
    run = tmp_path / "run"
    wrong = [{"id": r["id"], "label": SCHEME.names[n % 3 if n % 5 else (n + 1) % 3]} for n, r in enumerate(ROWS)]
    truth = table(tmp_path / "doubtful.csv", wrong)
    job[job.index("--teacher") + 1] = f"human:{truth}"
    page, texts = run / "report.html", [row["text"] for row in ROWS]
    done = cli("distill", *job, "--no-texts", "--json")
    assert done.code == 0, done.err
    assert done.data["disagreements"] == []
    assert not [text for text in texts if text in page.read_text() or text in done.out]
    for again in (["distill", run], ["report", run], ["evaluate", run, "--gold", people(tmp_path, 0)]):
        done = cli(*again, "--json")
        assert done.code == 0, done.err
        assert not [text for text in texts if text in page.read_text() or text in done.out]
    assert cli("report", run, "--texts").code == 0
    assert [text for text in texts if text in page.read_text()]


def test_a_sample_is_not_written_and_read_at_once(cli: Cli, job: list[object], tmp_path: Path) -> None:
    assert cli("annotate", *[x for x in job if x not in ("--student", "ngram")]).code == 0
    sample = tmp_path / "sample.csv"
    done = cli("evaluate", tmp_path / "run", "--sample", sample, "--gold", people(tmp_path, 0))
    assert (done.code, "one after the other" in done.line) == (2, True)
    assert not sample.exists()
