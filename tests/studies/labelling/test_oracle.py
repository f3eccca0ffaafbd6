"""The faulty endpoint is what the study says it is: faults at their rates, an oracle otherwise, orders obeyed if unfenced."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from tutelage.studies import Trial
from tutelage.studies.labelling._oracle import FILLER, ORDER, Endpoint, Faults, Items, strict
from tutelage.studies.labelling.prompting_frameworks import naive
from tutelage.teachers.llm.base import Reply, Request, TextFault, Transient
from tutelage.teachers.llm.data import fence

ITEMS = Items(
    texts=["They won the cup.", f"{ORDER} Shares fell.", FILLER * 60 + "A law was passed."],
    gold=["Sports", "Business", "World"],
    evidence=["won the cup.", "Shares fell.", "law was passed."],
    ordered=np.array([False, True, False]),
)
SOUND = Faults(malformed=0, unknown=0, timeout=0, turned_away=0)


def endpoint(tmp_path: Path, faults: Faults = SOUND) -> Endpoint:
    return Endpoint(ITEMS, Trial(100, faults, tmp_path), tmp_path / "journal")


def ask(endpoint: Endpoint, content: str) -> Reply:
    return asyncio.run(endpoint.complete(Request(({"role": "user", "content": content},))))


def test_without_faults_it_is_right_wherever_the_evidence_is_in_sight(tmp_path):
    assert strict(ask(endpoint(tmp_path), ITEMS.texts[0])) == "Sports"


def test_an_order_is_obeyed_outside_a_fence_and_not_inside(tmp_path):
    assert strict(ask(endpoint(tmp_path), naive(ITEMS.texts[1])[0]["content"])) == "World"
    assert strict(ask(endpoint(tmp_path), fence(ITEMS.texts[1]))) == "Business"
    assert strict(ask(endpoint(tmp_path), f"{fence('nothing')}\n{ITEMS.texts[1]}")) == "World"


def test_a_text_over_the_limit_is_refused(tmp_path):
    with pytest.raises(TextFault):
        ask(endpoint(tmp_path), ITEMS.texts[2])


def test_faults_come_at_their_rates_and_are_the_same_in_every_arm(tmp_path):
    def run() -> list[str]:
        model, seen = endpoint(tmp_path, Faults()), []
        for _ in range(400):
            try:
                seen.append(str(strict(ask(model, ITEMS.texts[0]))))
            except Transient as fault:
                seen.append(str(fault.status))
        return seen

    first = run()
    assert run() == first
    counts = Counter(first)
    assert 0.70 < counts["Sports"] / 400 < 0.80
    assert counts["429"] > 0
    assert (tmp_path / "journal").read_text().count("\n") == 800
