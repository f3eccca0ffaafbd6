"""Who may come in, with how much, how often: one ASGI layer before the application reads anything.

| refused | with |
|---|---|
| a Host that is not ours (a page that has rebound its name to this machine) | 421 |
| an Origin other than the Host (another site's page, in a browser that is also here) | 403 |
| no token where one is set, or a wrong one | 401 |
| a body over the limit, announced or not | 413 |
| a body that does not say that it is JSON, or of another kind that is taken (so no page elsewhere sends one unasked) | 415 |
| a body that does not arrive in time | 408 |
| too many requests of one client | 429 with Retry-After |
"""

from __future__ import annotations

import asyncio
import hmac
import json
import time
from collections import OrderedDict
from collections.abc import Iterable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

LOOPBACK = ("localhost", "127.0.0.1", "::1")
_CLIENTS = 10_000
_OPEN = "/health"
"""The one path that needs no token: what a load balancer asks."""


class Doors:
    """The layer. Wraps an ASGI application.

    Args:
        hosts: names under which the service may be asked for, without port; "*" for any.
        token: what `Authorization: Bearer …` must hold; None: nothing is asked.
        most_bytes: of a body. patience: seconds for a body to arrive. rate: requests a second of one client address, in
            bursts of twice as many; 0: no limit.
        kinds: content types of a POST that are taken.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        hosts: Iterable[str] = LOOPBACK,
        token: str | None = None,
        most_bytes: int = 4 << 20,
        patience: float = 30.0,
        rate: float = 0.0,
        kinds: tuple[str, ...] = ("application/json",),
    ) -> None:
        self._kinds = kinds
        self._app, self._hosts, self._token = app, {host.lower() for host in hosts}, token
        self._most_bytes, self._patience, self._rate = most_bytes, patience, rate
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is not None:
            await _refuse(send, *refusal)
            return
        if scope["method"] in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        body = await self._body(receive)
        if body is None:
            await _refuse(send, 408, f"the body did not arrive within {self._patience:g} seconds")
        elif len(body) > self._most_bytes:
            await _refuse(send, 413, f"the body is larger than {self._most_bytes:,} bytes: send fewer texts at a time")
        else:
            await self._app(scope, _replay(body, receive), send)

    def _refusal(self, scope: Scope) -> tuple[int, str, dict[str, str]] | None:
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        host = headers.get(b"host", "").lower()
        if "*" not in self._hosts and _name(host) not in self._hosts:
            return 421, "this service does not go by that name (the Host header); start it with --allow-host NAME", {}
        origin = headers.get(b"origin")
        if origin is not None and origin.lower().partition("://")[2] != host:
            return 403, "requests from other sites' pages are refused (the Origin header)", {}
        if self._token and scope["path"] != _OPEN:
            given = headers.get(b"authorization", "")
            if not hmac.compare_digest(given.encode(), f"Bearer {self._token}".encode()):
                return 401, "a valid token is needed: Authorization: Bearer …", {"www-authenticate": "Bearer"}
        kind = headers.get(b"content-type", "").partition(";")[0].strip().lower()
        if scope["method"] == "POST" and kind not in self._kinds:
            return 415, f"send it with the header content-type: {' or '.join(self._kinds)}", {}
        length = headers.get(b"content-length", "")
        if length.isdigit() and int(length) > self._most_bytes:
            return 413, f"the body is larger than {self._most_bytes:,} bytes: send fewer texts at a time", {}
        wait = self._wait(scope["client"][0] if scope.get("client") else "")
        if wait > 0 and scope["path"] != _OPEN:
            return 429, "too many requests; wait a moment", {"retry-after": str(int(wait) + 1)}
        return None

    def _wait(self, client: str) -> float:
        """Take one from the client's bucket: -> seconds to wait, 0 if there was one."""
        if not self._rate:
            return 0.0
        now, most = time.monotonic(), max(1.0, 2 * self._rate)
        left, since = self._buckets.pop(client, (most, now))
        left = min(most, left + (now - since) * self._rate)
        self._buckets[client] = (max(left - 1, 0.0) if left >= 1 else left, now)
        if len(self._buckets) > _CLIENTS:
            self._buckets.popitem(last=False)
        return 0.0 if left >= 1 else (1 - left) / self._rate

    async def _body(self, receive: Receive) -> bytes | None:
        """The whole body, or as much as tells that it is too large; None if it takes too long."""
        body = bytearray()
        try:
            async with asyncio.timeout(self._patience):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return bytes(body)
                    body += message.get("body", b"")
                    if len(body) > self._most_bytes or not message.get("more_body"):
                        return bytes(body)
        except TimeoutError:
            return None


def _name(host: str) -> str:
    """The host without its port: "[::1]:80" -> "::1"."""
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if host.count(":") == 1 else host


def _replay(body: bytes, receive: Receive) -> Receive:
    sent = False

    async def again() -> Message:
        nonlocal sent
        if sent:
            return await receive()
        sent = True
        return {"type": "http.request", "body": body, "more_body": False}

    return again


async def _refuse(send: Send, status: int, why: str, headers: dict[str, str] | None = None) -> None:
    body = json.dumps({"error": why}).encode()
    named = {"content-type": "application/json", "content-length": str(len(body)), "connection": "close"} | (
        headers or {}
    )
    await send({
        "type": "http.response.start", "status": status,
        "headers": [(name.encode(), value.encode()) for name, value in named.items()],
    })  # fmt: skip
    await send({"type": "http.response.body", "body": body})
