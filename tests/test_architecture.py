"""The page on architecture shows the code as it is: its links lead to names in files, its floors are the contract's."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path
from types import ModuleType
from xml.etree import ElementTree

import pytest

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "architecture.md"
TEXT = PAGE.read_text(encoding="utf-8")
LINKS = re.findall(r"\[([^\]]+)\]\(([^)#\s]+)\)", TEXT)


@pytest.mark.parametrize(("words", "target"), LINKS, ids=[f"{words} in {Path(path).name}" for words, path in LINKS])
def test_a_link_leads_to_a_file_and_to_the_name_that_it_shows(words: str, target: str):
    path = (PAGE.parent / target).resolve()
    assert path.is_file()
    if name := re.fullmatch(r"`(\w+)`", words):
        defined = rf"^(class|def) {name[1]}\b"
        assert re.search(defined, path.read_text(encoding="utf-8"), re.MULTILINE), (
            f"{name[1]} is not defined in {target}"
        )


def pictures() -> ModuleType:
    spec = importlib.util.spec_from_file_location("pictures", PAGE.with_name("pictures.py"))
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


DRAWN = pictures()


@pytest.mark.parametrize("name", list(DRAWN.pictures()))
def test_a_picture_is_what_its_code_draws_and_says_what_it_shows(name: str):
    """After a change of the floors: `python docs/pictures.py`."""
    content = (PAGE.parent / "images" / name).read_text(encoding="utf-8")
    assert content == DRAWN.pictures()[name]
    assert f"](images/{name})" in TEXT
    picture = ElementTree.fromstring(content)
    spoken = picture.findtext("{*}desc") or ""
    shown = ["".join(text.itertext()) for text in picture.iter("{http://www.w3.org/2000/svg}text")]
    assert len(shown) > 10
    assert [text for text in shown if text not in spoken] in ([], ["imports go down"])


def test_the_picture_shows_the_floors_of_the_import_contract():
    floors = DRAWN.layers()
    assert floors[0] == ["cli"]
    assert floors[-1] == ["errors"]
    folders = {path.parent.name for path in (ROOT / "src" / "tutelage").glob("*/__init__.py")}
    assert folders <= {name for floor in floors for name in floor} == set(DRAWN.ABOUT)
    boxes = re.findall(r'y="(\d+)" font-weight="600" text-anchor="middle">(\w+)<', DRAWN.floors(floors))
    rows = {int(top): [name for other, name in boxes if other == top] for top, _ in boxes}
    assert [rows[top] for top in sorted(rows)] == floors


def test_who_takes_part_in_a_step_is_introduced_on_the_page():
    for name in {who for message in DRAWN.STEP for who in message[:2]}:
        assert f"[`{name}`](" in TEXT, name
    calls = {match[1] for message in DRAWN.STEP if (match := re.match(r"(\w+)\(", message.text))}
    code = "".join(
        (ROOT / "src" / "tutelage" / path).read_text(encoding="utf-8")
        for path in ("methods/distillation/ps_kd.py", "training/updates.py", "training/lesson.py")
    )
    assert calls == {"train_step", "progressive_targets", "minimise", "after_step"}
    assert all(f"def {name}(" in code for name in calls)
