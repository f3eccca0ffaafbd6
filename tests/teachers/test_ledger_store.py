"""The ledger as a store: what is put is got, nothing usable is overwritten, faults are one line and lose nothing."""

from __future__ import annotations

import os
import sqlite3
import stat
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.errors import InputError
from tutelage.teachers.ledger import Answer, Ledger, text_fingerprint
from tutelage.teachers.ledger_file import use_journal

words = st.text(max_size=20)
answers = st.builds(
    Answer,
    teacher=st.sampled_from(["t1", "t2"]),
    prompt=st.sampled_from(["p1", "p2"]),
    text=st.sampled_from(["a", "b", "c"]),
    sample=st.integers(0, 2),
    status=st.sampled_from(["ok", "invalid_json"]),
    label=st.lists(words, max_size=3).map(tuple),
    probs=st.none() | st.lists(st.floats(0, 1, width=32), min_size=2, max_size=4).map(tuple),
    raw=st.none() | words,
    evidence=st.none() | words,
    tokens_in=st.integers(0, 10**9),
    tokens_out=st.integers(0, 10**9),
    cost=st.none() | st.floats(0, 1e6),
    currency=st.none() | st.just("usd"),
    latency=st.none() | st.floats(0, 1e3),
    attempts=st.integers(0, 6),
    error=st.none() | words,
    created=st.just("2025-01-01T00:00:00.000+00:00"),
)


@given(st.lists(answers, max_size=20))
@settings(deadline=None, max_examples=60)
def test_the_ledger_is_a_map_in_which_usable_answers_are_final(rows: list[Answer]) -> None:
    model: dict[tuple[str, str, str, int], Answer] = {}
    with Ledger(":memory:") as ledger:
        for row in rows:
            ledger.put([row])
            if row.key not in model or model[row.key].status != "ok":
                model[row.key] = row
        for (teacher, prompt, text, sample), expected in model.items():
            assert ledger.get(teacher, prompt, [text], sample) == {text: expected}
        assert ledger.verify() == []
        assert ledger.summary()["answered"] == len({k[2] for k, v in model.items() if v.status == "ok"})
        with Ledger(":memory:") as copy:
            copy.import_table(ledger.to_table())
            assert copy.to_table().equals(ledger.to_table())


def test_probabilities_come_back_as_they_were() -> None:
    probs = tuple(float(p) for p in np.float32([0.1, 0.2, 0.7]))
    with Ledger(":memory:") as ledger:
        ledger.put([Answer("t", "p", "x", label=("a",), probs=probs)])
        assert ledger.get("t", "p", ["x"])["x"].probs == probs


def test_a_reply_that_is_no_unicode_is_kept_all_the_same() -> None:
    with Ledger(":memory:") as ledger:
        ledger.put([Answer("t", "p", "x", status="invalid_json", raw="\ud800 broken")])
        assert ledger.get("t", "p", ["x"])["x"].raw == "? broken"


def test_rows_follow_the_order_asked_for_and_leave_gaps() -> None:
    with Ledger(":memory:") as ledger:
        ledger.put([Answer("t", "p", key, label=(key,)) for key in "abc"])
        table = ledger.rows(["3", "1", "x"], ["c", "a", "missing"], "t", "p")
    assert table.select(["id", "label"]).to_pylist() == [{"id": "3", "label": ["c"]}, {"id": "1", "label": ["a"]}]


def test_more_texts_than_one_statement_holds() -> None:
    keys = [f"k{i}" for i in range(2500)]
    with Ledger(":memory:") as ledger:
        ledger.put([Answer("t", "p", key) for key in keys])
        assert len(ledger.get("t", "p", keys)) == 2500


