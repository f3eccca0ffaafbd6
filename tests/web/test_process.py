"""The verb, the process, and clients that take their time."""

from __future__ import annotations

import asyncio
import http.client
import importlib.util
import os
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from tests.cli.conftest import Cli, cli
from tests.web.common import HOME, TOKEN, settings
from tests.web.runs import copy_of_run
from tutelage.pipeline.folder import _held
from tutelage.serving.run import Impatient
from tutelage.web.app import create_app
from tutelage.web.server import CONNECTIONS, config_of

__all__ = ["cli"]

KIND = b"application/x-www-form-urlencoded"


def test_a_missing_extra_is_one_line(cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    real = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "fastapi" else real(name, *a))
    done = cli("ui", "--port", "0")
    assert done.code == 2
    assert done.line == "tutelage: the workbench needs an extra that is not installed: pip install 'tutelage[serve]'"


def test_an_address_that_is_none_is_one_line(cli: Cli) -> None:
    done = cli("ui", "--key-host", "api.openai.com")
    assert done.code == 2
    assert "not an http(s) address" in done.line


def test_the_process_prints_its_address_watches_runs_and_ends_by_ctrl_c(folder: Path) -> None:
    run = copy_of_run(folder / "runs")
    command = [sys.executable, "-m", "tutelage", "ui", str(folder / "runs"), "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ))
    try:
        assert process.stdout is not None
        found = re.fullmatch(r"workbench: http://127\.0\.0\.1:(\d+)/\?token=(\S{24,})\n", process.stdout.readline())
        assert found
        port, token = int(found[1]), found[2]
        taken = subprocess.run([*command[:-1], str(port)], capture_output=True, text=True, timeout=60)
        assert taken.returncode == 2
        assert taken.stderr.startswith(f"tutelage: cannot listen on 127.0.0.1:{port}")
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
        connection.request("GET", f"/runs?token={token}")
        reply = connection.getresponse()
        reply.read()
        cookie = reply.headers["set-cookie"].split(";")[0]
        with _held(run):  # as if another process worked on it: the stream stays open
            (run / ".lock").write_text(str(os.getpid()))
            connection.request("GET", "/runs/desk/events", headers={"cookie": cookie})
            stream = connection.getresponse()
            assert stream.headers["content-type"].startswith("text/event-stream")
            assert stream.readline() == b"event: progress\n"
            process.send_signal(signal.SIGINT)
            rest = stream.read()
        assert rest.endswith(b"event: end\ndata: \n\n")
        assert process.wait(30) in (0, 130)
        assert "Traceback" not in process.communicate()[1]
    finally:
        process.kill()
        process.communicate()


def test_a_body_that_does_not_arrive_is_given_up(folder: Path) -> None:
    app = create_app(settings(folder, patience=0.05))
    client = TestClient(app, base_url=HOME)
    client.get(f"/?token={TOKEN}")
    cookie = "; ".join(f"{name}={value}" for name, value in client.cookies.items()).encode()
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await asyncio.Event().wait()
        raise AssertionError("unreachable")

    async def send(message: Any) -> None:
        sent.append(message)

    headers = [(b"host", b"127.0.0.1:8500"), (b"content-type", KIND), (b"cookie", cookie)]
    scope = {
        "type": "http", "method": "POST", "path": "/runs", "raw_path": b"/runs", "query_string": b"", "headers": headers,
        "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8500), "scheme": "http", "http_version": "1.1", "root_path": "",
    }  # fmt: skip
    asyncio.run(app(scope, receive, send))  # type: ignore[arg-type]
    assert sent[0]["status"] == 408


def test_headers_that_do_not_arrive_are_hung_up_on(folder: Path) -> None:
    """As the service does it, whose tests show how (tests/serving/test_process.py)."""
    config = config_of(create_app(settings(folder)))
    assert config.http is Impatient
    assert config.limit_concurrency == CONNECTIONS
