"""The page on architecture shows the code as it is: its links lead to names in files, its floors are the contract's."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

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


def test_the_picture_shows_the_floors_of_the_import_contract():
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"][
        "contracts"
    ]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    floors = [set(re.findall(r"\w+", layer)) for layer in layers]
    drawn: list[set[str]] = []
    for line in TEXT.splitlines():
        if re.fullmatch(r"    \w+( (-->|&) \w+)+", line):
            chain = [set(re.findall(r"\w+", step)) for step in line.split("-->")]
            drawn += chain[1:] if drawn and chain[0] == drawn[-1] else chain
    assert drawn == floors
    named = set(re.findall(r'^    (\w+)\["<b>\1</b>', TEXT, re.MULTILINE))
    assert named == set().union(*floors)


def test_every_folder_of_the_package_is_on_a_floor():
    folders = {path.parent.name for path in (ROOT / "src" / "tutelage").glob("*/__init__.py")}
    assert folders <= set(re.findall(r"<b>(\w+)</b>", TEXT))
