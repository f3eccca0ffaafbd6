"""Flipped bits in the ledger: noticed, named, repaired from what is sound; never used silently."""

from __future__ import annotations

import contextlib
import random
import sqlite3
from pathlib import Path

import pytest

import tutelage
from tests.cli.conftest import Cli, cli  # noqa: F401
from tests.pipeline.corpora import SCHEME, Keywords, jsonl, rows
from tutelage.errors import InputError
from tutelage.pipeline.annotate import annotate
from tutelage.pipeline.folder import Run
from tutelage.pipeline.repair import repair_ledger
from tutelage.teachers.base import text_fingerprint
from tutelage.teachers.ledger import Answer, Ledger
from tutelage.teachers.ledger_repair import repair

ROWS = rows(60)


@pytest.fixture
def run(tmp_path: Path) -> Run:
    source = jsonl(tmp_path / "texts.jsonl", ROWS)
    return tutelage.distill(source, SCHEME, out=tmp_path / "run", teacher=Keywords(), student="ngram").run


def edit(path: Path, sql: str, *values: object) -> None:
    with sqlite3.connect(path) as db:
        assert db.execute(sql, values).rowcount


def spoil(path: Path, key: str) -> None:
    """Another label in the answer to a text, behind the ledger's back."""
    edit(path, "UPDATE answers SET label = '[\"sun\"]' WHERE text = ?", key)


def answers(path: Path) -> dict[str, tuple[str, ...]]:
    with Ledger(path, readonly=True) as ledger:
        return {row["text_sha256"]: tuple(row["label"]) for row in ledger.to_table().to_pylist()}


@pytest.mark.parametrize(
    "column, value", [("label", '["weather"]'), ("probs", b"\0\0\0\0"), ("status", "refusal"), ("cost", 9.0)]
)
def test_a_changed_answer_is_never_used(run: Run, column: str, value: object) -> None:
    key = text_fingerprint(ROWS[0]["text"])
    edit(run.path / "labels.sqlite", f"UPDATE answers SET {column} = ? WHERE text = ?", value, key)
    with Ledger(run.path / "labels.sqlite") as ledger:
        teacher, prompt = Keywords().fingerprint, Keywords().prompt_fingerprint(SCHEME)
        with pytest.raises(InputError, match=f"damaged: the answer to text {key[:16]} .* --repair"):
            ledger.get(teacher, prompt, [key])
        with pytest.raises(InputError, match="--repair"):
            ledger.to_table()
    with pytest.raises(InputError, match="--repair"):
        annotate(run, Keywords())


def test_a_repair_takes_the_answer_from_the_runs_own_table_and_nothing_is_asked_again(run: Run) -> None:
    before = answers(run.path / "labels.sqlite")
    spoil(run.path / "labels.sqlite", min(before))
    facts = repair_ledger(run)
    assert (facts["answers"], facts["from_tables"], facts["damaged"]) == (59, 1, 1)
    assert answers(run.path / "labels.sqlite") == before
    teacher = Keywords()
    annotate(run, teacher)
    assert teacher.asked == []
    assert Path(facts["damaged_file"]).is_file()


def test_a_text_that_is_forgotten_does_not_live_on_in_a_damaged_file(run: Run, cli: Cli) -> None:  # noqa: F811
    facts = repair_ledger(run)
    assert Path(facts["damaged_file"]).is_file()
    assert cli("ledger", run.path, "--forget", ROWS[0]["id"]).code == 0
    assert list(run.path.glob("*.damaged*")) == []


def test_what_nothing_knows_any_more_is_asked_again(run: Run) -> None:
    before = answers(run.path / "labels.sqlite")
    spoil(run.path / "labels.sqlite", min(before))
    (run.path / "annotations.parquet").unlink()
    assert repair_ledger(run)["from_tables"] == 0
    teacher = Keywords()
    annotate(run, teacher)
    assert [text_fingerprint(text) for text in teacher.asked] == [min(before)]
    assert answers(run.path / "labels.sqlite") == before


def test_the_command_line_says_what_was_done(run: Run, cli: Cli) -> None:  # noqa: F811
    edit(
        run.path / "labels.sqlite",
        "UPDATE answers SET label = '[\"weather\"]' WHERE text = ?",
        text_fingerprint(ROWS[3]["text"]),
    )
    told = cli("ledger", run.path, "--verify")
    assert told.code == 2
    assert "--repair" in told.line
    assert cli("ledger", run.path, "--repair", "--json").data["damaged"] == 1
    assert cli("ledger", run.path, "--verify").code == 0
    assert cli("ledger", run.path, "--repair", "--json").data | {"damaged_file": ""} == {
        "answers": 60, "from_tables": 0, "requests": 0, "damaged": 0, "unreadable": [], "damaged_file": "",
    }  # fmt: skip


@pytest.mark.parametrize("seed", range(12))
def test_bytes_flipped_anywhere_in_the_file_are_noticed_or_harmless(tmp_path: Path, seed: int) -> None:
    """Whatever is overwritten, every answer that comes out is one that was put in, before the repair and after it."""
    path = tmp_path / "labels.sqlite"
    given = {f"text {number}": (("sport",), ("weather",))[number % 2] for number in range(300)}
    with Ledger(path) as ledger:
        ledger.put(Answer("t", "p", text, label=label, raw="reply " * 40) for text, label in given.items())
        ledger.open_request("t", "p", "text 1")
    draw = random.Random(seed)
    data = bytearray(path.read_bytes())
    for _ in range(draw.choice([1, 20, 400])):
        data[draw.randrange(100, len(data))] ^= 1 << draw.randrange(8)
    path.write_bytes(data)

    def read() -> dict[str, str]:
        with Ledger(path) as ledger:
            return {text: answer.label[0] for text, answer in ledger.get("t", "p", list(given)).items()}

    with contextlib.suppress(InputError):
        assert all(given[text] == (label,) for text, label in read().items())
    try:
        done = repair(path)
    except InputError:
        assert path.read_bytes() == data, "what cannot be repaired is left as it was"
        return
    found = read()
    assert len(found) == done.answers
    assert all(given[text] == (label,) for text, label in found.items())
    with Ledger(path) as ledger:
        assert ledger.verify() == []


def test_a_repair_of_something_else_changes_nothing(tmp_path: Path) -> None:
    other = tmp_path / "labels.sqlite"
    other.write_text("not a database, but long enough to be taken for one " * 100)
    with pytest.raises(InputError, match="no ledger"):
        repair(other)
    assert other.read_text().startswith("not a database")
    assert [path.name for path in tmp_path.iterdir() if "repaired" in path.name] == []
    with pytest.raises(InputError, match="no ledger at"):
        repair(tmp_path / "nothing")


def test_a_repair_waits_for_nobody(tmp_path: Path) -> None:
    path = tmp_path / "labels.sqlite"
    with Ledger(path), pytest.raises(InputError, match="another process"):
        repair(path)
