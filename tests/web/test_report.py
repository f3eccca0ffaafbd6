"""The report page, its cells, its slider, its Pareto plot, and the file to send on."""

from __future__ import annotations

import json
import math

import pytest
from fastapi.testclient import TestClient

from tests.web.common import Page
from tests.web.runs import NASTY
from tutelage.pipeline.folder import Run
from tutelage.pipeline.gold import gold_codes
from tutelage.web.pages.report import pareto_rows, texts_of_cell, threshold_at
from tutelage.web.plots import pareto_chart

pytestmark = pytest.mark.usefixtures("run")


def test_the_page_has_verdict_scores_agreement_curves_and_cells(client: TestClient, run: Run) -> None:
    html = client.get("/runs/desk/report").text
    page = Page(html)
    metrics = run.json("metrics")
    assert metrics["acceptance"]["sentence"] in page.text
    for number in (metrics["student"]["macro_f1"], metrics["teacher"]["macro_f1"]):
        assert f"{number:.3f}" in page.text
    assert "Teacher and people" in page.text
    drawn = [svg for svg in page.all("svg") if svg.get("class") == "marks"]
    assert len(drawn) >= 2
    links = [a["hx-get"] for a in page.all("a") if "hx-get" in a]
    assert len(links) == sum(value > 0 for row in metrics["gold"]["confusion"] for value in row)


def test_a_cell_opens_the_texts_that_it_counts(client: TestClient, run: Run) -> None:
    confusion = run.json("metrics")["gold"]["confusion"]
    total = 0
    for i, row in enumerate(confusion):
        for j, value in enumerate(row):
            found = texts_of_cell(run, i, j)
            assert len(found) == value
            assert [sure for _, sure in found] == sorted((sure for _, sure in found), reverse=True)
            total += value
    assert total == run.table("gold").num_rows
    i, j = next((i, j) for i, row in enumerate(confusion) for j, value in enumerate(row) if value)
    text = texts_of_cell(run, i, j)[0][0]
    assert text in Page(client.get(f"/runs/desk/report/cell?gold={i}&said={j}").text).text
    place = run.table("gold")["text"].to_pylist().index(text)
    assert gold_codes(run.table("gold"), "gold", run)[place] == i


@pytest.mark.parametrize("query", ["gold=9&said=0", "gold=-1&said=0", "gold=a&said=0", "", "gold=0"])
def test_a_cell_that_is_none_is_one_line(client: TestClient, query: str) -> None:
    assert client.get(f"/runs/desk/report/cell?{query}").status_code in (400, 404)


def test_the_slider_says_what_a_threshold_would_do(client: TestClient, run: Run) -> None:
    points = run.json("metrics")["student"]["coverage"]
    every = threshold_at(points, 0.0)
    assert every["coverage"] == 1.0
    kept = [threshold_at(points, at / 50)["coverage"] for at in range(51)]
    assert kept == sorted(kept, reverse=True)
    for at in (math.nan, -3.0, math.inf):
        assert 0 <= threshold_at(points, at)["threshold"] <= 1
    page = Page(client.get(f"/runs/desk/report/threshold?at={points[0]['threshold']}").text)
    assert f"{100 * points[0]['coverage']:.0f}%" in page.text
    assert client.get("/runs/desk/report/threshold?at=much").status_code == 400


def test_the_front_holds_who_is_beaten_by_nobody_in_both() -> None:
    metrics = {
        "teacher": {"macro_f1": 0.9, "texts_per_second": 2.0},
        "student": {"macro_f1": 0.8},
        "students": [
            {"tier": "ngram", "chosen": True, "macro_f1": 0.8, "texts_per_second": 1000.0},
            {"tier": "static", "macro_f1": 0.7, "texts_per_second": 100.0},
            {"tier": "encoder", "macro_f1": None, "texts_per_second": 5.0},
        ],
    }
    assert [(row["name"], row["front"]) for row in pareto_rows(metrics)] == [
        ("teacher", True), ("ngram", True), ("static", False),
    ]  # fmt: skip


def test_between_two_points_the_front_promises_what_the_faster_one_has() -> None:
    points = [("slow", 10.0, 0.9), ("fast", 1_000.0, 0.5)]
    rows = [{"name": n, "role": "student", "speed": s, "value": v, "front": True} for n, s, v in points]
    line = next(layer for layer in pareto_chart(rows)["layer"] if layer["mark"]["type"] == "line")
    assert line["mark"]["interpolate"] == "step-before"  # down at the slow one, not at the fast one


def test_without_labels_of_people_students_are_placed_by_agreement_with_the_teacher() -> None:
    metrics = {"student": {}, "students": [{"tier": "ngram", "dev_macro_f1": 0.6, "texts_per_second": 9.0}]}
    assert [(row["name"], row["value"]) for row in pareto_rows(metrics)] == [("ngram", 0.6)]


def test_figures_that_lack_everything_still_make_a_page(client: TestClient, run: Run) -> None:
    (run.path / "metrics.json").write_text(json.dumps({"format": 1}))
    assert client.get("/runs/desk/report").status_code == 200
    (run.path / "metrics.json").write_text(json.dumps({"format": 99}))
    assert "format 99" in client.get("/runs/desk/report").text
    (run.path / "metrics.json").unlink()
    assert "no figures yet" in Page(client.get("/runs/desk/report").text).text


def test_texts_and_labels_are_shown_as_text(client: TestClient, run: Run) -> None:
    metrics = run.json("metrics")
    metrics["disagreements"] = [
        {
            "id": "1",
            "text": NASTY,
            "teacher": NASTY,
            "student": "x",
            "teacher_confidence": 1.0,
            "student_confidence": 1.0,
        }
    ]
    metrics["warnings"] = [NASTY]
    metrics["scheme"]["names"][0] = NASTY
    run.put_json("metrics", metrics)
    html = client.get("/runs/desk/report").text
    assert NASTY not in html
    assert NASTY in Page(html).text


def test_the_file_to_send_on_is_made_afresh_and_not_opened_here(client: TestClient, run: Run) -> None:
    (run.path / "report.html").write_text("<script>evil()</script>")
    reply = client.get("/runs/desk/report.html")
    assert "attachment" in reply.headers["content-disposition"]
    assert "evil()" not in reply.text
    text = run.json("metrics")["disagreements"][0]["text"]
    assert text in reply.text
    assert text not in client.get("/runs/desk/report.html?texts=false").text
    run.finish("report", texts=False)
    assert text not in client.get("/runs/desk/report.html").text
    assert text in client.get("/runs/desk/report.html?texts=true").text
