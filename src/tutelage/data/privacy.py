"""Private tokens in texts: where they are, how private they are, and texts without them.

Rules for what has a form (addresses, numbers, keys), a roster for what has none (names). Checksums are used where they
exist, so that not every long number is a bank card. Every span has a degree r in [0, 1], a judgement and not a
probability: 1.0 identifies a person or opens a door, less is less. What no rule knows is not found: these functions
reduce risk and prove nothing.

Rules in the order in which they are tried, each on what the earlier ones left:

| kind | what | degree |
|---|---|---|
| email | addresses | 1.0 |
| name | entries of the roster, whole words in any case | 1.0 |
| iban | bank accounts whose checksum is right | 1.0 |
| ip | IPv4 addresses | 0.9 |
| date | numeric dates; and, after handles, years from 1900 to 2099 | 0.3 |
| card | 13 to 19 digits whose checksum is right (Luhn) | 1.0 |
| phone | a number with + or in at least three groups, 9 to 15 digits | 1.0 |
| key | 8 or more letters and digits mixed: tokens, order numbers, plates | 0.9 |
| handle | @somebody | 0.8 |
| number | 4 or more digits, also spelled one by one ("4 8 1 5") | 0.9 |
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import NamedTuple

import numpy as np

from tutelage.errors import InputError


@dataclass(frozen=True)
class Span:
    """A private stretch of a text, text[start:end]."""

    start: int
    end: int
    kind: str
    degree: float


class Masked(NamedTuple):
    """A text with placeholders, and what they stand for. The map never leaves the machine."""

    text: str
    originals: dict[str, str]


class _Rule(NamedTuple):
    kind: str
    degree: float
    pattern: re.Pattern[str]
    check: Callable[[str], bool] = lambda found: True


def _digits(found: str) -> str:
    return "".join(character for character in found if character.isdigit())


def _luhn(found: str) -> bool:
    """The checksum of bank cards."""
    digits = [int(d) for d in reversed(_digits(found))]
    doubled = sum(sum(divmod(2 * d, 10)) for d in digits[1::2])
    return 13 <= len(digits) <= 19 and (sum(digits[::2]) + doubled) % 10 == 0


def _iban(found: str) -> bool:
    """The checksum of bank accounts: the number, with its letters as numbers, is 1 modulo 97."""
    compact = found.replace(" ", "").upper()
    return 15 <= len(compact) <= 34 and int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4])) % 97 == 1


def _phone(found: str) -> bool:
    groups = re.findall(r"\d+", found)
    return (
        9 <= sum(map(len, groups)) <= 15
        and (found.startswith(("+", "00")) or len(groups) >= 3)
        and min(map(len, groups)) > 1
    )


def _key(found: str) -> bool:
    return any(c.isdigit() for c in found) and any(c.isalpha() for c in found)


def _octets(found: str) -> bool:
    return all(int(part) < 256 for part in found.split("."))


_RULES = (
    _Rule("email", 1.0, re.compile(r"[\w.+%-]{1,64}@[\w-]{1,63}(?:\.[\w-]{1,63}){1,8}")),
    _Rule("iban", 1.0, re.compile(r"\b[A-Za-z]{2}\d{2}(?: ?[A-Za-z0-9]{4}){2,7}(?: ?[A-Za-z0-9]{1,3})?\b"), _iban),
    _Rule("ip", 0.9, re.compile(r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])"), _octets),
    _Rule("date", 0.3, re.compile(r"(?<!\d)(?:\d{4}-\d{1,2}-\d{1,2}|\d{1,2}([./])\d{1,2}\1(?:\d{4}|\d{2}))(?!\d)")),
    _Rule("card", 1.0, re.compile(r"(?<!\d)\d(?:[ -]?\d){12,18}(?!\d)"), _luhn),
    _Rule("phone", 1.0, re.compile(r"(?<![\w+])(?:\+|00)?\(?\d{1,5}\)?(?:[ ./-]{0,2}\(?\d{2,5}\)?){1,6}(?!\w)"), _phone),
    _Rule("key", 0.9, re.compile(r"(?<![\w-])[A-Za-z0-9]{8,64}(?:-[A-Za-z0-9]{2,64}){0,8}(?![\w-])"), _key),
    _Rule("handle", 0.8, re.compile(r"(?<!\w)@\w{2,64}")),
    _Rule("date", 0.3, re.compile(r"(?<![\d.,-])(?:19|20)\d\d(?![\d,-])(?!\.\d)(?! \d)")),
    _Rule("number", 0.9, re.compile(r"(?<!\d)\d(?:[ .,-]?\d){3,}")),
)  # fmt: skip


_PLACEHOLDER = re.compile(r"\[[A-Z]+_\d+\]")

_TAKEN = "\0"
"""Stands for a character that an earlier rule has: no rule matches it."""


def find_pii(text: str, roster: Collection[str] | None = None, *, kinds: Collection[str] | None = None) -> list[Span]:
    """Private spans of a text, in order, none overlapping.

    Args: roster: names of people and whatever else must not leave; kinds: only these (default: all).

    Raises: InputError: an unknown kind, or a roster with an empty entry.

    >>> text = "Write to ada@example.org or call +49 30 901820, code 4 8 1 5"
    >>> [(span.kind, text[span.start : span.end]) for span in find_pii(text)]
    [('email', 'ada@example.org'), ('phone', '+49 30 901820'), ('number', '4 8 1 5')]
    >>> find_pii("Ada Lovelace wrote it in 1843.", roster=["ada lovelace"])
    [Span(start=0, end=12, kind='name', degree=1.0), Span(start=25, end=29, kind='number', degree=0.9)]
    """
    rules = [_RULES[0], *_roster_rule(roster), *_RULES[1:]]
    known = {rule.kind for rule in _RULES} | {"name"}
    if kinds is not None and not set(kinds) <= known:
        raise InputError(f"unknown kind {sorted(set(kinds) - known)[0]!r}; there are {', '.join(sorted(known))}")
    taken: list[Span] = []
    rest = text
    for kind, degree, pattern, check in rules:
        left, end = [], 0
        for match in pattern.finditer(rest):
            if check(match.group()):
                left += [rest[end : match.start()], _TAKEN * len(match.group())]
                end = match.end()
                taken.append(Span(match.start(), end, kind, degree))
        rest = "".join([*left, rest[end:]])
    return sorted((s for s in taken if kinds is None or s.kind in kinds), key=lambda span: span.start)


def _roster_rule(roster: Collection[str] | None) -> list[_Rule]:
    """One pattern for all names, the longest first."""
    if not roster:
        return []
    if any(not name.strip() for name in roster):
        raise InputError("the roster has an empty name")
    names = sorted({" ".join(name.split()) for name in roster}, key=lambda name: (-len(name), name))
    spaced = [r"\s+".join(re.escape(word) for word in name.split()) for name in names]
    return [_Rule("name", 1.0, re.compile(rf"(?<!\w)(?:{'|'.join(spaced)})(?!\w)", re.IGNORECASE))]


def mask_pii(
    text: str,
    roster: Collection[str] | None = None,
    *,
    kinds: Collection[str] | None = None,
    originals: Mapping[str, str] | None = None,
) -> Masked:
    """The text with placeholders such as [EMAIL_1] for private spans; equal spans get equal placeholders.

    Give the `originals` of earlier texts to go on with their numbers. `unmask_pii` undoes it.

    >>> mask_pii("ada@x.org wrote to bob@x.org, cc ada@x.org").text
    '[EMAIL_1] wrote to [EMAIL_2], cc [EMAIL_1]'
    """
    held = dict(originals or {})
    names = {original: placeholder for placeholder, original in held.items()}
    taken = {*held, *_PLACEHOLDER.findall(text)}
    fresh: defaultdict[str, count[int]] = defaultdict(lambda: count(1))
    pieces, end = [], 0
    for span in find_pii(text, roster, kinds=kinds):
        original = text[span.start : span.end]
        if original not in names:
            placeholders = (f"[{span.kind.upper()}_{number}]" for number in fresh[span.kind])
            names[original] = next(placeholder for placeholder in placeholders if placeholder not in taken)
            held[names[original]] = original
        pieces += [text[end : span.start], names[original]]
        end = span.end
    return Masked("".join([*pieces, text[end:]]), held)


def without_spans(text: str, spans: Sequence[Span]) -> str:
    """The text with a space in the place of every span; spans in order, none overlapping, as `find_pii` gives them.

    >>> text = "write to ada@x.org, code 4815"
    >>> without_spans(text, find_pii(text))
    'write to  , code  '
    """
    ends = [0, *(span.end for span in spans)]
    starts = [*(span.start for span in spans), len(text)]
    return " ".join(text[end:start] for end, start in zip(ends, starts, strict=True))


def unmask_pii(text: str, originals: Mapping[str, str]) -> str:
    """Put the originals back.

    >>> unmask_pii(*mask_pii("call 0171 555 0000 now"))
    'call 0171 555 0000 now'
    """
    if not originals:
        return text
    pattern = re.compile("|".join(re.escape(placeholder) for placeholder in originals))
    return pattern.sub(lambda match: originals[match.group()], text)


def token_degrees(offsets: Iterable[tuple[int, int]], spans: Sequence[Span]) -> list[float]:
    """r of each token, from its place in the text: the highest degree of the spans that it touches, else 0.

    Sub-word tokenizers cut numbers into pieces; every piece of a private span gets the degree of the whole.

    >>> token_degrees([(0, 4), (5, 7), (7, 9)], find_pii("code 4815"))
    [0.0, 0.9, 0.9]
    """
    return [max((s.degree for s in spans if s.start < end and start < s.end), default=0.0) for start, end in offsets]


def shield_targets(
    probabilities: np.ndarray,
    degree: np.ndarray | Sequence[float],
    *,
    multi: bool = False,
    tau_max: float = 20.0,
    noise: float = 1.0,
    floor: float = 1e-3,
    seed: int = 0,
) -> np.ndarray:
    """A teacher's class probabilities, softer and noisier the more private a text is: (N, K), (N,) → (N, K) float32.

        τ = 1 + (τ_max − 1) r,      q = softmax((log p + n) / τ),      n ~ Laplace(0, noise · r)

    With `multi` every column is a label of its own: q = sigmoid((logit(p) + n) / τ). Rows of degree 0 stay as they are.
    Reduces what a student can memorise; no formal privacy guarantee.

    Args: floor: no probability of a private row counts as less, so that a hard label is softened like any other.

    Raises: InputError: shapes that do not fit, degrees outside [0, 1], τ_max below 1, negative noise, a floor outside
        (0, 0.5).

    >>> shield_targets(np.array([[0.9, 0.1], [0.9, 0.1]]), [0.0, 1.0], noise=0.0).round(2).tolist()
    [[0.8999999761581421, 0.10000000149011612], [0.5299999713897705, 0.4699999988079071]]
    """
    p, r = np.asarray(probabilities, np.float64), np.asarray(degree, np.float64)
    if p.ndim != 2 or r.shape != p.shape[:1]:
        raise InputError(f"need probabilities (N, K) and degrees (N,); got {p.shape} and {r.shape}")
    if (r.size and (r.min() < 0 or r.max() > 1)) or tau_max < 1 or noise < 0 or not 0 < floor < 0.5:
        raise InputError(
            "need degrees in [0, 1], tau_max >= 1, noise >= 0 and a floor in (0, 0.5); "
            f"got tau_max {tau_max}, noise {noise}, floor {floor}"
        )
    clipped = np.clip(p, floor, 1 - floor)
    logits = np.log(clipped) - (np.log1p(-clipped) if multi else 0)
    logits += np.random.default_rng(seed).laplace(size=p.shape) * (noise * r)[:, None]
    logits /= (1 + (tau_max - 1) * r)[:, None]
    soft = np.exp(logits - logits.max(1, keepdims=True))
    soft = 1 / (1 + np.exp(-logits)) if multi else soft / soft.sum(1, keepdims=True)
    return np.where(r[:, None] > 0, soft, p).astype(np.float32)
