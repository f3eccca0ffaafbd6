"""The batch interface: uploaded once, found again after any crash, matched by name, pending where unanswered."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.teachers.endpoint import Endpoint
from tests.teachers.helpers import FAST, SCHEME, oracle, pool, truth
from tutelage.errors import InputError, Paused
from tutelage.teachers.ledger import Ledger
from tutelage.teachers.llm import batch as module
from tutelage.teachers.llm.base import ScriptedChat
from tutelage.teachers.llm.budget import Budget
from tutelage.teachers.llm.endpoint import OpenAIChat
from tutelage.teachers.llm.teacher import LLMTeacher


def teacher(endpoint: Endpoint, **options) -> LLMTeacher:
    return LLMTeacher(OpenAIChat("m", endpoint.url), clock=FAST, batch=True, **options)


def test_all_texts_are_answered_by_one_batch_whatever_the_order_of_results() -> None:
    texts = pool(50)
    with Endpoint(oracle) as endpoint, Ledger(":memory:") as ledger:
        result = teacher(endpoint).annotate(texts, SCHEME, ledger=ledger)
        assert result["label"].to_pylist() == [[truth(text)] for text in texts["text"].to_pylist()]
        assert len(endpoint.batches) == 1
        assert not endpoint.statuses.keys() - {200}
        assert ledger.summary()["requests"] == 50
        teacher(endpoint).annotate(texts, SCHEME, ledger=ledger)
        assert len(endpoint.batches) == 1
        online = LLMTeacher(OpenAIChat("m", endpoint.url))
        assert online.annotate(texts, SCHEME, ledger=ledger).equals(result), "batch or not is the same question"


def test_texts_that_the_provider_did_not_answer_go_into_the_next_batch() -> None:
    with Endpoint(oracle, faults={"500": 0.1}, seed=3) as endpoint, Ledger(":memory:") as ledger:
        result = teacher(endpoint).annotate(pool(40), SCHEME, ledger=ledger)
        assert len(result) == 40
        assert set(endpoint.completed.values()) == {1}
        assert len(endpoint.batches) >= 2


class Crash(BaseException):
    """As if the process were killed here."""


@pytest.mark.parametrize("moment", ["before upload", "after start", "while it waits"])
def test_a_crash_at_any_moment_pays_for_nothing_twice(
    moment: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "l.sqlite"

    async def crash(*_: object) -> None:
        raise Crash

    with Endpoint(oracle) as endpoint:
        with Ledger(path) as ledger, monkeypatch.context() as patch:
            if moment == "before upload":
                patch.setattr(module, "_create", crash)
            elif moment == "after start":
                patch.setattr(Ledger, "set_batch", lambda *_, **__: (_ for _ in ()).throw(Crash))
            else:
                patch.setattr(module, "_finish", crash)
            with pytest.raises(Crash):
                teacher(endpoint).annotate(pool(10), SCHEME, ledger=ledger)
        with Ledger(path) as ledger:
            assert len(teacher(endpoint).annotate(pool(10), SCHEME, ledger=ledger)) == 10
            assert ledger.summary()["pending"] == 0
        assert len(endpoint.batches) == 1
        assert endpoint.total == 10


def test_a_batch_is_cut_to_the_budget() -> None:
    with Endpoint(oracle) as endpoint, Ledger(":memory:") as ledger:
        with pytest.raises(Paused, match="5,000 tokens"):
            teacher(endpoint, budget=Budget.parse("5000tok")).annotate(pool(100), SCHEME, ledger=ledger)
        assert 0 < endpoint.total < 100
        assert ledger.spent("tok") < 5500


def test_answers_that_are_none_are_recorded_and_asked_again_on_request() -> None:
    with Endpoint(lambda *_: "nonsense") as endpoint, Ledger(":memory:") as ledger:
        result = teacher(endpoint).annotate(pool(4), SCHEME, ledger=ledger)
        assert result["status"].to_pylist() == ["invalid_json"] * 4
        endpoint.oracle = oracle
        mended = teacher(endpoint, retry_failed=True).annotate(pool(4), SCHEME, ledger=ledger)
        assert mended["status"].to_pylist() == ["ok"] * 4


def test_a_wrong_key_is_an_error_and_a_dead_provider_a_pause() -> None:
    with Endpoint(oracle, key="right") as endpoint, pytest.raises(InputError, match="401"):
        teacher(endpoint).annotate(pool(3), SCHEME)
    with Endpoint(oracle, down=True) as endpoint, pytest.raises(Paused, match="cannot be reached"):
        teacher(endpoint).annotate(pool(3), SCHEME)


def test_parameters_that_the_provider_refuses_in_a_batch_are_left_out_of_the_next_one() -> None:
    with Endpoint(oracle, refuse=frozenset({"logprobs"})) as endpoint:
        assert len(teacher(endpoint).annotate(pool(5), SCHEME)) == 5
        assert len(endpoint.batches) == 2


def test_a_batch_that_is_refused_line_by_line_is_an_error_with_the_providers_message() -> None:
    with Endpoint(oracle, model="known") as endpoint, pytest.raises(InputError, match=r"404.*does not exist"):
        teacher(endpoint).annotate(pool(5), SCHEME)
    assert len(endpoint.batches) == 1


def test_a_model_without_a_batch_interface_is_refused() -> None:
    with pytest.raises(InputError, match="no batch interface"):
        LLMTeacher(ScriptedChat(lambda _: ""), batch=True)
