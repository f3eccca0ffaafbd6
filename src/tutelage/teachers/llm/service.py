"""Level "service": many requests at once, within every limit, each one in the ledger before it is sent.

The life of a request: wait for the rate limits and for room in the budget → write it down → send → close it in the ledger.
Only 429, 5xx, time-outs and cut connections are tried again, at most six times, after

    wait = Retry-After + U(0, 1)/4        where the server gives it,
    wait = min(60, 2^k) · U(1/2, 1)       otherwise, k = 0, 1, …

A waiting text holds no slot, so others go on. Until the endpoint has answered once, one request is sent at a time: a wrong
key costs one request. When nothing but faults comes back over several texts, the circuit breaker raises `Paused`; what is
unanswered stays pending, and the same command goes on from there.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import random
import time
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import TypeVar

from tutelage.errors import InputError, Paused, TutelageError
from tutelage.teachers.ledger import Ledger
from tutelage.teachers.llm.base import ChatModel, ParameterRefused, Reply, Request, Transient
from tutelage.teachers.llm.budget import Estimate, Meter
from tutelage.teachers.records import Answer

LONGEST_WAIT = 300.0
"""A server that asks to wait longer than this many seconds pauses the run instead."""

J = TypeVar("J")
T = TypeVar("T")


class Unanswered(Exception):
    """A text got no answer, for want of transport; it stays pending."""


class BudgetSpent(Paused):
    """The next request would pass the budget."""

    budget_spent = True

    @classmethod
    def of(cls, meter: Meter) -> BudgetSpent:
        """The pause of a meter that admits nothing more."""
        return cls(
            f"the budget of {meter.budget} does not cover another request (spent: {meter.spent:.6g}); all answers are kept, "
            "a larger --budget goes on from here"
        )


@dataclass(frozen=True)
class Clock:
    """Time and how to wait for it; tests put a faster one in its place."""

    time: Callable[[], float] = time.monotonic
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep


@dataclass(frozen=True)
class Limits:
    """How hard an endpoint may be driven, and when to give up on it.

    Args:
        concurrency: requests in flight. rpm, tpm: requests and tokens per minute, or None.
        attempts: requests for one answer, the first one included.
        breaker: consecutive faults, over at least three texts (or all that are left) and `patience` seconds, that pause the run.
        rounds: how often texts that got no answer are tried again at the end.
    """

    concurrency: int = 8
    rpm: float | None = None
    tpm: float | None = None
    attempts: int = 6
    breaker: int = 10
    patience: float = 10.0
    rounds: int = 3

    def __post_init__(self) -> None:
        if self.concurrency < 1:
            raise InputError(f"concurrency must be at least 1; got {self.concurrency}")
        for name, value in (("rpm", self.rpm), ("tpm", self.tpm)):
            if value is not None and value <= 0:
                raise InputError(f"{name} must be above zero; got {value:g}")


class RateLimiter:
    """Spaces requests so that neither requests nor tokens per minute are passed; `hold` stops all for a while."""

    def __init__(self, rpm: float | None, tpm: float | None, clock: Clock) -> None:
        self._request = 60.0 / rpm if rpm else 0.0
        self._token = 60.0 / tpm if tpm else 0.0
        self._clock = clock
        self._next_request = self._next_token = self._held = 0.0

    async def acquire(self, tokens: int) -> None:
        """Wait for the turn of a request of so many tokens."""
        now = self._clock.time()
        turn = max(now, self._next_request, self._next_token)
        self._next_request = turn + self._request
        self._next_token = turn + tokens * self._token
        if turn > now:
            await self._clock.sleep(turn - now)
        while (rest := self._held - self._clock.time()) > 0:
            await self._clock.sleep(rest)

    def correct(self, tokens: int) -> None:
        """A request took so many tokens more (or fewer, if negative) than it was let through with."""
        self._next_token += tokens * self._token

    def hold(self, seconds: float) -> None:
        """Let nothing through for so many seconds."""
        self._held = max(self._held, self._clock.time() + seconds)


@dataclass
class Received:
    """A reply whose request is still open in the ledger, until `Service.finish` closes it with the answers it gave."""

    reply: Reply
    number: int
    tokens_in: int
    tokens_out: int
    cost: float | None
    latency: float
    attempts: int


@dataclass
class _Breaker:
    """Counts the faults since the last success; 429 does not count, for it is an answer."""

    limits: Limits
    faults: int = 0
    since: float = 0.0
    texts: set[str] = field(default_factory=set)
    exhausted: int = 0

    def success(self) -> None:
        self.faults = self.exhausted = 0
        self.texts.clear()

    def fault(self, text: str, now: float, open_texts: int) -> bool:
        """Note a fault: -> whether the endpoint is to be given up."""
        if not self.faults:
            self.since = now
        self.faults += 1
        self.texts.add(text)
        enough = len(self.texts) >= min(3, max(1, open_texts))
        return self.faults >= self.limits.breaker and enough and now - self.since >= self.limits.patience


class Service:
    """Sends requests of one (teacher, prompt) for `run_prompts`; one instance serves one run.

    Args: model; ledger: where every request is written; teacher, prompt: their fingerprints; meter: budget and price;
        limits; clock, seed: for tests.
    """

    def __init__(
        self, model: ChatModel, ledger: Ledger, teacher: str, prompt: str, *, meter: Meter | None = None,
        limits: Limits | None = None, clock: Clock | None = None, seed: int | None = None,
    ) -> None:  # fmt: skip
        self.model = model
        self.ledger = ledger
        self.teacher, self.prompt = teacher, prompt
        self.meter = meter or Meter()
        self.limits = limits or Limits()
        self.clock = clock or Clock()
        self._limiter = RateLimiter(self.limits.rpm, self.limits.tpm, self.clock)
        self._random = random.Random(seed)
        self._slots = asyncio.Semaphore(self.limits.concurrency)
        self._in_flight = 0
        self._settled = asyncio.Condition()
        self._first = asyncio.Lock()
        self._proved = False
        self._breaker = _Breaker(self.limits)
        self._refusals = 0
        self.open_texts = 0

    async def ask(self, text: str, sample: int, request: Request) -> Received:
        """Send a request until it is answered. `text` is a fingerprint.

        Raises: Unanswered: all attempts failed; TextFault; Paused: budget, circuit breaker, quota; InputError: the server
            refuses the key, the model or the request.
        """
        if not self._proved:
            async with self._first:
                if not self._proved:
                    return await self._persist(text, sample, request, contextlib.nullcontext())
        return await self._persist(text, sample, request, self._slots)

    async def _persist(
        self, text: str, sample: int, request: Request, slots: contextlib.AbstractAsyncContextManager[object]
    ) -> Received:
        """Attempt after attempt; a slot is held while a request is in flight, not while it waits for the next attempt."""
        attempts = 0
        while True:
            attempts += 1
            try:
                async with slots:
                    return await self._attempt(text, sample, request, attempts)
            except ParameterRefused:
                attempts -= 1
            except Transient as fault:
                await self._after_fault(text, fault, attempts)

    async def _attempt(self, text: str, sample: int, request: Request, attempts: int) -> Received:
        estimate = await self._admit(request)
        number = self.ledger.open_request(
            self.teacher, self.prompt, text, sample, request_hash=_hash(request), tokens_in=estimate.tokens_in,
            tokens_out=estimate.tokens_out, cost=estimate.cost, currency=self.meter.price.currency if self.meter.price else None,
        )  # fmt: skip
        started = self.clock.time()
        spent: tuple[int, int] = (0, 0)
        try:
            reply = await self.model.complete(request)
            spent = self._usage(request, reply, estimate)
        except Transient as fault:
            if fault.sent:  # it may have been served and billed
                spent = (estimate.tokens_in, estimate.tokens_out)
                self.ledger.abandon_request(number, f"fault: {fault}")
            else:
                self.ledger.close_request(number, f"fault: {fault}", latency=self.clock.time() - started)
            raise
        except asyncio.CancelledError:
            spent = (estimate.tokens_in, estimate.tokens_out)
            self.ledger.abandon_request(number, "cancelled")
            raise
        except Exception as error:
            self.ledger.close_request(number, f"refused: {error}", latency=self.clock.time() - started)
            raise
        finally:
            self.meter.settle(estimate, *spent)
            self._in_flight -= 1
            await self._wake()
        self._proved = True
        self._breaker.success()
        self._refusals = 0
        self.meter.learn(request.messages, *spent, n=len(reply.choices))
        self._limiter.correct(sum(spent) - estimate.tokens_in - estimate.tokens_out)
        return Received(reply, number, *spent, self.meter.cost(*spent), self.clock.time() - started, attempts)

    async def _admit(self, request: Request) -> Estimate:
        """Wait for room in the budget and for the rate limits; reserve the estimate and count the request as in flight."""
        while True:
            estimate = self.meter.estimate(request.messages, request.n)
            if self.meter.admits(estimate):
                break
            if not self._in_flight:
                raise BudgetSpent.of(self.meter)
            async with self._settled:
                await self._settled.wait()
        self.meter.reserve(estimate)
        self._in_flight += 1
        try:
            await self._limiter.acquire(estimate.tokens_in + estimate.tokens_out)
        except BaseException:
            self.meter.settle(estimate, 0, 0)
            self._in_flight -= 1
            await self._wake()
            raise
        return estimate

    async def _wake(self) -> None:
        async with self._settled:
            self._settled.notify_all()

    async def _after_fault(self, text: str, fault: Transient, attempts: int) -> None:
        """Decide what a fault means, and wait before the next attempt."""
        if fault.retry_after is not None and fault.retry_after > LONGEST_WAIT:
            raise Paused(
                f"{fault}; it asks to wait {fault.retry_after:.0f} s. All answers are kept: run the same command later"
            )
        down = f"no answer from {self.model.name}: {fault}. All answers so far are kept: run the same command when it is back"
        if fault.status == 429:
            self._refusals += 1
            if self._refusals >= 3 and fault.retry_after:
                self._limiter.hold(fault.retry_after)
        elif self._breaker.fault(text, self.clock.time(), self.open_texts):
            raise Paused(down)
        if not self._proved and attempts >= min(5, self.limits.attempts):
            raise Paused(down)
        if attempts >= self.limits.attempts:
            self._breaker.exhausted += 1
            if self._breaker.exhausted >= min(3, max(1, self.open_texts)):
                raise Paused(down)
            raise Unanswered(str(fault)) from fault
        if fault.retry_after is not None:
            wait = fault.retry_after + self._random.random() / 4
        else:
            wait = min(60.0, 2.0 ** (attempts - 1)) * self._random.uniform(0.5, 1.0)
        await self.clock.sleep(wait)

    def _usage(self, request: Request, reply: Reply, estimate: Estimate) -> tuple[int, int]:
        """Tokens as the server counts them, else as estimated."""
        written = sum(len(choice.text.encode("utf-8", "replace")) for choice in reply.choices)
        tokens_in = estimate.tokens_in if reply.tokens_in is None else reply.tokens_in
        return tokens_in, (-(-written // 3) if reply.tokens_out is None else reply.tokens_out)

    def finish(self, received: Received, outcome: str, answers: Iterable[Answer] = ()) -> None:
        """Close a request in the ledger together with the answers that it gave."""
        self.ledger.close_request(
            received.number, outcome, tokens_in=received.tokens_in, tokens_out=received.tokens_out, cost=received.cost,
            latency=received.latency, answers=answers,
        )  # fmt: skip


async def run_prompts(service: Service, jobs: Iterable[J], chain: Callable[[J], Awaitable[None]]) -> list[J]:
    """Run `chain` (which calls `service.ask`) over all jobs, many at a time: -> the jobs that got no answer.

    More chains than slots are under way, so that a text that waits for its next attempt keeps no other from being sent.
    Jobs that end in `Unanswered` are tried again in up to `limits.rounds` rounds.

    Raises: what stops a run: InputError, Paused; everything that was answered before is in the ledger.
    """
    pending = list(jobs)
    service.open_texts = len(pending)
    for _ in range(service.limits.rounds):
        unanswered: list[J] = []
        queue = iter(pending)

        async def work(queue: Iterable[J] = queue, unanswered: list[J] = unanswered) -> None:
            for job in queue:
                try:
                    await chain(job)
                    service.open_texts -= 1
                except Unanswered:
                    unanswered.append(job)

        workers = min(len(pending), max(16, 4 * service.limits.concurrency))
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(workers):
                    group.create_task(work())
        except BaseExceptionGroup as errors:
            raise _first_cause(errors) from None
        pending = unanswered
        if not pending:
            break
    return pending


def _first_cause(errors: BaseExceptionGroup) -> BaseException:
    """What to tell of several errors: bad input before a pause before anything else; a bug before all."""
    flat: list[BaseException] = []
    for error in errors.exceptions:
        flat.append(_first_cause(error) if isinstance(error, BaseExceptionGroup) else error)

    def rank(error: BaseException) -> int:
        return 0 if not isinstance(error, TutelageError) else 1 if isinstance(error, InputError) else 2

    return min(flat, key=rank)


def run_async(main: Coroutine[object, object, T]) -> T:
    """Run a coroutine to its end, also from inside a running event loop (a notebook), where it gets a thread of its own."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(main)
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, main).result()


def _hash(request: Request) -> str:
    content = json.dumps([list(request.messages), request.schema, request.n], sort_keys=True, ensure_ascii=False)
    return hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()
