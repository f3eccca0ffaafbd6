"""Tracing a log from end to end: tables that agree with it, an honest choice, and a page that says what it knows."""

from __future__ import annotations

import json
import re
import stat
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pyarrow.csv as pacsv
import pyarrow.parquet as pq
import pytest

from tests.cli.conftest import Cli, cli  # noqa: F401 - a fixture
from tutelage.data.knowledge_tracing import AnswerLog
from tutelage.errors import InputError, MissingExtra
from tutelage.pipeline import trace as module
from tutelage.pipeline.trace import TraceOptions, learning_curves, trace
from tutelage.pipeline.trace_page import headline, render_trace
from tutelage.students.learners import Learners

LOG = Learners(60, 3, 12, "bkt").log(seed=0)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("trace")
    trace(LOG, out, TraceOptions("pfa"))
    return out


def facts(folder: Path) -> dict:
    return json.loads((folder / "trace.json").read_text())


def test_mastery_has_a_row_for_every_learner_and_skill(folder: Path):
    table = pq.read_table(folder / "mastery.parquet")
    assert table.num_rows == 60 * 3
    right, wrong = LOG.totals()
    assert table["answers"].to_pylist() == (right + wrong).ravel().tolist()
    assert table["right"].to_pylist() == right.ravel().tolist()
    assert table["learner"].to_pylist()[:4] == ["learner 1"] * 3 + ["learner 2"]
    assert 0 < min(table["mastery"].to_pylist()) < max(table["mastery"].to_pylist()) < 1
    lines = pacsv.read_csv(folder / "mastery.csv")
    assert lines["mastery"].to_numpy() == pytest.approx(table["mastery"].to_numpy(), abs=1e-6)
    assert lines.drop_columns(["mastery"]).to_pylist() == table.drop_columns(["mastery"]).to_pylist()


def test_batches_of_learners_change_nothing(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "LEARNERS_AT_ONCE", 7)
    trace(LOG, tmp_path, TraceOptions("pfa"))
    assert pq.read_table(tmp_path / "mastery.parquet").equals(pq.read_table(folder / "mastery.parquet"))


def test_predictions_say_which_part_they_come_from(folder: Path):
    table = pq.read_table(folder / "predictions.parquet")
    assert table["correct"].to_pylist() == LOG.correct.tolist()
    parts = dict(zip(table["learner"].to_pylist(), table["part"].to_pylist(), strict=True))
    held = facts(folder)["parts"]
    assert {name: list(parts.values()).count(name) for name in held} == {n: p["learners"] for n, p in held.items()}
    assert held["train"]["learners"] == 42


def test_the_figures_are_of_learners_that_nothing_was_learned_from(folder: Path):
    table = pq.read_table(folder / "predictions.parquet").to_pandas()
    test = table[table.part == "test"]
    from sklearn.metrics import roc_auc_score

    (row,) = [row for row in facts(folder)["tracers"] if row["name"] == "pfa"]
    assert row["test_auc"] == pytest.approx(roc_auc_score(test.correct, test.predicted), abs=1e-6)
    assert row["interval"][0] < row["test_auc"] < row["interval"][1]
    assert [row["name"] for row in facts(folder)["tracers"]] == ["mean", "pfa"]


def test_learners_with_few_answers_are_told_their_mastery_all_the_same(tmp_path: Path):
    short = AnswerLog.of({f"learner {n}": [("a", n % 2), ("b", 1)] * (3 if n else 1) for n in range(40)})
    trace(short, tmp_path, TraceOptions("mean"))
    assert pq.read_table(tmp_path / "mastery.parquet").num_rows == 80
    parts = pq.read_table(tmp_path / "predictions.parquet")["part"].to_pylist()
    assert parts[:2] == ["", ""]


def test_auto_takes_what_predicts_best_on_the_choosing_learners(tmp_path: Path):
    done = trace(LOG, tmp_path, TraceOptions("auto", epochs=1))
    assert [row["name"] for row in done["tracers"]] == list(module.TRACERS)
    assert done["chosen"] == max(done["tracers"], key=lambda row: row["choose_auc"])["name"]


def test_without_torch_only_the_simple_tracers_take_part(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    assert TraceOptions("auto").names() == ["mean", "pfa"]
    with pytest.raises(MissingExtra, match="tutelage\\[encoder\\]"):
        TraceOptions("dkt").names()


def test_learning_curves_are_counted_try_by_try():
    log = AnswerLog.of({f"learner {n}": [("a", 0), ("a", 1), ("b", 1)] for n in range(5)})
    predicted = np.tile([0.2, 0.6, 0.9], 5)
    curves = {curve["skill"]: curve["points"] for curve in learning_curves(log, predicted)}
    assert curves["a"] == [
        {"try": 1, "observed": 0.0, "predicted": pytest.approx(0.2), "answers": 5},
        {"try": 2, "observed": 1.0, "predicted": pytest.approx(0.6), "answers": 5},
    ]
    assert curves["all skills"][0]["answers"] == 10
    assert [point["try"] for point in learning_curves(log, predicted, fewest=6)[0]["points"]] == [1]


def test_names_the_weak_skills_that_were_tried(folder: Path):
    grid = facts(folder)["grid"]
    means = [np.mean([cell["mastery"] for cell in row["cells"]]) for row in grid["rows"]]
    assert means == sorted(means)
    assert len(grid["rows"]) == 30
    for row in grid["rows"]:
        cells = dict(zip(grid["skills"], row["cells"], strict=True))
        assert all(cells[skill]["answers"] and cells[skill]["mastery"] < 0.8 for skill in row["next"])


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))


