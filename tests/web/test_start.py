"""A new run: the form, its texts and labels, the prompt and its price, the trial, and where a key may go."""

from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from tests.teachers.endpoint import Endpoint
from tests.web.common import Page, opened, settings
from tests.web.runs import NASTY, copy_of_run, faults, form, post, remote
from tutelage.pipeline.folder import Run
from tutelage.web.progress import state_of

KEY = "sk-of-the-tests-0123456789"


# texts


def test_an_upload_is_kept_under_a_plain_name_and_shown(client: TestClient, folder: Path) -> None:
    body = json.dumps({"text": NASTY, "topic": "sport"}).encode() + b"\n"
    client.put("/files/..%2f..%2fa b.jsonl", content=body)
    reply = client.put("/files/..%2f..%2fa b.jsonl", content=body)
    assert reply.status_code == 200, reply.text
    assert NASTY not in reply.text
    page = Page(reply.text)
    assert [t["value"] for t in page.all("input") if t.get("name") == "source"] == ["upload/2-a-b.jsonl"]
    kept = folder / "runs" / ".uploads"
    assert sorted(file.name for file in kept.iterdir()) == ["2-a-b.jsonl", "a-b.jsonl"]
    assert (kept / "a-b.jsonl").stat().st_mode & 0o777 == 0o600
    assert kept.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(
    ("name", "body", "why"),
    [("a.exe", b"x", "a corpus ends in"), ("a.csv", b"", "is empty"), ("a.jsonl", b"not json", "no row")],
)
def test_an_upload_that_is_no_corpus_is_refused_and_not_kept(
    client: TestClient, folder: Path, name: str, body: bytes, why: str
) -> None:
    assert why in faults(client.put(f"/files/{name}", content=body))
    kept = folder / "runs" / ".uploads"
    assert not kept.exists() or not list(kept.iterdir())


def test_half_an_upload_is_not_kept(client: TestClient, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(handle: int, mode: str) -> None:
        os.close(handle)
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("tutelage.web.corpora.os.fdopen", full)
    reply = client.put("/files/a.csv", content=b"text\nhi\n")
    monkeypatch.undo()
    assert "cannot keep the upload: No space left" in faults(reply)
    assert not list((folder / "runs" / ".uploads").iterdir())


def test_a_path_is_one_inside_the_folder_of_texts(client: TestClient, folder: Path, texts: str) -> None:
    assert "desk.jsonl" in post(client, "/files/look", "path=desk.jsonl").text
    (folder / "outside.csv").write_text("text\nsecret\n")
    (folder / "texts" / "link.csv").symlink_to(folder / "outside.csv")
    (folder / "texts" / "key.pem").write_text("secret")
    for path in ("../outside.csv", str(folder / "outside.csv"), "link.csv", "key.pem", "", "nothing.csv", "a%00.csv"):
        assert "secret" not in faults(post(client, "/files/look", f"path={path}"))
    for source in ("texts/../outside.csv", "upload/../../outside.csv", "/etc/passwd", "hf://x/y", ""):
        faults(post(client, "/runs/prompt", form(source)))


# labels


def test_the_label_editor_loads_adds_and_removes(client: TestClient) -> None:
    def names(html: str) -> list[str | None]:
        return [tag["value"] for tag in Page(html).all("input") if tag.get("name") == "label_name"]

    assert names(post(client, "/runs/scheme", "scheme=ag-news").text) == ["World", "Sports", "Business", "Sci/Tech"]
    rows = form("x")
    assert names(post(client, "/runs/scheme", f"{rows}&do=add").text) == ["sport", "politics", "weather", ""]
    assert names(post(client, "/runs/scheme", f"{rows}&do=remove-1").text) == ["sport", "weather"]
    faults(post(client, "/runs/scheme", "scheme=../../../etc/hosts"))


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"teacher": "human:/etc/passwd"}, "no teacher"),
        ({"teacher": "openai"}, "which model"),
        ({"student": "oracle"}, "a student is one of"),
        ({"limit": "many"}, "limit: expected a whole number"),
        ({"limit": "-3"}, "limit: expected a whole number"),
        ({"gold_column": "/etc/passwd"}, "gold is a column"),
        ({"text_column": "nothing"}, "no column 'nothing'"),
        ({"name": "../x"}, "a name has letters"),
        ({"name": "new"}, "cannot be called"),
        ({"kind": "many"}, "kind"),
        ({"teacher": "openai", "model": "m", "base_url": "ftp://x"}, "not an http(s) address"),
        ({"teacher": "openai", "model": "m", "base_url": "http://h/", "budget": "5"}, "a budget has a unit"),
    ],
)  # fmt: skip
def test_a_field_that_cannot_be_used_is_one_line(
    client: TestClient, folder: Path, texts: str, change: dict[str, str], why: str
) -> None:
    place = "/runs" if "name" in change else "/runs/prompt"
    assert why in faults(post(client, place, form(texts, **change)))
    assert not list((folder / "runs").glob("*"))


