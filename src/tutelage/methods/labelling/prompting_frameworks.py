"""A reliable annotator out of an unreliable text generator: the four levels of a prompting framework, and their report card.

Liu et al., "Prompting Frameworks for Large Language Models: A Survey", 2023 (arXiv:2311.12785).

A prompting framework stands between a job and a language model. The survey orders its work in four levels, which are the
four files of `tutelage.teachers.llm`: data (templates, fences), base (models, what their replies show them to do), execute
(form of the answer, repair), service (concurrency, retries, ledger); `tutelage.teachers.windows` adds texts beyond the
limit and the merging of reruns.

What the survey itself adds is a comparison, and that is here: `FrameworkCard` has its ten capabilities, each found by
running a probe on this layer with a scripted model, beside rows of the survey.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Literal

import pyarrow as pa

from tutelage.data.labels import LabelScheme
from tutelage.errors import InputError
from tutelage.teachers.ledger import Ledger
from tutelage.teachers.llm.base import Capabilities, Choice, Reply, Request, ScriptedChat, TextFault
from tutelage.teachers.llm.teacher import LLMTeacher
from tutelage.teachers.windows import annotate_in_windows

Mark = Literal["✓", "○", "✗", "?"]


COLUMNS = (
    "beyond token limit", "non-text input", "faster reasoning", "refining to criteria", "output content",
    "output structure", "fewer invocations", "fewer tokens", "history", "external tools",
)  # fmt: skip
"""The survey's capabilities, in its order."""

SURVEY: Mapping[str, tuple[Mark, ...]] = {
    "LangChain (shell)": ("✓", "○", "✓", "✓", "✓", "✓", "○", "✓", "✓", "○"),
    "LMQL (language)": ("○", "?", "✓", "✓", "✓", "✓", "✓", "✓", "○", "?"),
    "SGLang (language)": ("?", "?", "✓", "✓", "✓", "✓", "✓", "✓", "○", "?"),
    "Guidance (restrictor)": ("?", "?", "○", "✓", "✓", "✓", "✗", "✓", "○", "?"),
    "SudoLang (pseudocode)": ("✗", "✗", "?", "✓", "✓", "✓", "✗", "✗", "✗", "✗"),
}
"""Rows of the survey's figure: ✓ full, ○ partial, ✗ none, ? where our reading of the figure is not certain."""


@dataclass(frozen=True)
class Probed:
    """What a probe found: the mark, and the observation that it rests on."""

    mark: Mark
    evidence: str


@dataclass(frozen=True)
class FrameworkCard:
    """What this layer can do, in the survey's columns, as seen by running it.

    >>> card = FrameworkCard.probe()
    >>> card.found["output structure"]
    Probed(mark='✓', evidence='prose and broken JSON became failures with a reason, never labels')
    """

    found: Mapping[str, Probed]

    @classmethod
    def probe(cls) -> FrameworkCard:
        """Run all probes with scripted models; takes a fraction of a second and asks no endpoint."""
        return cls({column: _PROBES[column]() for column in COLUMNS})

    def to_markdown(self) -> str:
        """The card beside the survey's rows, and what each of our marks rests on."""
        rows = {"Tutelage": tuple(probed.mark for probed in self.found.values()), **SURVEY}
        lines = ["| framework | " + " | ".join(COLUMNS) + " |", "|---" * (1 + len(COLUMNS)) + "|"]
        lines += [f"| {name} | " + " | ".join(marks) + " |" for name, marks in rows.items()]
        lines += ["", *(f"- {column}: {probed.mark} {probed.evidence}" for column, probed in self.found.items())]
        return "\n".join(lines) + "\n"


_SCHEME = LabelScheme.from_dict(["sport", "politics"])
_SPORT = '{"label": "sport"}'


def _ask(
    answer: Callable[[Request], str | Reply | Exception],
    *texts: str,
    repairs: int = 1,
    votes: int = 1,
    concurrency: int = 8,
) -> tuple[pa.Table, ScriptedChat]:
    """Annotations of the texts, and the model with the requests that it got."""
    model = ScriptedChat(answer)
    table = pa.table({"id": [str(n) for n in range(len(texts))], "text": list(texts)})
    teacher = LLMTeacher(model, repairs=repairs, votes=votes, concurrency=concurrency)
    return teacher.annotate(table, _SCHEME), model


def _beyond_the_limit() -> Probed:
    def answer(request: Request) -> str | Exception:
        content = request.messages[0]["content"]
        if len(content) > 2500:
            return TextFault("too_long", "over the limit")
        return _SPORT if "won the cup" in content else "Nothing to go by."

    text = "Nothing is said here. " * 200 + "They won the cup."
    table = pa.table({"id": ["0"], "text": [text]})
    teacher = LLMTeacher(ScriptedChat(answer), repairs=0, max_words=10_000)
    whole = teacher.annotate(table, _SCHEME)["status"][0].as_py()
    label = annotate_in_windows(teacher, table, _SCHEME, characters=1000, overlap=50)["label"][0].as_py()
    held = whole == "too_long" and label == ["sport"]
    return Probed("✓" if held else "✗", "a text that was too long as a whole was read to its last sentence in windows")


