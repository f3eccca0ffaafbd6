"""docs/guarantees.md and docs/privacy.md name the tests that show what they promise."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = ("docs/guarantees.md", "docs/privacy.md")
TEST = re.compile(r"`(tests/[\w/]+\.py)(?:::(\w+))?`")


def names_in(file: Path) -> set[str]:
    return {node.name for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("page", PAGES)
def test_every_promise_names_a_test_that_exists(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    named = TEST.findall(text)
    assert len(named) >= 8
    for path, name in named:
        assert (ROOT / path).is_file(), path
        assert name in names_in(ROOT / path), f"{path}::{name}"


@pytest.mark.parametrize("page", PAGES)
def test_every_row_of_a_table_of_promises_has_one(page: str) -> None:
    tables = re.findall(r"^\| promise .*\n\|[-|]+\n((?:\| .*\n)+)", (ROOT / page).read_text(encoding="utf-8"), re.M)
    rows = [row for table in tables for row in table.splitlines()]
    assert len(rows) >= 8
    assert [row for row in rows if not TEST.search(row)] == []
