"""Which column is the text, which the id, what is kept, and where reading stops."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.data_files import read, stream, write
from tutelage.data.corpus import TEXT_COLUMNS, read_texts, stream_texts
from tutelage.data.text import text_id
from tutelage.errors import InputError


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_known_names_are_found_in_their_order_letter_case_aside(tmp_path: Path, form: str) -> None:
    for better, worse in itertools.pairwise(TEXT_COLUMNS):
        row = {worse.title(): "wrong", "other": "wrong", better.upper(): "right"}
        assert read_texts(write(tmp_path, form, [row]))["text"].to_pylist() == ["right"]


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet"])
def test_the_only_column_of_texts_is_taken_whatever_its_name(tmp_path: Path, form: str) -> None:
    path = write(tmp_path, form, [{"headline": "one", "id": "a", "topic": "x"}])
    assert read_texts(path, keep={"gold": "topic"}).to_pylist() == [{"id": "a", "text": "one", "gold": "x"}]


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "arrow"])
def test_where_no_column_stands_out_all_are_listed(tmp_path: Path, form: str) -> None:
    path = write(tmp_path, form, [{"headline": "one", "abstract": "two"}])
    for use in (read_texts, lambda source: list(stream_texts(source))):
        with pytest.raises(InputError, match=r"--text COLUMN; columns: headline, abstract") as caught:
            use(path)
        assert str(path) in str(caught.value)


@pytest.mark.parametrize("form", ["csv", "jsonl", "parquet", "arrow"])
@pytest.mark.parametrize(
    ("options", "role"), [({"text": "no"}, "text"), ({"id": "no"}, "id"), ({"keep": {"gold": "no"}}, "gold")]
)
def test_a_missing_column_is_named_with_its_role_and_the_others(
    tmp_path: Path, form: str, options: dict[str, object], role: str
) -> None:
    path = write(tmp_path, form, [{"id": "1", "text": "one"}])
    with pytest.raises(InputError, match=rf"no column 'no' \(asked for as {role}\); it has: id, text") as caught:
        read(path, **options)
    assert str(path) in str(caught.value)


def test_a_column_that_the_first_row_lacks_is_found_all_the_same(tmp_path: Path) -> None:
    rows = [{"id": 1}, {"id": 2, "title": "wrong"}, {"id": 3, "text": "right", "lang": "en"}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    table, rejects = read(tmp_path / "a.jsonl", keep={"lang": "lang"})
    assert table.to_pylist() == [{"id": "3", "text": "right", "lang": "en"}]
    assert [(r.row, r.id, r.reason) for r in rejects] == [(1, "1", "empty"), (2, "2", "empty")]
    batches, streamed = stream(tmp_path / "a.jsonl", batch_rows=1)
    assert streamed == rejects
    assert [batch.to_pylist() for batch in batches] == [[{"id": "3", "title": None, "text": "right", "lang": "en"}]]


def test_two_columns_of_one_name_are_refused() -> None:
    table = pa.Table.from_arrays([pa.array(["a"]), pa.array(["b"])], names=["text", "text"])
    for use in (read_texts, lambda source: list(stream_texts(source))):
        with pytest.raises(InputError, match="two columns have the same name: text"):
            use(table)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (pa.array([7, 8]), ["7", "8"]),
        (pa.array(["a", "b"]).dictionary_encode(), ["a", "b"]),
        (pa.array([0.5, 2.0]), ["0.5", "2.0"]),
        (pa.array([True, False]), ["true", "false"]),
        (pa.array([0, 1], pa.date32()), ["1970-01-01", "1970-01-02"]),
    ],
)
def test_ids_are_strings_whatever_their_type(values: pa.Array, expected: list[str]) -> None:
    table = pa.table({"key": values, "text": ["one", "two"]})
    assert [i.strip('"') for i in read_texts(table, id="key")["id"].to_pylist()] == expected


def test_an_id_column_is_used_letter_case_aside_and_gaps_are_filled() -> None:
    table = pa.table({"ID": ["a", None, ""], "text": ["one", "two", "three"]})
    assert read_texts(table)["id"].to_pylist() == ["a", text_id("two"), text_id("three")]


def test_a_repeated_id_is_a_bad_row_and_the_first_one_stays() -> None:
    table = pa.table({"id": ["a", "b", "a"], "text": ["one", "two", "three"]})
    kept, rejects = read(table)
    assert kept["text"].to_pylist() == ["one", "two"]
    assert [(r.row, r.id, r.reason) for r in rejects] == [(3, "a", "duplicate_id")]


@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1).filter(str.strip))
def test_made_ids_depend_on_the_text_alone(text: str) -> None:
    (made,) = read_texts(pa.table({"text": [text]}))["id"].to_pylist()
    assert made == text_id(text)
    assert read_texts(pa.table({"other": ["x", "y"], "body": ["first", f"  {text}\n"]}))["id"].to_pylist()[1] == made
    assert len(made) == 16
    assert int(made, 16) >= 0


def test_made_ids_never_change() -> None:
    assert (
        read_texts(pa.table({"text": ["Rain  in\tBergen", "rain in bergen"]}))["id"].to_pylist()
        == ["f52a276b00964b23"] * 2
    )


@pytest.mark.parametrize("form", ["csv", "parquet"])
@pytest.mark.parametrize("limit", [1, 2, 3, 99])
def test_limit_counts_good_rows_and_reads_no_further(tmp_path: Path, form: str, limit: int) -> None:
    rows = [{"text": text} for text in ("same", "", "same", "other", "")]
    table, rejects = read(write(tmp_path, form, rows), limit=limit)
    assert table["text"].to_pylist() == ["same", "same", "other"][:limit]
    assert len(rejects) == {1: 0, 2: 1, 3: 1, 99: 2}[limit]


def test_limit_runs_over_batches() -> None:
    table = pa.table({"text": [f"text {i}" for i in range(20_000)]})
    assert read_texts(table, limit=15_000)["text"].to_pylist() == table["text"].to_pylist()[:15_000]


@pytest.mark.parametrize("limit", [0, -1])
def test_a_limit_below_one_is_refused(limit: int) -> None:
    with pytest.raises(InputError, match="at least 1"):
        read_texts(pa.table({"text": ["one"]}), limit=limit)
    with pytest.raises(InputError, match="at least 1"):
        list(stream_texts(pa.table({"text": ["one"]}), batch_rows=limit))


def test_kept_values_are_strings_and_absent_ones_empty(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "one", "n": 1, "tags": ["x"]}\n{"text": "two", "n": null}\n')
    table = read_texts(tmp_path / "a.jsonl", keep={"number": "n", "tags": "tags", "again": "text"})
    assert table.drop_columns(["id", "text"]).to_pylist() == [
        {"number": "1", "tags": '["x"]', "again": "one"},
        {"number": "", "tags": "", "again": "two"},
    ]
    with pytest.raises(InputError, match="id or text"):
        read_texts(tmp_path / "a.jsonl", keep={"text": "n"})


def test_the_id_column_may_be_the_text() -> None:
    assert read_texts(pa.table({"id": ["a", "b"]}), text="id")["text"].to_pylist() == ["a", "b"]
