"""Waiting, limits and the sorting of faults, without a server."""

from __future__ import annotations

import asyncio
import email.utils
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.teachers.helpers import SCHEME, pool
from tutelage.errors import InputError, Paused
from tutelage.teachers.ledger import Ledger
from tutelage.teachers.llm.base import ParameterRefused, Reply, Request, ScriptedChat, TextFault, Transient
from tutelage.teachers.llm.endpoint import OpenAIChat, retry_after
from tutelage.teachers.llm.service import Clock, Limits, RateLimiter
from tutelage.teachers.llm.teacher import LLMTeacher


class Simulated:
    """Time that passes only by waiting; remembers the waits."""

    def __init__(self) -> None:
        self.now = 0.0
        self.waits: list[float] = []
        self.clock = Clock(lambda: self.now, self._sleep)

    async def _sleep(self, seconds: float) -> None:
        self.waits.append(seconds)
        self.now += seconds
        await asyncio.sleep(0)


def failing(*faults: Exception) -> ScriptedChat:
    """A model that raises these faults, then answers."""
    rest = list(faults)
    return ScriptedChat(lambda _: rest.pop(0) if rest else '{"label": "sport"}')


def waits(*faults: Exception) -> list[float]:
    time = Simulated()
    LLMTeacher(failing(*faults), clock=time.clock, seed=0).annotate(pool(1), SCHEME)
    return time.waits


def test_waits_double_with_jitter() -> None:
    found = waits(*[Transient("500", status=500)] * 4)
    for k, wait in enumerate(found):
        assert 2**k / 2 <= wait <= 2**k
    assert len(found) == 4


def test_retry_after_is_honoured() -> None:
    (wait,) = waits(Transient("429", status=429, retry_after=7.0))
    assert 7.0 <= wait <= 7.25


def test_three_refusals_in_a_row_hold_everybody_back() -> None:
    time = Simulated()
    fault = Transient("429", status=429, retry_after=40.0)
    LLMTeacher(failing(fault, fault, fault), clock=time.clock, concurrency=4).annotate(pool(8), SCHEME)
    assert time.now >= 120


def test_a_text_that_gets_no_answer_stays_pending_and_the_others_go_on() -> None:
    class Unlucky(ScriptedChat):
        async def complete(self, request: Request) -> Reply:
            if "Item 3:" in request.messages[0]["content"]:
                raise Transient("timed out", sent=True)
            return await super().complete(request)

    model = Unlucky(lambda _: '{"label": "sport"}')
    with Ledger(":memory:") as ledger:
        teacher = LLMTeacher(model, clock=Simulated().clock, concurrency=2)
        with pytest.raises(Paused):
            teacher.annotate(pool(30), SCHEME, ledger=ledger)
        summary = ledger.summary()
        assert (summary["answered"], summary["pending"], summary["failed"]) == (29, 1, 0)


def test_one_text_that_the_server_will_not_answer_is_recorded_and_stops_nothing() -> None:
    model = ScriptedChat(
        lambda r: TextFault("too_long", "too long") if "Item 1:" in r.messages[0]["content"] else '{"label": "sport"}'
    )
    result = LLMTeacher(model).annotate(pool(3), SCHEME)
    assert result["status"].to_pylist() == ["ok", "too_long", "ok"]


@given(
    st.lists(st.integers(0, 500), min_size=1, max_size=40),
    st.sampled_from([None, 60, 600]),
    st.sampled_from([None, 6000]),
)
def test_no_minute_holds_more_than_the_limits(sizes: list[int], rpm: float | None, tpm: float | None) -> None:
    time = Simulated()
    limiter = RateLimiter(rpm, tpm, time.clock)
    sent: list[tuple[float, int]] = []

    async def send() -> None:
        for size in sizes:
            await limiter.acquire(size)
            sent.append((time.now, size))

    asyncio.run(send())
    for start, first in sent:
        window = [size for when, size in sent if start <= when < start + 60 - 1e-6]
        assert rpm is None or len(window) <= rpm
        assert tpm is None or sum(window) <= tpm + max(first, *window)


def test_impossible_limits_are_refused() -> None:
    for wrong in ({"concurrency": 0}, {"rpm": 0.0}, {"tpm": -1.0}):
        with pytest.raises(InputError):
            Limits(**wrong)  # type: ignore[arg-type]


