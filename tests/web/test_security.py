"""Who gets in, and what an answer lets a browser do."""

from __future__ import annotations

import asyncio
import json
import re
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest

import tutelage
from tests.web.common import HOME, TOKEN, Page, opened, settings, stranger
from tutelage.web.app import create_app

FORM = {"content-type": "application/x-www-form-urlencoded"}


@pytest.mark.parametrize("path", ["/", "/studies", "/runs", "/runs/x/events", "/nowhere"])
def test_without_the_token_there_is_nothing(folder: Path, path: str) -> None:
    with stranger(settings(folder)) as client:
        for address in (path, f"{path}?token=", f"{path}?token={TOKEN}x"):
            reply = client.get(address)
            assert reply.status_code == 401
            assert "set-cookie" not in reply.headers
            assert "tutelage ui" in reply.text
        assert client.post("/runs", content=f"token={TOKEN}", headers=FORM).status_code == 401
        assert client.put(f"/files/a.csv?token={TOKEN}", content=b"x").status_code == 401


def test_the_token_becomes_a_strict_cookie_and_leaves_the_address(folder: Path) -> None:
    with stranger(settings(folder)) as client:
        reply = client.get(f"/studies?words=a+b&token={TOKEN}")
        assert reply.status_code == 303
        assert reply.headers["location"] == "/studies?words=a+b"
        cookie = reply.headers["set-cookie"]
        assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= {part.strip() for part in cookie.split(";")}
        assert TOKEN not in cookie
        assert client.get("/studies").status_code == 200


def test_a_welcome_leads_nowhere_else(folder: Path) -> None:
    with stranger(settings(folder)) as client:
        for path in ("//evil.example/x", "/%5Cevil.example", "/a%0d%0ax-injected:%201"):
            reply = client.get(f"{path}?token={TOKEN}")
            assert "x-injected" not in reply.headers
            assert not reply.headers.get("location", "/ok").startswith(("//", "/\\", "http"))


def test_a_cookie_of_another_workbench_is_worth_nothing(folder: Path) -> None:
    with opened(settings(folder)) as one, stranger(settings(folder)) as other:
        other.cookies.update(one.cookies)
        assert other.get("/studies").status_code == 401


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"host": "evil.example"}, 421),
        ({"host": "127.0.0.1.evil.example:8500"}, 421),
        ({"host": ""}, 421),
        ({"origin": "https://evil.example"}, 403),
        ({"origin": "null"}, 403),
        ({"origin": "http://127.0.0.1:9999"}, 403),
        ({"content-type": "text/plain"}, 415),
        ({"content-type": "application/json"}, 415),
    ],
)
def test_another_sites_page_is_refused_even_with_the_cookie(folder: Path, headers: dict[str, str], status: int) -> None:
    with opened(settings(folder)) as client:
        assert client.post("/runs/scheme", content="scheme=ag-news", headers={**FORM, **headers}).status_code == status


def test_a_name_may_be_allowed(folder: Path) -> None:
    with opened(settings(folder, allow_hosts=("desk.lan",))) as client:
        assert client.get("/studies", headers={"host": "desk.lan:8500"}).status_code in (200, 401)
        assert client.get("/studies", headers={"host": "other.lan"}).status_code == 421


