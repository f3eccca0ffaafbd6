"""A teacher who errs: each fault as often as asked, the same for the same key, and misconceptions that hold their ground."""

from __future__ import annotations

from collections import Counter

import pytest

from tutelage.errors import InputError
from tutelage.worlds.fallible import FallibleTeacher, Faults

ANSWERS = ["red", "green", "blue", "white"]


def knows(item: str) -> str | None:
    number = int(item.split()[-1])
    return None if number % 5 == 4 else ANSWERS[number % 4]


def teacher(seed: int = 0, **rates: float) -> FallibleTeacher:
    return FallibleTeacher(knows, ANSWERS, Faults(**rates), topic=lambda item: item.split()[0], seed=seed)


ITEMS = [f"topic{n % 40} {n}" for n in range(5000)]


def test_without_faults_it_tells_the_truth():
    assert all(teacher().ask(item) == (knows(item), "") for item in ITEMS[:50])


def test_faults_come_as_often_as_asked_and_are_what_they_are_called():
    erring = teacher(miss=0.1, wrong=0.2, bad_format=0.1, hallucinate=0.3)
    said = {item: erring.ask(item) for item in ITEMS}
    known = [item for item in ITEMS if knows(item)]
    counts = Counter(said[item].fault for item in known)
    for fault, rate in (("miss", 0.1), ("wrong", 0.2), ("bad format", 0.1), ("", 0.6)):
        assert counts[fault] / len(known) == pytest.approx(rate, abs=0.025)
    unknown = [said[item] for item in ITEMS if not knows(item)]
    assert sum(one.fault == "hallucinate" for one in unknown) / len(unknown) == pytest.approx(0.3, abs=0.05)
    for item, (text, fault) in said.items():
        truth = knows(item)
        if fault == "wrong":
            assert text in ANSWERS
            assert text != truth
        elif fault == "bad format":
            assert text is not None
            assert truth is not None
            assert truth.startswith(text)
            assert text != truth
        else:
            assert (text is None) == (fault == "miss" or (truth is None and fault == ""))


def test_mistakes_belong_to_item_and_key():
    erring = teacher(wrong=0.5)
    forward = [erring.ask(item) for item in ITEMS[:100]]
    assert forward == [erring.ask(item) for item in ITEMS[99::-1]][::-1]
    assert forward != [erring.ask(item, key=1) for item in ITEMS[:100]]
    assert forward != [teacher(1, wrong=0.5).ask(item) for item in ITEMS[:100]]


def test_a_misconception_covers_its_topic_and_never_wavers():
    erring = teacher(misconception=0.5)
    held = {item.split()[0] for item in ITEMS if erring.ask(item).fault}
    assert len(held) / 40 == pytest.approx(0.5, abs=0.2)
    taught: dict[tuple[str, str | None], set[str | None]] = {}
    for item in ITEMS:
        for key in (0, 1):
            said, truth = erring.ask(item, key), knows(item)
            if truth is None:
                continue
            assert (said.fault == "misconception") == (item.split()[0] in held)
            taught.setdefault((item.split()[0], truth), set()).add(said.text)
    assert all(len(said) == 1 for said in taught.values())


@pytest.mark.parametrize("rates", [{"wrong": 1.5}, {"miss": -0.1}, {"miss": 0.6, "wrong": 0.6}])
def test_refuses_rates_that_are_none(rates: dict[str, float]):
    with pytest.raises(InputError, match="rates of faults"):
        Faults(**rates)


def test_refuses_to_err_without_a_choice():
    with pytest.raises(InputError, match="two answers"):
        FallibleTeacher(knows, ["red", "red"], Faults())
