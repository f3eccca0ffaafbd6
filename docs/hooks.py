"""What mkdocs does not do by itself: links into the source tree, pages that may be missing, the reference.

A page may link to any file of the repository (`../src/…`, `../tests/…`): the file goes into the site under `source/`, and
the link leads there, so that a link to a file which is gone fails a strict build. The reference is one page a module,
listed by floor; what stands on it comes from the docstrings. Pictures go into the pages that show them.
"""

from __future__ import annotations

import ast
import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "src" / "tutelage"
FLOORS = {
    "pipeline": "the main job: a run is a folder",
    "students": "who learns",
    "teachers": "who knows",
    "training": "the one loop",
    "objectives": "how far from what was said",
    "curricula": "which examples, when",
    "feedback": "how a teacher changes",
    "evaluation": "did it work",
    "data": "texts, labels, splits, views",
    "methods": "the literature, one file each",
}
"""Folders of the package that the reference shows, and what each is."""

PICTURE = re.compile(r'<img alt="[^"]*" src="([^"]*images/[\w-]+\.svg)"[^>]*>')
"""A picture of ours (see pictures.py) on a page."""

OUTSIDE = re.compile(r"(?<=\]\()(\.\./[^)\s#]+)(?=[)#])")
"""The target of a link that climbs."""

METHODS = """# Methods

Published systems of teacher–student learning as short code. Each page says when to take one, how it is called on your own
models, and what to look out for; `tutelage study SLUG` shows whether its claim holds, and the last column what it showed here.
"""

REFERENCE = """# Reference

From the docstrings, one page a module, listed by floor (see [Architecture](../architecture.md)). `tutelage` itself has two
names: [`distill`][tutelage.pipeline.distill.distill] and [`LabelScheme`][tutelage.data.labels.LabelScheme].

| floor | what |
|---|---|
"""

