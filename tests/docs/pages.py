"""The pages of the documentation, their commands and their blocks of Python."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "tutorials").glob("*.md")),
    *sorted((ROOT / "docs" / "how-to").glob("*.md")),
]
GENERATED = ("studies.md", "scale.md")
"""Pages that a command writes."""


@dataclass(frozen=True)
class Command:
    """A command of a page, and what the page says that it prints."""

    page: str
    line: str
    shows: tuple[str, ...] = ()

    @property
    def words(self) -> list[str]:
        """The command as a shell would split it, without the comment."""
        return shlex.split(self.line, comments=True)

    def __str__(self) -> str:
        return f"{self.page}: {self.line}"


def name_of(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def blocks(page: Path, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)


def commands(page: Path) -> list[Command]:
    """All commands of a page in their order. In a block with `$` the other lines are what the command prints."""
    found: list[Command] = []
    for block in blocks(page, "console"):
        lines = re.sub(r"\\\n\s*", "", block).splitlines()
        prompted = any(line.startswith("$ ") for line in lines)
        for line in lines:
            if not line.strip() or line.startswith("#"):
                continue
            if not prompted or line.startswith("$ "):
                found.append(Command(name_of(page), line.removeprefix("$ ").strip()))
            else:
                last = found.pop()
                found.append(Command(last.page, last.line, (*last.shows, line)))
    return found
