"""The report: one safe, complete, accessible file; and the same main table in the terminal."""

from __future__ import annotations

import base64
import copy
import hashlib
import io
import json
import re
from collections import Counter
from html.parser import HTMLParser
from importlib import resources
from pathlib import Path

import pytest
from rich.console import Console

from tests.pipeline.sample_metrics import TEXTS, Metrics, sample_metrics, unchecked_metrics, write_run
from tutelage.errors import InputError
from tutelage.pipeline import charts, figures
from tutelage.pipeline.report import as_json, render_report, write_report
from tutelage.pipeline.summary import render_summary

HOSTILE = "</script><script>alert('x')</script><img src=x onerror=alert(1)> & \"quotes\" \u2028"


class Page(HTMLParser):
    """What a browser would see: elements, their attributes, the text of scripts, and the readable text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.text = ""
        self._inside: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag in ("script", "style"):
            self._inside.append(tag)
            if tag == "script":
                self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:
        if tag in ("script", "style"):
            self._inside.pop()

    def handle_data(self, data: str) -> None:
        if not self._inside:
            self.text += data
        elif self._inside[-1] == "script":
            attributes, body = self.scripts[-1]
            self.scripts[-1] = attributes, body + data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.elements)

    def ids(self) -> list[str]:
        return [a["id"] for _, a in self.elements if a.get("id")]  # type: ignore[misc]

    @property
    def policy(self) -> str:
        return next(a["content"] or "" for _, a in self.elements if a.get("http-equiv") == "Content-Security-Policy")


@pytest.fixture(scope="module")
def metrics() -> Metrics:
    return sample_metrics()


@pytest.fixture(scope="module")
def source(metrics: Metrics, tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_report(write_run(tmp_path_factory.mktemp("run"), metrics)).read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(source: str) -> Page:
    return Page(source)


@pytest.fixture
def plain(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page without drawing the charts and without Vega: for tests that look at the rest."""
    for name in ("score", "language", "heat", "learning", "reliability", "coverage"):
        monkeypatch.setattr(charts, f"{name}_chart", lambda *_, **__: {})
    monkeypatch.setattr(charts, "to_svg", lambda spec: "<svg></svg>")
    monkeypatch.setattr(charts, "javascript", lambda: "/* vega */")


def test_nothing_is_loaded_from_anywhere(page: Page) -> None:
    for tag, attributes in page.elements:
        assert tag not in ("link", "iframe", "object", "embed", "base", "img")
        for name in ("src", "href", "xlink:href", "action", "srcset"):
            assert (attributes.get(name) or "#").startswith("#"), (tag, attributes)
    css = resources.files("tutelage.pipeline").joinpath("templates/report.css").read_text("utf-8")
    assert "url(" not in css
    assert "@import" not in css


def test_the_policy_lets_only_the_two_scripts_of_the_page_run(page: Page) -> None:
    programs = [body for attributes, body in page.scripts if attributes.get("type") != "application/json"]
    assert len(programs) == 2
    for body in programs:
        digest = base64.b64encode(hashlib.sha256(body.encode()).digest()).decode()
        assert f"'sha256-{digest}'" in page.policy
    assert page.policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe-eval" not in page.policy
    assert not [a for _, a in page.elements if any(name.startswith("on") for name in a)]


def test_every_chart_is_there_drawn_and_as_a_specification(page: Page, source: str) -> None:
    wanted = {
        f"spec-{x}" for x in ("scores", "languages", "transfer", "learning", "reliability", "coverage", "confusion")
    }
    blocks = {a["id"]: json.loads(body) for a, body in page.scripts if a.get("type") == "application/json"}
    assert set(blocks) == wanted
    assert all(
        spec["description"] and spec["$schema"].startswith("https://vega.github.io/schema/vega-lite")
        for spec in blocks.values()
    )
    drawn = [a for tag, a in page.elements if tag == "svg" and a.get("class") == "marks"]
    assert len(drawn) == len(wanted)
    assert source.count("window.vegaEmbed") == 1
    assert len(source) < 2_000_000


def test_colours_come_from_the_page_so_that_charts_follow_its_theme(page: Page) -> None:
    for attributes, body in page.scripts:
        if attributes.get("type") == "application/json":
            assert not re.findall(r'"(?:color|fill|stroke)": "#[0-9a-f]+"', body)
            assert "var(--" in body


def test_the_sections_are_in_the_order_of_what_matters(page: Page) -> None:
    wanted = ["verdict", "notes", "scores", "agreement", "labels", "languages", "curve", "confidence", "confusion",
              "disagreements", "pool", "cost", "made"]  # fmt: skip
    assert [x for x in page.ids() if x in wanted] == wanted


