"""Toy studies whose answers are known, importable by the children that the harness starts."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tutelage.studies.catalogue import Entry

TOYS = Path(__file__).parent / "toys"
collect_ignore = ["toys"]


@pytest.fixture
def toy(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[str], Entry]:
    """name → the catalogue entry of toys/toy_<name>.py; its arms log every trial to `tmp_path/log`."""
    monkeypatch.syspath_prepend(str(TOYS))
    monkeypatch.setenv("TOY_LOG", str(tmp_path / "log"))
    monkeypatch.delenv("TUTELAGE_DATA", raising=False)

    def entry(name: str) -> Entry:
        return Entry(name.replace("_", "-"), "toys", f"toy_{name}", TOYS / f"toy_{name}.py")

    return entry


@pytest.fixture
def log(tmp_path: Path) -> Callable[[], list[str]]:
    """The trials that ran since the last call, sorted."""

    def read() -> list[str]:
        path = tmp_path / "log"
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        path.unlink(missing_ok=True)
        return sorted(lines)

    return read
