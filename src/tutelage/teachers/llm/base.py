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

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from tutelage.teachers.llm.data import Message


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
