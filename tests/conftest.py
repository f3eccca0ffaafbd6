"""The option of the whole suite: which smoke forms of studies run."""

from __future__ import annotations

import pytest

SMOKE = pytest.StashKey[str]()
"""What was decided about smoke forms, for the last lines of the run."""


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--smoke",
        default="due",
        metavar="due|all|SLUG,…",
        help="smoke forms of studies to run: of those that changed and a rotating share of the rest (due), all, or these",
    )


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    if SMOKE in config.stash:
        terminalreporter.write_line(config.stash[SMOKE])
