"""What a person sees when the workbench ends, does not answer, or takes no file of that size; and what becomes of its runs."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.pipeline.corpora import jsonl, rows
from tests.teachers.endpoint import Endpoint
from tests.web.runs import form, remote

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright (tutelage[test])")

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.web.browser import Workbench

SEND = """(body) => fetch("/runs", {
    method: "POST", headers: {"content-type": "application/x-www-form-urlencoded"}, body,
}).then((reply) => reply.status)"""


def begin(page: Page, endpoint: Endpoint, name: str) -> None:
    """Start a run that takes its time."""
    endpoint.delay = 0.3
    assert page.evaluate(SEND, form("texts/desk.jsonl", **remote(endpoint, name=name))) == 200
    assert endpoint.wait_for(2)


def test_a_page_that_watches_a_run_is_told_when_the_workbench_ends(
    browser: Browser, tmp_path: Path, endpoint: Endpoint
) -> None:
    """By Ctrl-C, and by a second one; the run is interrupted with it."""
    from tests.web.browser import Workbench

    context = browser.new_context()
    with Workbench(tmp_path) as workbench:
        jsonl(tmp_path / "texts" / "desk.jsonl", rows(60))
        page = context.new_page()
        page.goto(workbench.start)
        begin(page, endpoint, "desk")
        page.goto(f"{workbench.home}/runs/desk")
        playwright.expect(page.get_by_role("button", name="Stop")).to_be_visible()
        other = context.new_page()
        other.goto(f"{workbench.home}/studies")
        child = int((tmp_path / "runs" / "desk" / ".lock").read_text())
        os.kill(workbench.process.pid, signal.SIGINT)
        playwright.expect(page.locator("#watch")).to_contain_text("The workbench has been ended")
        os.kill(workbench.process.pid, signal.SIGINT)  # a process that has ended is there until it is waited for
        assert workbench.process.wait(60) in (0, 130)
        with pytest.raises(ProcessLookupError):
            os.kill(child, 0)
        other.get_by_label("Family").select_option("distillation")
        playwright.expect(other.get_by_role("alert")).to_contain_text("The workbench does not answer")
    context.close()


def test_a_file_that_is_too_large_is_not_sent_and_a_lost_connection_is_told(
    browser: Browser, workbench: Workbench, tmp_path: Path
) -> None:
    page = browser.new_page()
    page.goto(workbench.start)
    texts = jsonl(tmp_path / "news.jsonl", rows(20))
    page.goto(f"{workbench.home}/runs/new")
    sent: list[str] = []
    page.on("request", lambda request: sent.append(request.method))
    assert page.evaluate("Number(document.body.dataset.most)") == 256 << 20
    page.evaluate("document.body.dataset.most = 100")
    page.locator("#file").set_input_files(texts)
    playwright.expect(page.get_by_role("alert")).to_contain_text("100 may be uploaded. Put it into the folder of texts")
    assert "PUT" not in sent
    page.evaluate("document.body.dataset.most = 1000000")
    page.route("**/files/*", lambda route: route.abort())
    page.evaluate("window.addEventListener('unhandledrejection', () => document.title = 'unhandled')")
    page.locator("#file").set_input_files(texts)
    playwright.expect(page.get_by_role("alert")).to_contain_text("The workbench does not answer")
    assert page.title() != "unhandled"
    page.unroute("**/files/*")
    page.locator("#file").set_input_files(texts)
    playwright.expect(page.get_by_label("Labels of people")).to_be_visible()
    playwright.expect(page.get_by_role("alert")).to_be_empty()
    page.close()


def test_a_fault_is_seen_where_a_page_takes_only_a_part_of_an_answer(browser: Browser, workbench: Workbench) -> None:
    page = browser.new_page()
    page.goto(workbench.start)
    page.goto(f"{workbench.home}/studies")
    page.context.clear_cookies()  # as after a new start of the workbench
    page.get_by_label("Family").select_option("distillation")
    playwright.expect(page.get_by_role("alert")).to_contain_text("The workbench has been started anew")
    page.close()
