"""An endpoint that sends too much, too slowly, under wrong names, or what nobody asked for: one line, bounded, nothing lost."""

from __future__ import annotations

import json

import pytest

from tests.teachers.endpoint import Endpoint
from tests.teachers.helpers import FAST, SCHEME, oracle, pool, truth
from tutelage.errors import Paused
from tutelage.teachers.ledger import Ledger
from tutelage.teachers.llm import transport
from tutelage.teachers.llm.base import Transient
from tutelage.teachers.llm.endpoint import OpenAIChat
from tutelage.teachers.llm.teacher import LLMTeacher


def teacher(endpoint: Endpoint, timeout: float = 20.0, **options) -> LLMTeacher:
    return LLMTeacher(OpenAIChat("m", endpoint.url, timeout=timeout), clock=FAST, seed=0, **options)


def paused(endpoint: Endpoint, message: str, **options) -> None:
    with pytest.raises(Paused, match=message) as pause:
        teacher(endpoint, **options).annotate(pool(3), SCHEME)
    assert "\n" not in str(pause.value)


@pytest.mark.parametrize("fault", ["huge", "huge 500"])
def test_a_reply_of_200_megabytes_is_cut_off(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MOST_BYTES", 1 << 20)
    with Endpoint(oracle, faults={fault: 1.0}) as endpoint:
        paused(endpoint, "the reply is longer than 1 MiB")
        requests = len(endpoint.bodies)
    assert requests <= 5
    assert endpoint.sent < requests * 20_000_000, "a bound and what lies in the sockets' buffers, not 200 MB a request"


def test_a_huge_reply_among_good_ones_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MOST_BYTES", 1 << 20)
    with Endpoint(oracle, faults={"huge": 0.2}, seed=2) as endpoint, Ledger(":memory:") as ledger:
        result = teacher(endpoint).annotate(pool(10), SCHEME, ledger=ledger)
        assert result["label"].to_pylist() == [[truth(text)] for text in pool(10)["text"].to_pylist()]
        assert endpoint.sent, "one was huge"
        assert set(endpoint.completed.values()) == {1}


def test_a_reply_that_trickles_is_given_up_in_time() -> None:
    with Endpoint(oracle, faults={"trickle": 1.0}) as endpoint:
        paused(endpoint, r"no answer within 0\.2 s", timeout=0.2)
        assert 0 < endpoint.sent < 1000


def test_a_compressed_reply_is_not_unpacked() -> None:
    with Endpoint(oracle, faults={"zipped": 1.0}) as endpoint:
        paused(endpoint, "compressed, which was not asked for")


def test_half_a_character_in_a_reply_does_not_stop_its_repair() -> None:
    replies = iter(['{"label": "\ud83d"}', '{"label": "sport"}'])
    with Endpoint(lambda text, outside: next(replies)) as endpoint:
        result = teacher(endpoint).annotate(pool(1), SCHEME)
    assert result["label"].to_pylist() == [["sport"]]
    assert endpoint.bodies[1]["messages"][1]["content"] == '{"label": "\ufffd"}'  # type: ignore[index]


@pytest.mark.parametrize("count", ["1e999", "1" + "0" * 30, "-5", "NaN", '"many"'])
def test_counts_of_tokens_that_are_none_are_estimated(count: str) -> None:
    body = json.loads(
        '{"choices": [{"message": {"content": "a"}}], "usage": {"prompt_tokens": COUNT}}'.replace("COUNT", count)
    )
    assert OpenAIChat("m", "http://localhost/v1").read(body, {}).tokens_in is None


def test_a_batch_with_results_of_strangers_twins_and_no_json() -> None:
    def results(lines: list[str]) -> list[str]:
        stranger = json.loads(lines[0])
        stranger["custom_id"] = "somebody else:0"
        twin = json.loads(lines[0])
        twin["response"]["body"]["choices"][0]["message"]["content"] = '{"label": "nonsense"}'
        odd = [
            {"custom_id": json.loads(lines[1])["custom_id"], "response": {"status_code": float("inf")}},
            {},
            [],
            None,
        ]
        return ["not JSON", "[" * 5000, *map(json.dumps, odd), json.dumps(stranger), *lines, json.dumps(twin)]

    texts = pool(6)
    with Endpoint(oracle, results=results) as endpoint, Ledger(":memory:") as ledger:
        result = teacher(endpoint, batch=True).annotate(texts, SCHEME, ledger=ledger)
        assert result["label"].to_pylist() == [[truth(text)] for text in texts["text"].to_pylist()]
        assert len(endpoint.batches) == 1
        assert ledger.summary()["requests"] == 6


@pytest.mark.parametrize("path", ["POST /v1/files", "POST /v1/batches", "GET /v1/batches/", "GET /v1/files/"])
def test_a_page_of_html_instead_of_a_batch_is_asked_again(path: str) -> None:
    with Endpoint(oracle, nonsense={path: 2}) as endpoint:
        result = teacher(endpoint, batch=True).annotate(pool(4), SCHEME)
    assert result["status"].to_pylist() == ["ok"] * 4
    assert endpoint.nonsense == {path: 0}


def test_a_provider_that_never_makes_sense_is_a_pause() -> None:
    with Endpoint(oracle, nonsense={"POST /v1/batches": 1000}) as endpoint:
        paused(endpoint, "unreadable answer", batch=True)


def test_a_page_of_html_instead_of_a_completion_is_a_fault_of_transport() -> None:
    with Endpoint(oracle, nonsense={"POST /v1/chat": 2}) as endpoint:
        assert teacher(endpoint).annotate(pool(3), SCHEME)["status"].to_pylist() == ["ok"] * 3
    with pytest.raises(Transient, match="not a chat completion"):
        OpenAIChat("m", "http://localhost/v1").read("<html>", {})
