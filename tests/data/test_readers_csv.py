"""Delimited files: quoting, ragged rows, headers, and a bad line that must not take its neighbours with it."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.data.data_files import read, stream, streamed_texts
from tutelage.data import csv_rows as module
from tutelage.data.corpus import read_texts
from tutelage.data.csv_rows import Line, csv_rows
from tutelage.errors import InputError


def rows_of(text: str) -> list[tuple[int, dict[str, object] | str]]:
    return list(csv_rows(numbered(io.StringIO(text, newline="\n")), ",;\t", "a.csv"))


def numbered(lines: Iterable[str]) -> Iterator[Line]:
    return ((number, line, None) for number, line in enumerate(lines, 1))


cells = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)


@given(
    st.lists(st.tuples(cells, cells, cells), min_size=1, max_size=6),
    st.sampled_from(",;\t"),
    st.sampled_from(["\n", "\r\n"]),
)
def test_what_the_standard_writer_writes_is_read_back_to_the_letter(
    rows: list[tuple[str, str, str]], delimiter: str, end: str
) -> None:
    out = io.StringIO(newline="")
    writer = csv.writer(out, delimiter=delimiter, lineterminator=end, quoting=csv.QUOTE_ALL)
    writer.writerow(["a", "b", "c"])
    writer.writerows(rows)
    found = rows_of(out.getvalue())
    assert [tuple(fields.values()) for _, fields in found if isinstance(fields, dict)] == rows
    assert len(found) == len(rows)


def test_numbers_are_lines_also_after_quoted_line_ends() -> None:
    rows = rows_of('text\n"one\ntwo\nthree"\n\nfour\n')
    assert rows == [(2, {"text": "one\ntwo\nthree"}), (6, {"text": "four"})]


def test_short_rows_are_filled_and_long_ones_are_bad() -> None:
    assert rows_of("id,text,lang\n1,one\n2\n3,three,en,what\n4,four,de\n") == [
        (2, {"id": "1", "text": "one", "lang": ""}),
        (3, {"id": "2", "text": "", "lang": ""}),
        (4, "bad_csv"),
        (5, {"id": "4", "text": "four", "lang": "de"}),
    ]


def test_a_stray_quote_spoils_its_row_only() -> None:
    text = 'id,text\n1,one\n2,"two\n3,three\n4,"four"\n5,five\n'
    assert rows_of(text) == [
        (2, {"id": "1", "text": "one"}),
        (3, "bad_csv"),
        (4, {"id": "3", "text": "three"}),
        (5, {"id": "4", "text": "four"}),
        (6, {"id": "5", "text": "five"}),
    ]


def test_a_quote_that_is_never_closed_spoils_its_row_only() -> None:
    rows = rows_of('id,text\n1,"one\n' + "".join(f"{i},text {i}\n" for i in range(2, 200)))
    assert rows[0] == (2, "bad_csv")
    assert [fields["id"] for _, fields in rows[1:] if isinstance(fields, dict)] == [str(i) for i in range(2, 200)]


def test_a_quote_inside_a_plain_cell_is_a_character() -> None:
    assert rows_of('id,text\n1,a 5" disk\n2,two\n')[0] == (2, {"id": "1", "text": 'a 5" disk'})


def test_many_stray_quotes_cost_no_more_than_their_rows() -> None:
    rows = rows_of("id,text\n" + '1,"a"b\n' * 5000 + "2,two\n")
    assert [reason for _, reason in rows[:-1]] == ["bad_csv"] * 5000
    assert rows[-1] == (5002, {"id": "2", "text": "two"})


def test_a_quote_that_is_never_closed_in_a_large_file_is_a_fault_of_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RECORD_CHARS", 1000)
    body = "".join(f"{i},text {i}\n" for i in range(1000))
    with pytest.raises(InputError, match=r"a\.csv: line 2 opens a quoted field that is never closed"):
        rows_of('id,text\n1,"one\n' + body)
    with pytest.raises(InputError, match=r"a\.csv: line 2 opens a quoted field that is never closed"):
        rows_of('id,text\n1,"one\n' + body + '7,"seven"\n')


def test_an_overgrown_cell_is_skipped_to_its_closing_quote(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "RECORD_CHARS", 1000)
    cell = 'a line with ""quotes"" and, commas\n' * 200
    rows = rows_of(f'text,id\n"{cell}",1\ntwo,2\n"{cell}""",3\nfour,4\n')
    assert rows == [
        (2, "too_long"),
        (203, {"text": "two", "id": "2"}),
        (204, "too_long"),
        (405, {"text": "four", "id": "4"}),
    ]


def test_bare_carriage_returns_are_refused_clearly(tmp_path: Path) -> None:
    (tmp_path / "mac.csv").write_bytes(b"id,text\r1,one\r2,two\r")
    with pytest.raises(InputError, match="the first line must name the columns"):
        read_texts(tmp_path / "mac.csv")


@pytest.mark.parametrize("head", ["id,text,id", "id, text ,text"])
def test_two_columns_of_one_name_are_refused_by_name(head: str) -> None:
    with pytest.raises(
        InputError, match=rf"a\.csv: two columns have the same name: {'id' if head.endswith('id') else 'text'}"
    ):
        rows_of(f"{head}\n1,one,2\n")


def test_columns_without_a_name_are_numbered() -> None:
    assert rows_of(",text,\n0,one,\n") == [(2, {"column 1": "0", "text": "one", "column 3": ""})]


def test_a_damaged_byte_before_a_closing_quote_does_not_swallow_the_rest(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b'id,text\n1,"one\ncaf\xe9"\n2,two\n')
    table, rejects = read(tmp_path / "a.csv")
    assert table["text"].to_pylist() == ["two"]
    assert [(r.row, r.id, r.reason) for r in rejects] == [(2, "1", "invalid_utf8")]


def test_a_huge_line_before_a_closing_quote_does_not_swallow_the_rest(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('id,text\n1,"one\n' + "x" * 5_000_000 + '"\n2,two\n3,"three"\n')
    table, rejects = read(tmp_path / "a.csv")
    assert table["text"].to_pylist() == ["two", "three"]
    assert [(r.row, r.reason) for r in rejects] == [(2, "too_long")]


def test_nul_bytes_reach_the_reject_as_such(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"id,text\n1,a\x00b\n2,two\n")
    batches, rejects = stream(tmp_path / "a.csv")
    assert streamed_texts(batches) == ["two"]
    assert [(r.row, r.id, r.reason) for r in rejects] == [(2, "1", "nul_bytes")]


@given(st.text(st.sampled_from('a,"\n;é\x00'), max_size=60))
def test_any_text_at_all_gives_rows_or_one_clear_error(text: str) -> None:
    try:
        rows = rows_of("x,y\n" + text)
    except InputError:
        raise AssertionError("a small file has no fault of the whole file") from None
    numbers = [number for number, _ in rows]
    assert numbers == sorted(set(numbers))
    assert all(fields == "bad_csv" or (isinstance(fields, dict) and list(fields) == ["x", "y"]) for _, fields in rows)
