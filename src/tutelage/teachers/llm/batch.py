"""Level "service", the slow and cheap way: a provider's batch interface (upload JSON Lines, wait, fetch the results).

A batch is in the ledger before it is uploaded, with a key that goes along as metadata; the provider's id is added when it is
known. So a run that is killed at any moment finds its batch again, by id or by key, and pays for nothing twice. Results are
matched by `custom_id`. A reply that is no valid answer is a recorded failure (`retry_failed` asks again); a text that the
provider did not answer stays pending and goes into the next batch.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from tutelage.errors import InputError, Paused
from tutelage.teachers.llm.base import ParameterRefused, TextFault, Transient
from tutelage.teachers.llm.chain import Chain, Job
from tutelage.teachers.llm.endpoint import OpenAIChat
from tutelage.teachers.llm.service import BudgetSpent, Received, Service
from tutelage.teachers.records import Answer

MAX_REQUESTS = 50_000
MAX_BYTES = 150_000_000
"""The provider's bounds of one file are 50,000 requests and 200 MB."""

_LOOK_BACK = 1000  # batches of the account that are searched for one of ours

T = TypeVar("T")
Key = tuple[str, int]
"""A wanted answer: text fingerprint and sample number."""


async def run_batch(chain: Chain, jobs: Sequence[Job], *, poll: float = 30.0) -> list[Job]:
    """Answer all jobs through batches: first those that an earlier run left, then new ones: -> jobs without an answer.

    Raises: Paused: the budget does not cover another request, or the provider cannot be reached; InputError: the provider
        refuses the key or the batch.
    """
    service = chain.service
    todo: dict[Key, Job] = {(job.text, sample): job for job in jobs for sample in job.samples}
    for key, remote in service.ledger.batches(service.teacher, service.prompt):
        await _finish(chain, key, remote, todo, poll)
    for _ in range(service.limits.rounds):
        rest = list(todo)
        while rest:
            lines, entries = _fill(chain, rest, todo)
            if not entries:
                raise BudgetSpent.of(service.meter)
            rest = rest[len(entries) :]
            key = uuid.uuid4().hex
            currency = service.meter.price.currency if service.meter.price else None
            service.ledger.open_batch(key, service.teacher, service.prompt, entries, currency)
            remote = await _create(service, key, b"".join(lines))
            service.ledger.set_batch(key, remote=remote, state="sent")
            await _finish(chain, key, remote, todo, poll)
        if not todo:
            break
    return list({job.text: job for job in todo.values()}.values())


def custom_id(text: str, sample: int) -> str:
    """What names a request in a batch.

    >>> custom_id("5feceb66", 2)
    '5feceb66:2'
    """
    return f"{text}:{sample}"


