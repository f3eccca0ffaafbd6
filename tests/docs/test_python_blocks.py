"""Python on the pages: every block runs, those of a page one after the other, and prints what the page says."""

from __future__ import annotations

import doctest
import re
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path

import pytest

from tests.docs.pages import PAGES, blocks, name_of
from tests.pipeline.corpora import SCHEME, jsonl, rows
from tutelage.students import NgramClassifier

ELSEWHERE = {
    "docs/students.md": "tests/students/test_students_page.py",
    "docs/predict.md": "tests/cli/test_predict_page.py",
    "README.md": "test_commands.py, after the commands that make the files",
}
"""Pages whose Python runs in another test."""

WITH_PYTHON = [p for p in PAGES if (blocks(p, "python") or blocks(p, "pycon")) and name_of(p) not in ELSEWHERE]


@pytest.fixture
def office(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the pages' examples name."""
    taught = rows(60)
    student = NgramClassifier(classes=list(SCHEME.names)).fit([r["text"] for r in taught], [r["topic"] for r in taught])
    student.save(tmp_path / "tickets-student", SCHEME, {})
    jsonl(tmp_path / "tickets.jsonl", taught)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("page", WITH_PYTHON, ids=name_of)
def test_the_python_of_a_page_runs(page: Path, office: Path) -> None:
    pytest.importorskip("torch")
    names: dict[str, object] = {"__name__": "example"}
    printed = StringIO()
    with redirect_stdout(printed):
        for block in blocks(page, "python"):
            exec(compile(block, str(page), "exec"), names)
    for block in blocks(page, "pycon"):
        example = doctest.DocTestParser().get_doctest(block, names, page.name, str(page), 0)
        assert doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example).failed == 0
    if page.name == "vision.md":
        check_vision(page, printed.getvalue())
    if page.name == "knowledge-tracing.md":
        assert len((office / "answers.csv").read_text().splitlines()) == 4_733


def check_vision(page: Path, printed: str) -> None:
    """Weights are as printed, accuracies within what another processor's rounding may do, and in their order."""
    said = next(block for block in blocks(page, "text") if "accuracy" in block)
    figures = [re.findall(r"([\d,]+) weights, accuracy (0\.\d+)", text) for text in (said, printed)]
    assert [weights for weights, _ in figures[0]] == [weights for weights, _ in figures[1]]
    there, here = ([float(accuracy) for _, accuracy in each] for each in figures)
    assert here == pytest.approx(there, abs=0.05)
    teacher, alone, taught = here
    assert alone < taught - 0.1
    assert taught <= teacher


def test_pages_whose_python_runs_elsewhere_have_some() -> None:
    named = {name_of(page) for page in PAGES if blocks(page, "python") or blocks(page, "pycon")}
    assert set(ELSEWHERE) <= named
