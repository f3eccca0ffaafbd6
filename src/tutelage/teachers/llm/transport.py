"""The HTTP client under the official SDK: a reply has a bound, whatever the server sends.

The SDK reads a reply into memory before it looks at it. So the bytes are counted on their way in, of errors as of answers, and
compression, which could make gigabytes of a few of them, is not asked for and not taken.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from importlib import import_module
from typing import Any

from openai import DefaultAsyncHttpxClient

MOST_BYTES = 32 << 20
"""Longest reply to a chat request; one of 4,096 tokens with 20 alternatives each is about 8 MB."""
BOUNDED = "/chat/completions"
"""Where the bound holds: the results of a batch are a file of any length."""

_client = next(base for base in DefaultAsyncHttpxClient.__mro__ if base.__name__ == "AsyncClient")
_http: Any = import_module(_client.__module__.partition(".")[0])  # httpx or its successor, as the SDK's version has it


class ReplyRefused(Exception):
    """A reply that is not read to its end."""


class _Counted(_http.AsyncByteStream):
    def __init__(self, stream: Any) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._stream:
            size += len(chunk)
            if size > MOST_BYTES:
                raise ReplyRefused(f"the reply is longer than {MOST_BYTES >> 20} MiB")
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


async def _bound(response: Any) -> None:
    if response.request.url.path.endswith(BOUNDED):
        if response.headers.get("content-encoding", "identity") != "identity":
            raise ReplyRefused("the reply is compressed, which was not asked for")
        response.stream = _Counted(response.stream)


def bounded_client() -> DefaultAsyncHttpxClient:
    """The SDK's own client, with the bound.

    >>> bounded_client().headers["accept-encoding"]
    'identity'
    """
    return DefaultAsyncHttpxClient(headers={"Accept-Encoding": "identity"}, event_hooks={"response": [_bound]})