def _fill(
    chain: Chain, rest: Sequence[Key], todo: dict[Key, Job]
) -> tuple[list[bytes], list[tuple[str, int, int, int, float | None]]]:
    """As many requests as one file and the budget hold: -> their lines, and their entries for the ledger."""
    service, model = chain.service, _model(chain.service)
    meter = service.meter
    if meter.budget:
        meter.spent, meter.reserved = service.ledger.spent(meter.budget.unit), 0.0
    lines: list[bytes] = []
    entries: list[tuple[str, int, int, int, float | None]] = []
    size = 0
    for text, sample in rest[:MAX_REQUESTS]:
        request = chain.request(todo[text, sample], sample=sample)
        estimate = meter.estimate(request.messages)
        entry = {"custom_id": custom_id(text, sample), "method": "POST", "url": "/v1/chat/completions"}
        line = json.dumps({**entry, "body": model.body(request)}, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
        size += len(line)
        if not meter.admits(estimate) or (lines and size > MAX_BYTES):
            break
        meter.reserve(estimate)
        lines.append(line)
        entries.append((text, sample, estimate.tokens_in, estimate.tokens_out, estimate.cost))
    return lines, entries


async def _create(service: Service, key: str, content: bytes) -> str:
    """Upload the file and start the batch: -> the provider's id. After a fault, look whether it was started all the same."""
    client = _model(service).client

    async def upload() -> str:
        return (await client.files.create(file=("requests.jsonl", content), purpose="batch")).id

    file = await _call(service, upload)

    async def start() -> str:
        found = await _find(service, key)
        if found:
            return found
        batch = await client.batches.create(
            input_file_id=file, endpoint="/v1/chat/completions", completion_window="24h", metadata={"tutelage": key}
        )
        return batch.id

    return await _call(service, start)


async def _find(service: Service, key: str) -> str | None:
    """The provider's id of a batch of which only our key is known: the run ended between upload and note."""
    seen = 0
    async for batch in _model(service).client.batches.list(limit=100):
        if (batch.metadata or {}).get("tutelage") == key:
            return batch.id
        seen += 1
        if seen >= _LOOK_BACK:
            break
    return None


async def _finish(chain: Chain, key: str, remote: str | None, todo: dict[Key, Job], poll: float) -> None:
    """Wait for a batch and write its results down; what it leaves unanswered stays in `todo`."""
    service = chain.service
    client = _model(service).client
    known = remote or await _call(service, lambda: _find(service, key))
    if known is None:  # it was never started
        service.ledger.set_batch(key, state="done")
        return
    service.ledger.set_batch(key, remote=known, state="sent")

    async def look() -> tuple[str, list[str], str | None]:
        """Status, names of the files with results, and why it failed."""
        batch = await client.batches.retrieve(known)
        errors = (batch.errors.data if batch.errors else None) or []
        files = [name for name in (batch.output_file_id, batch.error_file_id) if name]
        return batch.status, files, errors[0].message if errors else None

    while True:
        status, files, why = await _call(service, look)
        if status in ("completed", "failed", "expired", "cancelled"):
            break
        await service.clock.sleep(poll)
    open_requests = service.ledger.batch_requests(key)
    faults: list[Exception | None] = []
    for file in files:
        content = await _call(service, lambda name=file: client.files.content(name))
        for line in filter(str.strip, content.text.split("\n")):
            faults.append(_record(chain, line, open_requests, todo))
    service.ledger.set_batch(key, state="done")
    for fault in faults[:1]:
        if fault and all(isinstance(other, InputError | Paused) for other in faults):
            raise fault  # nothing was answered, and more of the same would not be
    if status == "failed":
        raise InputError(f"the provider refused the batch {known}: {' '.join((why or 'no reason given').split())}")


def _record(chain: Chain, line: str, open_requests: dict[Key, int], todo: dict[Key, Job]) -> Exception | None:
    """Write down one line of a result file: -> why it is no answer, or None; lines that are not ours are left alone."""
    service = chain.service
    try:
        result = json.loads(line)
        text, _, number = str(result["custom_id"]).rpartition(":")
        key = (text, int(number))
        response = result.get("response") or {}
        status, body = int(response.get("status_code") or 500), response.get("body")
    except (ValueError, TypeError, KeyError, AttributeError, OverflowError, RecursionError):
        return None
    if key not in open_requests:
        return None
    request = open_requests.pop(key)
    job = todo.get(key) or Job(text, "", (key[1],))
    try:
        if status != 200:
            detail = body.get("error") if isinstance(body, dict) else result.get("error")
            detail = detail if isinstance(detail, dict) else {}
            raise _model(service).sort_fault(status, detail, "", {}, _model(service).body(chain.request(job)))
        reply = _model(service).read(body, {})
    except TextFault as fault:
        failed = Answer(service.teacher, service.prompt, *key, status=fault.status, error=str(fault), attempts=1)
        service.ledger.close_request(request, fault.status, answers=[failed])
        _tick(chain, job, key, failed, todo)
        return None
    except (Transient, ParameterRefused, InputError, Paused) as fault:  # not answered: the text stays pending
        service.ledger.close_request(request, f"fault: {fault}")
        return fault
    tokens = (reply.tokens_in or 0, reply.tokens_out or 0)
    if job.content:
        service.meter.learn(chain.request(job).messages, *tokens)
    answer = chain.answer(job, key[1], Received(reply, request, *tokens, service.meter.cost(*tokens), 0.0, 1))
    service.ledger.close_request(
        request, answer.status, tokens_in=tokens[0], tokens_out=tokens[1], cost=answer.cost, answers=[answer]
    )
    _tick(chain, job, key, answer, todo)
    return None


def _tick(chain: Chain, job: Job, key: Key, answer: Answer, todo: dict[Key, Job]) -> None:
    """Strike an answer off the list, and report the text when it was its last one."""
    if todo.pop(key, None) and not any((job.text, sample) in todo for sample in job.samples):
        chain.done(job, [answer])


async def _call(service: Service, call: Callable[[], Awaitable[T]]) -> T:
    """A call to the provider's interface, tried again after faults that may pass.

    Raises: Paused: it cannot be reached; InputError: it refuses.
    """
    import openai

    model = _model(service)
    fault: Exception | None = None
    for attempt in range(service.limits.attempts):
        try:
            return await call()
        except openai.APIStatusError as error:
            detail = error.body if isinstance(error.body, dict) else {}
            sorted_ = model.sort_fault(
                error.status_code, detail, error.message, dict(error.response.headers.items()), {}
            )
            if not isinstance(sorted_, Transient):
                raise (sorted_ if isinstance(sorted_, InputError | Paused) else InputError(str(sorted_))) from None
            fault = sorted_
        except openai.APIConnectionError as error:
            fault = error
        except (
            openai.OpenAIError,
            ValueError,
            TypeError,
            AttributeError,
        ) as error:  # not JSON, or not what was asked for
            fault = Transient(f"unreadable answer ({' '.join(str(error).split())[:200]})")
        if attempt + 1 < service.limits.attempts:
            wait = fault.retry_after if isinstance(fault, Transient) else None
            await service.clock.sleep(min(60.0, 2.0**attempt) if wait is None else wait)
    raise Paused(f"{model.base_url} cannot be reached: {fault}. The batch is kept: run the same command later")


def _model(service: Service) -> OpenAIChat:
    assert isinstance(service.model, OpenAIChat)
    return service.model
