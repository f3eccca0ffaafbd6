"""What the tests of the workbench share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra `serve`")
pytest.importorskip("httptools", reason="needs the extra `serve`")

from fastapi.testclient import TestClient

from tests.pipeline.corpora import jsonl, rows
from tests.teachers.endpoint import Endpoint
from tests.web.browser import browser, page, workbench
from tests.web.common import opened, settings
from tests.web.runs import copy_of_run, oracle
from tutelage.pipeline.folder import Run

__all__ = ["browser", "page", "workbench"]


@pytest.fixture(autouse=True)
def _environment(monkeypatch: pytest.MonkeyPatch, tmp_path_factory: pytest.TempPathFactory) -> None:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.mktemp("config")))
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where a workbench of one test has its folders."""
    return tmp_path


@pytest.fixture
def run(folder: Path) -> Run:
    """A finished run, called desk, among the runs of the workbench."""
    return Run(copy_of_run(folder / "runs"))


@pytest.fixture
def client(folder: Path) -> Iterator[TestClient]:
    """A client that has opened the workbench."""
    with opened(settings(folder)) as client:
        yield client


@pytest.fixture
def endpoint() -> Iterator[Endpoint]:
    """A model that knows sport, politics and weather."""
    with Endpoint(oracle, model="known") as server:
        yield server


@pytest.fixture
def texts(folder: Path) -> str:
    """A corpus of 60 texts in the folder of texts, as the form names it."""
    (folder / "texts").mkdir(exist_ok=True)
    jsonl(folder / "texts" / "desk.jsonl", rows(60))
    return "texts/desk.jsonl"