def test_the_page_needs_nothing_else_and_escapes_names(folder: Path):
    known = facts(folder)
    known["grid"]["rows"][0]["learner"] = "<img src=x onerror=alert(1)>"
    page = render_trace(known)
    tags = _Tags()
    tags.feed(page)
    assert not [
        t for t, a in tags.seen if t in ("script", "img", "link", "iframe") or any(k in ("src", "onerror") for k in a)
    ]
    assert not re.search(r"url\(|@import", page)
    assert "&lt;img src=x" in page
    assert sum(tag == "svg" for tag, _ in tags.seen) == 2
    assert page.count("<td") > 30 * 3


@pytest.mark.parametrize(
    ("interval", "words"),
    [([0.1, 0.2], "better than counting"), ([-0.01, 0.02], "not surely better"), ([-0.05, 0.001], "not better")],
)
def test_the_headline_says_whether_it_beats_counting(folder: Path, interval: list[float], words: str):
    known = facts(folder) | {"against": {"name": "pfa", "gain": 0.0, "interval": interval}}
    assert words in headline(known)


@pytest.mark.parametrize(
    ("log", "options", "message"),
    [
        (LOG, TraceOptions("irt"), "no tracer 'irt'; there are auto, mean"),
        (LOG.take(range(19)), TraceOptions("mean"), "19 learners have 5 answers or more; at least 20"),
        (LOG, TraceOptions("mean", shortest=13), "0 learners have 13 answers .*see --shortest"),
        (AnswerLog.of({str(n): [("a", 1)] * 5 for n in range(30)}), TraceOptions("mean"), "all right or all wrong"),
    ],
)
def test_refuses_what_cannot_be_traced(tmp_path: Path, log: AnswerLog, options: TraceOptions, message: str):
    with pytest.raises(InputError, match=message):
        trace(log, tmp_path / "out", options)
    assert not (tmp_path / "out").exists()


def test_the_verb_traces_a_three_line_file(tmp_path: Path, cli: Cli):  # noqa: F811
    lines = []
    for learner in range(30):
        outcomes = [str((learner + step) % 3 // 2) for step in range(6)]
        lines += ["6", ",".join("121212"), ",".join(outcomes)]
    file = tmp_path / "answers.csv"
    file.write_text("\n".join(lines))
    done = cli("trace", file, "--out", tmp_path / "out", "--tracer", "mean")
    assert done.code == 0, done.err
    assert "mean" in done.out
    assert (tmp_path / "out" / "trace.html").exists()
    quiet = cli("trace", file, "--out", tmp_path / "out", "--tracer", "pfa", "--json")
    assert quiet.data["chosen"] == "pfa"
    assert not quiet.err


def test_the_verb_says_what_is_wrong_in_one_line(tmp_path: Path, cli: Cli):  # noqa: F811
    file = tmp_path / "log.csv"
    file.write_text("who,skill,correct\na,b,1\n")
    done = cli("trace", file)
    assert done.code == 2
    assert "say --learner with one of who, skill, correct" in done.line


def test_the_folder_is_private_ours_and_made_before_anything_is_learned(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    out = tmp_path / "trace"
    for _ in range(2):
        trace(LOG, out, TraceOptions("mean"))
        assert stat.S_IMODE(out.stat().st_mode) == 0o700
    monkeypatch.setattr(module, "_make", lambda *_: pytest.fail("learned before it was known where to write"))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").touch()
    with pytest.raises(InputError, match="holds no trace"):
        trace(LOG, tmp_path / "mine", TraceOptions("mean"))
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot write"):
        trace(LOG, tmp_path / "file", TraceOptions("mean"))


def test_no_name_is_run_by_a_spreadsheet(tmp_path: Path):
    learners = [f"=cmd|{n}" for n in range(len(LOG))]
    trace(replace(LOG, learners=tuple(learners)), tmp_path / "trace", TraceOptions("mean"))
    assert pacsv.read_csv(tmp_path / "trace" / "mastery.csv")["learner"][0].as_py() == "'=cmd|0"
    assert pq.read_table(tmp_path / "trace" / "mastery.parquet")["learner"][0].as_py() == "=cmd|0"
