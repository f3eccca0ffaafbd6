"""`tutelage agreement`: three forms of files, a run folder, and what is wrong with a file."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest

from tests.cli.conftest import KEY, Cli
from tests.pipeline.corpora import MULTI, SCHEME, jsonl, rows, said, table
from tests.teachers.endpoint import Endpoint

WIDE = [
    {"H1_setup": "1", "H1_noise": "0", "H2_setup": "1.0", "H2_noise": "0", "bot_setup": "0", "bot_noise": "1"},
    {"H1_setup": "0", "H1_noise": "1", "H2_setup": "0", "H2_noise": "1", "bot_setup": "0", "bot_noise": "1"},
    {"H1_setup": "0", "H1_noise": "0", "H2_setup": "1", "H2_noise": "", "bot_setup": "0", "bot_noise": "0"},
    {"H1_setup": "1", "H1_noise": "0", "H2_setup": "1", "H2_noise": "0", "bot_setup": "1", "bot_noise": "0"},
]


def test_one_column_a_rater_and_label(cli: Cli, tmp_path: Path) -> None:
    file = table(tmp_path / "codes.csv", WIDE)
    done = cli("agreement", file, "--raters", "H1,H2", "--models", "bot", "--json")
    assert done.code == 0, done.err
    setup, noise = done.data["labels"]
    assert (setup["name"], setup["positives"], setup["people"]["value"]) == ("setup", 3, 0.5)
    assert setup["models"]["bot"]["value"] == pytest.approx((0.5 + 0.2) / 2)
    assert setup["outcome"] == "needs a better rubric"
    assert (noise["people"]["value"], noise["people"]["n"]) == (1.0, 3), "the empty cell is left out"
    pairs = {tuple(pair["raters"]): pair["value"] for pair in setup["pairs"]}
    assert pairs[("H1", "bot")] == 0.5
    assert done.data["relation"] is None
    shown = cli("agreement", file, "--raters", "H1,H2", "--models", "bot", "--measure", "alpha")
    assert shown.code == 0
    assert "better rubric" in shown.out
    assert "whole answers, H1 and H2: alpha" in shown.out


def test_one_column_a_rater(cli: Cli, tmp_path: Path) -> None:
    cells = [("a", '["a"]'), ("a|b", "b|a"), ("b", "b"), ("", "a")]
    file = table(tmp_path / "codes.csv", [{"ann": x, "ben": y} for x, y in cells])
    found = cli("agreement", file, "--raters", "ann,ben", "--json").data
    assert [label["name"] for label in found["labels"]] == ["a", "b"]
    assert {label["people"]["value"] for label in found["labels"]} == {1.0}
    assert found["labels"][0]["people"]["n"] == 3
    assert found["overall"][0]["value"] == 1.0


def test_one_row_a_text_and_annotator(cli: Cli, tmp_path: Path) -> None:
    given = [
        ("1", "ann", "x"),
        ("1", "ben", "x"),
        ("2", "ann", "y"),
        ("2", "ben", "x"),
        ("3", "ann", "y"),
        ("3", "ben", "y"),
    ]
    file = table(tmp_path / "codes.csv", [{"id": i, "annotator": who, "label": label} for i, who, label in given])
    found = cli("agreement", file, "--json").data
    assert found["raters"] == ["ann", "ben"]
    assert found["labels"][0]["people"]["value"] == pytest.approx(0.4)


def test_a_run_knows_its_people_teacher_and_student(cli: Cli, tmp_path: Path) -> None:
    texts = rows(90)
    labels = tmp_path / "labels.yaml"
    labels.write_text(SCHEME.to_yaml())
    truth = table(tmp_path / "truth.csv", [{"id": r["id"], "label": r["topic"]} for r in texts])
    reviewed = [{"id": r["id"], "label": r["topic"], "label_2": r["topic"]} for r in texts[:30]]
    gold = table(tmp_path / "gold.csv", reviewed)
    run = tmp_path / "run"
    source = jsonl(tmp_path / "texts.jsonl", texts)
    made = cli("annotate", source, "--labels", labels, "--teacher", f"human:{truth}", "--gold", gold, "--out", run)
    assert made.code == 0, made.err
    assert cli("train", run, "--student", "ngram").code == 0
    found = cli("agreement", run, "--json").data
    assert found["models"] == ["teacher", "student"]
    assert len(found["raters"]) == 4
    assert {label["people"]["value"] for label in found["labels"]} == {1.0}
    assert {label["outcome"] for label in found["labels"]} == {"ready"}
    assert "leave out --raters" in cli("agreement", run, "--raters", "a,b").line


def test_a_run_without_people_says_how_to_get_them(cli: Cli, tmp_path: Path) -> None:
    texts = rows(60)
    labels = tmp_path / "labels.yaml"
    labels.write_text(SCHEME.to_yaml())
    truth = table(tmp_path / "truth.csv", [{"id": r["id"], "label": r["topic"]} for r in texts])
    run = tmp_path / "run"
    source = jsonl(tmp_path / "texts.jsonl", texts)
    assert cli("annotate", source, "--labels", labels, "--teacher", f"human:{truth}", "--out", run).code == 0
    assert "--sample to_review.csv" in cli("agreement", run).line


def test_a_rubric_is_asked_category_by_category_and_learned_from(
    cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    texts = rows(36)
    labels = tmp_path / "rubric.yaml"
    labels.write_text(MULTI.to_yaml())

    def oracle(text: str, prompt: str) -> str:
        statement = next(name for name in MULTI.names if f"belongs under '{name}'" in prompt)
        return json.dumps({"label": "true" if statement in said(text) else "false"})

    source, run = jsonl(tmp_path / "texts.jsonl", texts), tmp_path / "run"
    with Endpoint(oracle, key=KEY, model="known") as endpoint:
        job = [
            "annotate",
            source,
            "--labels",
            labels,
            "--teacher",
            "rubric:openai:known",
            "--base-url",
            endpoint.url,
            "--out",
            run,
        ]
        done = cli(*job, "--gold", "topic", "--json")
        assert done.code == 0, done.err
        assert endpoint.total == 36 * len(MULTI)
        assert cli("annotate", run).code == 0
        assert endpoint.total == 36 * len(MULTI), "nothing is paid for twice"
    assert cli("train", run, "--student", "ngram").code == 0
    found = cli("agreement", run, "--json").data
    assert {label["models"]["teacher"]["value"] for label in found["labels"]} == {1.0}


@pytest.mark.parametrize(
    ("options", "line"),
    [
        ([], "which raters? Name them with --raters"),
        (["--raters", "H1,H3"], "no column is 'H3' or begins with 'H3_'"),
        (["--raters", "H1"], "agreement needs two raters"),
        (["--raters", "H1,H2", "--measure", "pi"], "--measure is kappa or alpha"),
        (["--raters", "H1,H2", "--labels", "ag-news"], "rater 'H1' has no column 'H1_World'"),
    ],
)
def test_what_is_wrong_in_one_line(cli: Cli, tmp_path: Path, options: list[str], line: str) -> None:
    done = cli("agreement", table(tmp_path / "codes.csv", WIDE), *options)
    assert (done.code, line in done.line) == (2, True), done.line


def test_cells_that_are_no_codes(cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "codes.csv"
    with file.open("w", newline="") as stream:
        csv.writer(stream).writerows([["a_x", "b_x"], ["1", "maybe"]])
    assert "row 1, column 'b_x': expected 0, 1 or nothing" in cli("agreement", file, "--raters", "a,b").line
    assert "no such file" in cli("agreement", tmp_path / "none.csv", "--raters", "a,b").line.lower()


def test_the_people_of_a_file_need_no_naming(cli: Cli, tmp_path: Path) -> None:
    given = [(str(i), who, "xy"[i % 2]) for i in range(8) for who in ("ann", "ben", "bot")]
    file = table(tmp_path / "codes.csv", [{"id": i, "annotator": who, "label": label} for i, who, label in given])
    found = cli("agreement", file, "--models", "bot", "--json").data
    assert (found["raters"], found["models"]) == (["ann", "ben", "bot"], ["bot"])


def test_a_narrow_terminal_loses_no_figure(cli: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "30")
    shown = cli("agreement", table(tmp_path / "codes.csv", WIDE), "--raters", "H1,H2", "--models", "bot").out
    assert "…" not in shown
    assert "0.50 [" in shown
