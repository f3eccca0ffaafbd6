"""A new user's story in a real browser, by mouse and keyboard, and no serious accessibility fault on any page.

Screenshots go to the folder in TUTELAGE_SCREENSHOTS, else to the test's own.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.pipeline.corpora import jsonl, rows, said
from tests.teachers.endpoint import Endpoint
from tests.web.runs import NASTY, oracle

playwright = pytest.importorskip("playwright.sync_api", reason="needs playwright (tutelage[test])")
axe = pytest.importorskip(
    "axe_playwright_python.sync_playwright", reason="needs axe-playwright-python (tutelage[test])"
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

    from tests.web.browser import Workbench


@pytest.fixture
def shots(tmp_path: Path) -> Path:
    folder = Path(os.environ.get("TUTELAGE_SCREENSHOTS") or tmp_path / "screenshots")
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def serious(page: Page) -> list[str]:
    """Serious and critical faults that axe finds, in light and dark, wide and as narrow as a phone."""
    found = []
    for width, scheme in ((1180, "light"), (1180, "dark"), (390, "light")):
        page.set_viewport_size({"width": width, "height": 820})
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]
        result: dict[str, Any] = axe.Axe().run(page).response
        for fault in result["violations"]:
            if fault["impact"] in ("serious", "critical"):
                where = "; ".join(node["html"][:160] for node in fault["nodes"][:4])
                found.append(f"{page.url} {width} {scheme}: {fault['id']}: {where}")
        if page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth"):
            found.append(f"{page.url} {width}: scrolls sideways")
    page.set_viewport_size({"width": 1180, "height": 820})
    page.emulate_media(color_scheme="light")
    return found


def test_faults_of_a_page_are_found(page: Page) -> None:
    page.set_content(f"<html lang='en'><main><img width='9' height='9'><p>{'wide' * 1000}</p></main></html>")
    found = serious(page)
    assert any("image-alt" in line for line in found)
    assert any("scrolls sideways" in line for line in found)


def test_from_an_upload_to_the_playground(page: Page, workbench: Workbench, shots: Path, tmp_path: Path) -> None:
    records = rows(120)
    records[0]["text"] = f"{NASTY} {records[0]['text']}"
    texts = jsonl(tmp_path / "news.jsonl", records)
    shot = lambda name: page.screenshot(path=shots / f"{name}.png")
    faults: list[str] = []
    with Endpoint(oracle, model="known", delay=0.02) as endpoint:
        # upload
        page.get_by_role("link", name="Start the first one").click()
        page.locator("#file").set_input_files(texts)
        page.get_by_label("Labels of people").select_option("topic")
        # scheme
        for n, label in enumerate(("sport", "politics", "weather")):
            page.get_by_label("Label", exact=True).nth(n).fill(label)
            page.get_by_label("What belongs under it").nth(n).fill(f"news about {label}")
        page.get_by_role("button", name="Add a label").click()
        page.get_by_role("button", name="Remove label 4").click()
        playwright.expect(page.get_by_label("Label", exact=True)).to_have_count(3)
        page.get_by_label("Codes for texts").fill("not news")
        # teacher
        page.get_by_text("Language model", exact=True).click()
        page.get_by_role("textbox", name="Model").fill("known")
        page.get_by_role("textbox", name="Address").fill(endpoint.url)
        page.get_by_role("textbox", name="Price in/out").fill("2/8usd")
        page.locator("[name=student]").select_option("ngram")
        # prompt and trial
        page.get_by_role("button", name="Show the prompt and the price").click()
        playwright.expect(page.get_by_text("sport - news about sport")).to_be_visible()
        assert endpoint.total == 0
        shot("1-prompt")
        page.get_by_role("button", name="Try it on 10 texts").click()
        playwright.expect(page.locator(".trial li")).to_have_count(10)
        assert endpoint.total == 10
        shot("2-trial")
        faults += serious(page)
        # run
        page.get_by_label("Name of the run").fill("news desk")
        page.keyboard.press("Enter")
        playwright.expect(page.get_by_role("button", name="Stop")).to_be_visible()
        shot("3-running")
        playwright.expect(page.locator(".state")).to_contain_text("finished")
        assert endpoint.total == 120
        faults += serious(page)
    shot("4-finished")
    page.get_by_role("link", name="Runs").first.click()
    playwright.expect(page.get_by_text("120 of 120 texts labelled")).to_be_visible()
    shot("5-runs")
    faults += serious(page)

    # review twenty by keyboard
    page.goto(f"{workbench.home}/runs/news%20desk/review")
    page.get_by_label("Who reviews?").fill("Ada")
    page.keyboard.press("Enter")
    desk = page.locator("#desk")
    text = desk.locator("blockquote")
    playwright.expect(text).to_be_visible()
    assert "The teacher said" not in desk.inner_text()

    def ready(done: int) -> None:
        """The text after so many answers stands there, and keys are heard."""
        playwright.expect(desk.locator(".where")).to_contain_text(f"Ada · {done} of 54")
        playwright.expect(page.locator("html")).not_to_have_attribute("data-busy", "true")

    for done in range(20):
        ready(done)
        page.keyboard.press(str(1 + ["sport", "politics", "weather"].index(said(text.inner_text())[0])))
        if done == 5:  # a slip, taken back
            ready(6)
            page.keyboard.press("u")
            ready(5)
            page.keyboard.press(str(1 + ["sport", "politics", "weather"].index(said(text.inner_text())[0])))
    playwright.expect(desk.locator(".where")).to_contain_text("Ada · 20 of 54")
    playwright.expect(desk.get_by_role("row", name="teacher and Ada")).to_contain_text("20/20")
    playwright.expect(text).to_be_focused()
    shot("6-review")
    faults += serious(page)

    # report
    page.get_by_role("link", name="Report", exact=True).click()
    playwright.expect(page.get_by_role("heading", name="What a threshold would do")).to_be_visible()
    shot("7-report")
    page.locator("input[type=range]").focus()
    for _ in range(5):
        page.keyboard.press("PageUp")
    playwright.expect(page.locator("#at")).to_contain_text("0.50")
    page.locator(".matrix a").first.click()
    playwright.expect(page.locator("#cell h3")).to_contain_text("People said sport")
    faults += serious(page)

    # playground
    page.get_by_role("link", name="Playground").last.click()
    page.get_by_label("A text").fill(f"A late goal by the striker decided the derby. {NASTY}")
    page.get_by_role("button", name="Label it").click()
    playwright.expect(page.get_by_role("heading", name="Why sport?")).to_be_visible()
    playwright.expect(page.locator(".marked")).to_contain_text(NASTY)
    shot("8-playground")
    faults += serious(page)
    assert not faults, "\n".join(faults)


@pytest.mark.parametrize(
    "path",
    [
        "/runs/new",
        "/runs/nothing",
        "/playground",
        "/studies",
        "/studies/swing",
        "/classroom",
        "/classroom/tutoring",
        "/classroom/traces/class",
    ],
)
def test_other_pages_have_no_serious_fault(page: Page, workbench: Workbench, shots: Path, path: str) -> None:
    page.goto(workbench.home + path)
    page.screenshot(path=shots / f"{path.strip('/').replace('/', '-')}.png")
    faults = serious(page)
    assert not faults, "\n".join(faults)


def test_a_dialogue_has_no_serious_fault_and_is_led_by_keyboard(page: Page, workbench: Workbench, shots: Path) -> None:
    page.goto(f"{workbench.home}/classroom/tutoring")
    page.get_by_role("button", name="Begin").focus()
    page.keyboard.press("Enter")
    playwright.expect(page.locator(".talk li").last).to_be_focused()  # what was said is read first
    page.get_by_label("What do you say to the pupil?").fill("What does the 9 stand for?")
    page.keyboard.press("Tab")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    playwright.expect(page.locator(".talk li")).to_have_count(3)
    playwright.expect(page.locator(".talk")).to_contain_text("probing")
    page.screenshot(path=shots / "classroom-dialogue.png")
    faults = serious(page)
    assert not faults, "\n".join(faults)


def test_everything_on_a_page_is_reached_by_tab(page: Page, workbench: Workbench) -> None:
    page.goto(f"{workbench.home}/runs/new")
    wanted = page.evaluate(
        "[...document.querySelectorAll('a[href], button, select, textarea, input:not([type=hidden])')]"
        ".filter((one) => one.checkVisibility() && (one.type !== 'radio' || one.checked)).length"
    )
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip"
    seen = set()
    for _ in range(wanted + 5):
        seen.add(page.evaluate("[...document.querySelectorAll('*')].indexOf(document.activeElement)"))
        page.keyboard.press("Tab")
    assert len(seen - {-1}) >= wanted


def test_a_page_of_another_site_gets_nothing(browser: Browser, workbench: Workbench, tmp_path: Path) -> None:
    """The cookie does not go along with what another origin's page sends, by form or by fetch."""
    context = browser.new_context()
    page = context.new_page()
    page.goto(workbench.start)
    port = workbench.home.rsplit(":", 1)[1]
    evil = tmp_path / "evil.html"
    form = f'<form method="post" action="{workbench.home}/runs/scheme"><input name="scheme" value="ag-news"></form>'
    evil.write_text(f"<!doctype html><title>evil</title>{form}")
    page.goto(evil.as_uri())
    with page.expect_navigation():
        page.evaluate("document.forms[0].submit()")
    assert "World" not in page.content()
    assert "locked" in page.inner_text("h1")
    page.goto(evil.as_uri())
    blocked = page.evaluate(
        "(home) => fetch(home + '/runs', {credentials: 'include'}).then((r) => r.text(), () => 'blocked')",
        workbench.home,
    )
    assert blocked == "blocked"
    page.goto(f"http://localhost:{port}/runs")  # another name of this machine has no cookie
    assert "locked" in page.inner_text("h1")
    context.close()
