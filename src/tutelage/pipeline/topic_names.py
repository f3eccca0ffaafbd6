"""Names and short accounts of topics, every sentence with the answers that it rests on.

A language model gets a topic's terms and its most central answers, numbered, and must name the numbers behind each sentence;
a sentence without a number that was given is dropped. Without one the central answers speak for themselves.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tutelage.students.topics import TopicModel
from tutelage.teachers.llm.data import Message, fence

if TYPE_CHECKING:
    from tutelage.teachers.ledger import Ledger
    from tutelage.teachers.llm.asking import Asking

_TASK = """\
### Task
Below are the frequent words and some numbered answers of one topic that was found in a collection of papers. Give the topic
a title of two to six words, and say in one to four sentences what the answers have in common and where they differ. Say
nothing that is not in the answers, and give after each sentence the numbers of the answers that it rests on.

### Answer format
One JSON object and nothing else: {"title": "<title>", "sentences": [{"text": "<sentence>", "answers": [<number>, …]}, …]}

### Topic
"""
_SCHEMA: dict[str, object] = {
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "sentences": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "text": {"type": "string"},
                    "answers": {"type": "array", "items": {"type": "integer"}},
                },
                "required": ["text", "answers"],
                "additionalProperties": False,
            },
        },
    },
    "required": ["title", "sentences"],
    "additionalProperties": False,
}
_SHOWN, _TERMS = 12, 40


@dataclass(frozen=True)
class Term:
    """A word of a topic: log p(w|t), and log (p(w|t) / p(w)); relevance is λ times the one plus (1 − λ) times the other."""

    word: str
    frequent: float
    exclusive: float


@dataclass(frozen=True)
class Sentence:
    """A sentence of an account, and the answers (positions) that it rests on."""

    text: str
    answers: tuple[int, ...]


@dataclass(frozen=True)
class Topic:
    """A topic as the page shows it: its size in answers, its place on the map, both in [−1, 1]."""

    title: str
    sentences: tuple[Sentence, ...]
    terms: tuple[Term, ...]
    size: int
    x: float = 0.0
    y: float = 0.0


def one_topic(answers: Sequence[str]) -> list[Topic]:
    """All answers as one group, where there are too few for topics."""
    return [Topic("All answers", (), (), len(answers))]


def name_topics(
    model: TopicModel, answers: Sequence[str], asking: Asking | None = None, ledger: Ledger | None = None
) -> list[Topic]:
    """The topics of a fitted model, largest first."""
    k = len(model.terms_)
    centres = [model.central(topic, _SHOWN) for topic in range(k)]
    replies: list[str | None] = [None] * k
    if asking is not None:
        contents = [_content(model, topic, centres[topic], answers) for topic in range(k)]
        replies = asking.ask(
            contents, _render, {"task": _TASK, "version": 1}, schema=_SCHEMA, ledger=ledger,
            check=lambda reply: None if parse_account(reply, _SHOWN) else "no title and sentences in it",
        )  # fmt: skip
    topics = []
    for topic, (reply, centre) in enumerate(zip(replies, centres, strict=True)):
        account = parse_account(reply, len(centre)) if reply else None
        title, said = account or (
            " · ".join(model.terms(topic, 0.6, 3)),
            [(answers[i], (n,)) for n, i in enumerate(centre[:3])],
        )
        sentences = tuple(Sentence(text, tuple(centre[n] for n in numbers)) for text, numbers in said)
        place = model.places_[topic]
        size = int((model.topic_ == topic).sum())
        topics.append(Topic(title, sentences, _terms(model, topic), size, float(place[0]), float(place[-1])))
    return topics


def parse_account(reply: str, answers: int) -> tuple[str, list[tuple[str, tuple[int, ...]]]] | None:
    """Title and sentences with positions of the answers behind them; None for a reply without any.

    >>> parse_account('{"title": "Marks", "sentences": [{"text": "They rose.", "answers": [2, 9]}, '
    ...               '{"text": "Everybody is glad.", "answers": []}]}', answers=3)
    ('Marks', [('They rose.', (1,))])
    """
    match = re.search(r"\{.*\}", reply, re.DOTALL)
    try:
        value = json.loads(match.group()) if match else None
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict) or not str(value.get("title") or "").strip():
        return None
    said = []
    for row in value.get("sentences") or []:
        if isinstance(row, dict) and isinstance(row.get("answers"), list):
            numbers = [n for n in row["answers"] if isinstance(n, int) and 1 <= n <= answers]
            text = " ".join(str(row.get("text") or "").split())
            if text and numbers:
                said.append((text, tuple(n - 1 for n in dict.fromkeys(numbers))))
    return " ".join(str(value["title"]).split())[:120], said


def _content(model: TopicModel, topic: int, centre: Sequence[int], answers: Sequence[str]) -> str:
    listed = "\n".join(f"{n}. {answers[i]}" for n, i in enumerate(centre, 1))
    return f"Words: {', '.join(model.terms(topic, 0.6, 20))}\n{listed}"


def _render(content: str) -> list[Message]:
    return [{"role": "user", "content": _TASK + fence(content)}]


def _terms(model: TopicModel, topic: int) -> tuple[Term, ...]:
    """Words that are among the best for some λ."""
    place = {str(word): n for n, word in enumerate(model.vocabulary_)}
    chosen = dict.fromkeys(word for weight in (0.6, 1.0, 0.0) for word in model.terms(topic, weight, _TERMS // 2))
    frequent = model.relevance(topic, 1.0)
    exclusive = frequent - np.log(model.base_ + 1e-12)
    return tuple(Term(word, float(frequent[place[word]]), float(exclusive[place[word]])) for word in chosen)[:_TERMS]
