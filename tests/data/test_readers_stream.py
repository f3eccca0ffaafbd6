"""`stream_texts` gives what `read_texts` gives, in pieces of constant size."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.data_files import COLUMN_FORMATS, FORMATS, TEXT_FORMATS, read, stream, streamed_texts, write
from tutelage.data.corpus import stream_texts
from tutelage.errors import InputError

texts = st.one_of(
    st.text(st.characters(codec="utf-8"), max_size=8),
    st.sampled_from(["", " ", "\x00", "a\x00", "\u3000", "\r\n", '"', "0", "\ufeff", "x" * 1_000_001]),
)


@settings(max_examples=40, deadline=None)
@given(st.lists(texts, min_size=1, max_size=12), st.sampled_from(FORMATS), st.integers(1, 5))
def test_streaming_and_reading_agree_on_any_file(values: list[str], form: str, batch_rows: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = write(Path(folder), form, [{"n": str(i), "text": value} for i, value in enumerate(values)])
        usable = [v for v in values if v.strip() and "\x00" not in v and len(v) <= 1_000_000]
        if not usable:
            for use in (read, stream):
                with pytest.raises(InputError, match=r"is usable|is empty"):
                    use(path)
            return
        table, rejects = read(path)
        batches, streamed = stream(path, batch_rows=batch_rows)
    assert streamed_texts(batches) == table["text"].to_pylist()
    assert streamed == rejects
    assert all(0 < batch.num_rows <= batch_rows for batch in batches)
    assert table["text"].to_pylist() == usable


values = st.one_of(
    st.none(), st.integers(-9, 9), st.booleans(), st.text(max_size=3), st.lists(st.text(max_size=2), max_size=2)
)


@settings(max_examples=40, deadline=None)
@given(st.lists(st.dictionaries(st.sampled_from(["id", "text", "Title", "n"]), values), min_size=1, max_size=8))
def test_streaming_and_reading_agree_on_any_json_lines(rows: list[dict[str, object]]) -> None:
    rows = [{**row, "id": number} if "id" in row else row for number, row in enumerate(rows)]  # none is repeated
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.jsonl"
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        outcomes = []
        for use in (lambda: read(path), lambda: stream(path, batch_rows=3)):
            try:
                found, rejects = use()
                texts = found["text"].to_pylist() if isinstance(found, pa.Table) else streamed_texts(found)
                outcomes.append((texts, rejects))
            except InputError as error:
                outcomes.append(str(error))
    assert outcomes[0] == outcomes[1]


@pytest.mark.parametrize("form", [*TEXT_FORMATS, *COLUMN_FORMATS])
@pytest.mark.parametrize("batch_rows", [1, 7, 1000, 8192])
def test_batches_have_the_asked_size_and_name_their_text(tmp_path: Path, form: str, batch_rows: int) -> None:
    rows = [{"n": str(i), "body": f"text {i}"} for i in range(1200)]
    batches, _ = stream(write(tmp_path, form, rows), batch_rows=batch_rows)
    assert max(batch.num_rows for batch in batches) <= batch_rows
    assert all(batch.schema.metadata == {b"text": b"body"} for batch in batches)
    assert pa.Table.from_batches(batches).to_pylist() == rows


def test_columns_that_begin_late_are_those_of_the_first_thousand_rows(tmp_path: Path) -> None:
    rows = [{"text": "x"}] * 998 + [{"text": "y", "seen": "1"}, {"text": "z"}, {"text": "w", "unseen": "1"}]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for batch_rows in (1, 10_000):
        batches, _ = stream(tmp_path / "a.jsonl", batch_rows=batch_rows)
        assert {tuple(batch.schema.names) for batch in batches} == {("text", "seen")}


def test_a_fault_of_the_source_is_raised_before_the_first_batch(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        next(stream_texts(tmp_path / "no.parquet"))


def test_leaving_a_stream_early_closes_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "csv", [{"text": f"text {i}"} for i in range(5000)])
    code = (
        "import sys, warnings; warnings.simplefilter('error', ResourceWarning)\n"
        "from tutelage.data.corpus import read_texts, stream_texts\n"
        "rows = stream_texts(sys.argv[1], batch_rows=10); next(rows); rows.close(); read_texts(sys.argv[1], limit=3)\n"
    )
    done = subprocess.run(
        [sys.executable, "-X", "dev", "-c", code, str(path)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize("form", ["jsonl", "csv", "parquet", "arrow"])
def test_memory_does_not_grow_with_the_file(tmp_path: Path, form: str) -> None:
    rng = np.random.default_rng(0)
    path = write(tmp_path, form, [{"id": str(i), "text": rng.bytes(200).hex()} for i in range(15_000)])
    assert path.stat().st_size > 6_000_000
    before = pa.total_allocated_bytes()
    most = max(pa.total_allocated_bytes() - before for _ in stream_texts(path, batch_rows=1000))
    assert most < 5_500_000
