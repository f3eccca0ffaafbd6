"""The service as a process: a reload under load, an end that finishes what was taken, slow clients, several workers."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections import Counter
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="needs the extra `serve`")
pytest.importorskip("prometheus_client", reason="needs the extra `serve`")

from tests.serving.common import SPORT, save_student


class Process:
    """`tutelage serve` on a free port; as a context manager it is ended in any case."""

    def __init__(self, folder: Path, *options: str, **environment: str) -> None:
        command = [sys.executable, "-m", "tutelage", "serve", str(folder), "--port", "0", *options]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, **environment}
        )
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+)", line)
        assert found, line + (self.process.communicate()[1] if self.process.poll() is not None else "")
        self.port = int(found[1])

    def __enter__(self) -> Process:
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.communicate()

    def connect(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)

    def end(self, how: int = signal.SIGTERM) -> tuple[int, str]:
        self.process.send_signal(how)
        _, errors = self.process.communicate(timeout=40)
        return self.process.returncode, errors


def ask(connection: http.client.HTTPConnection, text: str) -> tuple[int, dict]:
    connection.request("POST", "/predict", json.dumps({"text": text}), {"content-type": "application/json"})
    reply = connection.getresponse()
    return reply.status, json.loads(reply.read())


def test_a_reload_under_load_fails_no_request(tmp_path):
    folder = save_student(tmp_path / "s")
    newer = save_student(tmp_path / "newer", flip=True)
    codes: Counter[int] = Counter()
    versions: list[str] = []
    enough = threading.Event()
    with Process(folder) as service:

        def load() -> None:
            connection = service.connect()
            while not enough.is_set():
                status, reply = ask(connection, SPORT[0])
                codes[status] += 1
                versions.append(reply["student"] + reply["predictions"][0]["label"])

        clients = [threading.Thread(target=load) for _ in range(4)]
        for client in clients:
            client.start()
        shutil.rmtree(folder)
        newer.rename(folder)
        for _ in range(200):
            connection = service.connect()
            connection.request("GET", "/health")
            if json.loads(connection.getresponse().read())["reloads"]:
                break
            enough.wait(0.1)
        ask(service.connect(), SPORT[0])
        enough.wait(0.2)
        enough.set()
        for client in clients:
            client.join()
        code, errors = service.end()
    assert set(codes) == {200}
    assert len(set(versions)) == 2, "one student before, another after, and no answer that mixes them"
    assert {version[-5:] for version in set(versions)} == {"sport", "arket"}
    assert code in (0, -signal.SIGTERM)
    assert "Traceback" not in errors


def test_an_end_answers_what_was_taken(tmp_path):
    with Process(save_student(tmp_path / "s")) as service:
        body = json.dumps({"texts": ["goal match oil price"] * 1_000}).encode()
        with socket.create_connection(("127.0.0.1", service.port), timeout=20) as client:
            head = ["POST /predict HTTP/1.1", "host: localhost", "content-type: application/json"]
            head += [f"content-length: {len(body)}", "expect: 100-continue", "", ""]
            client.sendall("\r\n".join(head).encode())
            assert client.recv(100) == b"HTTP/1.1 100 Continue\r\n\r\n"  # now it is taken
            service.process.send_signal(signal.SIGTERM)
            client.sendall(body)
            reply = http.client.HTTPResponse(client)
            reply.begin()
            assert reply.status == 200
            assert len(json.loads(reply.read())["predictions"]) == 1_000
        assert service.process.wait(40) in (0, -signal.SIGTERM)


def test_two_workers_count_together(tmp_path):
    with Process(save_student(tmp_path / "s"), "--workers", "2") as service:
        for _ in range(20):
            assert ask(service.connect(), SPORT[0])[0] == 200
        connection = service.connect()
        connection.request("GET", "/metrics")
        assert "tutelage_texts_total 20.0" in connection.getresponse().read().decode()
        code, errors = service.end()
    assert code in (0, -signal.SIGTERM)
    assert "Traceback" not in errors


def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tutelage", "serve", *arguments], capture_output=True, text=True, timeout=60, check=False,
        env={**os.environ, **environment},
    )  # fmt: skip


def test_faults_of_the_command_are_one_line(tmp_path):
    folder = str(save_student(tmp_path / "s"))
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        busy = run(folder, "--port", str(taken.getsockname()[1]))
    nowhere = run(str(tmp_path / "nowhere"))
    opened = run(folder, "--host", "0.0.0.0", TUTELAGE_TOKEN="")
    for done, said in ((busy, "choose another --port"), (nowhere, "no student at"), (opened, "TUTELAGE_TOKEN")):
        assert done.returncode == 2
        assert said in done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
