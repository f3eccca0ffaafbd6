"""A bad row is one counted row with its reason, in every format; with `strict` it is an error that names file and row."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from tests.data.data_files import (
    COLUMN_FORMATS,
    FORMATS,
    TEXT_FORMATS,
    invalid_strings,
    read,
    stream,
    streamed_texts,
    write,
    write_table,
)
from tutelage.data.corpus import Reject, read_texts, stream_texts
from tutelage.data.text import MAX_TEXT_BYTES
from tutelage.errors import InputError

HUGE = "more than a line may hold " * 240_000  # 6 MB
LINES = "one line of a huge text\n" * 250_000
OUTCOME = tuple[list[str], list[Reject]]


def _read(source: object, **options: object) -> OUTCOME:
    table, rejects = read(source, **options)  # type: ignore[arg-type]
    return table["text"].to_pylist(), rejects


def _stream(source: object, **options: object) -> OUTCOME:
    batches, rejects = stream(source, **options)  # type: ignore[arg-type]
    return streamed_texts(batches), rejects


both = pytest.mark.parametrize("use", [_read, _stream], ids=["read", "stream"])


def _number(form: str, position: int) -> int:
    """The row number that an editor shows for the row at a position, from 0: a CSV file begins with its header."""
    return position + (2 if form.startswith(("csv", "tsv")) else 1)


@both
@pytest.mark.parametrize("form", FORMATS)
def test_bad_texts_are_counted_and_the_others_read(tmp_path: Path, form: str, use: Callable[..., OUTCOME]) -> None:
    bad = {"empty": "", "blank": " \t\u3000", "nul": "a\x00b", "long": "x" * (MAX_TEXT_BYTES + 1)}
    bad["long in bytes"] = "ł" * (MAX_TEXT_BYTES // 2 + 1)
    rows = [{"id": "first", "text": "one"}, *({"id": key, "text": text} for key, text in bad.items())]
    rows.append({"id": "last", "text": "ł" * (MAX_TEXT_BYTES // 2)})
    texts, rejects = use(write(tmp_path, form, rows))
    assert texts == [rows[0]["text"], rows[-1]["text"]]
    reasons = {"empty": "empty", "blank": "empty", "nul": "nul_bytes", "long": "too_long", "long in bytes": "too_long"}
    assert rejects == [Reject(_number(form, i), key, reasons[key]) for i, key in enumerate(bad, 1)]


@both
@pytest.mark.parametrize(
    ("form", "times"),
    [("jsonl", 4), ("csv", 4), ("parquet", 1), ("json", 1), ("tsv", 1), ("arrow", 1), ("jsonl.gz", 1), ("csv.gz", 1)],
)
def test_a_text_of_many_megabytes_is_one_bad_row(
    tmp_path: Path, form: str, times: int, use: Callable[..., OUTCOME]
) -> None:
    rows = [{"id": "a", "text": "one"}, {"id": "b", "text": HUGE * times}, {"id": "c", "text": "three"}]
    texts, rejects = use(write(tmp_path, form, rows))
    assert texts == ["one", "three"]
    assert [(r.row, r.reason) for r in rejects] == [(_number(form, 1), "too_long")]


@both
@pytest.mark.parametrize("place", ["id,text", "text,id"])
def test_a_huge_csv_cell_of_many_lines_is_one_bad_row(tmp_path: Path, place: str, use: Callable[..., OUTCOME]) -> None:
    quoted = '"' + (LINES + 'she said ""no""\n' + LINES[:1000]) + '"'
    cells = {"id": "b", "text": quoted}
    row = ",".join(cells[name] for name in place.split(","))
    good = "1,one" if place == "id,text" else "one,1"
    (tmp_path / "a.csv").write_text(f"{place}\n{good}\n{row}\n{good.replace('1', '3')}\n")
    texts, rejects = use(tmp_path / "a.csv")
    assert texts == ["one", "one"]
    assert [(r.row, r.reason) for r in rejects] == [(3, "too_long")]


@both
def test_a_huge_line_of_plain_text_is_one_bad_row(tmp_path: Path, use: Callable[..., OUTCOME]) -> None:
    (tmp_path / "a.txt").write_text(f"one\n{HUGE}\nthree\n{HUGE}")
    texts, rejects = use(tmp_path / "a.txt")
    assert texts == ["one", "three"]
    assert [(r.row, r.reason) for r in rejects] == [(2, "too_long"), (4, "too_long")]


@both
def test_a_huge_file_of_a_folder_is_one_bad_row(tmp_path: Path, use: Callable[..., OUTCOME]) -> None:
    (tmp_path / "a.txt").write_text("one")
    (tmp_path / "b.txt").write_text(HUGE)
    (tmp_path / "c.txt").write_bytes(b"caf\xe9")
    (tmp_path / "d.txt").write_bytes(b"\xef\xbb\xbf" + b"x" * MAX_TEXT_BYTES)
    texts, rejects = use(tmp_path)
    assert [len(text) for text in texts] == [3, MAX_TEXT_BYTES]
    assert rejects == [Reject(2, "b.txt", "too_long"), Reject(3, "c.txt", "invalid_utf8")]


@both
@pytest.mark.parametrize("form", [*TEXT_FORMATS, *(f"{name}.gz" for name in TEXT_FORMATS)])
@pytest.mark.parametrize("raw", [b"\xff\xfe", b"caf\xe9", b"\xed\xa0\x80", b"\xc3"], ids=repr)
def test_bytes_that_are_not_utf8_spoil_their_row_only(
    tmp_path: Path, form: str, raw: bytes, use: Callable[..., OUTCOME]
) -> None:
    import gzip

    rows = [{"id": str(i), "text": "BAD" if i == 1 else f"text {i},\nand more"} for i in range(4)]
    path = write(tmp_path, form, rows)
    zipped = form.endswith(".gz")
    content = (gzip.decompress(path.read_bytes()) if zipped else path.read_bytes()).replace(b"BAD", raw)
    path.write_bytes(gzip.compress(content) if zipped else content)
    texts, rejects = use(path)
    assert texts == [row["text"] for row in rows if row["text"] != "BAD"]
    row = 4 if form.startswith(("csv", "tsv")) else 2  # the CSV row before has two lines
    assert rejects == [Reject(row, "1", "invalid_utf8")]


@both
@pytest.mark.parametrize("form", ["parquet", "arrow", "feather", "table"])
def test_columns_with_invalid_strings_lose_those_rows_only(
    tmp_path: Path, form: str, use: Callable[..., OUTCOME]
) -> None:
    texts = invalid_strings([b"one", b"caf\xe9", None, "zażółć".encode(), b"\xff" * 3])
    ids = invalid_strings([b"a", b"b", b"c", b"\xff", b"e"])
    for column in (texts, texts.cast(pa.large_binary()).view(pa.large_string()), texts.cast(pa.binary())):
        table = pa.table({"id": ids, "text": column})
        source = table if form == "table" else write_table(tmp_path, form, table)
        found, rejects = use(source, text="text")
        assert found == ["one", "zażółć"]
        assert [(r.row, r.id, r.reason) for r in rejects] == [
            (2, "b", "invalid_utf8"), (3, "c", "empty"), (5, "e", "invalid_utf8"),
        ]  # fmt: skip


@both
def test_a_dictionary_with_invalid_strings_loses_those_rows_only(use: Callable[..., OUTCOME]) -> None:
    column = pa.DictionaryArray.from_arrays(
        pa.array([0, 1, 0, 2]), invalid_strings([b"one", b"\xff", b"two"]), safe=False
    )
    found, rejects = use(pa.table({"text": column}))
    assert found == ["one", "one", "two"]
    assert rejects == [Reject(2, None, "invalid_utf8")]


def test_other_columns_are_mended_so_that_every_program_can_read_them(tmp_path: Path) -> None:
    table = pa.table({"text": ["one", "two"], "author": invalid_strings([b"caf\xe9", b"ok"])})
    path = write_table(tmp_path, "parquet", table)
    (batch,), _ = stream(path)
    batch.validate(full=True)
    assert batch.column("author").to_pylist() == ["caf\ufffd", "ok"]
    assert read_texts(path, keep={"by": "author"})["by"].to_pylist() == ["caf\ufffd", "ok"]
    (tmp_path / "a.csv").write_bytes(b"text,author\none,caf\xe9\n")
    assert read_texts(tmp_path / "a.csv", keep={"by": "author"})["by"].to_pylist() == ["caf\ufffd"]


@both
def test_lone_surrogates_in_json_are_no_text(tmp_path: Path, use: Callable[..., OUTCOME]) -> None:
    lines = ['{"id": "a", "text": "cut \\ud83d"}', '{"id": "b\\ud800", "text": "fine \\ud83d\\ude00"}']
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    (tmp_path / "a.json").write_text(f"[{','.join(lines)}]")
    for name in ("a.jsonl", "a.json"):
        texts, rejects = use(tmp_path / name)
        assert texts == ["fine 😀"]
        assert rejects == [Reject(1, "a", "invalid_utf8")]
    assert read_texts(tmp_path / "a.jsonl")["id"].to_pylist() == ["b\ufffd"]


@both
@pytest.mark.parametrize("name", ["a.jsonl", "a.json"])
def test_values_of_another_type_are_no_text(tmp_path: Path, name: str, use: Callable[..., OUTCOME]) -> None:
    values = [3, 1.5, True, ["a"], {"a": 1}, None]
    rows = [{"text": "one"}, *({"text": value} for value in values), {"other": 1}]
    whole = json.dumps(rows) if name == "a.json" else "\n".join(map(json.dumps, rows))
    (tmp_path / name).write_text(whole)
    texts, rejects = use(tmp_path / name)
    assert texts == ["one"]
    assert [(r.row, r.reason) for r in rejects] == [*((i, "not_text") for i in range(2, 7)), (7, "empty"), (8, "empty")]


@both
def test_a_named_column_of_numbers_holds_no_text(use: Callable[..., OUTCOME]) -> None:
    with pytest.raises(InputError, match="2 not_text, 1 empty"):
        use(pa.table({"n": [1, None, 2]}), text="n")
    with pytest.raises(InputError, match="1 not_text"):
        use(pa.table({"n": [{"a": 1}]}), text="n")


@both
def test_lines_that_are_no_json_objects_are_bad_json(tmp_path: Path, use: Callable[..., OUTCOME]) -> None:
    lines = ["[1]", '{"text": "one"}', "{", "7", "", "nonsense", "[" * 100_000, '{"n": ' + "9" * 5000 + "}", '"two"']
    (tmp_path / "a.jsonl").write_text("\n".join(lines))
    texts, rejects = use(tmp_path / "a.jsonl")
    assert texts == ["one", "two"]
    assert [(r.row, r.reason) for r in rejects] == [(i, "bad_json") for i in (1, 3, 4, 6, 7, 8)]


def test_strict_raises_for_the_first_bad_row_with_file_and_row(tmp_path: Path) -> None:
    rows = [{"id": "a", "text": "one"}, {"id": "a", "text": "same id"}, {"id": "c", "text": ""}]
    for form in (*TEXT_FORMATS, *COLUMN_FORMATS):
        path = write(tmp_path, form, rows)
        with pytest.raises(
            InputError, match=rf"row {_number(form, 1)} \(id a\): an earlier row has the same id"
        ) as caught:
            read_texts(path, strict=True)
        assert str(path) in str(caught.value)
        with pytest.raises(InputError, match=rf"row {_number(form, 2)} \(id c\): the text is empty"):
            list(stream_texts(path, strict=True))


def test_strict_passes_a_file_without_fault(tmp_path: Path) -> None:
    path = write(tmp_path, "csv", [{"id": "a", "text": "one"}])
    assert read_texts(path, strict=True).num_rows == 1
    assert sum(batch.num_rows for batch in stream_texts(path, strict=True)) == 1


@both
def test_a_file_of_bad_rows_only_says_why_none_is_usable(tmp_path: Path, use: Callable[..., OUTCOME]) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": ""}\n{"text": " "}\n{\n')
    with pytest.raises(InputError, match=r"none of its 3 rows is usable: 2 empty, 1 bad_json \(the first is row 1\)"):
        use(tmp_path / "a.jsonl")
    (tmp_path / "b.jsonl").write_text("{\n{\n")
    with pytest.raises(InputError, match="2 bad_json"):
        use(tmp_path / "b.jsonl")


def test_messages_are_one_line(tmp_path: Path) -> None:
    (tmp_path / "bad.parquet").write_bytes(b"PAR1" + b"x" * 100)
    (tmp_path / "bad.json").write_text("{\n\n]")
    (tmp_path / "bad.arrow").write_bytes(b"ARROW1\0\0" + b"x" * 100)
    for path in tmp_path.iterdir():
        with pytest.raises(InputError) as caught:
            read_texts(path)
        assert "\n" not in str(caught.value)
        assert str(path) in str(caught.value)
