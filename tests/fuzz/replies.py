"""What a language model or its server may send: replies to a question, chat completions, answers with quotes, waiting times."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from functools import cache
from typing import Any

from tests.fuzz.edits import edited, written
from tests.fuzz.promise import Draws, Target, one_line
from tutelage.data.labels import LabelScheme
from tutelage.teachers.ledger import Ledger
from tutelage.teachers.llm.base import ParameterRefused, TextFault, Transient
from tutelage.teachers.llm.chain import probabilities, read
from tutelage.teachers.llm.endpoint import OpenAIChat, retry_after
from tutelage.teachers.llm.execute import OutputSpec, verify_quote
from tutelage.teachers.reading import parse_answers
from tutelage.teachers.records import Answer

NAMES = ("World", "World politics", "Sci/Tech", 'The "Times"', "Économie")
SPECS = tuple(
    OutputSpec(LabelScheme.from_dict({"kind": kind, "labels": list(NAMES)}), wire, explain)
    for kind in ("single", "multi")
    for wire in ("names", "ids")
    for explain in (False, True)
)
_FAILURES = {"invalid_json", "unknown_label", "refusal", "blocked"}
_MOST = 2**63 - 1


def reply(text: str, spec: OutputSpec) -> None:
    """Labels of the scheme, as many as it allows, or a reason why not."""
    _sound(spec.parse(text), spec, text)


def completion(text: str, spec: OutputSpec) -> None:
    """A server's JSON: choices that are read like replies and that the ledger keeps, or one of the four kinds of fault."""
    model = OpenAIChat("model", base_url="http://localhost/v1")
    try:
        body = json.loads(text)
    except (ValueError, RecursionError):
        return  # the SDK's own fault, which `complete` passes on as Transient
    try:
        with one_line():
            got = model.read(body, {"n": 1, "logprobs": True, "temperature": 0})
            assert got.choices
            for count in (got.tokens_in, got.tokens_out):
                assert count is None or 0 <= count <= _MOST
            for choice in got.choices:
                choice.text.encode()
                parsed = read(choice, spec)
                probs = probabilities(choice, parsed, spec)
                assert probs is None or (all(0 <= p <= 1 for p in probs) and math.isclose(sum(probs), 1, rel_tol=1e-6))
                _sound(parsed, spec, choice.text)
                _kept(Answer("t", "p", "x", status=parsed.status, label=parsed.labels, probs=probs, raw=choice.text,
                             error=parsed.error, tokens_in=got.tokens_in or 0, tokens_out=got.tokens_out or 0))  # fmt: skip
    except (Transient, TextFault, ParameterRefused):
        pass


def answers(text: str, spec: OutputSpec) -> None:
    """At most one answer a question, without line ends, or None."""
    found = parse_answers(text, 3)
    assert found is None or len(found) == 3
    for pair in found or ():
        assert pair is None or (pair[0] and all(part == " ".join(part.split()) for part in pair))


def quote(text: str, spec: OutputSpec) -> None:
    """A passage of the text."""
    said, _, passage = text.partition("\n")
    found = verify_quote(said, passage)
    assert found is None or found in passage


def waiting(text: str, spec: OutputSpec) -> None:
    """Seconds from now on, or None."""
    for name in ("retry-after", "retry-after-ms"):
        seconds = retry_after({name: text})
        assert seconds is None or 0 <= seconds < math.inf


def _sound(parsed, spec: OutputSpec, raw: str) -> None:
    assert parsed.status == "ok" or parsed.status in _FAILURES
    assert (parsed.error is None) == (parsed.status == "ok")
    assert {*parsed.labels} <= {*spec.scheme.names}
    assert len({*parsed.labels}) == len(parsed.labels)
    assert list(parsed.labels) == sorted(parsed.labels, key=spec.scheme.index)
    if parsed.status != "ok":
        assert not parsed.labels
    elif not spec.multi:
        assert len(parsed.labels) == 1
    if parsed.span:
        start, end = parsed.span
        assert raw[start:end] in spec.wire_names


@cache
def _ledger() -> Ledger:
    return Ledger(":memory:")


def _kept(answer: Answer) -> None:
    """The ledger takes an answer and gives the same labels back."""
    ledger = _ledger()
    ledger.put([answer])
    back = ledger.get("t", "p", ["x"])["x"]
    ledger.forget(["x"])
    assert (back.status, back.label, back.tokens_in) == (answer.status, answer.label, answer.tokens_in)


CHECKS = (reply, completion, answers, quote, waiting)


def _completion(spec: OutputSpec) -> dict[str, Any]:
    """What a good server sends."""
    good = spec.encode([NAMES[0]], "a quote")
    logprobs = {
        "content": [{"token": c, "logprob": -0.1, "top_logprobs": [{"token": c, "logprob": -0.1}]} for c in good]
    }
    choice = {"message": {"content": good, "refusal": None}, "finish_reason": "stop", "logprobs": logprobs}
    return {"choices": [choice], "usage": {"prompt_tokens": 3, "completion_tokens": 4}}


def run(data: bytes) -> None:
    """See `TARGET`: byte 0 is what is read, byte 1 the form of the answer; one kind more are changes of a completion."""
    draws = Draws(data)
    kind, spec = draws.below(len(CHECKS) + 1), SPECS[draws.below(len(SPECS))]
    if kind == len(CHECKS):
        completion(written(edited(_completion(spec), draws.rest())).decode(), spec)
        return
    check = CHECKS[kind]
    check(draws.rest().decode("utf-8", "replace"), spec)


def seeds() -> list[bytes]:
    """A good reply of every form, the usual bad ones, and whole completions."""
    found: list[tuple[Callable[[str, OutputSpec], None], int, str]] = []
    for number, spec in enumerate(SPECS):
        good = spec.encode([NAMES[0]], "a quote")
        for text in (
            good,
            f"<think>{{</think>Sure:\n```json\n{good}\n```",
            "World: matches",
            '{"label": "World" "x": 1',
        ):
            found.append((reply, number, text))
        found.append((completion, number, json.dumps(_completion(spec))))
    error = {"error": {"message": "context length exceeded", "code": 400, "param": "n"}}
    found += [
        (completion, 0, json.dumps(error)),
        (answers, 0, '{"answers": [{"question": 1, "answer": "It rained.", "quote": "rain"}]}'),
        (answers, 0, "1. Answer: It rained.\nCitation: heavy rain\n2) **No**\nquote: x"),
        (quote, 0, "won the  CUP\nThey won the cup."),
        (waiting, 0, "2.5"),
        (waiting, 0, "Fri, 31 Dec 2032 23:59:59 GMT"),
    ]
    changes = [bytes([len(CHECKS), number, 0, 4, 0, 3]) for number in range(len(SPECS))]
    return [bytes([CHECKS.index(check), number]) + text.encode() for check, number, text in found] + changes


TARGET = Target(
    "Any reply gives labels of the scheme or a reason why not, and never an answer outside of it.",
    run,
    seeds,
    words=(b'"label"', b'"labels"', b'"quote"', b"World", b"</think>", b"```", b"1e999", b"NaN", b"\\ud800", b"null",
           b"\xc2\xb2", b"9" * 40, b'"question"', b"true", b"[", b"{", b"-1"),
)  # fmt: skip