def test_retry_after_in_all_its_forms() -> None:
    assert retry_after({"Retry-After": "3"}) == 3
    assert retry_after({"retry-after-ms": "1500", "retry-after": "9"}) == 1.5
    assert retry_after({"retry-after": email.utils.formatdate(time.time() + 30, usegmt=True)}) == pytest.approx(
        30, abs=2
    )
    assert retry_after({"retry-after": email.utils.formatdate(0)}) == 0
    assert [retry_after({"retry-after": value}) for value in ("soon", "inf", "nan", "")] == [None] * 4
    assert retry_after({}) is None


@pytest.mark.parametrize(
    ("status", "detail", "kind"),
    [
        (429, {"message": "slow down"}, Transient),
        (500, {}, Transient),
        (503, {}, Transient),
        (408, {}, Transient),
        (429, {"message": "no money", "code": "insufficient_quota"}, Paused),
        (400, {"message": "too long", "code": "context_length_exceeded"}, TextFault),
        (400, {"message": "This model's maximum context length is 4096 tokens"}, TextFault),
        (413, {}, TextFault),
        (400, {"message": "filtered", "code": "content_filter"}, TextFault),
        (400, {"message": "Unsupported parameter: 'logprobs'"}, ParameterRefused),
        (422, {"message": "bad", "param": "response_format"}, ParameterRefused),
        (
            400,
            {"message": "Unsupported value: 'temperature' does not support 0.0", "param": "temperature"},
            ParameterRefused,
        ),
        (400, {"message": "no such model: n in notation"}, InputError),
        (500, {"message": "1 validation error: {'loc': ('body', 'response_format', 'type')}"}, ParameterRefused),
        (500, {"message": "the response_format crashed"}, Transient),
        (401, {"message": "wrong key"}, InputError),
        (403, {"message": "not for you"}, InputError),
        (404, {"message": "no such model"}, InputError),
    ],
)
def test_faults_are_sorted(status: int, detail: dict[str, object], kind: type[Exception]) -> None:
    model = OpenAIChat("m", "http://127.0.0.1:1/v1")
    body = model.body(Request((), {"type": "object"}, logprobs=True))
    assert type(model.sort_fault(status, detail, "", {}, body)) is kind


def test_a_refused_parameter_is_dropped_and_the_list_of_alternatives_is_shortened_first() -> None:
    model = OpenAIChat("m", "http://127.0.0.1:1/v1")
    request = Request((), {"type": "object"}, logprobs=True)
    detail = {"message": "top_logprobs must be at most 5", "param": "top_logprobs"}
    model.sort_fault(400, detail, "", {}, model.body(request))
    assert model.body(request)["top_logprobs"] == 5
    model.sort_fault(400, detail, "", {}, model.body(request))
    assert not {"logprobs", "top_logprobs"} & set(model.body(request))
    fault = model.sort_fault(400, detail, "", {}, model.body(request))
    assert type(fault) is InputError, "what was not sent cannot be left out"


@pytest.mark.parametrize(
    "data",
    [None, [], "text", {}, {"choices": []}, {"choices": [{}]}, {"choices": [{"message": None}]}, {"choices": 3}],
)
def test_a_reply_that_is_no_completion_is_a_fault_of_transport(data: object) -> None:
    with pytest.raises(Transient):
        OpenAIChat("m", "http://127.0.0.1:1/v1").read(data, {})


def test_an_error_that_comes_with_status_200_is_an_error() -> None:
    model = OpenAIChat("m", "http://127.0.0.1:1/v1")
    with pytest.raises(Transient):
        model.read({"error": {"message": "overloaded", "code": 529}}, {})
    with pytest.raises(InputError, match="no such model"):
        model.read({"error": {"message": "no such model", "code": 404}}, {})


@pytest.mark.parametrize("url", ["localhost:8000", "ftp://x/v1", "http://user:secret@host/v1", "file:///etc"])
def test_addresses_that_cannot_be_used_are_refused(url: str) -> None:
    with pytest.raises(InputError):
        OpenAIChat("m", url)


def test_seeds_differ_between_samples() -> None:
    model = OpenAIChat("m", "http://127.0.0.1:1/v1", seed=5)
    assert [model.body(Request((), sample=k))["seed"] for k in range(3)] == [5, 6, 7]