def _non_text() -> Probed:
    table = pa.table({"id": ["0"], "text": pa.array([b"\x89PNG\r\n\x1a\n"], pa.binary())})
    model = ScriptedChat(lambda request: _SPORT)
    with contextlib.suppress(InputError, TypeError):
        LLMTeacher(model).annotate(table, _SCHEME)
    shown = any(not isinstance(message["content"], str) for request in model.requests for message in request.messages)
    return Probed("○" if shown else "✗", "messages hold strings only: a picture has no way in")


class _Counting(ScriptedChat):
    """A scripted model that takes a while, and counts how many requests are with it at once."""

    def __init__(self) -> None:
        super().__init__(lambda request: _SPORT)
        self.now = self.most = 0

    async def complete(self, request: Request) -> Reply:
        self.now += 1
        self.most = max(self.most, self.now)
        await asyncio.sleep(0.001)
        self.now -= 1
        return await super().complete(request)


def _faster() -> Probed:
    model = _Counting()
    ids = [str(n) for n in range(24)]
    done = LLMTeacher(model, concurrency=8).annotate(pa.table({"id": ids, "text": [f"text {n}" for n in ids]}), _SCHEME)
    held = model.most == 8 and done["id"].to_pylist() == ids
    return Probed("✓" if held else "✗", f"{model.most} requests at once, answers in the order of the texts")


def _refining() -> Probed:
    done, model = _ask(lambda request: _SPORT if len(request.messages) > 1 else "It is about a match.", "They won.")
    repaired = done["label"][0].as_py() == ["sport"] and len(model.requests) == 2
    return Probed(
        "✓" if repaired else "✗", "a reply that was no answer was sent back with the reason and came back right"
    )


def _content() -> Probed:
    done, _ = _ask(lambda request: '{"label": "weather"}', "They won.")
    refused = done["status"][0].as_py() == "unknown_label" and not done["label"][0].as_py()
    return Probed("✓" if refused else "✗", "a label outside the scheme became a failure, not a label")


def _structure() -> Probed:
    replies = iter(["Hard to say.", '{"label": "sp', '{"label": 3', "sport or politics"])
    done, model = _ask(lambda request: next(replies), "a", "b", "c", "d", repairs=0, concurrency=1)
    held = set(done["status"].to_pylist()) <= {"invalid_json", "unknown_label"}
    schema = all(request.schema is not None for request in model.requests)
    return Probed("✓" if held and schema else "✗", "prose and broken JSON became failures with a reason, never labels")


def _invocations() -> Probed:
    model = ScriptedChat(lambda request: _SPORT)
    table = pa.table({"id": ["a", "b", "c"], "text": ["one", "two", "one"]})
    with Ledger(":memory:") as ledger:
        for _ in range(2):
            LLMTeacher(model).annotate(table, _SCHEME, ledger=ledger)
    asked = len(model.requests)
    return Probed("✓" if asked == 2 else "✗", f"three rows with two texts, annotated twice, took {asked} requests")


def _tokens() -> Probed:
    def answer(request: Request) -> Reply:
        return Reply((Choice(_SPORT, "stop"),) * request.n)

    _, model = _ask(answer, "They won.", votes=3)
    texts = ("They won the cup.", "A law was passed.")
    _, prompts = _ask(lambda request: _SPORT, *texts)
    first, second = (request.messages[0]["content"] for request in prompts.requests)
    shared = next((n for n, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), 0)
    held = len(model.requests) == 1 and shared > 0.5 * len(first)
    evidence = (
        f"three votes share one prompt, and prompts share their first {shared / len(first):.0%} (for prefix caches)"
    )
    return Probed("✓" if held else "○", evidence)


def _history() -> Probed:
    _, model = _ask(lambda request: _SPORT if len(request.messages) > 1 else "Well …", "They won.")
    kept = any(message["role"] == "assistant" for message in model.requests[-1].messages)
    return Probed(
        "○" if kept else "✗", "earlier turns are part of a repair, and of nothing else: texts are independent"
    )


def _tools() -> Probed:
    known = {field.name for field in (*fields(Request), *fields(Capabilities))}
    return Probed("○" if "tools" in known else "✗", "a request has no place for tools: an annotator only answers")


_RUN = (
    _beyond_the_limit, _non_text, _faster, _refining, _content, _structure, _invocations, _tokens, _history, _tools,
)  # fmt: skip
_PROBES: Mapping[str, Callable[[], Probed]] = dict(zip(COLUMNS, _RUN, strict=True))