SCOREBOARD = """# Verdicts

`tutelage study --all` writes this page: every method, its claim, and whether it held here. This copy of the documentation was
built before it had run.
"""


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Fill the sections whose pages are not written down in mkdocs.yml."""
    docs = Path(config.docs_dir)
    sections: dict[str, list[object]] = {
        next(iter(entry)): next(iter(entry.values())) for entry in config.nav or [] if isinstance(entry, dict)
    }
    if (docs / "workbench.md").exists():
        sections["Using it"].insert(3, "workbench.md")
    for name in ("studies.md", "scale.md", "fuzzing.md"):
        if (docs / name).exists() or name == "studies.md":
            sections["Inside"].append(name)
    sections["Methods"].append("methods/index.md")
    sections["Methods"].extend({page.stem: f"methods/{page.name}"} for page in _method_pages(docs))
    sections["Reference"].append("reference/index.md")
    sections["Reference"].extend({floor: f"reference/{floor}.md"} for floor in FLOORS)
    config.nav = [{key: sections[key]} if key else entry for entry in config.nav or [] for key in [_key(entry)]]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the reference, the list of methods, and every source file that a page links to."""
    docs = Path(config.docs_dir)
    if files.get_file_from_path("studies.md") is None:
        files.append(File.generated(config, "studies.md", content=SCOREBOARD))
    files.append(File.generated(config, "methods/index.md", content=_method_list(docs)))
    for uri, content in _reference():
        files.append(File.generated(config, uri, content=content))
    linked = {path for page in docs.rglob("*.md") for path in _linked(page.read_text("utf-8"), page, docs)}
    for path in sorted(linked):
        uri = f"source/{path.relative_to(ROOT).as_posix()}"
        files.append(File.generated(config, uri, abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links that leave the folder of the pages to the copy of the file in the site."""
    docs = Path(config.docs_dir)
    here = docs / page.file.src_uri

    def moved(match: re.Match[str]) -> str:
        path = _outside(match[1], here, docs)
        if path is None:
            return match[1]
        target = Path("source", path.relative_to(ROOT)).as_posix()
        return os.path.relpath(target, Path(page.file.src_uri).parent.as_posix() or ".")

    return OUTSIDE.sub(moved, markdown)


def on_page_content(html: str, *, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Put our pictures into the page itself, where they take the colour of its text, light or dark."""
    here = (Path(config.docs_dir) / page.file.src_uri).parent

    def drawn(match: re.Match[str]) -> str:
        picture = re.sub(r"<style>.*?</style>\n", "", (here / match[1]).read_text("utf-8"))
        return f'<span class="picture" tabindex="0">{picture}</span>'  # a span: the image stood in a paragraph

    return PICTURE.sub(drawn, html)


def _key(entry: object) -> str:
    return next(iter(entry)) if isinstance(entry, dict) else ""


def _outside(target: str, page: Path, docs: Path) -> Path | None:
    """The file of the repository, outside of `docs`, that a relative link of a page leads to; None if it leads elsewhere."""
    path = (page.parent / target).resolve()
    inside = path.is_relative_to(docs.resolve()) or not path.is_relative_to(ROOT)
    return None if inside or not path.is_file() else path


def _linked(text: str, page: Path, docs: Path) -> Iterator[Path]:
    for match in OUTSIDE.finditer(text):
        path = _outside(match[1], page, docs)
        if path is not None:
            yield path


def _method_pages(docs: Path) -> list[Path]:
    return sorted(page for page in (docs / "methods").glob("*.md") if page.name != "index.md")


def _method_list(docs: Path) -> str:
    """One line a method: the title of its page says what it is, the scoreboard which paper it is from and what came out."""
    families = {
        path.stem.replace("_", "-"): path.parent.name
        for path in sorted((PACKAGE / "methods").glob("*/*.py"))
        if path.stem != "__init__"
    }
    judged = _judged(docs)
    rows = []
    for page in _method_pages(docs):
        title = page.read_text("utf-8").splitlines()[0].lstrip("# ")
        what = title.partition(": ")[2] or title
        paper, verdict = judged.get(page.stem, ("–", "not run"))
        rows.append((families.get(page.stem, "–"), f"| [{page.stem}]({page.name}) | {what} | {paper} | {verdict} |"))
    lines = [METHODS]
    for family in sorted({family for family, _ in rows}):
        lines += [f"## {family.capitalize()}", "", "| method | what it is | paper | verdict |", "|---|---|---|---|"]
        lines += [*(row for name, row in rows if name == family), ""]
    return "\n".join(lines) + "\n"


def _judged(docs: Path) -> dict[str, tuple[str, str]]:
    """(paper, verdict with a link to its figures) by slug, from the scoreboard; none where it has not been made."""
    board = docs / "studies.json"
    studies = json.loads(board.read_text("utf-8"))["studies"] if board.exists() else []
    return {
        study["slug"]: (
            f"{study['paper']['title']} ({study['paper']['year']})".replace("|", "\\|"),
            f"[{study['verdict']}](../studies.md#{study['slug']})",
        )
        for study in studies
    }


def _reference() -> Iterator[tuple[str, str]]:
    """The pages of the reference: (place, Markdown)."""
    floors = [f"| [{floor}]({floor}.md) | {what} |" for floor, what in FLOORS.items()]
    yield "reference/index.md", REFERENCE + "\n".join(floors)
    for floor, what in FLOORS.items():
        rows = []
        for path in sorted((PACKAGE / floor).rglob("*.py")):
            dotted = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
            name = dotted.removeprefix(f"tutelage.{floor}.")
            summary = _summary(path)
            if path.stem.startswith("_") or not summary:
                continue
            rows.append(f"| [`{name}`]({floor}/{name}.md) | {summary} |")
            yield f"reference/{floor}/{name}.md", f"# {dotted}\n\n[{floor}](../{floor}.md): {what}\n\n::: {dotted}\n"
        about = f"The floor of *{what}*. {_summary(PACKAGE / floor / '__init__.py')}"
        yield f"reference/{floor}.md", "\n".join([f"# {floor}", "", about, "", "| module | what |", "|---|---|", *rows])


def _summary(path: Path) -> str:
    """The first line of a module's docstring, fit for a cell of a table."""
    lines = (ast.get_docstring(ast.parse(path.read_text("utf-8"))) or "").split("\n\n")[0].split("\n")
    return " ".join(line.strip() for line in lines).replace("|", "\\|").replace("<", "&lt;")
