"""Teachers that read: passages and questions in, answers with a literal quote out.

`QuotingReader` asks a chat model all Q questions about a passage in one prompt; it may answer, quote, or say that the
passage has no answer. `ExtractiveReader` needs no model that writes: with unit vectors e of a sentence encoder it takes
passage x for an answer to question q where

    cos(x, q) = e(x) · e(q) >= threshold,       and, if exclusive, q is the passage's best question,

and answers with the passage's sentence nearest to q. Neither is to be trusted: whether a quote stands in its passage is
for the verifier of the method (`methods.labelling.facts_v1`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import numpy as np

from tutelage.data.text import sentence_spans
from tutelage.teachers.base import Progress, ProgressEvent
from tutelage.teachers.ledger import Ledger
from tutelage.teachers.llm.asking import Asking
from tutelage.teachers.llm.data import Message, fence, neutralise

if TYPE_CHECKING:
    from tutelage.data.encoder import SentenceEncoder

QUOTE_WORDS = 20
"""A quote is at most this long."""

_TASK = """\
### Task
Read the excerpt at the end and answer each question from it alone. An answer is one sentence, with a quote: the words of the
excerpt that show it, copied exactly, at most {words} words. Where the excerpt says nothing about a question, leave answer and
quote empty. Never make a quote up.

### Questions
{questions}

### Answer format
One JSON object and nothing else: {{"answers": [{{"question": 1, "answer": "<sentence>", "quote": "<words>"}}, …]}}