def test_headings_tables_and_charts_are_named(page: Page) -> None:
    assert page.count("h1") == 1
    assert page.count("table") == page.count("caption")
    assert all(a.get("scope") for tag, a in page.elements if tag == "th")
    assert all(a.get("aria-label") for tag, a in page.elements if tag == "figure")
    assert [a.get("lang") for tag, a in page.elements if tag == "html"] == ["en"]
    assert max(Counter(page.ids()).values()) == 1
    links = {a["href"][1:] for tag, a in page.elements if tag == "a" and a.get("href")}  # type: ignore[index]
    assert links <= set(page.ids())


def test_the_figures_are_those_of_the_metrics(page: Page, metrics: Metrics) -> None:
    for who in ("teacher", "student", "gold_student", "dummy"):
        assert f"{metrics[who]['macro_f1']:.3f}" in page.text
        assert figures.interval(metrics[who]["macro_f1_ci"]) in page.text
    assert metrics["learning_curve"]["advice"] in page.text
    assert metrics["gold"]["caveat"] in page.text
    assert "7,868 EUR" in page.text
    assert "refusal" in page.text
    assert "max_words: 512" in page.text


@pytest.mark.parametrize(
    "outcome, word", [("accepted", "Accepted"), ("refused", "Refused"), ("unchecked", "Unchecked")]
)
def test_the_verdict_is_a_word_and_an_icon_not_only_a_colour(plain: None, outcome: str, word: str) -> None:
    metrics = {
        "format": 1,
        "acceptance": {"outcome": outcome, "sentence": "Because.", "command": "tutelage evaluate x"},
    }
    html = render_report(metrics)
    assert f"<span>{word}</span>" in html
    assert html.index('class="icon"') < html.index(f"<span>{word}</span>")
    assert f"verdict {outcome}" in html
    assert "tutelage evaluate x" in html
    assert ("Do not distil from this teacher" in html) == (outcome == "refused")


def test_without_human_labels_the_page_says_so_and_shows_no_quality(plain: None) -> None:
    page = Page(render_report(unchecked_metrics()))
    assert "Unchecked" in page.text
    assert "tutelage evaluate runs/demo --sample to_review.csv" in page.text
    assert "how often the two are right is not known" in page.text
    assert "confusion" not in page.ids()
    assert "confidence" not in page.ids()
    assert "macro-F1" not in page.text.split("Do they mean the same?")[0].split("Please note")[1]


def test_any_part_may_be_absent(plain: None, metrics: Metrics) -> None:
    assert "Outcome" in render_report({"format": 1})
    for key in metrics:
        if key != "format":
            render_report({k: v for k, v in metrics.items() if k != key})
            render_report({"format": 1, key: metrics[key]})
    for outer in ("teacher", "student", "gold", "pool", "labels", "learning_curve", "cost", "dummy", "transfer"):
        for key in metrics[outer]:
            if (outer, key) in {("transfer", "languages"), ("transfer", "macro_f1"), ("learning_curve", "macro_f1")}:
                continue
            fewer = {k: v for k, v in metrics[outer].items() if k != key}
            render_report(metrics | {outer: fewer})
            render_report(metrics | {outer: fewer | {key: None}})


def test_labels_and_texts_cannot_become_markup(metrics: Metrics) -> None:
    """A text that tries to be a script is shown as text: in tables, in charts, in their data and in the drawings."""
    hostile = copy.deepcopy(metrics)
    old = hostile["scheme"]["names"][0]
    hostile = json.loads(json.dumps(hostile).replace(json.dumps(old)[1:-1], json.dumps(HOSTILE)[1:-1]))
    hostile["disagreements"][0] |= {"text": HOSTILE, "because": [HOSTILE]}
    hostile["run"] = hostile["teacher"]["name"] = hostile["acceptance"]["sentence"] = HOSTILE
    hostile["warnings"] = [HOSTILE]
    harmless, page = Page(render_report(metrics)), Page(render_report(hostile, configuration=HOSTILE))
    assert [tag for tag, _ in page.elements if tag == "img"] == []
    assert len(page.scripts) == len(harmless.scripts)
    for attributes, body in page.scripts:
        if attributes.get("type") == "application/json":
            json.loads(body)
            assert "<" not in body
        else:
            assert "alert('x')" not in body
    assert page.text.count("<script>alert('x')</script>") >= 8


def test_json_in_a_script_is_the_same_value() -> None:
    assert json.loads(as_json({"a": HOSTILE})) == {"a": HOSTILE}
    assert not set("<>&\u2028\u2029") & set(as_json(HOSTILE + "\u2029"))


def test_no_texts_means_no_texts(plain: None, metrics: Metrics) -> None:
    with_texts, without = render_report(metrics), render_report(metrics, texts=False)
    for text in TEXTS:
        fragment = text[:25]
        assert fragment in with_texts
        assert fragment not in without
    assert "news-" in with_texts
    assert not re.search(r"news-\d", without)
    assert "left out of this copy" in without
    assert "because of" in with_texts
    assert "because of" not in without


