"""Free-form questions to a chat model through the ledger: for methods whose answer is a text and not a label.

Every prompt is a row of the ledger under (model, what is asked, what it is asked about), with the reply as it came; what
is there is not asked again, so an interrupted run goes on and nothing is paid for twice. All limits, retries and budgets
are those of `service`.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from tutelage.errors import InputError, Paused
from tutelage.teachers.base import Progress, ProgressEvent, fingerprint, text_fingerprint
from tutelage.teachers.ledger import Ledger
from tutelage.teachers.llm.base import ChatModel, Request, TextFault
from tutelage.teachers.llm.budget import Budget, Meter, Price
from tutelage.teachers.llm.data import Message
from tutelage.teachers.llm.service import Clock, Limits, Service, run_async, run_prompts
from tutelage.teachers.records import Answer

Render = Callable[[str], Sequence[Message]]
"""What is sent about a text."""

Check = Callable[[str], str | None]
"""Why a reply cannot be used, or None."""


@dataclass(frozen=True)
class Asking:
    """A chat model and how it may be driven.

    Args: model; limits; budget, price: what may be spent on this ledger in all; retry_failed: ask again where the reply that
        is held cannot be used; clock, seed: time and the randomness of waits, for tests.

    >>> from tutelage.teachers.llm.base import ScriptedChat
    >>> asking = Asking(ScriptedChat(lambda request: request.messages[0]["content"].upper()))
    >>> asking.ask(["yes", "no"], lambda text: [{"role": "user", "content": text}], {"task": "shout"})
    ['YES', 'NO']

    Raises: InputError: a budget in money without a price.
    """

    model: ChatModel
    limits: Limits = field(default_factory=Limits)
    budget: Budget | None = None
    price: Price | None = None
    retry_failed: bool = False
    clock: Clock | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.budget:
            self.budget.check(self.price, self.model.name)

    @property
    def fingerprint(self) -> str:
        """sha256 of model, parameters, temperature and seed."""
        return fingerprint(self.model.description)

    def ask(
        self,
        texts: Sequence[str],
        render: Render,
        prompt: Mapping[str, object],
        *,
        schema: Mapping[str, object] | None = None,
        check: Check = lambda reply: None,
        ledger: Ledger | None = None,
        progress: Progress | None = None,
    ) -> list[str | None]:
        """A reply to each text, in their order; None where the reply cannot be used or the server refused the text.

        Args: render: text → messages; prompt: all that `render` says besides the text, as JSON (it makes the fingerprint);
            schema: JSON schema of the reply; check: tells unusable replies, which are filed as failures.

        Raises: Paused: budget, circuit breaker, quota, or texts without a reply after all attempts; InputError.
        """
        asked = fingerprint(prompt)
        with contextlib.ExitStack() as stack:
            book = ledger or stack.enter_context(Ledger(":memory:"))
            book.describe(self.fingerprint, "teacher", {"name": self.model.name, **self.model.description})
            book.describe(asked, "prompt", dict(prompt))
            keys = [text_fingerprint(text) for text in texts]
            distinct = dict(zip(keys, texts, strict=True))
            held = book.get(self.fingerprint, asked, distinct)
            todo = [key for key in distinct if key not in held or (self.retry_failed and held[key].status != "ok")]
            if todo:
                self._run(book, asked, todo, distinct, render, schema, check, progress)
                held = book.get(self.fingerprint, asked, distinct)
        return [held[key].raw if held[key].status == "ok" else None for key in keys]

    def _run(
        self, ledger: Ledger, asked: str, todo: Sequence[str], texts: Mapping[str, str], render: Render,
        schema: Mapping[str, object] | None, check: Check, progress: Progress | None,
    ) -> None:  # fmt: skip
        unit = self.budget.unit if self.budget else None
        meter = Meter(self.budget, self.price, ledger.spent(unit) if unit else 0.0)
        service = Service(
            self.model,
            ledger,
            self.fingerprint,
            asked,
            meter=meter,
            limits=self.limits,
            clock=self.clock,
            seed=self.seed,
        )
        done, failed = len(texts) - len(todo), 0

        async def chain(key: str) -> None:
            nonlocal done, failed
            try:
                received = await service.ask(key, 0, Request(tuple(render(texts[key])), schema))
            except TextFault as fault:
                ledger.put([Answer(self.fingerprint, asked, key, status=fault.status, error=str(fault))])
                failed += 1
            else:
                reply = received.reply.choices[0].text
                wrong = check(reply)
                answer = Answer(
                    self.fingerprint, asked, key, status="invalid_json" if wrong else "ok", raw=reply, error=wrong,
                    tokens_in=received.tokens_in, tokens_out=received.tokens_out, cost=received.cost,
                    currency=self.price.currency if self.price else None, latency=received.latency,
                    attempts=received.attempts,
                )  # fmt: skip
                service.finish(received, answer.status, [answer])
                failed += wrong is not None
            done += 1
            if progress:
                currency = self.price.currency if self.price else None
                progress(ProgressEvent(done, len(texts), failed, meter.spent if currency else 0.0, currency))

        async def run() -> list[str]:
            try:
                return await run_prompts(service, todo, chain)
            finally:
                await self.model.aclose()

        if unanswered := run_async(run()):
            raise Paused(
                f"{len(unanswered)} of {len(texts)} texts got no answer from {self.model.name} in several attempts; all "
                "answers are kept, the same command asks for the rest"
            )


def chat_model(spec: str, *, base_url: str | None = None, max_tokens: int = 1024, timeout: float = 180.0) -> ChatModel:
    """The model that a spec names: `openai:MODEL` (any compatible endpoint) or `llama:FILE.gguf`; temperature 0.

    Raises: InputError: another spec; MissingExtra.
    """
    kind, _, name = spec.partition(":")
    if kind == "openai" and name:
        from tutelage.teachers.llm.endpoint import OpenAIChat

        return OpenAIChat(name, base_url, temperature=0.0, timeout=timeout, max_tokens=max_tokens)
    if kind == "llama" and name:
        from tutelage.teachers.llm.writer import LlamaWriter

        return LlamaWriter(name, max_tokens=max_tokens)
    raise InputError(f"a teacher that writes is openai:MODEL or llama:FILE.gguf; got {spec!r}")
