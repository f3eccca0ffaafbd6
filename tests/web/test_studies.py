"""The scoreboard and the page of a method."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.web.common import Page, opened, scoreboard, settings
from tutelage.studies import catalogue
from tutelage.web import plots


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    folder = tmp_path_factory.mktemp("studies")
    with opened(settings(folder, scoreboard=scoreboard(folder / "studies.json"))) as client:
        yield client


def listed(html: str) -> list[str]:
    return re.findall(r'<h2><a href="/studies/([^"]+)">', html)


def test_every_method_is_listed_with_a_verdict_or_as_not_run(client: TestClient) -> None:
    html = client.get("/studies").text
    assert listed(html) == [method.slug for method in catalogue.methods()]
    tally = dict(re.findall(r'<li class="\w+"><b>(\d+)</b> ([\w ]+)</li>', html)[::-1])
    assert tally == {"1": "holds", str(len(listed(html)) - 2): "not run", "0": "inconclusive"}
    assert "swing &lt; kd" in html
    assert "-5" in html


@pytest.mark.parametrize(
    ("query", "slugs"),
    [
        ("verdict=holds", ["swing"]),
        ("verdict=does not hold&family=distillation", ["hard"]),
        ("words=CLAIM+of+Swing", ["swing"]),
        ("family=nowhere", []),
    ],
)
def test_the_scoreboard_can_be_narrowed(client: TestClient, query: str, slugs: list[str]) -> None:
    assert listed(client.get(f"/studies?{query}").text) == slugs


def test_a_method_has_its_verdict_its_figures_its_plot_and_its_command(client: TestClient) -> None:
    html = client.get("/studies/swing").text
    page = Page(html)
    assert "tutelage study swing" in page.text
    assert "1.5 ± 0.707" in page.text  # exposure of the method, by hand: 1 and 2
    assert "A sentence by a rule." in page.text
    charts = [svg for svg in page.all("svg") if "marks" in (svg.get("class") or "")]
    assert len(charts) == 2
    assert "Holds" in page.text
    assert "distil the skill, not the secrets" in page.text  # the docstring
    assert "token_temperature" in page.text


def test_a_method_without_figures_says_so_and_how_to_get_them(client: TestClient) -> None:
    text = Page(client.get("/studies/sight").text).text
    assert "Not run" in text
    assert "tutelage study sight" in text


def test_no_such_method(client: TestClient) -> None:
    reply = client.get("/studies/%3Cscript%3E")
    assert reply.status_code == 404
    assert "&lt;script&gt;" in reply.text


@pytest.mark.parametrize("content", ["", "[1]", '{"studies": [{}]}'])
def test_a_scoreboard_that_is_none_is_one_line(folder: Path, content: str) -> None:
    path = folder / "studies.json"
    path.write_text(content)
    with opened(settings(folder, scoreboard=path)) as client:
        reply = client.get("/studies")
    assert reply.status_code == 400
    assert "is no scoreboard of studies" in reply.text


def test_arms_are_drawn_with_every_seed_and_their_mean() -> None:
    rows = [{"arm": "a", "role": "method", "seed": n, "value": float(n)} for n in (1, 2, 6)]
    spec = plots.arms_chart("loss", rows)
    assert "a 3" in spec["description"]
    assert plots.drawn(spec).count('aria-roledescription="circle"') in (0, 3)
    assert "<script" not in plots.drawn(plots.arms_chart("<script>", rows))