def test_the_disagreements_can_be_filtered_and_say_who_was_right(page: Page) -> None:
    items = [a for tag, a in page.elements if tag == "li" and "data-teacher" in a]
    assert len(items) == 100
    form = next(a for tag, a in page.elements if tag == "form")
    assert "hidden" in form  # until the script shows it
    assert "(student right)" in page.text
    assert "(teacher right)" in page.text


def test_many_labels_leave_out_the_heat_map_but_not_the_mistakes(plain: None) -> None:
    names = [f"label {k}" for k in range(41)]
    table = [[5 if i == j else 3 if j == i + 1 else 0 for j in range(41)] for i in range(41)]
    html = render_report(
        {"format": 1, "scheme": {"name": "many", "names": names}, "gold": {"n": 9, "confusion": table}}
    )
    assert "spec-confusion" not in html
    assert "<b>label 0</b> taken for <b>label 1</b>: 3 texts" in html


def test_the_configuration_is_shown_without_passwords_in_addresses(plain: None, tmp_path: Path) -> None:
    run = write_run(tmp_path, {"format": 1})
    (run / "run.yaml").write_text(
        "teacher:\n  base_url: https://me:hush@host/v1\nlabels: {name: x, labels: [{name: a}]}\n"
    )
    text = write_report(run).read_text(encoding="utf-8")
    assert "https://host/v1" in text
    assert "hush" not in text
    assert "labels: x (1 labels)" in text


def contrast(first: str, second: str) -> float:
    """WCAG contrast ratio of two #rrggbb colours."""

    def luminance(colour: str) -> float:
        parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(first), luminance(second)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_colours_reach_the_contrast_of_wcag_aa(theme: str) -> None:
    css = resources.files("tutelage.pipeline").joinpath("templates/report.css").read_text("utf-8")
    light, dark = re.findall(r":root \{(.*?)\}", css, re.S)[:2]
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", light if theme == "light" else dark))
    for ink in ("ink", "muted", "accent"):
        for back in ("paper", "panel"):
            assert contrast(colours[ink], colours[back]) >= 4.5, (ink, back)
    for tone in ("good", "bad", "warn"):
        for ink in (tone, "ink", "muted"):
            assert contrast(colours[ink], colours[f"{tone}-back"]) >= 4.5, (ink, tone)
    assert contrast(colours["ink"], colours["heat"]) >= 4.5
    for mark in ("accent", "soft", "teacher", "muted"):
        assert contrast(colours[mark], colours["paper"]) >= 3, mark


def test_faults_are_one_clear_line(plain: None, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="tutelage evaluate"):
        write_report(tmp_path)
    (tmp_path / "metrics.json").write_text("{")
    with pytest.raises(InputError, match="cannot read"):
        write_report(tmp_path)
    (tmp_path / "metrics.json").write_text('{"format": 2}')
    with pytest.raises(InputError, match="reads format 1"):
        write_report(tmp_path)
    (tmp_path / "metrics.json").write_text('{"format": 1}')
    (tmp_path / "report.html").mkdir()
    with pytest.raises(InputError, match="cannot write"):
        write_report(tmp_path)


def test_charts_of_the_smallest_inputs_draw() -> None:
    assert charts.learning_chart([10], [[0.5]], None, {})["layer"]
    point = {"threshold": 0.5, "coverage": 1.0, "accuracy": 0.5}
    svg = charts.to_svg(charts.coverage_chart([point], {"0.9": {"threshold": None, "coverage": 0.0, "accuracy": None}}))
    assert svg.startswith("<svg")
    assert "<script" not in charts.to_svg(
        charts.heat_chart(["<script>", "b"], [[1, 0], [0, 0]], rows="r", columns="c", shares=True)
    )


def test_the_headline_says_how_good_against_whom_and_how_sure() -> None:
    student = {"macro_f1": 0.84, "texts_per_second": 1234.0}
    base: Metrics = {"student": student, "teacher": {"macro_f1": 0.82}, "gold": {"n": 200}}
    assert figures.headline(base) == (
        "The student scores 0.840 macro-F1 on 200 texts labelled by people, 2.0 points above its teacher, "
        "at 1,234 texts a second."
    )
    assert "chance could make" in figures.headline(base | {"student_minus_teacher": {"ci": [-0.01, 0.05]}})
    assert "below its teacher" in figures.headline(base | {"teacher": {"macro_f1": 0.9}})
    assert "the same as its teacher" in figures.headline(base | {"teacher": {"macro_f1": 0.84}})
    assert "nothing has been measured" in figures.headline({})


def shown(metrics: Metrics) -> str:
    console = Console(width=140, record=True, file=io.StringIO())
    console.print(render_summary(metrics))
    return console.export_text()


def test_the_terminal_shows_the_same_table(metrics: Metrics) -> None:
    text = shown(metrics)
    for line in figures.lines(metrics):
        assert line.name in text
        assert figures.score(line.macro_f1) in text
    assert "macro-F1" not in shown(unchecked_metrics())
    assert "[red]x[/red]" in shown({"teacher": {"name": "[red]x[/red]", "macro_f1": 0.5}})
