"""The pages of the methods: each has its study's command, and its example runs as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

PAGES = sorted((Path(__file__).parents[2] / "docs" / "methods").glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_the_example_of_a_page_runs(page: Path, capsys: pytest.CaptureFixture[str]):
    text = page.read_text(encoding="utf-8")
    assert f"tutelage study {page.stem}" in text
    examples = re.findall(r"```python\n(.*?)```", text, re.DOTALL)
    assert examples, "a page shows how the method is used"
    for example in examples:
        assert len(example.splitlines()) <= 14
        exec(compile(example, str(page), "exec"), {"__name__": "example"})
