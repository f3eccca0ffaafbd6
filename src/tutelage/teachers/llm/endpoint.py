"""A chat model behind an OpenAI-compatible address: the body of a request, the reading of a reply, the sorting of faults.

Which of the four kinds (see `base`) a fault is cannot be told from its status alone: servers that know no `response_format`
answer with 400, 422 or 500, and one that is out of credit with 429. So the words of the error are read too.
"""

from __future__ import annotations

import asyncio
import email.utils
import math
import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from tutelage.data.text import as_text
from tutelage.errors import InputError, Paused
from tutelage.teachers.llm.base import (
    Capabilities,
    Choice,
    ParameterRefused,
    Reply,
    Request,
    TextFault,
    Token,
    Transient,
)

if TYPE_CHECKING:
    from openai import AsyncOpenAI

OPENAI_URL = "https://api.openai.com/v1"
_MOST_TOKENS = 1 << 40  # a server that counts more of them in one reply does not count


@dataclass
class OpenAIChat:
    """Any OpenAI-compatible endpoint, through the official SDK. The key is read from OPENAI_API_KEY and nowhere else.

    Args:
        model: its name at the endpoint. base_url: the endpoint (default: OPENAI_BASE_URL, else api.openai.com).
        temperature, seed: as sent. timeout: seconds for one request. max_tokens: bound of one answer.

    Raises: InputError: no key for api.openai.com.
    """

    model: str
    base_url: str | None = None
    temperature: float = 0.0
    seed: int | None = None
    timeout: float = 120.0
    max_tokens: int = 1024
    capabilities: Capabilities = field(default_factory=Capabilities)

    def __post_init__(self) -> None:
        self.base_url = self.base_url or os.environ.get("OPENAI_BASE_URL") or OPENAI_URL
        if not re.match(r"https?://[^/]", self.base_url):
            raise InputError(f"the base URL must start with http:// or https://; got {self.base_url!r}")
        if "@" in self.base_url.split("/")[2]:
            raise InputError("the base URL must not hold a user or password: it is kept in the run's files")
        self._key = os.environ.get("OPENAI_API_KEY", "")
        if not self._key and self.base_url.startswith(OPENAI_URL.removesuffix("/v1")):
            raise InputError(
                "no key: set the environment variable OPENAI_API_KEY, or give --base-url of your own endpoint"
            )
        self._refused: set[str] = set()
        self._top_logprobs = 20
        self._json_schema = True
        self._client: AsyncOpenAI | None = None

    @property
    def name(self) -> str:
        return f"openai:{self.model}"

    @property
    def description(self) -> Mapping[str, object]:
        return {
            "kind": "openai",
            "model": self.model,
            "temperature": self.temperature,
            "seed": self.seed,
            "max_tokens": self.max_tokens,
        }

    @property
    def client(self) -> AsyncOpenAI:
        """The SDK's client; made on first use, in the event loop that uses it."""
        if self._client is None:
            from openai import AsyncOpenAI

            from tutelage.teachers.llm.transport import bounded_client

            self._client = AsyncOpenAI(
                api_key=self._key or "none", base_url=self.base_url, max_retries=0, timeout=self.timeout,
                http_client=bounded_client(),
            )  # fmt: skip
        return self._client

    async def aclose(self) -> None:
        if self._client is not None:
            await self._client.close()
            self._client = None

    def body(self, request: Request) -> dict[str, object]:
        """The JSON body of a request, without what the server refused before."""
        body: dict[str, object] = {
            "model": self.model,
            "messages": list(request.messages),
            "temperature": self.temperature,
            "max_tokens": self.max_tokens,
        }
        if self.seed is not None:
            body["seed"] = self.seed + request.sample
        if request.n > 1:
            body["n"] = request.n
        if request.logprobs:
            body |= {"logprobs": True, "top_logprobs": self._top_logprobs}
        if request.schema is not None:
            strict = {"name": "annotation", "strict": True, "schema": request.schema}
            body["response_format"] = (
                {"type": "json_schema", "json_schema": strict}
                if self._json_schema
                else {"type": "json_object", "schema": request.schema}  # llama-cpp-python's server takes it so
            )
        return {name: value for name, value in body.items() if name not in self._refused}

    async def complete(self, request: Request) -> Reply:
        import openai

        from tutelage.teachers.llm.transport import ReplyRefused

        body = self.body(request)
        try:
            async with asyncio.timeout(self.timeout):  # of the whole; the SDK's begins anew with every byte
                data = await self.client.post("/chat/completions", cast_to=object, body=body)
        except openai.APIStatusError as error:
            headers = dict(error.response.headers.items())
            detail = error.body if isinstance(error.body, dict) else {}
            raise self.sort_fault(error.status_code, detail, error.message, headers, body) from None
        except (openai.APITimeoutError, TimeoutError):
            raise Transient(f"no answer within {self.timeout:g} s", sent=True) from None
        except (openai.APIConnectionError, ReplyRefused) as error:  # the SDK wraps the second, or does not
            cause = error.__cause__ or error
            if isinstance(cause, ReplyRefused):
                raise Transient(str(cause), sent=True) from None
            reason = " ".join(str(cause).split()) or type(cause).__name__
            raise Transient(
                f"connection failed: {reason}", sent="connect" not in type(cause).__name__.lower()
            ) from None
        except (openai.OpenAIError, ValueError) as error:
            raise Transient(f"unreadable reply: {' '.join(str(error).split())[:200]}", sent=True) from None
        return self.read(data, body)

    def read(self, data: object, body: Mapping[str, object]) -> Reply:
        """A reply from the JSON that came back. Raises: Transient: it holds no answer; and as `complete`."""
        if isinstance(data, dict) and not data.get("choices") and isinstance(data.get("error"), dict):
            detail = data["error"]
            code = detail.get("code")
            status = code if isinstance(code, int) else 500
            raise self.sort_fault(status, detail, str(detail.get("message", "")), {}, body)
        try:
            choices = tuple(_choice(choice) for choice in data["choices"])  # type: ignore[index]
            usage = data.get("usage") or {}  # type: ignore[union-attr]
            counts = [usage.get(name) for name in ("prompt_tokens", "completion_tokens")]
        except (TypeError, KeyError, AttributeError, ValueError, RecursionError):
            raise Transient("the reply is not a chat completion", sent=True) from None
        if not choices:
            raise Transient("the reply holds no choice", sent=True)
        tokens_in, tokens_out = (
            int(c) if isinstance(c, int | float) and 0 <= c < _MOST_TOKENS else None for c in counts
        )
        return Reply(choices, tokens_in, tokens_out)

    def sort_fault(
        self,
        status: int,
        detail: Mapping[str, object],
        message: str,
        headers: Mapping[str, str],
        body: Mapping[str, object],
    ) -> Exception:
        """Which of the four kinds of fault an error status is."""
        message = as_text(" ".join((str(detail.get("message") or "") or message or "no message").split())[:400]) or ""
        if self._key:
            message = message.replace(self._key, "(key)")
        code = str(detail.get("code") or detail.get("type") or "")
        where = f"{self.base_url} answered {status}: {message}"
        if "insufficient_quota" in (code, detail.get("type")):
            return Paused(f"{where} (all answers so far are kept)")
        if status in (408, 429) or status >= 500:
            if "validation error" in message.lower() and (refused := self._refuse("", message, body)):
                return ParameterRefused(f"{self.base_url} does not take {refused}")  # some servers call this a 500
            return Transient(where, status=status, retry_after=retry_after(headers))
        if status in (400, 413, 422):
            words = f"{code} {message}".lower()
            if status == 413 or "context_length" in words or "context length" in words or "exceed context" in words:
                return TextFault("too_long", where)
            if "content_filter" in words or "content_policy" in words or "content management policy" in words:
                return TextFault("blocked", where)
            refused = self._refuse(str(detail.get("param") or ""), message, body)
            if refused:
                return ParameterRefused(f"{self.base_url} does not take {refused}")
        if status == 401:
            return InputError(f"{where} (the key is read from OPENAI_API_KEY)")
        return InputError(f"{where} (model {self.model!r})")

    def _refuse(self, param: str, message: str, body: Mapping[str, object]) -> str | None:
        """The optional parameter that an error names, which is then left out; None if it names none that was sent."""
        for name in ("top_logprobs", "logprobs", "response_format", "seed", "max_tokens", "temperature", "n"):
            alias = r"response_format|json_schema|guided" if name == "response_format" else name
            named = rf"['\"`]{alias}['\"`]" if name == "n" else rf"\b(?:{alias})\b"
            if name in body and (param.split(".")[0] == name or re.search(named, message)):
                if name == "top_logprobs" and self._top_logprobs > 5:
                    self._top_logprobs = 5
                elif name == "response_format" and self._json_schema:
                    self._json_schema = False
                else:
                    self._refused |= {"logprobs", "top_logprobs"} if "logprobs" in name else {name}
                return name
        return None


