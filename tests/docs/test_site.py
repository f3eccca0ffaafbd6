"""The site: it builds with every link and anchor in order, nothing in it is fetched from elsewhere, docstrings read well."""

from __future__ import annotations

import doctest
import importlib.util
import json
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path

import pytest

from tests.docs.pages import GENERATED, ROOT

for needed in ("mkdocs", "material", "mkdocstrings_handlers.python"):
    pytest.importorskip(needed, reason="the documentation is built with the extra `docs`")

LOADING = {"stylesheet", "icon", "preload", "prefetch", "preconnect", "dns-prefetch", "modulepreload", "manifest"}
"""Kinds of <link> that make a browser fetch; `canonical`, `next` and `prev` do not."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)],
        cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True, timeout=600, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


class _Fetched(HTMLParser):
    """Everything that a browser loads by itself when it shows a page."""

    def __init__(self) -> None:
        super().__init__()
        self.urls: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        values = {name: value or "" for name, value in attrs}
        if tag == "link" and not LOADING & set(values.get("rel", "").split()):
            return
        names = ("src", "srcset", "poster", "data", *(["href"] if tag in ("link", "image", "use") else []))
        self.urls += [values[name] for name in names if name in values]
        self.urls += re.findall(r"url\(['\"]?([^'\")]+)", values.get("style", ""))


def fetched(page: Path) -> _Fetched:
    parser = _Fetched()
    parser.feed(page.read_text(encoding="utf-8"))
    return parser


def test_pages_of_every_kind_are_there(site: Path) -> None:
    for page in ("index", "tutorials/vision", "how-to/own-data", "methods/ps-kd", "methods/index", "studies", "peers"):
        assert (site / f"{page}.html").is_file(), page
    for floor in ("pipeline", "students", "teachers", "training", "objectives", "curricula", "feedback", "evaluation"):
        assert f"{floor}.html" in (site / "reference" / "index.html").read_text(encoding="utf-8")


def test_no_page_loads_anything_from_elsewhere(site: Path) -> None:
    pages = sorted(site.rglob("*.html"))
    assert len(pages) > 200
    seen = 0
    for page in pages:
        parser = fetched(page)
        seen += len(parser.urls)
        assert not [url for url in parser.urls if re.match(r"(https?:)?//", url)], page
        text = page.read_text(encoding="utf-8")
        assert 'class="mermaid"' not in text, f"{page}: the theme would fetch mermaid from a CDN"
    assert seen > len(pages), "scripts and styles are seen at all"
    for sheet in site.rglob("*.css"):
        assert not re.search(r"(url\(|@import)\s*['\"]?(https?:)?//", sheet.read_text(encoding="utf-8")), sheet


def test_light_and_dark(site: Path) -> None:
    text = (site / "index.html").read_text(encoding="utf-8")
    assert {"default", "slate"} <= set(re.findall(r'data-md-color-scheme="(\w+)"', text))


def test_pictures_stand_in_the_page_and_have_its_colour(site: Path) -> None:
    text = (site / "architecture.html").read_text(encoding="utf-8")
    assert text.count('<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 702') == 1
    assert 'aria-labelledby="ps-kd-step-title ps-kd-step-desc"' in text
    assert "prefers-color-scheme:dark){svg" not in text


def test_the_list_of_methods_has_papers_and_verdicts(site: Path) -> None:
    text = (site / "methods" / "index.html").read_text(encoding="utf-8")
    board = json.loads((ROOT / "docs" / "studies.json").read_text(encoding="utf-8"))["studies"]
    shown = dict(re.findall(r'href="../studies.html#([\w-]+)">([a-z ]+)</a>', text))
    assert shown == {study["slug"]: study["verdict"] for study in board}
    assert "Self-Knowledge Distillation with Progressive Refinement of Targets (2021)" in text


def test_a_link_into_the_source_leads_to_the_file(site: Path) -> None:
    page = site / "architecture.html"
    links = re.findall(r'href="(source/[^"#]+)"', page.read_text(encoding="utf-8"))
    assert len(links) > 20
    for link in links:
        copied = site / link
        assert copied.read_bytes() == (ROOT / Path(link).relative_to("source")).read_bytes()


def test_every_module_of_a_floor_that_says_what_it_is_has_a_page(site: Path) -> None:
    for floor, module in (("students", "ngram"), ("methods", "distillation.ps_kd"), ("teachers", "llm.teacher")):
        assert (site / "reference" / floor / f"{module}.html").is_file()
    modules = {path.stem for path in (ROOT / "src/tutelage/objectives").glob("*.py")} - {"__init__"}
    assert {path.stem for path in (site / "reference" / "objectives").glob("*.html")} == modules


def test_docstrings_read_well(site: Path) -> None:
    for page in (site / "reference").rglob("*.html"):
        text = page.read_text(encoding="utf-8")
        assert "<blockquote>" not in text, f"{page}: a doctest is no quotation"
        assert not re.search(r"<p>\s*(Args|Raises|Shapes|Returns):", text), f"{page}: a section without its heading"
    ps_kd = (site / "reference/methods/distillation.ps_kd.html").read_text(encoding="utf-8")
    assert '<span class="gp">&gt;&gt;&gt; </span>' in ps_kd, "examples are set as code"
    assert "<strong>Shapes:</strong>" in ps_kd
    assert "number of training examples n" in ps_kd


def test_what_prepares_docstrings_does_as_it_says() -> None:
    spec = importlib.util.spec_from_file_location("docstrings", ROOT / "docs" / "docstrings.py")
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert doctest.testmod(module) == (0, 2)
    assert module.prepared("a `x < y` b <c>\n\n    z <= 1") == "a `x < y` b &lt;c>\n\n    z <= 1"


def test_links_of_the_readme_lead_to_files() -> None:
    links = re.findall(r"\]\(([^)#]+)", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert links
    links = [link for link in links if "://" not in link and Path(link).name not in GENERATED]
    assert [link for link in links if not (ROOT / link).is_file()] == []
