"""A simulator of office messages: real words in sentences of a few patterns, with names and numbers in some of them.

The words are those of the package's demo corpus, by topic. A message keeps to one topic, and its second word goes with
its first, so that there is something to learn beyond the patterns.
"""

from __future__ import annotations

import re
from collections import Counter
from functools import cache

import numpy as np

from tutelage.data.sources import demo_corpus

PEOPLE = (
    "ada alan amir anna bela boris carla chen dana david edith elena emil farid fatma george grace hana hugo ines "
    "ivan jamal jana karl keiko lars leila lena maria marco mei milan nadia nils olga omar paula pavel petra quentin "
    "rosa samir sara sofia stefan tara tomas ugo vera viktor wanda yusuf zara zeno"
)
NAMES = tuple(PEOPLE.split())
"""People of the messages; the last 20 only ever own canaries."""

PATTERNS = (
    "the {a} and the {b} were {v} {when}",
    "the {a} of the {b} was {v} {when}",
    "please send the {a} to {name} before the {b} is {v}",
    "{name} says that the {a} was {v} near the {b}",
    "we {v} the {a} because the {b} was late",
    "ticket {n3} about the {a} and the {b} is closed",
    "{name} can be reached at {n6} after the {b}",
    "{when} the {a} was {v} for the {b}",
)
WHEN = ("today", "yesterday", "this morning", "last week", "in the evening", "on monday", "again")


@cache
def words_by_topic(size: int) -> tuple[tuple[list[str], list[str]], ...]:
    """For each topic of the demo corpus its `size` most typical words, and half as many that end in -ed."""
    table = demo_corpus()
    texts: dict[str, list[str]] = {}
    for topic, lang, text in zip(*(table[c].to_pylist() for c in ("gold", "lang", "text")), strict=True):
        if lang == "en":
            texts.setdefault(topic, []).extend(re.findall(r"[a-z]{4,}", text.lower()))
    everywhere = Counter(word for words in texts.values() for word in set(words))
    stock = []
    for topic in sorted(texts):
        rare = Counter(word for word in texts[topic] if everywhere[word] <= 6)
        ranked = sorted(rare, key=lambda word: (-rare[word], word))
        done = [word for word in ranked if word.endswith("ed")][: size // 2]
        stock.append(([word for word in ranked if not word.endswith("ed")][:size], done))
    return tuple(stock)


def messages(count: int, seed: int, *, words: int = 40) -> list[str]:
    """So many messages, lower case, words and digits apart by spaces.

    >>> len(messages(3, seed=0)), messages(3, seed=0) == messages(3, seed=0)
    (3, True)
    """
    rng = np.random.default_rng(seed)
    stock = words_by_topic(words)
    made = []
    for _ in range(count):
        nouns, done = stock[rng.integers(len(stock))]
        first = _zipf(rng, len(nouns))
        second = (first * 7 + 3 + _zipf(rng, 3)) % len(nouns)
        values = {
            "a": nouns[first],
            "b": nouns[second],
            "v": done[(first + _zipf(rng, 3)) % len(done)],
            "name": NAMES[_zipf(rng, len(NAMES) - 20)],
            "when": WHEN[rng.integers(len(WHEN))],
            "n3": " ".join(map(str, rng.integers(0, 10, 3))),
            "n6": " ".join(map(str, rng.integers(0, 10, 6))),
        }
        made.append(PATTERNS[rng.integers(len(PATTERNS))].format(**values))
    return made


def _zipf(rng: np.random.Generator, size: int) -> int:
    """An index below `size`, drawn with a weight of 1 / (1 + index)."""
    weights = 1 / np.arange(1, size + 1)
    return int(rng.choice(size, p=weights / weights.sum()))
