"""Level "execute": the form of the answer, and what is done with a reply: parse, repair, check the quote, vote.

The answer asked for is a JSON object, `{"label": "<name>"}`, or `{"labels": [...]}` in a multi-label scheme; with
`wire="ids"` integers stand for the names, as in the IPTC paper; with `explain` a literal quote comes first. A reply goes
through four readings, strict to lenient: the JSON itself; the one JSON object somewhere in it; the one `"label": value`
pair in broken JSON; a bare label name. What two readings of the same reply would answer differently is not guessed at: it
is a failure, with a reason, and the caller may ask once more with that reason.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

from tutelage.data.labels import LabelScheme
from tutelage.teachers.llm.data import Message

Wire = Literal["names", "ids"]

_THINKING = re.compile(r"^.*</think>", re.DOTALL | re.IGNORECASE)
_REFUSAL = re.compile(
    r"^\W*(i'?m sorry|sorry|i can(?:no|')t|i am (?:unable|not able)|i'm (?:unable|not able)|i won'?t|as an ai)\b",
    re.IGNORECASE,
)
_BARE = re.compile(
    r"^(?:the\s+)?(?:(?:best|correct|right|most fitting)\s+)?"
    r"(?:(?:labels?|topic|category|class|answer)(?:\s+is)?\s*:?\s+)?(?P<name>.+)$",
    re.IGNORECASE | re.DOTALL,
)
_STRIP = " \t\r\n\"'`*.“”‘’«»"


@dataclass(frozen=True)
class Parsed:
    """A reply as labels in scheme order, or the reason why it is none.

    `span` is where the label stands in the raw reply (quotes not counted), for its probabilities; None unless the reply
    is exactly the JSON that was asked for.
    """

    status: str
    labels: tuple[str, ...] = ()
    quote: str | None = None
    error: str | None = None
    span: tuple[int, int] | None = None
    strict: bool = False


@dataclass(frozen=True)
class OutputSpec:
    """The answer that is asked for.

    >>> spec = OutputSpec(LabelScheme.from_dict(["sport", "politics"]))
    >>> spec.parse('Sure: {"label": "Sport"}').labels
    ('sport',)
    >>> spec.parse('{"label": "weather"}').status
    'unknown_label'
    """

    scheme: LabelScheme
    wire: Wire = "names"
    explain: bool = False

    @property
    def ids(self) -> bool:
        """Whether labels are answered by their integer id."""
        return self.wire == "ids"

    @property
    def multi(self) -> bool:
        """Whether a text may have several labels."""
        return self.scheme.multi

    @property
    def key(self) -> str:
        """The answer's JSON key."""
        return "labels" if self.multi else "label"

    @cached_property
    def _by_name(self) -> dict[str, str]:
        return {_fold(name): name for name in self.scheme.names}

    @cached_property
    def wire_names(self) -> tuple[str, ...]:
        """The K labels as they stand in the JSON, without quotes."""
        if self.ids:
            return tuple(str(k) for k in range(len(self.scheme)))
        return tuple(json.dumps(name, ensure_ascii=False)[1:-1] for name in self.scheme.names)

    def schema(self) -> dict[str, object]:
        """JSON schema of the answer, in the subset that strict modes of servers take."""
        values: list[object] = list(range(len(self.scheme))) if self.ids else list(self.scheme.names)
        label: dict[str, object] = {"type": "integer" if self.ids else "string", "enum": values}
        properties: dict[str, object] = {"quote": {"type": "string"}} if self.explain else {}
        properties[self.key] = {"type": "array", "items": label} if self.multi else label
        return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}

    def instruction(self) -> str:
        """The answer's form in words; servers that ignore the schema go by this alone."""
        what = "the label's integer id" if self.ids else "the label's name, spelled as above"
        value = "<id>" if self.ids else '"<name>"'
        if self.multi:
            value = f"[{value}, …]"
            what = f"a list of {what}" + ("" if self.ids else " each")
        quote = '"quote": "<words>", ' if self.explain else ""
        lines = [
            f'Answer with one JSON object and nothing else: {{{quote}"{self.key}": {value}}}',
            f"where {value} is {what}.",
        ]
        if self.explain:
            lines.append('"quote" is a short passage of the text, word for word, that decides the label.')
        return "\n".join(lines)

    def encode(self, labels: Sequence[str], quote: str | None = None) -> str:
        """An answer in this form."""
        values: list[object] = [self.scheme.index(name) if self.ids else name for name in labels]
        answer: dict[str, object] = {"quote": quote or ""} if self.explain else {}
        answer[self.key] = values if self.multi else values[0]
        return json.dumps(answer, ensure_ascii=False)

    def parse(self, raw: str) -> Parsed:
        """Read a reply; see the module's docstring."""
        return parse_reply(raw, self)

    def resolve(self, value: object) -> list[str] | str:
        """The labels that a JSON value stands for, or what is wrong with it."""
        values = value if isinstance(value, list) else [value]
        if not self.multi and len(values) != 1:
            return f"exactly one label is wanted; found {len(values)}"
        names: list[str] = []
        for item in values:
            name = self._one(item)
            if name is None:
                return f"{_shown(item)} is not one of the labels"
            names.append(name)
        return sorted(set(names), key=self.scheme.index)

    def _one(self, item: object) -> str | None:
        if self.ids:
            number = int(item) if isinstance(item, str) and re.fullmatch(r"\s*\d{1,6}\s*", item) else item
            if isinstance(number, float) and number.is_integer():
                number = int(number)
            if isinstance(number, int) and not isinstance(number, bool):
                return self.scheme.names[number] if 0 <= number < len(self.scheme) else None
        if not isinstance(item, str):
            return None
        name = self._by_name.get(_fold(item))
        if name is None:  # "sport - matches, clubs, …": the line of the prompt, echoed
            head = re.split(r"\s+[-–—]\s+|:\s", item, maxsplit=1)[0]
            name = self._by_name.get(_fold(head))
        return name


