"""Every target keeps its promise on mutations of small valid inputs. The longer search is `python -m tests.fuzz`."""

from __future__ import annotations

import random
from importlib import import_module

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.fuzz.__main__ import TARGETS
from tests.fuzz.promise import Target, keeps_promise

COUNT = {"readers": 1500, "replies": 2000, "schemes": 800, "artifacts": 800, "kernels": 600}
"""Examples of each: about twenty seconds of one core in all."""


def target_of(name: str) -> Target:
    target: Target = import_module(f"tests.fuzz.{name}").TARGET
    return target


@st.composite
def mutations(draw: st.DrawFn, target: Target, seeds: list[bytes]) -> bytes:
    """A seed after up to four cuts, copies, changed bytes or words that were put in; byte 0 stays, and says what it is."""
    data = bytearray(draw(st.sampled_from(seeds)))
    for _ in range(draw(st.integers(1, 4))):
        place = draw(st.integers(1, max(1, len(data))))
        match draw(st.sampled_from(["byte", "word", "cut", "copy", "bytes"])):
            case "byte" if place < len(data):
                data[place] = draw(st.integers(0, 255))
            case "word":
                data[place:place] = draw(st.sampled_from(target.words))
            case "cut":
                del data[place : place + draw(st.integers(1, 40))]
            case "copy":
                data[place:place] = data[max(1, place - draw(st.integers(1, 60))) : place]
            case _:
                data[place:place] = draw(st.binary(min_size=1, max_size=8))
    return bytes(data)


@pytest.mark.parametrize("name", TARGETS)
def test_any_mutation_keeps_the_promise(name: str) -> None:
    target = target_of(name)
    seeds = target.seeds()
    for seed in seeds:
        target.run(seed)  # every seed is one that keeps it; this compiles and imports what is slow only once

    slow = [HealthCheck.too_slow, HealthCheck.data_too_large]

    @settings(max_examples=COUNT[name], deadline=None, derandomize=True, database=None, suppress_health_check=slow)
    @given(mutations(target, seeds))
    def check(data: bytes) -> None:
        keeps_promise(target, data)

    check()


@pytest.mark.parametrize("name", TARGETS)
def test_bytes_without_any_form_keep_the_promise(name: str) -> None:
    target, draws = target_of(name), random.Random(0)
    for size in (0, 1, 2, 3, 10, 100, 1000):
        for _ in range(5):
            keeps_promise(target, draws.randbytes(size))
