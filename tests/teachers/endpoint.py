"""A scripted OpenAI-compatible endpoint on loopback: answers by an oracle, fails by plan, and counts what it completed.

The plan is deterministic: the n-th request about a text fails, or not, by a hash of (seed, text, n), whatever the order in
which requests arrive. `Endpoint` is a context manager; its server runs in a thread of its own.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import re
import threading
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field

Response = tuple[int, dict[str, str], bytes | AsyncIterator[bytes]]
FENCE = re.compile(r"The text stands between the marks <(text-[0-9a-f]{8})>")


def fenced(prompt: str) -> tuple[str, str]:
    """The text inside the fence of a prompt, and everything that stands outside of it."""
    mark = FENCE.search(prompt)
    assert mark, "the prompt has no fence"
    opening, closing = f"\n<{mark[1]}>\n", f"\n</{mark[1]}>"
    start = prompt.index(opening) + len(opening)
    end = prompt.index(closing, start)
    return prompt[start:end], prompt[:start] + prompt[end:]


@dataclass
class Endpoint:
    """Answers POST /v1/chat/completions, and the batch interface.

    Args:
        oracle: (text, prompt outside of the fence) -> reply.
        faults: shares of "429", "500", "hang", "cut", "malformed", "outside", "trickle" (a byte every 10 ms, without end),
            "huge" and "huge 500" (200 MB of white space), "zipped": what happens instead of an answer.
        ignore: parameters that are silently ignored; refuse: parameters that are answered with 400.
        key, model: what is accepted; None: anything. delay: seconds of one answer. down: refuse everything with 503.
        logprobs: (reply) -> the `content` of the logprobs that are sent along when they are asked for.
        results: (lines of a batch's results) -> what is handed out instead.
        nonsense: paths (their beginning) that are answered with a page of HTML, so many times each.
    """

    oracle: Callable[[str, str], str]
    faults: Mapping[str, float] = field(default_factory=dict)
    seed: int = 0
    ignore: frozenset[str] = frozenset({"response_format", "logprobs", "n"})
    refuse: frozenset[str] = frozenset()
    key: str | None = None
    model: str | None = None
    delay: float = 0.0
    hang: float = 30.0
    down: bool = False
    usage: bool = True
    retry_after: str = "1"
    logprobs: Callable[[str], list[dict[str, object]]] | None = None
    results: Callable[[list[str]], list[str]] = list
    nonsense: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.completed: Counter[str] = Counter()
        self.seen: Counter[str] = Counter()
        self.statuses: Counter[int | str] = Counter()
        self.bodies: list[dict[str, object]] = []
        self.keys: set[str] = set()
        self.files: dict[str, str] = {}
        self.batches: dict[str, dict[str, object]] = {}
        self.polls = 0
        self.in_flight = self.most_in_flight = 0
        self.tokens = 0
        self.sent = 0
        self.changed = threading.Condition()
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Endpoint:
        self._thread.start()
        self._ready.wait()
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/v1"

    @property
    def total(self) -> int:
        """Answers that were completed."""
        return sum(self.completed.values())

    def wait_for(self, count: int, timeout: float = 60.0) -> bool:
        """Wait until so many answers are completed."""
        with self.changed:
            return self.changed.wait_for(lambda: self.total >= count, timeout)

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._connection, "127.0.0.1", 0, backlog=512))
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(asyncio.sleep(0))
        self._loop.close()

    async def _connection(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                first, *lines = head.decode("latin1").split("\r\n")
                headers = dict(line.lower().split(": ", 1) for line in lines if ": " in line)
                raw = await reader.readexactly(int(headers.get("content-length", 0)))
                method, path, _ = first.split(" ")
                self.keys.add(headers.get("authorization", ""))
                self.in_flight += 1
                self.most_in_flight = max(self.most_in_flight, self.in_flight)
                try:
                    answer = await self._route(method, path.split("?")[0], headers, raw)
                finally:
                    self.in_flight -= 1
                if answer is None:
                    self.statuses["cut"] += 1
                    writer.transport.abort()
                    return
                status, extra, body = answer
                self.statuses[status] += 1
                if not isinstance(body, bytes):
                    writer.write(f"HTTP/1.1 {status} X\r\nconnection: close\r\n\r\n".encode())
                    async for piece in body:
                        writer.write(piece)
                        self.sent += len(piece)
                        await writer.drain()
                    writer.close()
                    return
                extra = {"content-type": "application/json", "content-length": str(len(body)), **extra}
                headline = f"HTTP/1.1 {status} X\r\n" + "".join(f"{k}: {v}\r\n" for k, v in extra.items())
                writer.write(headline.encode() + b"\r\n" + body)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError, RuntimeError):
            writer.close()

    async def _route(self, method: str, path: str, headers: Mapping[str, str], raw: bytes) -> Response | None:
        if self.down:
            return _error(503, "down for maintenance")
        for start, left in self.nonsense.items():
            if f"{method} {path}".startswith(start) and left:
                self.nonsense[start] -= 1
                return 200, {"content-type": "text/html"}, b"<html>Welcome to our portal</html>"
        if self.key and headers.get("authorization") != f"bearer {self.key}".lower():
            return _error(401, "Incorrect API key provided.", code="invalid_api_key")
        if path == "/v1/chat/completions":
            return await self._complete(json.loads(raw))
        return self._batch(method, path, headers, raw)

    def _fault(self, text: str) -> str | None:
        self.seen[text] += 1
        digest = hashlib.sha256(f"{self.seed}:{text}:{self.seen[text]}".encode()).digest()
        draw = int.from_bytes(digest[:8], "big") / 2**64
        for kind, share in self.faults.items():
            if draw < share:
                return kind
            draw -= share
        return None

    def _refusal(self, body: Mapping[str, object]) -> tuple[int, dict[str, str], bytes] | None:
        if self.model and body["model"] != self.model:
            return _error(404, f"The model `{body['model']}` does not exist", code="model_not_found")
        for name in self.refuse:
            if name in body:
                return _error(400, f"Unsupported parameter: '{name}' is not supported with this model.", param=name)
        return None

    async def _complete(self, body: dict[str, object]) -> Response | None:
        self.bodies.append(body)
        refused = self._refusal(body)
        if refused:
            return refused
        text, outside = fenced("\n".join(m["content"] for m in body["messages"]))  # type: ignore[index, union-attr]
        fault = self._fault(text)
        if fault == "429":
            return _error(429, "Rate limit reached", headers={"retry-after": self.retry_after})
        if fault == "500":
            return _error(500, "The server had an error")
        if fault == "hang":
            await asyncio.sleep(self.hang)
            return None
        if fault == "cut":
            return None
        if fault == "trickle":
            return 200, {}, _bytes(10**9, b" ", 0.01)
        if fault in ("huge", "huge 500"):
            return 500 if fault == "huge 500" else 200, {}, _bytes(200, b" " * 1_000_000)
        if self.delay:
            await asyncio.sleep(self.delay)
        reply = self.oracle(text, outside)
        if fault == "malformed":
            reply = "I think that " + reply[:-3]
        if fault == "outside":
            reply = '{"label": "astrology"}'
        payload = json.dumps(self._reply(body, reply)).encode()
        if fault == "zipped":
            return 200, {"content-encoding": "gzip"}, gzip.compress(payload)
        with self.changed:
            self.completed[text] += 1
            self.changed.notify_all()
        return 200, {}, payload

    def _reply(self, body: Mapping[str, object], reply: str) -> dict[str, object]:
        n = int(body.get("n", 1)) if "n" not in self.ignore else 1  # type: ignore[call-overload]
        logprobs = None
        if body.get("logprobs") and "logprobs" not in self.ignore and self.logprobs:
            logprobs = {"content": self.logprobs(reply)}
        choice = {"message": {"role": "assistant", "content": reply}, "finish_reason": "stop", "logprobs": logprobs}
        size = len(json.dumps(body["messages"])) // 4
        self.tokens += size + n * 8
        answer: dict[str, object] = {
            "id": "x", "object": "chat.completion", "created": 1, "model": "served",
            "choices": [{"index": i, **choice} for i in range(n)],
        }  # fmt: skip
        if self.usage:
            answer["usage"] = {"prompt_tokens": size, "completion_tokens": n * 8, "total_tokens": size + n * 8}
        return answer

    def _batch(self, method: str, path: str, headers: Mapping[str, str], raw: bytes) -> Response | None:
        if (method, path) == ("POST", "/v1/files"):
            boundary = headers["content-type"].split("boundary=")[1].encode()
            part = next(p for p in raw.split(b"--" + boundary) if b"filename=" in p)
            name = f"file-{len(self.files)}"
            self.files[name] = part.split(b"\r\n\r\n", 1)[1].decode().rstrip("\r\n")
            return _ok(
                {"id": name, "object": "file", "bytes": len(raw), "created_at": 1, "filename": "r", "purpose": "batch"}
            )
        if (method, path) == ("POST", "/v1/batches"):
            asked = json.loads(raw)
            name = f"batch-{len(self.batches)}"
            self.batches[name] = {
                "id": name, "object": "batch", "endpoint": asked["endpoint"], "input_file_id": asked["input_file_id"],
                "completion_window": "24h", "status": "in_progress", "created_at": 1, "metadata": asked.get("metadata"),
            }  # fmt: skip
            return _ok(self.batches[name])
        if (method, path) == ("GET", "/v1/batches"):
            return _ok({"object": "list", "data": list(self.batches.values())[::-1], "has_more": False})
        if method == "GET" and path.startswith("/v1/batches/"):
            batch = self.batches[path.rsplit("/", 1)[1]]
            self.polls += 1
            if batch["status"] == "in_progress" and self.polls % 2 == 0:
                self._work_off(batch)
            return _ok(batch)
        if method == "GET" and path.startswith("/v1/files/"):
            content = self.files[path.split("/")[3]].encode()
            return 200, {"content-type": "application/octet-stream"}, content
        return _error(404, f"no such path {path}")

    def _work_off(self, batch: dict[str, object]) -> None:
        good, bad = [], []
        for line in self.files[str(batch["input_file_id"])].splitlines():
            entry = json.loads(line)
            text, outside = fenced("\n".join(m["content"] for m in entry["body"]["messages"]))
            refused = self._refusal(entry["body"])
            if refused or self._fault(text):
                status, _, body = refused or _error(500, "failed")
                error = {"status_code": status, "body": json.loads(body)}
                bad.append({"custom_id": entry["custom_id"], "response": error})
                continue
            self.completed[text] += 1
            body = self._reply(entry["body"], self.oracle(text, outside))
            good.append({"custom_id": entry["custom_id"], "response": {"status_code": 200, "body": body}})
        good.reverse()  # results come in any order
        for rows, field_name in ((good, "output_file_id"), (bad, "error_file_id")):
            if rows:
                name = f"file-{len(self.files)}"
                self.files[name] = "\n".join(self.results([json.dumps(row) for row in rows]))
                batch[field_name] = name
        batch["status"] = "completed"


async def _bytes(times: int, piece: bytes, pause: float = 0.0) -> AsyncIterator[bytes]:
    for _ in range(times):
        yield piece
        await asyncio.sleep(pause)


def _ok(body: dict[str, object]) -> tuple[int, dict[str, str], bytes]:
    return 200, {}, json.dumps(body).encode()


def _error(
    status: int,
    message: str,
    *,
    headers: dict[str, str] | None = None,
    code: str | None = None,
    param: str | None = None,
) -> tuple[int, dict[str, str], bytes]:
    body = {"error": {"message": message, "type": "error", "code": code, "param": param}}
    return status, headers or {}, json.dumps(body).encode()