def parse_reply(raw: str, spec: OutputSpec) -> Parsed:
    """Labels from a reply, or a status "invalid_json", "unknown_label" or "refusal" with the reason."""
    try:
        answer = json.loads(raw)
    except (ValueError, RecursionError):
        answer = None
    if isinstance(answer, dict) and spec.key in answer:
        parsed = _from_object(answer, spec)
        if parsed.status != "ok":
            return parsed
        exact = set(answer) == set(spec.schema()["required"])  # type: ignore[call-overload]
        return Parsed("ok", parsed.labels, parsed.quote, span=_label_span(raw, spec), strict=exact)
    cleaned = _THINKING.sub("", raw).strip()
    found = [_from_object(answer, spec) for answer in _objects(cleaned) if spec.key in answer or _other(spec) in answer]
    if not found:
        pairs = re.findall(rf"[\"']?\b{spec.key}\b[\"']?\s*:\s*(?:\"([^\"\n]+)\"|'([^'\n]+)'|(\d+)\b)", cleaned)
        values = ["".join(groups) for groups in pairs]
        found = [_from_object({spec.key: value}, spec) for value in values] if "{" in cleaned else []
    if found:
        answers = {(parsed.status, parsed.labels) for parsed in found}
        if len(answers) == 1:
            return found[-1]
        return Parsed("invalid_json", error="the reply holds several different answers")
    bare = _BARE.match(cleaned.strip(_STRIP))
    for text in (cleaned, bare.group("name") if bare else ""):
        names = spec.resolve(text.strip(_STRIP)) if text.strip(_STRIP) else ""
        if isinstance(names, list):
            return Parsed("ok", tuple(names))
    if _REFUSAL.match(cleaned):
        return Parsed("refusal", error="the model refused to answer")
    return Parsed("invalid_json", error="it is not the JSON object that was asked for" if cleaned else "it is empty")


