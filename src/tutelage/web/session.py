"""Who is at the screen: a token in the start address becomes a cookie, and every answer carries the same strict headers.

The start address holds a secret that only the terminal has shown. Opening it once sets a cookie that scripts cannot read
(`HttpOnly`) and that no other site's page can make the browser send (`SameSite=Strict`); the secret then leaves the address
bar. Without the cookie there is nothing but style sheets and one page that says what to do.

The headers let the pages load and run what the package ships and nothing else: no inline script, no inline style, no other
host, no frame.
"""

from __future__ import annotations

import hmac
import secrets
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, quote, urlencode

from starlette.requests import cookie_parser

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; form-action 'self'; "
    "base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-store",
}
_OPEN = "/static/"
"""What may be read without the cookie: it is the same for everybody."""


class StrictHeaders:
    """The outermost layer: adds `HEADERS` to every answer that does not set them itself."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def dressed(message: Message) -> None:
            if message["type"] == "http.response.start":
                given = {name.lower() for name, _ in message["headers"]}
                added = [(n.encode(), v.encode()) for n, v in HEADERS.items() if n.encode() not in given]
                message = {**message, "headers": [*message["headers"], *added]}
            await send(message)

        await self._app(scope, receive, dressed)


class Session:
    """The layer that asks for the cookie. Whoever has none is answered from the headers: nothing else of them is read.

    Args: token: what the start address holds. locked: the ASGI application that answers everybody else, with status 401.
    """

    def __init__(self, app: ASGIApp, *, token: str, locked: ASGIApp) -> None:
        self._app, self._token, self._locked = app, token, locked
        self._secret = secrets.token_urlsafe(32)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        reading = scope.get("method") in ("GET", "HEAD")
        if scope["type"] != "http" or (reading and scope["path"].startswith(_OPEN)) or self._is_known(scope):
            await self._app(scope, receive, send)
        elif scope["method"] == "GET" and self._brings_token(scope):
            await self._welcome(scope, send)
        else:
            await self._locked(scope, receive, send)

    def _cookie(self, scope: Scope) -> str:
        """The cookie's name; browsers share cookies between the ports of a host, so it holds ours."""
        return f"tutelage-{(scope.get('server') or ('', 0))[1]}"

    def _is_known(self, scope: Scope) -> bool:
        lines = [value.decode("latin-1") for name, value in scope["headers"] if name == b"cookie"]
        # cookies of other programs may be odd, and all ports share the host
        found = cookie_parser("; ".join(lines)).get(self._cookie(scope), "")
        return hmac.compare_digest(found.encode(), self._secret.encode())

    def _brings_token(self, scope: Scope) -> bool:
        given = dict(parse_qsl(scope["query_string"].decode("latin-1"))).get("token", "")
        return hmac.compare_digest(given.encode(), self._token.encode())

    async def _welcome(self, scope: Scope, send: Send) -> None:
        rest = [(k, v) for k, v in parse_qsl(scope["query_string"].decode("latin-1")) if k != "token"]
        path = "/" + quote(scope["path"].lstrip("/\\"))  # never "//host", never a line break
        place = path + (f"?{urlencode(rest)}" if rest else "")
        cookie = f"{self._cookie(scope)}={self._secret}; Path=/; HttpOnly; SameSite=Strict"
        headers = [(b"location", place.encode()), (b"set-cookie", cookie.encode()), (b"content-length", b"0")]
        await send({"type": "http.response.start", "status": 303, "headers": headers})
        await send({"type": "http.response.body", "body": b""})
