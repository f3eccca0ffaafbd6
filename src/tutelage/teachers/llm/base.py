"""Level "base": access to chat models. What a model can do is read off its replies, never off a status 200.

Servers differ in what they ignore without a word: `response_format`, `logprobs` and `n` among them. So every reply is
looked at for what it holds (`Capabilities`), and a parameter that a server refuses by name is left out from then on.
Faults are sorted into four kinds, because each must end differently:

| raised | means | what follows |
|---|---|---|
| `Transient` | 429, 5xx, time-out, cut connection | another attempt (service.py) |
| `TextFault` | this text is too long or blocked | a recorded failure of this text |
| `ParameterRefused` | the server does not know an optional parameter | the same request without it |
| `InputError`, `Paused` | wrong key, unknown model, exhausted quota | the run stops with the server's message |
"""

from __future__ import annotations

import email.utils
import math
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tutelage.errors import InputError, Paused
from tutelage.teachers.llm.data import Message

if TYPE_CHECKING:
    from openai import AsyncOpenAI

OPENAI_URL = "https://api.openai.com/v1"


@dataclass(frozen=True)
class Request:
    """What is asked of a chat model: messages, the JSON schema of the answer, how many answers, with logprobs or not.

    `sample` is added to the model's seed, so that reruns and votes differ where the model has one.
    """

    messages: tuple[Message, ...]
    schema: Mapping[str, object] | None = None
    n: int = 1
    logprobs: bool = False
    sample: int = 0


@dataclass(frozen=True)
class Token:
    """A generated token, its log-probability, and the most likely tokens in its place, itself among them or not."""

    text: str
    logprob: float
    top: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True)
class Choice:
    """One answer of a reply."""

    text: str
    finish: str | None = None
    refusal: str | None = None
    tokens: tuple[Token, ...] = ()


@dataclass(frozen=True)
class Reply:
    """What came back: one choice or more, and the usage where the server told it."""

    choices: tuple[Choice, ...]
    tokens_in: int | None = None
    tokens_out: int | None = None


@dataclass
class Capabilities:
    """What the replies so far showed the server to do; None while unknown."""

    schema: bool | None = None
    logprobs: bool | None = None
    n: bool | None = None

    def note(self, request: Request, reply: Reply, *, strict: bool) -> None:
        """Learn from a reply; `strict`: every choice was exactly the JSON that was asked for."""
        if request.schema is not None:
            self.schema = strict and self.schema is not False
        if request.logprobs:
            self.logprobs = any(choice.tokens for choice in reply.choices)
        if request.n > 1:
            self.n = len(reply.choices) >= request.n


class Transient(Exception):
    """A fault that may pass: 429, 5xx, time-out, cut connection. `sent`: the request may have been served, and billed."""

    def __init__(
        self, message: str, *, status: int | None = None, retry_after: float | None = None, sent: bool = False
    ):
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after
        self.sent = sent


class TextFault(Exception):
    """The server will not answer for this text: `status` is "too_long" or "blocked"."""

    def __init__(self, status: str, message: str):
        super().__init__(message)
        self.status = status


class ParameterRefused(Exception):
    """The server refuses an optional parameter; the model leaves it out from now on."""


class ChatModel(Protocol):
    """A model that answers messages."""

    @property
    def name(self) -> str: ...

    @property
    def description(self) -> Mapping[str, object]:
        """What the fingerprint is made of: model, parameters, temperature, seed; never a key, never the address."""
        ...

    @property
    def capabilities(self) -> Capabilities: ...

    async def complete(self, request: Request) -> Reply:
        """Ask once. Raises: Transient, TextFault, ParameterRefused, InputError, Paused."""
        ...

    async def aclose(self) -> None:
        """Close connections; the model can be used again afterwards."""
        ...


class ScoringModel(Protocol):
    """A model that can say how likely each of a closed set of answers is."""

    @property
    def name(self) -> str: ...

    @property
    def description(self) -> Mapping[str, object]: ...

    @property
    def context(self) -> int:
        """How many tokens fit in."""
        ...

    def count(self, text: str) -> int:
        """Number of tokens of a text."""
        ...

    def score(self, messages: Sequence[Message], prefill: str, candidates: Sequence[str]) -> tuple[np.ndarray, int]:
        """log p(candidate | messages, prefill), (K,) float64, and the number of tokens read."""
        ...


class ScriptedChat:
    """A chat model for tests: `answer` maps a request to a text, a reply or an exception.

    >>> import asyncio
    >>> model = ScriptedChat(lambda request: '{"label": "sport"}')
    >>> asyncio.run(model.complete(Request(({"role": "user", "content": "…"},)))).choices[0].text
    '{"label": "sport"}'
    """

    def __init__(self, answer: Callable[[Request], str | Reply | Exception], name: str = "scripted") -> None:
        self.name = name
        self.description: dict[str, object] = {"kind": "scripted", "model": name}
        self.capabilities = Capabilities()
        self.requests: list[Request] = []
        self._answer = answer

    async def complete(self, request: Request) -> Reply:
        self.requests.append(request)
        answer = self._answer(request)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, Reply) else Reply((Choice(answer, "stop"),) * request.n)

    async def aclose(self) -> None:
        pass


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

            self._client = AsyncOpenAI(
                api_key=self._key or "none", base_url=self.base_url, max_retries=0, timeout=self.timeout
            )
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

        body = self.body(request)
        try:
            data = await self.client.post("/chat/completions", cast_to=object, body=body)
        except openai.APIStatusError as error:
            headers = dict(error.response.headers.items())
            detail = error.body if isinstance(error.body, dict) else {}
            raise self.sort_fault(error.status_code, detail, error.message, headers, body) from None
        except openai.APITimeoutError:
            raise Transient(f"no answer within {self.timeout:g} s", sent=True) from None
        except openai.APIConnectionError as error:
            cause = error.__cause__ or error
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
        except (TypeError, KeyError, AttributeError, ValueError):
            raise Transient("the reply is not a chat completion", sent=True) from None
        if not choices:
            raise Transient("the reply holds no choice", sent=True)
        tokens_in, tokens_out = (int(c) if isinstance(c, int | float) and c >= 0 else None for c in counts)
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
        message = " ".join((str(detail.get("message") or "") or message or "no message").split())[:400]
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
    except (TypeError, KeyError, ValueError, AttributeError):
        tokens = ()
    finish = choice.get("finish_reason")
    return Choice(
        str(content or ""), finish if isinstance(finish, str) else None, str(refusal) if refusal else None, tokens
    )


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
            except ValueError:
                continue
        if math.isfinite(seconds):
            return max(0.0, seconds)
    return None
