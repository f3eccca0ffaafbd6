"""A real browser and `tutelage ui` as a process, for the tests that need both."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.web.common import scoreboard
from tutelage.pipeline.trace import TraceOptions, trace
from tutelage.students.learners import Learners

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
WAIT = 120_000
"""Milliseconds: only a bound; nothing waits longer than it has to."""


class Workbench:
    """`tutelage ui` as a process; as a context manager it ends as by Ctrl-C."""

    def __init__(self, folder: Path) -> None:
        (folder / "texts").mkdir()
        board = scoreboard(folder / "studies.json")
        log = Learners(learners=30, concepts=8, answers=12).log(seed=1)
        trace(log, folder / "traces" / "class", TraceOptions("pfa"))
        places = [str(folder / "runs"), "--texts", str(folder / "texts"), "--traces", str(folder / "traces")]
        command = [sys.executable, "-m", "tutelage", "ui", *places, "--scoreboard", str(board), "--port", "0"]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"}
        )
        assert self.process.stdout is not None
        found = re.search(r"(http://127\.0\.0\.1:\d+)/\?token=\S+", self.process.stdout.readline())
        assert found
        self.start, self.home = found[0], found[1]

    def __enter__(self) -> Workbench:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGINT)
        self.process.communicate(timeout=60)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Chromium. A test that asks for it is skipped where it, or playwright, is not installed."""
    playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright (tutelage[test])")
    if CHROMIUM is None:
        pytest.skip("needs chromium (apt install chromium)")
    playwright.expect.set_options(timeout=WAIT)
    with playwright.sync_playwright() as p:
        browser = p.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def workbench(browser: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workbench]:
    """A workbench that the tests of a file share."""
    with Workbench(tmp_path_factory.mktemp("workbench")) as workbench:
        yield workbench


@pytest.fixture
def page(browser: Browser, workbench: Workbench) -> Iterator[Page]:
    """A page that has opened the start address; whatever its console complains about fails the test."""
    context = browser.new_context(viewport={"width": 1180, "height": 820})
    context.set_default_timeout(WAIT)
    page = context.new_page()
    faults: list[str] = []
    page.on(
        "console",
        lambda message: faults.append(message.text) if message.type == "error" and "404" not in message.text else None,
    )
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.goto(workbench.start)
    yield page
    context.close()
    assert not faults, faults
