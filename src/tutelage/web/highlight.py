"""The n-grams that decided, in the text itself: how strongly each stretch speaks for a label or against it.

N-grams overlap, so every character gets an equal share of the weight of each n-gram that it stands in. The characters of a
word add up (a run of letters that is too long for a word, as in scripts without spaces, is taken character by character),
and neighbours of one strength make a stretch.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import numpy as np

from tutelage.students.explain import Contribution

LEVELS = 4
_UNIT = re.compile(r"\b\w{1,24}\b|.", re.DOTALL)


class Stretch(NamedTuple):
    """A part of the text; level: −LEVELS … LEVELS, against or for the label, 0 for neither."""

    text: str
    level: int


class NGram(NamedTuple):
    """An n-gram with all that it adds to the label's logit, and that as a share of the strongest."""

    text: str
    weight: float
    share: float


def stretches(text: str, contributions: Sequence[Contribution]) -> list[Stretch]:
    """The text in stretches; together they are the text.

    >>> stretches("a goal!", [Contribution(2, 6, "goal", 2.0), Contribution(0, 1, "a", -0.5)])
    [Stretch(text='a', level=-1), Stretch(text=' ', level=0), Stretch(text='goal', level=4), Stretch(text='!', level=0)]
    """
    weight = np.zeros(len(text))
    for part in contributions:
        weight[part.start : part.end] += part.weight / max(part.end - part.start, 1)
    units = [match.group() for match in _UNIT.finditer(text)]
    ends = np.cumsum([len(unit) for unit in units], dtype=int)
    sums = np.array([weight[end - len(unit) : end].sum() for unit, end in zip(units, ends, strict=True)])
    most = np.abs(sums).max(initial=0.0)
    levels = np.rint(LEVELS * sums / most).astype(int).tolist() if most else [0] * len(units)
    grouped = groupby(zip(units, levels, strict=True), key=lambda pair: pair[1])
    return [Stretch("".join(unit for unit, _ in run), level) for level, run in grouped]


def strongest(contributions: Sequence[Contribution], most: int = 8) -> list[NGram]:
    """The n-grams that add most, equal ones together, strongest first.

    >>> strongest([Contribution(0, 1, "a", 1.0), Contribution(4, 5, "a", 1.0), Contribution(2, 3, "b", -1.0)])
    [NGram(text='a', weight=2.0, share=1.0), NGram(text='b', weight=-1.0, share=-0.5)]
    """
    sums: dict[str, float] = {}
    for part in contributions:
        sums[part.text] = sums.get(part.text, 0.0) + part.weight
    ranked = sorted(sums.items(), key=lambda pair: -abs(pair[1]))[:most]
    top = max((abs(weight) for _, weight in ranked), default=0.0) or 1.0
    return [NGram(text, weight, weight / top) for text, weight in ranked]