# prompt and trial


def test_the_prompt_and_its_price_are_shown_before_anybody_is_asked(
    client: TestClient, texts: str, endpoint: Endpoint
) -> None:
    text = Page(post(client, "/runs/prompt", form(texts, **remote(endpoint))).text).text
    assert "sport - matches, clubs, athletes" in text
    assert "It is data" in text
    assert "all 60 texts" in text
    assert "10 texts to ask" in text
    assert "USD" in text
    assert endpoint.total == 0
    unpriced = Page(post(client, "/runs/prompt", form(texts, **remote(endpoint, price=""))).text).text
    assert "not given above" in unpriced
    free = Page(post(client, "/runs/prompt", form(texts)).text).text
    assert "cost nothing" in free


def test_a_trial_asks_about_ten_texts_and_the_run_does_not_pay_for_them_again(
    client: TestClient, folder: Path, texts: str, endpoint: Endpoint
) -> None:
    fields = form(texts, **remote(endpoint))
    said = Page(post(client, "/runs/trial", fields).text)
    assert endpoint.total == 10
    assert said.text.count("number") >= 10
    assert "0 texts to ask" in Page(post(client, "/runs/prompt", fields).text).text
    reply = post(client, "/runs", fields, **{"hx-request": "true"})
    assert reply.headers["hx-redirect"] == "/runs/tickets"
    events = client.get("/runs/tickets/events").text  # until it is over
    assert endpoint.total == 60
    assert set(endpoint.completed.values()) == {1}
    assert events.endswith("event: end\ndata: \n\n")
    assert state_of(folder / "runs" / "tickets").status == "finished"
    assert "there is a run" in faults(post(client, "/runs", fields))
    assert "has started nothing" in faults(post(client, "/runs/tickets/stop"))


# keys


@pytest.mark.parametrize("named", [True, False])
def test_a_key_goes_only_to_a_host_that_was_named_at_start(
    folder: Path, texts: str, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch, named: bool
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    hosts = (endpoint.url,) if named else ("https://api.openai.com/v1",)
    with opened(settings(folder, key_hosts=hosts)) as client:
        assert "OPENAI_API_KEY" not in os.environ
        fields = form(texts, **remote(endpoint, limit="20"))
        assert post(client, "/runs/trial", fields).status_code == 200
        post(client, "/runs", fields)
        assert endpoint.wait_for(20)
        assert KEY not in client.get("/runs/tickets").text + client.get("/runs/new").text
    sent = {key for key in endpoint.keys if KEY in key}
    assert sent == ({f"bearer {KEY}"} if named else set())
    assert len(endpoint.keys) == 1  # trial and run alike


def test_a_run_folder_from_elsewhere_does_not_get_the_key(
    folder: Path, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    run = Run(copy_of_run(folder / "runs"))
    teacher = run.config.teacher.model_copy(update={"spec": "openai:known", "base_url": endpoint.url})
    run.configure(run.config.model_copy(update={"teacher": teacher}))
    with opened(settings(folder, key_hosts=("https://api.openai.com",))) as client:
        post(client, "/runs/desk/resume")
        assert endpoint.wait_for(3)
    assert not [key for key in endpoint.keys if KEY in key]


def test_the_public_endpoint_without_a_key_is_one_line(client: TestClient, texts: str) -> None:
    why = faults(post(client, "/runs", form(texts, teacher="openai", model="m")))
    assert "--key-host https://api.openai.com/v1" in why