def _other(spec: OutputSpec) -> str:
    return "label" if spec.multi else "labels"


def _from_object(answer: dict[str, object], spec: OutputSpec) -> Parsed:
    value = answer.get(spec.key, answer.get(_other(spec)))
    names = spec.resolve(value)
    if isinstance(names, str):
        return Parsed("unknown_label", error=names)
    quote = answer.get("quote")
    return Parsed("ok", tuple(names), quote if isinstance(quote, str) and quote.strip() else None)


def _objects(text: str) -> list[dict[str, object]]:
    """The JSON objects that stand in a text, outermost only."""
    decoder = json.JSONDecoder()
    found: list[dict[str, object]] = []
    place = text.find("{")
    tries = 0
    while place >= 0 and tries < 50:
        tries += 1
        try:
            value, end = decoder.raw_decode(text, place)
        except (ValueError, RecursionError):
            end = place + 1
        else:
            if isinstance(value, dict):
                found.append(value)
        place = text.find("{", end)
    return found


def _label_span(raw: str, spec: OutputSpec) -> tuple[int, int] | None:
    """Where the label stands in a reply that is JSON; None where it is not written as in the prompt."""
    if spec.multi:
        return None
    opening = r"\s*:\s*" if spec.ids else r'\s*:\s*"'
    starts = [match.end() for match in re.finditer(rf'"{spec.key}"{opening}', raw)]
    if len(starts) != 1:
        return None
    start = starts[0]
    for name in sorted(spec.wire_names, key=len, reverse=True):
        if raw.startswith(name, start) and raw[start + len(name) : start + len(name) + 1] in '"}, \n':
            return (start, start + len(name)) if start + len(name) < len(raw) else None
    return None


def _shown(item: object) -> str:
    try:
        return json.dumps(item, ensure_ascii=False)[:100]
    except RecursionError:  # nested just as deep as it could still be read
        return "a value of very many levels"


def _fold(name: str) -> str:
    return " ".join(name.casefold().split())


def repair(messages: Sequence[Message], reply: str, error: str, spec: OutputSpec) -> tuple[Message, ...]:
    """The same question once more, with the reply that was no answer and the reason why."""
    return (
        *messages,
        {"role": "assistant", "content": reply[:2000] or "(empty)"},
        {"role": "user", "content": f"That is not a valid answer: {error}.\n{spec.instruction()}"},
    )


def verify_quote(quote: str | None, text: str) -> str | None:
    """The passage of the text that a quote stands for, or None if it does not stand there word for word.

    White space, letter case and the kind of quotation marks are forgiven; words are not.

    >>> verify_quote("won the  CUP", "They won the cup.")
    'won the cup'
    >>> verify_quote("lost the cup", "They won the cup.") is None
    True
    """
    for form in ((quote or "").strip(), (quote or "").strip(_STRIP + "…")):
        words = [re.sub(r"[\"'“”‘’«»]", "[\"'“”‘’«»]", re.escape(word)) for word in form.split()]
        match = re.search(r"\s+".join(words), text, re.IGNORECASE) if words else None
        if match:
            return match.group()
    return None


def vote(answers: Sequence[Sequence[str]], scheme: LabelScheme) -> tuple[tuple[str, ...], tuple[float, ...]]:
    """Winner and shares of several valid answers to one text: -> (labels, shares (K,)).

    Single: the most frequent label, ties to the one that comes first in the scheme. Multi: labels of half the votes.

    >>> vote([["b"], ["a"], ["b"]], LabelScheme.from_dict(["a", "b"]))
    (('b',), (0.333..., 0.666...))
    """
    counts = Counter(name for answer in answers for name in set(answer))
    shares = tuple(counts[name] / len(answers) for name in scheme.names)
    if scheme.multi:
        return tuple(name for name, share in zip(scheme.names, shares, strict=True) if share >= 0.5), shares
    return (scheme.names[shares.index(max(shares))],), shares
