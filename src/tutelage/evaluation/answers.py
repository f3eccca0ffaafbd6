"""Are two answers the same, and does an utterance state an answer: numbers as people write them.

"$1,200.00", "1200 dollars" and "twelve hundred" are one answer; "5 %" and "$5" are not. Values are exact fractions, so that
1/2, 0.5 and "a half" agree without a tolerance.

Shapes: none; text in, values out.
"""

from __future__ import annotations

import re
from fractions import Fraction
from typing import NamedTuple

_BELOW_TWENTY = """zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen
seventeen eighteen nineteen"""
_ONES = {word: value for value, word in enumerate(_BELOW_TWENTY.split())}
_TENS = {"twenty": 20, "thirty": 30, "forty": 40, "fifty": 50, "sixty": 60, "seventy": 70, "eighty": 80, "ninety": 90}
_SCALES = {"hundred": 100, "thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000}
_UNITS = {
    "$": "dollar", "dollar": "dollar", "dollars": "dollar", "€": "euro", "euro": "euro", "euros": "euro", "£": "pound",
    "%": "percent", "percent": "percent", "cent": "cent", "cents": "cent", "¢": "cent",
}  # fmt: skip
_WORD = "|".join([*_ONES, *_TENS, *_SCALES])
_NUMBER = re.compile(
    rf"(?P<before>[$€£])?\s*(?P<sign>(?<![\w)])[-−–]\s?)?(?P<before2>[$€£])?"
    rf"(?:(?P<digits>\d{{1,3}}(?:,\d{{3}})+(?!\d)(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+)(?:\s*/\s*(?P<under>\d+))?|"
    rf"\b(?P<words>(?:{_WORD})(?:(?:[\s-]+|\s+and\s+)(?:{_WORD}))*)\b)"
    rf"(?:\s*(?P<after>%|¢|€|(?:dollars?|euros?|percent|cents?)\b))?",
    re.IGNORECASE,
)


class Quantity(NamedTuple):
    """A value, and its unit where it is money or percent ("" otherwise)."""

    value: Fraction
    unit: str = ""


def quantities(text: str) -> list[Quantity]:
    """All numbers that stand in a text, in figures or in words, in order.

    >>> [str(q.value) for q in quantities("Take 1,200 minus twenty-five, then halve -3.5; 3/4 of it")]
    ['1200', '25', '-7/2', '3/4']
    """
    found = []
    for match in _NUMBER.finditer(text):
        if match["words"]:
            value = Fraction(_words(match["words"]))
        else:
            value = Fraction(match["digits"].replace(",", ""))
            if match["under"]:
                value = value / int(match["under"]) if int(match["under"]) else value
        unit = match["before"] or match["before2"] or match["after"] or ""
        found.append(Quantity(-value if match["sign"] else value, _UNITS.get(unit.lower(), "")))
    return found


def normalise_answer(text: str) -> Quantity | None:
    """The one number that an answer is; None where it is none, or several.

    >>> normalise_answer("$1,200.00"), normalise_answer("x = 5 or 6")
    (Quantity(value=Fraction(1200, 1), unit='dollar'), None)
    """
    found = quantities(text)
    return found[0] if len(found) == 1 else None


def answers_match(given: str, expected: str) -> bool:
    """Whether two answers are the same number, or the same words where neither is a number.

    Units decide only where both say one.

    >>> answers_match("twelve hundred", "1200 dollars"), answers_match("5 %", "$5"), answers_match(" Yes.", "yes")
    (True, False, True)
    """
    one, other = normalise_answer(given), normalise_answer(expected)
    if one is None or other is None:
        return one is other and _plain(given) == _plain(expected)
    return one.value == other.value and (not one.unit or not other.unit or one.unit == other.unit)


def _plain(text: str) -> str:
    return " ".join(re.findall(r"\w+", text.casefold()))


def _words(phrase: str) -> int:
    """The number that number words say: "twelve hundred and five" → 1205."""
    total, part = 0, 0
    for word in re.findall(r"[a-z]+", phrase.lower()):
        if word in _ONES or word in _TENS:
            part += _ONES.get(word, 0) + _TENS.get(word, 0)
        elif word == "hundred":
            part = max(part, 1) * 100
        elif word in _SCALES:
            total, part = total + max(part, 1) * _SCALES[word], 0
    return total + part
