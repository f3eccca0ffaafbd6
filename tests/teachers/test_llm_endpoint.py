"""The whole LLM teacher against a scripted endpoint: nothing lost, nothing twice, within every limit."""

from __future__ import annotations

import asyncio
import json
import math
from pathlib import Path

import pytest

from tests.teachers.endpoint import Endpoint
from tests.teachers.helpers import FAST, SCHEME, oracle, pool, truth
from tutelage.data.labels import LabelScheme
from tutelage.errors import InputError, Paused
from tutelage.teachers.base import ProgressEvent
from tutelage.teachers.ledger import Ledger
from tutelage.teachers.llm.budget import Budget, Price
from tutelage.teachers.llm.data import PromptTemplate
from tutelage.teachers.llm.endpoint import OpenAIChat
from tutelage.teachers.llm.teacher import LLMTeacher

PRICE = Price(100.0, 400.0, "usd")


def teacher(endpoint: Endpoint, model: str = "m", timeout: float = 20.0, **options) -> LLMTeacher:
    chat = OpenAIChat(model, endpoint.url, timeout=timeout, temperature=0.7 if options.get("votes", 1) > 1 else 0.0)
    return LLMTeacher(chat, clock=FAST, seed=0, **options)


def test_a_fifth_of_all_requests_fail_and_no_text_is_lost_or_asked_twice() -> None:
    faults = {"429": 0.06, "500": 0.06, "hang": 0.005, "cut": 0.03, "malformed": 0.03, "outside": 0.015}
    texts = pool(2000)
    events: list[ProgressEvent] = []
    with Endpoint(oracle, faults=faults, seed=1) as endpoint, Ledger(":memory:") as ledger:
        result = teacher(endpoint, timeout=1.5, concurrency=24).annotate(
            texts, SCHEME, ledger=ledger, progress=events.append
        )
        summary = ledger.summary()
        assert result["id"].to_pylist() == texts["id"].to_pylist()
        assert summary["texts"] == 2000
        assert summary["answered"] + summary["failed"] == 2000
        good = [row for row in result.to_pylist() if row["status"] == "ok"]
        by_id = dict(zip(texts["id"].to_pylist(), texts["text"].to_pylist(), strict=True))
        assert all(row["label"] == [truth(by_id[row["id"]])] for row in good)
        assert len(good) >= 1990  # bad twice in a row, past the one repair, about 4 in 2000
        # an answer is completed a second time only where the first one was no valid answer
        bad = ledger._read("SELECT COUNT(*) FROM requests WHERE outcome IN ('invalid_json', 'unknown_label')")[0][0]
        assert endpoint.total <= 2000 + bad
        assert set(endpoint.completed) == set(texts["text"].to_pylist())
        assert summary["requests"] == sum(endpoint.seen.values())
        assert min(endpoint.statuses[kind] for kind in (429, 500, "cut")) > 0
    assert [event.done for event in events] == sorted(event.done for event in events)
    assert events[-1].done == events[-1].total == 2000


def test_resuming_asks_nothing_and_gives_the_same_table(tmp_path: Path) -> None:
    with Endpoint(oracle) as endpoint:
        with Ledger(tmp_path / "l.sqlite") as ledger:
            first = teacher(endpoint).annotate(pool(30), SCHEME, ledger=ledger)
        with Ledger(tmp_path / "l.sqlite") as ledger:
            again = teacher(endpoint).annotate(pool(30), SCHEME, ledger=ledger)
            assert again.equals(first)
            more = teacher(endpoint).annotate(pool(40), SCHEME, ledger=ledger)
            assert more.slice(0, 30).equals(first)
            fewer = teacher(endpoint).annotate(pool(5), SCHEME, ledger=ledger)
            assert fewer.equals(first.slice(0, 5))
        assert endpoint.total == 40