def test_a_damaged_row_is_found(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    with Ledger(path) as ledger:
        ledger.put([Answer("t", "p", key, label=("a",)) for key in "xyz"])
    with sqlite3.connect(path) as db:
        db.execute("""UPDATE answers SET label = '["b"]' WHERE text = 'y'""")
    db.close()
    with Ledger(path, readonly=True) as ledger:
        assert [answer.text for answer in ledger.verify()] == ["y"]


def test_the_budget_counts_open_lost_and_closed_requests(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    with Ledger(path) as ledger:
        first = ledger.open_request("t", "p", "a", tokens_in=10, tokens_out=5, cost=0.5, currency="usd")
        assert ledger.spent("usd") == 0.5
        ledger.close_request(first, "ok", tokens_in=20, tokens_out=2, cost=0.25, answers=[Answer("t", "p", "a")])
        assert ledger.spent("usd") == 0.25
        assert ledger.spent("tok") == 22
        ledger.open_request("t", "p", "b", cost=0.5, currency="usd")
        ledger.open_request("t", "p", "c", cost=9.0, currency="eur")
    with Ledger(path) as ledger:
        assert ledger.spent("usd") == 0.75, "what a killed process had in flight may have been served"
        summary = ledger.summary()
        assert (summary["requests"], summary["answered"]) == (3, 1)
        assert summary["costs"] == {"usd": 0.75, "eur": 9.0}


def test_a_request_and_its_answer_are_one_transaction() -> None:
    with Ledger(":memory:") as ledger:
        number = ledger.open_request("t", "p", "a")
        broken = Answer("t", "p", "a", tokens_in=None)  # type: ignore[arg-type] - breaks NOT NULL
        with pytest.raises(InputError):
            ledger.close_request(number, "ok", answers=[Answer("t", "p", "x"), broken])
        assert ledger.get("t", "p", ["x", "a"]) == {}
        assert ledger._read("SELECT finished FROM requests") == [(None,)]


def test_a_second_writer_is_refused_with_the_number_of_the_first_and_readers_are_not(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    with Ledger(path) as ledger:
        ledger.put([Answer("t", "p", "x", label=("a",))])
        with pytest.raises(InputError, match=f"number {os.getpid()}"):
            Ledger(path)
        with Ledger(path, readonly=True) as reader:
            assert reader.summary()["answered"] == 1
            with pytest.raises(InputError):
                reader.put([Answer("t", "p", "y")])
    with Ledger(path):
        pass


def test_the_files_are_private(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.sqlite") as ledger:
        ledger.put([Answer("t", "p", "x")])
        modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in tmp_path.iterdir()}
    assert set(modes.values()) == {0o600}, modes


def test_it_is_durable_and_uses_the_write_ahead_log(tmp_path: Path) -> None:
    with Ledger(tmp_path / "l.sqlite") as ledger:
        assert ledger.journal == "wal"
        assert ledger._read("PRAGMA synchronous") == [(2,)]


def test_without_shared_memory_it_falls_back_to_the_rollback_journal() -> None:
    class NoSharedMemory(sqlite3.Connection):
        def execute(self, sql: str, *values: object) -> sqlite3.Cursor:  # type: ignore[override]
            if "WAL" in sql:
                raise sqlite3.OperationalError("locking protocol")
            return super().execute(sql, *values)

    db = sqlite3.connect(":memory:", factory=NoSharedMemory)
    assert use_journal(db) in ("delete", "memory")
    db.close()


def test_a_full_disk_is_one_line_and_keeps_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    with Ledger(path) as ledger:
        ledger.put([Answer("t", "p", "kept", label=("a",))])
        pages = ledger._read("PRAGMA page_count")[0][0]
        ledger._read(f"PRAGMA max_page_count = {pages + 2}")

        def fill() -> None:
            for i in range(1000):
                ledger.put([Answer("t", "p", f"text {i}", raw="x" * 500)])

        with pytest.raises(InputError, match=r"full.*kept") as error:
            fill()
        assert "\n" not in str(error.value)
    with Ledger(path) as ledger:
        assert ledger.get("t", "p", ["kept"])["kept"].label == ("a",)
        assert ledger.verify() == []


def test_faults_of_the_file_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "text.sqlite").write_text("this is no database, but it is long enough to look like one" * 20)
    (tmp_path / "folder.sqlite").mkdir()
    (tmp_path / "empty.sqlite").touch()
    for path in (
        tmp_path / "text.sqlite",
        tmp_path / "folder.sqlite",
        tmp_path / "none" / "l.sqlite",
        Path("/proc/l.sqlite"),
    ):
        with pytest.raises(InputError, match="cannot open the ledger") as error:
            Ledger(path)
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="there is no ledger"):
        Ledger(tmp_path / "absent.sqlite", readonly=True)
    with pytest.raises(InputError):
        Ledger(tmp_path / "empty.sqlite", readonly=True)


def test_a_ledger_of_a_newer_version_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    with Ledger(path):
        pass
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(InputError, match="newer version"):
        Ledger(path)


def test_forgetting_a_text_leaves_no_trace_of_it_but_its_price(tmp_path: Path) -> None:
    path = tmp_path / "l.sqlite"
    secret, other = text_fingerprint("secret"), text_fingerprint("other")
    with Ledger(path) as ledger:
        ledger.register(["id-secret", "id-other"], [secret, other])
        for text in (secret, other):
            number = ledger.open_request("t", "p", text, request_hash=f"hash of {text}", cost=1.0, currency="usd")
            answer = Answer("t", "p", text, label=("a",), raw=f"quoted words of {text}")
            ledger.close_request(number, "ok", cost=1.0, answers=[answer])
        assert ledger.texts_of(["id-secret"]) == [secret]
        assert ledger.forget([secret]) == 1
        assert ledger.spent("usd") == 2.0
        assert ledger.summary()["texts"] == 1
        for file in tmp_path.iterdir():
            content = file.read_bytes()
            assert secret.encode() not in content, file
            assert b"id-secret" not in content, file
            assert file.suffix != ".sqlite" or other.encode() in content


def test_an_export_of_something_else_is_refused() -> None:
    import pyarrow as pa

    with Ledger(":memory:") as ledger, pytest.raises(InputError, match="column 'id'"):
        ledger.import_table(pa.table({"text": ["a"]}))


def test_pending_texts_are_counted_by_id() -> None:
    with Ledger(":memory:") as ledger:
        ledger.register(["1", "2", "3", "4"], ["a", "b", "c", "a"], [True, False, False, True])
        ledger.put(
            [Answer("t", "p", "a"), Answer("t", "p", "b", status="refusal"), Answer("t", "p", "b", 1, "refusal")]
        )
        summary = ledger.summary()
    assert [summary[k] for k in ("texts", "answered", "failed", "pending", "truncated")] == [4, 2, 1, 1, 2]


def test_a_description_is_kept_under_its_fingerprint() -> None:
    with Ledger(":memory:") as ledger:
        ledger.describe("f", "teacher", {"model": "m"})
        assert ledger.sources() == {"f": {"kind": "teacher", "model": "m"}}
