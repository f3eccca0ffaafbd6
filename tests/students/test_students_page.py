"""docs/students.md: its examples give what it says they give, and it names every tier."""

from __future__ import annotations

import doctest
import re
from pathlib import Path

import pytest

from tutelage.students import TIERS

PAGE = Path(__file__).parents[2] / "docs" / "students.md"


def test_the_examples_of_the_page_run(tmp_path, monkeypatch):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    monkeypatch.chdir(tmp_path)
    code = "\n".join(re.findall(r"```pycon\n(.*?)```", PAGE.read_text(encoding="utf-8"), re.DOTALL))
    example = doctest.DocTestParser().get_doctest(code, {}, PAGE.name, str(PAGE), 0)
    told: list[str] = []
    result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(example, out=told.append)
    assert result.attempted > 20
    assert result.failed == 0, "".join(told)


def test_the_page_names_every_tier():
    rows = re.findall(r"^\| `(\w+)` \| `(\w+)` \|", PAGE.read_text(encoding="utf-8"), re.MULTILINE)
    assert dict(rows) == TIERS