### Excerpt
"""
_NUMBERED = re.compile(
    r"^[^\w\n]*(\d{1,6})[.):][*_]*\s*(?:answer\s*:)?\s*(.*?)"
    r"(?:^[^\w\n]*(?:citation|quote)\W*:\s*(.*?))?(?=^[^\w\n]*\d+[.):]|\Z)",
    re.IGNORECASE | re.MULTILINE | re.DOTALL,
)


@dataclass(frozen=True)
class Claim:
    """What a reader says: its answer to a question about a passage (positions), and the words that it quotes for it."""

    passage: int
    question: int
    answer: str
    quote: str


class Reader(Protocol):
    """Anything that answers questions about passages."""

    @property
    def name(self) -> str: ...

    def read(
        self,
        passages: Sequence[str],
        questions: Sequence[str],
        *,
        ledger: Ledger | None = None,
        progress: Progress | None = None,
    ) -> list[Claim]:
        """Claims about N passages, by passage and question; none where there is no answer."""
        ...


def matches(relevance: np.ndarray, threshold: float, *, exclusive: bool = True) -> np.ndarray:
    """Which questions a passage answers: cosines (N, Q) -> (N, Q) bool.

    >>> matches(np.array([[0.5, 0.4], [0.1, 0.0]]), 0.3).tolist()
    [[True, False], [False, False]]
    """
    enough = relevance >= threshold
    if exclusive:
        enough &= np.arange(relevance.shape[1]) == relevance.argmax(axis=1)[:, None]
    return enough


@dataclass(frozen=True)
class ExtractiveReader:
    """The sentence nearest to the question, from passages that are near enough.

    Args: encoder; threshold: cosine above which a passage answers; exclusive: a passage answers its best question only.

    >>> from tutelage.data.encoder import SentenceEncoder
    >>> reader = ExtractiveReader(SentenceEncoder("use-multilingual"), threshold=0.4)
    >>> claims = reader.read(["It rained. The club won the cup again.", "Prices rose."], ["Which team won the cup?"])
    >>> [(claim.passage, claim.answer) for claim in claims]
    [(0, 'The club won the cup again.')]
    """

    encoder: SentenceEncoder
    threshold: float = 0.3
    exclusive: bool = True

    @property
    def name(self) -> str:
        return f"zero-shot:{self.encoder.name}"

    def read(
        self,
        passages: Sequence[str],
        questions: Sequence[str],
        *,
        ledger: Ledger | None = None,
        progress: Progress | None = None,
    ) -> list[Claim]:
        """See `Reader.read`; nothing is paid for, so nothing goes into the ledger."""
        total = len(passages)
        asked = self.encoder.encode(questions)
        report = None if progress is None else (lambda done: progress(ProgressEvent(min(done, total), total)))
        kept = matches(self.encoder.encode(passages, report) @ asked.T, self.threshold, exclusive=self.exclusive)
        pieces = {row: _sentences(passages[row]) for row in np.flatnonzero(kept.any(axis=1)).tolist()}
        flat = [sentence for sentences in pieces.values() for sentence in sentences]
        nearness = self.encoder.encode(flat) @ asked.T
        claims, start = [], 0
        for row, sentences in pieces.items():
            best = nearness[start : start + len(sentences)].argmax(axis=0)
            start += len(sentences)
            for question in np.flatnonzero(kept[row]):
                answer = sentences[int(best[question])]
                claims.append(Claim(row, int(question), answer, first_words(answer)))
        return claims


@dataclass(frozen=True)
class QuotingReader:
    """A chat model that answers and quotes; every reply is in the ledger.

    >>> from tutelage.teachers.llm.base import ScriptedChat
    >>> reply = '{"answers": [{"question": 1, "answer": "The club did.", "quote": "won the cup"}]}'
    >>> QuotingReader(Asking(ScriptedChat(lambda request: reply))).read(["They won the cup."], ["Who won?"])
    [Claim(passage=0, question=0, answer='The club did.', quote='won the cup')]
    """

    asking: Asking

    @property
    def name(self) -> str:
        return self.asking.model.name

    def read(
        self,
        passages: Sequence[str],
        questions: Sequence[str],
        *,
        ledger: Ledger | None = None,
        progress: Progress | None = None,
    ) -> list[Claim]:
        """See `Reader.read`. Raises: Paused, InputError: see `Asking.ask`."""
        listed = "\n".join(f"{n}. {neutralise(' '.join(q.split()))}" for n, q in enumerate(questions, 1))
        task = _TASK.format(words=QUOTE_WORDS, questions=listed)

        def render(passage: str) -> list[Message]:
            return [{"role": "user", "content": task + fence(passage)}]

        replies = self.asking.ask(
            passages,
            render,
            {"task": task, "version": 1},
            schema=_schema(len(questions)),
            check=lambda reply: None if parse_answers(reply, len(questions)) is not None else "no answers in it",
            ledger=ledger,
            progress=progress,
        )
        claims = []
        for row, reply in enumerate(replies):
            for question, said in enumerate((reply and parse_answers(reply, len(questions))) or []):
                if said is not None:
                    claims.append(Claim(row, question, *said))
        return claims


def parse_answers(reply: str, questions: int) -> list[tuple[str, str] | None] | None:
    """Q pairs (answer, quote), None where there is no answer; None for a reply that has no form at all.

    The JSON that was asked for is read first, then numbered lines: "2. Answer: … / Quote: …". Numbers that were not asked
    are ignored, and of two answers to a question the first counts.

    >>> parse_answers("1. Answer: It rained.\\nCitation: heavy rain\\n2. NO ANSWER!", 3)
    [('It rained.', 'heavy rain'), ('NO ANSWER!', ''), None]
    >>> parse_answers("I would rather not.", 2) is None
    True
    """
    found: list[tuple[str, str] | None] = [None] * questions
    items = _from_json(reply)
    if items is None:
        items = [(int(n), answer, quote or "") for n, answer, quote in _NUMBERED.findall(reply)]
        if not items:
            return None
    for number, answer, quote in items:
        if 1 <= number <= questions and found[number - 1] is None and answer.strip():
            found[number - 1] = (" ".join(answer.split()), " ".join(quote.split()))
    return found


def first_words(text: str, most: int = QUOTE_WORDS) -> str:
    """The beginning of a text, as a literal quote of it.

    >>> first_words("one two  three", 2)
    'one two'
    """
    ends = [match.end() for match in re.finditer(r"\S+", text)]
    return text[: ends[min(most, len(ends)) - 1]] if ends else ""


def _from_json(reply: str) -> list[tuple[int, str, str]] | None:
    """The entries of the first JSON object with `answers` in a reply."""
    decoder = json.JSONDecoder()
    for match in list(re.finditer(r"\{", reply))[:20]:
        try:
            value, _ = decoder.raw_decode(reply, match.start())
        except (ValueError, RecursionError):
            continue
        if isinstance(value, dict) and isinstance(value.get("answers"), list):
            rows = [row for row in value["answers"] if isinstance(row, dict)]
            rows = [row for row in rows if re.fullmatch(r"\d{1,6}", str(row.get("question", "")))]
            return [(int(row["question"]), str(row.get("answer") or ""), str(row.get("quote") or "")) for row in rows]
    return None


def _schema(questions: int) -> dict[str, object]:
    row = {
        "type": "object",
        "properties": {
            "question": {"type": "integer", "enum": list(range(1, questions + 1))},
            "answer": {"type": "string"},
            "quote": {"type": "string"},
        },
        "required": ["question", "answer", "quote"],
        "additionalProperties": False,
    }
    return {
        "type": "object",
        "properties": {"answers": {"type": "array", "items": row}},
        "required": ["answers"],
        "additionalProperties": False,
    }


def _sentences(passage: str) -> list[str]:
    return [passage[start:end] for start, end in sentence_spans(passage)] or [passage]
