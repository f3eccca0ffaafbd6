"""Runs: the list, and a run that is started, stopped and resumed."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.pipeline.corpora import jsonl, rows
from tests.teachers.endpoint import Endpoint
from tests.web.common import Page, opened, settings
from tests.web.runs import NASTY, copy_of_run, faults, form, post, remote
from tutelage.pipeline.folder import Run, _held
from tutelage.web import jobs
from tutelage.web.progress import owner_of, runs_in, state_of

KEY = "sk-of-the-tests-0123456789"


# the list


def test_without_runs_the_page_says_how_to_begin(client: TestClient) -> None:
    assert "No run yet" in client.get("/runs").text


def test_runs_are_listed_with_what_came_out_of_them(client: TestClient, folder: Path) -> None:
    copy_of_run(folder / "runs")
    broken = folder / "runs" / "broken"
    broken.mkdir()
    (broken / "run.yaml").write_text("labels: [")
    text = Page(client.get("/runs").text).text
    assert "finished" in text or "refused" in text
    assert "macro-F1" in text
    assert "150 of 150 texts labelled" in text
    assert "damaged" in text
    page = Page(client.get("/runs/desk").text).text
    assert "matches, clubs, athletes" in page
    assert "The student scores" in page
    assert client.get("/runs/broken").status_code == 200


def test_nothing_outside_of_the_folder_of_runs_is_listed_or_opened(client: TestClient, folder: Path) -> None:
    outside = copy_of_run(folder, "secret")
    (folder / "runs").mkdir()
    (folder / "runs" / "link").symlink_to(outside)
    assert runs_in(folder / "runs") == []
    assert "link" not in Page(client.get("/runs").text).text
    for name in ("link", "..", "..%2fsecret", ".trials", "%2e%2e", "a%00b", "x" * 200, "..%5csecret"):
        for path in (f"/runs/{name}", f"/runs/{name}/events"):
            reply = client.get(path)
            assert reply.status_code in (400, 404) or reply.url.path in ("/runs", "/"), path
            assert "matches, clubs" not in reply.text
        assert post(client, f"/runs/{name}/resume").status_code in (400, 404, 405)


def test_what_a_run_holds_is_shown_as_text(client: TestClient, folder: Path) -> None:
    run = Run(copy_of_run(folder / "runs"))
    first, *rest = run.config.labels.labels
    labels = run.config.labels.model_copy(update={"labels": (first.model_copy(update={"name": NASTY}), *rest)})
    run.configure(run.config.model_copy(update={"labels": labels}))
    (run.path / jobs.LOG).write_text(f"tutelage: {NASTY}\n")
    html = client.get("/runs/desk").text
    assert NASTY not in html
    assert "&lt;script&gt;alert(1)" in html
    assert len(Page(html).all("script")) == 3  # ours


# start, stop, resume


def test_a_run_may_have_a_name_in_any_script(client: TestClient, texts: str) -> None:
    reply = post(client, "/runs", form(texts, name="новости + 1"), **{"hx-request": "true"})
    assert reply.status_code == 204
    assert "новости + 1" in Page(client.get(reply.headers["hx-redirect"]).text).text


def test_no_run_is_made_that_cannot_be_started(
    client: TestClient, folder: Path, texts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs, "MOST", 0)
    assert "0 runs are going; wait for one of them" in faults(post(client, "/runs", form(texts)))
    assert not (folder / "runs" / "tickets").exists()


def test_a_link_in_the_place_of_the_log_is_not_followed(client: TestClient, folder: Path) -> None:
    run = copy_of_run(folder / "runs")
    precious = folder / "precious"
    precious.write_text("of the owner")
    (run / jobs.LOG).symlink_to(precious)
    assert "cannot start anything on desk" in faults(post(client, "/runs/desk/resume"))
    assert precious.read_text() == "of the owner"


def test_a_run_that_is_deleted_while_it_is_looked_at_is_damaged_and_no_fault(folder: Path) -> None:
    assert state_of(folder / "gone").status == "damaged"


def test_a_run_is_stopped_as_by_ctrl_c_and_goes_on_where_it_stopped(
    client: TestClient, folder: Path, texts: str, endpoint: Endpoint
) -> None:
    endpoint.delay = 0.15
    post(client, "/runs", form(texts, **remote(endpoint)))
    assert endpoint.wait_for(16)
    path = folder / "runs" / "tickets"
    assert "is going already" in faults(post(client, "/runs/tickets/resume"))
    job = client.app.state.workbench.jobs.of(path)  # type: ignore[attr-defined]
    assert os.getpgid(job.process.pid) == job.process.pid != os.getpgid(0)
    assert owner_of(path) == job.process.pid
    shown = post(client, "/runs/tickets/stop", **{"hx-request": "true"}).text
    assert "Kill it" in shown
    assert job.process.wait(20) == 130
    state = state_of(path)
    assert state.status == "stopped"
    assert "everything done so far is kept" in state.fault
    assert 8 <= state.done < 60  # at most eight were in flight
    endpoint.delay = 0
    done = set(endpoint.completed)
    post(client, "/runs/tickets/resume")
    with endpoint.changed:
        assert endpoint.changed.wait_for(lambda: len(endpoint.completed) == 60, 60)
    assert sum(endpoint.completed[text] - 1 for text in done) <= 8  # only what was in flight is asked again


def test_the_end_of_the_workbench_interrupts_its_runs(folder: Path, texts: str, endpoint: Endpoint) -> None:
    endpoint.delay = 0.3
    with opened(settings(folder)) as client:
        post(client, "/runs", form(texts, **remote(endpoint)))
        assert endpoint.wait_for(2)
        job = client.app.state.workbench.jobs.of(folder / "runs" / "tickets")  # type: ignore[attr-defined]
    assert job.process.returncode == 130
    assert state_of(folder / "runs" / "tickets").status == "stopped"


def test_a_second_stop_kills(folder: Path, client: TestClient) -> None:
    from tutelage.web.jobs import Job

    (folder / "runs").mkdir()
    job = Job(["doctor"], folder / "runs", os.environ)
    job.stopping = True
    job.stop()
    assert job.process.wait(20) == -signal.SIGKILL


def test_a_run_that_another_process_works_on_is_seen_without_touching_its_lock(folder: Path) -> None:
    run = copy_of_run(folder / "runs")
    assert owner_of(run) is None
    with _held(run):
        assert owner_of(run) is None  # that is this process: nothing of others
        (run / ".lock").write_text("1")  # the number of another one, which does not hold it
        assert owner_of(run) is None


def test_a_failure_is_shown_in_the_runs_own_words(client: TestClient, folder: Path, endpoint: Endpoint) -> None:
    jsonl(folder / "texts" / "few.jsonl", rows(60))
    post(client, "/runs", form("texts/few.jsonl", **remote(endpoint, model="unknown")))
    client.get("/runs/tickets/events")
    state = state_of(folder / "runs" / "tickets")
    assert state.status == "stopped"
    assert "unknown" in state.fault
    assert "unknown" in Page(client.get("/runs/tickets").text).text


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("metrics", '{"student": 3}'),
        ("metrics", '{"format": 1, "student": {"coverage": [1]}, "gold": {"confusion": 5}}'),
        ("metrics", "[1]"),
        ("metrics", "{"),
        ("stages", "7"),
        ("workbench", '{"budget": ["--force"]}'),
        ("workbench", '{"budget": "--force"}'),
        ("workbench", '{"limit": "7"}'),
        ("workbench", '{"limit": true}'),
        ("workbench", "[]"),
        ("review", '{"ids": 3}'),
    ],
)
def test_a_run_with_strange_files_is_one_line_and_does_not_hide_the_others(
    client: TestClient, folder: Path, name: str, content: str
) -> None:
    run = copy_of_run(folder / "runs")
    copy_of_run(folder / "runs", "good")
    (run / f"{name}.json").write_text(content)
    assert "macro-F1" in client.get("/runs").text
    for path in ("/runs/desk", "/runs/desk/report", "/runs/desk/report.html", "/runs/desk/review", "/runs/desk/events"):
        assert client.get(path).status_code in (200, 400), path
    if name == "workbench":
        assert "budget" in faults(post(client, "/runs/desk/resume"))