def test_another_prompt_scheme_or_model_never_reuses_an_answer() -> None:
    other = LabelScheme.from_dict({"name": "desk", "labels": [*SCHEME.names[:2], "weather"]})
    with Endpoint(oracle) as endpoint, Ledger(":memory:") as ledger:
        teacher(endpoint).annotate(pool(3), SCHEME, ledger=ledger)
        for changed, scheme in (
            (teacher(endpoint, template=PromptTemplate("{labels} {format} {text}")), SCHEME),
            (teacher(endpoint, explain=True), SCHEME),
            (teacher(endpoint), other),
            (teacher(endpoint, model="other"), SCHEME),
        ):
            before = endpoint.total
            changed.annotate(pool(3), scheme, ledger=ledger)
            assert endpoint.total == before + 3
        before = endpoint.total
        teacher(endpoint).annotate(pool(3), SCHEME, ledger=ledger, sample=1)
        assert endpoint.total == before + 3, "a rerun is another sample"


def test_equal_texts_are_asked_once_and_both_get_the_answer() -> None:
    texts = pool(2).set_column(1, "text", [["the same text", "the same text"]])
    with Endpoint(oracle) as endpoint:
        result = teacher(endpoint).annotate(texts, SCHEME)
    assert endpoint.total == 1
    assert result["id"].to_pylist() == ["t0", "t1"]
    assert result["label"][0] == result["label"][1]


def test_a_wrong_key_stops_at_once_with_one_request_and_without_the_key() -> None:
    with Endpoint(oracle, key="right") as endpoint, pytest.raises(InputError, match=r"401.*Incorrect API key") as error:
        teacher(endpoint).annotate(pool(50), SCHEME)
    assert endpoint.statuses == {401: 1}
    assert "\n" not in str(error.value)
    assert "sk-test" not in str(error.value)


def test_an_unknown_model_stops_at_once_with_the_servers_message() -> None:
    with Endpoint(oracle, model="known") as endpoint, pytest.raises(InputError, match=r"404.*does not exist.*'m'"):
        teacher(endpoint).annotate(pool(50), SCHEME)
    assert endpoint.statuses == {404: 1}


def test_no_key_for_the_providers_own_host_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(InputError, match="OPENAI_API_KEY"):
        OpenAIChat("gpt-4o")
    with Endpoint(oracle) as endpoint:
        assert len(teacher(endpoint).annotate(pool(2), SCHEME)) == 2


def test_parameters_that_a_server_refuses_are_left_out_and_the_rest_goes_on() -> None:
    refused = frozenset({"response_format", "logprobs", "max_tokens"})
    with Endpoint(oracle, refuse=refused) as endpoint:
        result = teacher(endpoint).annotate(pool(20), SCHEME)
    assert result["status"].to_pylist() == ["ok"] * 20
    assert endpoint.total == 20
    assert endpoint.statuses[400] == 4, "one request goes first: each is refused once, the schema in both its forms"
    assert not refused & set(endpoint.bodies[-1])


def test_an_endpoint_that_goes_down_pauses_the_run_and_keeps_everything(tmp_path: Path) -> None:
    with Endpoint(oracle) as endpoint, Ledger(tmp_path / "l.sqlite") as ledger:

        def break_it(event: ProgressEvent) -> None:
            endpoint.down = endpoint.down or event.done >= 20

        with pytest.raises(Paused, match="503"):
            teacher(endpoint).annotate(pool(200), SCHEME, ledger=ledger, progress=break_it)
        held = ledger.summary()
        assert 20 <= held["answered"] < 40  # type: ignore[operator]
        assert held["failed"] == 0, "a fault of transport is no answer"
        assert endpoint.statuses[503] < 200
        endpoint.down = False
        assert len(teacher(endpoint).annotate(pool(200), SCHEME, ledger=ledger)) == 200
        assert endpoint.total == 200


def test_an_endpoint_that_never_answered_is_given_up_after_few_requests() -> None:
    with Endpoint(oracle, down=True) as endpoint, pytest.raises(Paused):
        teacher(endpoint, concurrency=32).annotate(pool(500), SCHEME)
    assert endpoint.statuses[503] <= 5


def test_nobody_listens_is_a_pause_with_one_line() -> None:
    with Endpoint(oracle) as endpoint:
        url = endpoint.url
    chat = OpenAIChat("m", url)
    with pytest.raises(Paused, match="connection failed") as error:
        LLMTeacher(chat, clock=FAST).annotate(pool(3), SCHEME)
    assert "\n" not in str(error.value)


