"""A teacher who errs on purpose: the stand-in for a language model where no endpoint is, with faults of known kinds and rates.

It wraps somebody who knows the answer. What goes wrong is drawn once for each (seed, item, key), whatever was asked before,
so that two arms of an experiment meet the same mistakes. The kinds, in the order in which they are decided:

    misconception   the item's topic carries one: the same wrong answer to the same truth, every time
    miss            nothing is said though there is something to say
    hallucinate     something is said though there is nothing to say
    wrong           an answer drawn from the other ones
    bad format      the answer, cut off in the middle
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import NamedTuple

from tutelage.data.draws import keyed_uniform
from tutelage.errors import InputError


@dataclass(frozen=True)
class Faults:
    """Rates in [0, 1]: `misconception` of topics, `hallucinate` of items without an answer, the others of items with one."""

    misconception: float = 0.0
    miss: float = 0.0
    hallucinate: float = 0.0
    wrong: float = 0.0
    bad_format: float = 0.0

    def __post_init__(self) -> None:
        rates = {field.name: getattr(self, field.name) for field in fields(self)}
        if not all(0 <= rate <= 1 for rate in rates.values()) or self.miss + self.wrong + self.bad_format > 1:
            raise InputError(f"rates of faults are in [0, 1], and miss, wrong and bad_format together; got {rates}")


class Said(NamedTuple):
    """What the teacher said (None: nothing), and the fault in it ("" where it is the truth): the second is for the scorer."""

    text: str | None
    fault: str = ""


class FallibleTeacher:
    """Answers with faults.

    Args:
        knows: item → the true answer, None where there is none.
        answers: two or more that may be given.
        faults: their rates. topic: item → what a misconception is about (default: one topic for all). seed.

    >>> teacher = FallibleTeacher({"2 + 2": "4"}.get, ["3", "4", "5"], Faults(wrong=1.0))
    >>> said = teacher.ask("2 + 2")
    >>> said.text in ("3", "5"), said.fault, teacher.ask("2 + 2") == said, teacher.ask("colour?")
    (True, 'wrong', True, Said(text=None, fault=''))

    Raises: InputError: fewer than two answers.
    """

    def __init__(
        self,
        knows: Callable[[str], str | None],
        answers: Sequence[str],
        faults: Faults,
        *,
        topic: Callable[[str], str] = lambda item: "",
        seed: int = 0,
    ) -> None:
        if len(set(answers)) < 2:
            raise InputError(f"a teacher who may be wrong needs two answers to choose from; got {list(answers)}")
        self.knows, self.answers, self.faults, self.topic, self.seed = knows, tuple(answers), faults, topic, seed

    def ask(self, item: str, key: str | int = 0) -> Said:
        """The answer to an item; another `key` (a rerun, a vote) has its own luck, but the same misconceptions."""
        truth, f = self.knows(item), self.faults
        if truth is None:
            if self._luck(item, key, "hallucinate") < f.hallucinate:
                return Said(self._drawn(self.answers, item, key), "hallucinate")
            return Said(None)
        others = [answer for answer in self.answers if answer != truth]
        if self._luck(self.topic(item), "misconception") < f.misconception:
            return Said(self._drawn(others, self.topic(item), truth), "misconception")
        luck = self._luck(item, key, "fault")
        if luck < f.miss:
            return Said(None, "miss")
        if luck < f.miss + f.wrong:
            return Said(self._drawn(others, item, key), "wrong")
        if luck < f.miss + f.wrong + f.bad_format:
            return Said(truth[: len(truth) // 2], "bad format")
        return Said(truth)

    def _luck(self, *key: str | int) -> float:
        return keyed_uniform(self.seed, *key)

    def _drawn(self, answers: Sequence[str], *key: str | int) -> str:
        return answers[int(self._luck(*key, "which") * len(answers))]