def _choice(choice: Mapping[str, object]) -> Choice:
    message = choice["message"]
    content, refusal = message.get("content"), message.get("refusal")  # type: ignore[attr-defined]
    if isinstance(content, list):  # some servers answer in parts
        content = "".join(str(part.get("text", "")) for part in content if isinstance(part, dict))
    logprobs = choice.get("logprobs")
    entries = logprobs.get("content") if isinstance(logprobs, dict) else None
    try:
        tokens = tuple(
            Token(
                str(entry["token"]),
                float(entry["logprob"]),
                tuple((str(other["token"]), float(other["logprob"])) for other in entry.get("top_logprobs") or ()),
            )
            for entry in entries or ()
        )
    except (TypeError, KeyError, ValueError, AttributeError, OverflowError):
        tokens = ()
    finish = choice.get("finish_reason")
    said, declined = as_text(str(content or "")), as_text(str(refusal)) if refusal else None  # no half characters
    return Choice(said or "", finish if isinstance(finish, str) else None, declined, tokens)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Seconds that a server asks to wait: `Retry-After` in seconds or as a date, or `Retry-After-Ms`.

    >>> retry_after({"Retry-After": "2.5"}), retry_after({"retry-after-ms": "300"}), retry_after({"retry-after": "soon"})
    (2.5, 0.3, None)
    """
    lower = {name.lower(): value for name, value in headers.items()}
    for name, scale in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        value = lower.get(name)
        if value is None:
            continue
        try:
            seconds = float(value) / scale
        except ValueError:
            try:
                seconds = email.utils.parsedate_to_datetime(value).timestamp() - time.time()
            except (ValueError, OverflowError):
                continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    return None
