"""String tasks: answers by hand, rows that mean what they say, and verifiers."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.errors import InputError
from tutelage.worlds.string_tasks import ALPHABET, SKILLS, StringTasks, solve, text, verify


def seeded(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize(
    ("question", "answer"),
    [
        ("A75=", "12"), ("A04=", "4"), ("M38=", "5"), ("M83=", "5"), ("P75=", "35"), ("P33=", "9"), ("Radb=", "bda"),
        ("S952=", "259"), ("L4719=", "9"), ("Caaca=", "3"), ("Hagf=", "dba"), ("D938=", "0"), ("Tab=", "aabb"),
    ],
)  # fmt: skip
def test_answers_by_hand(question: str, answer: str):
    assert solve(question) == answer
    assert verify(question, f"{answer}.whatever follows")
    assert not verify(question, f"{answer}0.")
    assert not verify(question, "")


@settings(max_examples=30, deadline=None)
@given(st.sets(st.sampled_from(sorted(SKILLS)), min_size=1), st.integers(0, 1000))
def test_rows_have_one_length_and_end_in_their_answers(skills: set[str], seed: int):
    world = StringTasks(sorted(skills))
    rows = world.batch(12, seeded(seed))
    assert rows["ids"].shape == rows["mask"].shape == (12, world.length)
    assert world.length <= 16
    for ids, mask, truth in zip(rows["ids"], rows["mask"], rows["truth"].tolist(), strict=True):
        row = text(ids)
        question, answer = row[: row.index("=") + 1], row[row.index("=") + 1 :]
        assert verify(question, answer)
        assert SKILLS[world.skills[truth]].letter == row[0]
        assert text(ids[mask]) == answer, "answer and full stop are predicted, nothing else"


def test_tasks_and_operands_come_alike_and_seeds_decide():
    world = StringTasks()
    rows = world.batch(5000, seeded(0))
    assert rows["truth"].bincount(minlength=10).tolist() == pytest.approx([500] * 10, abs=90)
    sums = world.rows("add", 4000, seeded(1))["ids"]
    assert len(sums[:, 1:3].unique(dim=0)) == 100
    counted = [text(row)[-2] for row in world.rows("count", 4000, seeded(1))["ids"]]
    share = sum(map(int, counted)) / (4 * len(counted))
    assert share == pytest.approx(0.4 + 0.6 / 8, abs=0.02)
    assert torch.equal(rows["ids"], StringTasks().batch(5000, seeded(0))["ids"])
    assert not torch.equal(rows["ids"], world.batch(5000, seeded(1))["ids"])


def test_the_alphabet_has_every_character_once_and_every_task_its_letter():
    assert len(set(ALPHABET)) == len(ALPHABET)
    letters = [task.letter for task in SKILLS.values()]
    assert len(set(letters)) == len(letters)
    assert set(letters) <= set(ALPHABET)


@pytest.mark.parametrize("question", ["", "A75", "X75=", "A7=", "Aab=", "R123=", "A7?="])
def test_what_is_no_question_is_refused(question: str):
    with pytest.raises(InputError):
        solve(question)


def test_refuses_worlds_that_are_not_there():
    with pytest.raises(InputError, match="got sing"):
        StringTasks(["add", "sing"])
    with pytest.raises(InputError, match="got none"):
        StringTasks([])