def test_a_budget_is_never_passed_by_more_than_the_requests_in_flight() -> None:
    concurrency = 8
    with Endpoint(oracle, delay=0.002) as endpoint, Ledger(":memory:") as ledger:
        limited = teacher(endpoint, concurrency=concurrency, budget=Budget.parse("1usd"), price=PRICE)
        with pytest.raises(Paused, match="budget of 1 usd") as pause:
            limited.annotate(pool(500), SCHEME, ledger=ledger)
        assert pause.value.budget_spent  # type: ignore[attr-defined]
        spent = ledger.spent("usd")
        one = spent / endpoint.total
        assert 1 - concurrency * one <= spent <= 1 + concurrency * one
        assert endpoint.total < 500
        served = endpoint.total
        with pytest.raises(Paused):
            limited.annotate(pool(500), SCHEME, ledger=ledger)
        assert endpoint.total <= served + 1, "what an earlier process spent counts"
        assert len(limited.answered(pool(500), SCHEME, ledger)) == endpoint.total


def test_a_token_budget_needs_no_price_and_no_usage_from_the_server() -> None:
    with Endpoint(oracle, usage=False) as endpoint, Ledger(":memory:") as ledger:
        with pytest.raises(Paused, match="20,000 tokens"):
            teacher(endpoint, budget=Budget.parse("20000tok")).annotate(pool(500), SCHEME, ledger=ledger)
        assert 15_000 < ledger.spent("tok") < 25_000


def test_a_request_budget_too_small_for_one_text_sends_nothing() -> None:
    with Endpoint(oracle) as endpoint, pytest.raises(Paused):
        teacher(endpoint, budget=Budget.parse("10tok")).annotate(pool(5), SCHEME)
    assert not endpoint.bodies


def test_no_more_requests_are_in_flight_than_allowed() -> None:
    with Endpoint(oracle, delay=0.005) as endpoint:
        teacher(endpoint, concurrency=3).annotate(pool(40), SCHEME)
    assert endpoint.most_in_flight <= 3


def test_a_long_retry_after_pauses_instead_of_waiting() -> None:
    with Endpoint(oracle, faults={"429": 1.0}, retry_after="7200") as endpoint, pytest.raises(Paused, match="7200 s"):
        teacher(endpoint).annotate(pool(5), SCHEME)


def test_answers_outside_the_scheme_are_repaired_once_and_then_recorded() -> None:
    with Endpoint(oracle, faults={"outside": 1.0}) as endpoint, Ledger(":memory:") as ledger:
        result = teacher(endpoint).annotate(pool(4), SCHEME, ledger=ledger)
        assert result["status"].to_pylist() == ["unknown_label"] * 4
        assert result["label"].to_pylist() == [[]] * 4
        assert endpoint.total == 8, "one repair each"
        repair = endpoint.bodies[-1]["messages"]
        assert "astrology" in repair[-1]["content"]  # type: ignore[index]
        teacher(endpoint).annotate(pool(4), SCHEME, ledger=ledger)
        assert endpoint.total == 8, "a recorded failure is an answer"
        endpoint.faults = {}
        mended = teacher(endpoint, retry_failed=True).annotate(pool(4), SCHEME, ledger=ledger)
        assert mended["status"].to_pylist() == ["ok"] * 4
        assert ledger.summary()["failed"] == 0


def test_without_repairs_a_text_costs_one_call() -> None:
    with Endpoint(oracle, faults={"malformed": 1.0}) as endpoint:
        result = teacher(endpoint, repairs=0).annotate(pool(4), SCHEME)
    assert endpoint.total == 4
    assert result["status"].to_pylist() == ["invalid_json"] * 4


@pytest.mark.parametrize("ignored", [frozenset({"n"}), frozenset()])
def test_votes_are_merged_whether_the_server_knows_n_or_not(ignored: frozenset[str]) -> None:
    with Endpoint(oracle, ignore=ignored) as endpoint, Ledger(":memory:") as ledger:
        voting = teacher(endpoint, votes=3)
        result = voting.annotate(pool(6), SCHEME, ledger=ledger)
        assert [max(p) for p in result["probs"].to_pylist()] == [1.0] * 6
        assert set(result["teacher"].to_pylist()) == {voting.fingerprint}
        assert voting.answered(pool(6), SCHEME, ledger).equals(result)
        before = endpoint.total
        assert before == (18 if "n" in ignored else 6)
        voting.annotate(pool(6), SCHEME, ledger=ledger)
        assert endpoint.total == before