@pytest.mark.parametrize(
    "path", ["/studies", "/studies/swing", "/static/workbench.css", "/nowhere", "/static/../app.py"]
)
def test_every_answer_is_strict(folder: Path, path: str) -> None:
    with opened(settings(folder)) as client:
        reply = client.get(path)
    policy = dict(part.strip().split(" ", 1) for part in reply.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["script-src"] == policy["style-src"] == "'self'"
    assert policy["frame-ancestors"] == "'none'"
    assert reply.headers["x-content-type-options"] == "nosniff"
    page = Page(reply.text) if "html" in reply.headers["content-type"] else Page("")
    assert all("src" in tag for tag in page.all("script"))
    assert not page.all("style")
    assert not [a for _, a in page.tags if any(name == "style" or name.startswith("on") for name in a)]


@pytest.mark.parametrize("other", ['json={"a": 1}', "a b=c", 'x="un', "=z", "é=1", "tutelage-8499=x"])
def test_odd_cookies_of_other_programs_on_this_machine_lock_nobody_out(folder: Path, other: str) -> None:
    """Browsers share cookies between all ports of a host."""
    with opened(settings(folder)) as client:
        ours = "; ".join(f"{name}={value}" for name, value in client.cookies.items())
        client.cookies.clear()
        for line in (f"{other}; {ours}", f"{ours}; {other}"):
            assert client.get("/studies", headers={b"cookie": line.encode()}).status_code == 200
        assert client.get("/studies", headers={b"cookie": other.encode()}).status_code == 401


@pytest.mark.parametrize("path", ["/files/a.csv", "/static/workbench.css"])
def test_what_a_stranger_sends_is_not_even_read(folder: Path, path: str) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        raise AssertionError("the body was read")

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"127.0.0.1:8500")]
    scope = {"type": "http", "method": "PUT", "path": path, "query_string": b"", "headers": headers}
    asyncio.run(create_app(settings(folder))(scope, receive, send))  # type: ignore[arg-type]
    assert sent[0]["status"] == 401


def test_a_page_that_was_loaded_before_a_new_start_is_told_so(folder: Path) -> None:
    with stranger(settings(folder)) as client:
        reply = client.post("/runs", headers={**FORM, "hx-request": "true"})
    assert reply.status_code == 401
    assert Page(reply.text).all("p") == [{"class": "fault"}]
    assert "started anew" in reply.text


def test_static_files_are_those_of_the_package(folder: Path) -> None:
    with stranger(settings(folder)) as client:
        assert client.get("/static/vendor/htmx.min.js").status_code == 200
        for path in ("/static/..%2fapp.py", "/static/%2e%2e/app.py", "/static/", "/static//etc/passwd"):
            assert client.get(path).status_code in (401, 404)


def test_code_of_others_is_as_they_published_it_and_all_of_it_is_accounted_for() -> None:
    vendor = Path(tutelage.__path__[0]) / "web" / "static" / "vendor"
    told = dict(
        re.findall(r"^\| `([\w.-]+\.js)` \|.*`([0-9a-f]{64})`", (vendor / "README.md").read_text("utf-8"), re.M)
    )
    assert told == {file.name: sha256(file.read_bytes()).hexdigest() for file in vendor.glob("*.js")}


def test_no_string_is_ever_run(folder: Path) -> None:
    with opened(settings(folder)) as client:
        reply = client.get("/runs")
    assert "unsafe" not in reply.headers["content-security-policy"]
    (config,) = [meta["content"] for meta in Page(reply.text).all("meta") if meta.get("name") == "htmx-config"]
    assert {"allowEval": False, "allowScriptTags": False, "selfRequestsOnly": True}.items() <= json.loads(
        config
    ).items()


def test_oversized_bodies_are_refused_announced_or_not(folder: Path) -> None:
    with opened(settings(folder, most_bytes=2_000)) as client:
        assert client.post("/runs/scheme", content="a=" + "x" * 3_000, headers=FORM).status_code == 413
        pieces = (b"x" * 500 for _ in range(6))
        assert client.put("/files/a.csv", content=pieces).status_code == 413
    with opened(settings(folder)) as client:
        assert client.post("/runs/scheme", content="a=" + "x" * 1_100_000, headers=FORM).status_code == 400


@pytest.mark.parametrize("body", [b"\xff\xfe", b"a=%ff", b"&".join(b"a=1" for _ in range(6_000))])
def test_malformed_forms_are_one_line(folder: Path, body: bytes) -> None:
    with opened(settings(folder)) as client:
        reply = client.post("/runs/scheme", content=body, headers={**FORM, "hx-request": "true"})
    assert reply.status_code == 400
    assert Page(reply.text).all("p") == [{"class": "fault"}]


def test_settings_take_the_origin_of_a_key_host(folder: Path) -> None:
    made = settings(folder, key_hosts=("https://API.example.org/v1", "https://api.example.org"))
    assert made.key_hosts == ("https://api.example.org:443",)
    assert made.address == HOME + "/"