def test_logprobs_become_probabilities_only_where_the_server_gives_them() -> None:
    def content(reply: str) -> list[dict[str, object]]:
        label = json.loads(reply)["label"]
        rest = [name for name in SCHEME.names if name != label]
        top = [
            {"token": label, "logprob": math.log(0.8)},
            *({"token": name, "logprob": math.log(0.1)} for name in rest),
        ]
        sure = {"logprob": 0.0, "top_logprobs": []}
        return [
            {"token": '{"label": "', **sure},
            {"token": label, "logprob": math.log(0.8), "top_logprobs": top},
            {"token": '"}', **sure},
        ]

    with Endpoint(oracle, ignore=frozenset(), logprobs=content) as endpoint:
        told = teacher(endpoint).annotate(pool(3), SCHEME)
    with Endpoint(oracle) as endpoint:
        silent_teacher = teacher(endpoint)
        silent = silent_teacher.annotate(pool(3), SCHEME)
    for row, probs in zip(told["label"].to_pylist(), told["probs"].to_pylist(), strict=True):
        assert probs[SCHEME.index(row[0])] == pytest.approx(0.8)
    assert silent["probs"].to_pylist() == [None] * 3
    assert silent_teacher.model.capabilities.logprobs is False


def test_the_schema_is_asked_for_with_the_names_as_enum() -> None:
    with Endpoint(oracle) as endpoint:
        teacher(endpoint).annotate(pool(1), SCHEME)
    schema = endpoint.bodies[0]["response_format"]["json_schema"]["schema"]  # type: ignore[index]
    assert schema["properties"]["label"]["enum"] == list(SCHEME.names)
    assert endpoint.bodies[0]["temperature"] == 0


def test_evidence_is_kept_only_if_it_stands_in_the_text() -> None:
    def explain(text: str, _: str) -> str:
        quote = "what happened" if "Item 0" in text else "never written"
        return json.dumps({"quote": quote, "label": "sport"})

    with Endpoint(explain) as endpoint:
        result = teacher(endpoint, explain=True).annotate(pool(2), SCHEME)
    assert result["evidence"].to_pylist() == ["what happened", None]


def test_truncation_is_told_and_the_instruction_is_whole() -> None:
    texts = pool(1).set_column(1, "text", [["word " * 600 + "END"]])
    with Endpoint(lambda text, _: '{"label": "sport"}') as endpoint, Ledger(":memory:") as ledger:
        teacher(endpoint, max_words=100).annotate(texts, SCHEME, ledger=ledger)
        assert ledger.summary()["truncated"] == 1
    prompt = endpoint.bodies[0]["messages"][0]["content"]  # type: ignore[index]
    assert "END" not in prompt
    assert SCHEME.prompt_block() in prompt


def test_a_dry_run_shows_the_prompt_and_sends_nothing() -> None:
    with Endpoint(oracle) as endpoint, Ledger(":memory:") as ledger:
        asked = teacher(endpoint, price=PRICE)
        plan = asked.dry_run(pool(10), SCHEME, ledger=ledger)
        assert not endpoint.bodies
        assert "Item 0" in plan.prompt
        assert plan.pending == 10
        assert plan.cost == pytest.approx(PRICE.of(plan.tokens_in, plan.tokens_out))
        asked.annotate(pool(4), SCHEME, ledger=ledger)
        assert asked.dry_run(pool(10), SCHEME, ledger=ledger).pending == 6
        real = ledger.spent("usd") / 4
        assert real / 2 < plan.cost / 10 < real * 2


def test_it_works_inside_a_running_event_loop() -> None:
    async def notebook() -> int:
        with Endpoint(oracle) as endpoint:
            return len(teacher(endpoint).annotate(pool(3), SCHEME))

    assert asyncio.run(notebook()) == 3


def test_the_ledger_holds_no_key(tmp_path: Path) -> None:
    with Endpoint(oracle, key="sk-test-0123456789") as endpoint, Ledger(tmp_path / "l.sqlite") as ledger:
        teacher(endpoint).annotate(pool(3), SCHEME, ledger=ledger)
        assert endpoint.keys == {"bearer sk-test-0123456789"}
    assert all(b"sk-test" not in file.read_bytes() for file in tmp_path.iterdir())
