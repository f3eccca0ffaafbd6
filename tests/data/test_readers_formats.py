"""The same corpus reads the same from every format, encoding and compression."""

from __future__ import annotations

import gzip
import io
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.data.data_files import (
    COLUMN_FORMATS,
    FORMATS,
    TEXT_FORMATS,
    read,
    stream,
    streamed_texts,
    write,
    write_table,
)
from tutelage.data.corpus import read_texts, stream_texts
from tutelage.data.readers import read_rows
from tutelage.errors import InputError

ROWS = [
    {"id": "a", "text": "Rain in Bergen, again.", "topic": "weather"},
    {"id": "b", "text": 'She said "no",\nand left; at 5\tsharp.\r\nEnd', "topic": "human interest"},
    {"id": "c", "text": "Zażółć gęślą jaźń — 東京 🎉 \u2028 \x85", "topic": "=1+1"},
    {"id": "d", "text": "  spaces around  ", "topic": ""},
]
TEXTS = [row["text"] for row in ROWS]


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_gives_the_same_table(tmp_path: Path, form: str) -> None:
    path = write(tmp_path, form, ROWS)
    table, rejects = read(path, keep={"gold": "topic"})
    assert rejects == []
    assert table.schema == pa.schema([("id", pa.string()), ("text", pa.string()), ("gold", pa.string())])
    assert table.to_pylist() == [{"id": r["id"], "text": r["text"], "gold": r["topic"]} for r in ROWS]
    batches, rejects = stream(path)
    assert rejects == []
    assert pa.Table.from_batches(batches).to_pylist() == ROWS


@pytest.mark.parametrize("form", TEXT_FORMATS)
def test_a_byte_order_mark_is_not_part_of_the_first_name_or_text(tmp_path: Path, form: str) -> None:
    path = write(tmp_path, form, ROWS)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert read_texts(path)["text"].to_pylist() == TEXTS


@pytest.mark.parametrize("form", ["jsonl", "csv", "json"])
def test_utf16_is_named_as_such(tmp_path: Path, form: str) -> None:
    path = write(tmp_path, form, ROWS)
    path.write_text(path.read_text("utf-8"), "utf-16")
    with pytest.raises(InputError, match="UTF-16"):
        read_texts(path)


@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_plain_text_is_one_text_a_line(tmp_path: Path, end: str) -> None:
    path = tmp_path / "lines.txt"
    path.write_bytes(("\ufeff" + end.join(["one ", "two", "", "three"]) + end).encode())
    table, rejects = read(path)
    assert table["text"].to_pylist() == ["one ", "two", "three"]
    assert [(r.row, r.reason) for r in rejects] == [(3, "empty")]


def test_a_folder_is_one_text_a_file_and_the_id_is_the_path_in_it(tmp_path: Path) -> None:
    (tmp_path / "sub.txt").mkdir()
    (tmp_path / "sub.txt" / "b.txt").write_text("inner\ntwo lines")
    (tmp_path / "a.txt").write_text("outer", "utf-8-sig")
    (tmp_path / "notes.md").write_text("not read")
    (tmp_path / "z.txt").write_text("")
    table, rejects = read(tmp_path)
    assert table.to_pylist() == [{"id": "a.txt", "text": "outer"}, {"id": "sub.txt/b.txt", "text": "inner\ntwo lines"}]
    assert [(r.row, r.id, r.reason) for r in rejects] == [(3, "z.txt", "empty")]


@pytest.mark.parametrize(
    "content",
    [
        [{"text": "one"}, {"text": "two"}],
        ["one", "two"],
        {"version": 3, "data": [{"text": "one"}, {"text": "two"}]},
        {"texts": ["one", "two"]},
    ],
)
def test_json_may_be_a_list_or_an_object_that_holds_one(tmp_path: Path, content: object) -> None:
    path = tmp_path / "corpus.json"
    path.write_text(json.dumps(content, indent=1))
    assert read_texts(path)["text"].to_pylist() == ["one", "two"]


def test_json_lines_are_understood_in_a_json_file_too(tmp_path: Path) -> None:
    path = tmp_path / "corpus.json"
    path.write_text('{"text": "one"}\n{"text": "two"}\n{"text":\n')
    table, rejects = read(path)
    assert table["text"].to_pylist() == ["one", "two"]
    assert [(r.row, r.reason) for r in rejects] == [(3, "bad_json")]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": [], "b": []}', "exactly one list"),
        ('{"text": "one"}', "exactly one list"),
        ("7", "list of objects"),
        ('[{"text": "one"}', "not valid JSON"),
        ("[" * 100_000, "JSON"),
    ],
)
def test_json_of_another_shape_is_refused(tmp_path: Path, content: str, message: str) -> None:
    path = tmp_path / "corpus.json"
    path.write_text(content)
    with pytest.raises(InputError, match=message) as caught:
        read_texts(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_csv_may_be_separated_as_spreadsheets_of_other_countries_do(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "corpus.csv"
    path.write_text(f"id{delimiter}text\n1{delimiter}one\n2{delimiter}two\n")
    assert read_texts(path).to_pylist() == [{"id": "1", "text": "one"}, {"id": "2", "text": "two"}]


class _Stdin:
    def __init__(self, raw: bytes) -> None:
        self.buffer = io.BytesIO(raw)


@pytest.mark.parametrize(
    ("raw", "texts"),
    [
        (b'{"text": "one"}\n{"text": "two"}\n', ["one", "two"]),
        (b'\n\xef\xbb\xbf\n  {"text": "one"}', ["one"]),
        (b"one\ntwo", ["one", "two"]),
        (b"{one}\n{two}\n", ["{one}", "{two}"]),
        (b'\xef\xbb\xbf{"text": "one"}', ["one"]),
    ],
)
def test_standard_input_is_json_lines_when_it_starts_with_an_object(
    monkeypatch: pytest.MonkeyPatch, raw: bytes, texts: list[str]
) -> None:
    if b"\n\xef" in raw:
        raw = raw.replace(b"\xef\xbb\xbf", b"")
    for use in (lambda: read_texts("-")["text"].to_pylist(), lambda: streamed_texts(stream("-")[0])):
        monkeypatch.setattr("sys.stdin", _Stdin(raw))
        assert use() == texts


def test_a_broken_first_object_does_not_turn_json_lines_into_plain_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", _Stdin(b'{"text": "cut of\n{"text": "two"}\n'))
    table, rejects = read("-")
    assert table["text"].to_pylist() == ["two"]
    assert [(r.row, r.reason) for r in rejects] == [(1, "bad_json")]


def test_standard_input_stays_open_and_its_emptiness_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    stdin = _Stdin(b"")
    monkeypatch.setattr("sys.stdin", stdin)
    with pytest.raises(InputError, match="standard input is empty"):
        read_texts("-")
    assert not stdin.buffer.closed


@pytest.mark.parametrize("kind", [pa.string(), pa.large_string(), pa.string_view(), pa.binary(), pa.large_binary()])
@pytest.mark.parametrize("form", ["parquet", "arrow", "table"])
def test_every_arrow_type_of_texts_is_read(tmp_path: Path, kind: pa.DataType, form: str) -> None:
    table = pa.table({"text": pa.array([*TEXTS, None], pa.string()).cast(kind)})
    source = table if form == "table" else write_table(tmp_path, form, table)
    name = "text"
    assert read_texts(source, text=name)["text"].to_pylist() == TEXTS
    assert streamed_texts(stream(source, text=name)[0]) == TEXTS


@pytest.mark.parametrize("form", ["parquet", "arrow", "feather", "table"])
def test_dictionary_columns_are_read_and_texts_come_as_plain_strings(tmp_path: Path, form: str) -> None:
    coded = pa.array(["one", "two", None, "one"]).dictionary_encode()
    table = pa.table({"text": coded, "topic": coded})
    source = table if form == "table" else write_table(tmp_path, form, table)
    assert read_texts(source)["text"].to_pylist() == ["one", "two", "one"]
    batches, rejects = stream(source)
    assert [r.row for r in rejects] == [3]
    assert streamed_texts(batches) == ["one", "two", "one"]
    assert [batch.schema.field("text").type for batch in batches] == [pa.string()]
    assert pa.types.is_dictionary(batches[0].schema.field("topic").type)


def test_chunked_and_sliced_tables_are_read_whole() -> None:
    whole = pa.concat_tables([pa.table({"text": [f"{i}.{j}" for j in range(i)]}) for i in range(1, 5)])
    assert whole["text"].num_chunks > 1
    part = whole.slice(1, 7)
    assert read_texts(part)["text"].to_pylist() == part["text"].to_pylist()
    assert streamed_texts(stream(part, batch_rows=2)[0]) == part["text"].to_pylist()


def test_streams_of_columns_keep_types_and_order(tmp_path: Path) -> None:
    table = pa.table(
        {"n": [1, 2], "text": ["one", "two"], "vector": [[0.5], [1.5]], "when": pa.array([0, 1], pa.date32())}
    )
    for form in ("parquet", "arrow"):
        (batch,), _ = stream(write_table(tmp_path, form, table))
        assert batch.schema.remove_metadata() == table.schema
        assert batch.to_pylist() == table.to_pylist()


def test_streams_of_rows_are_strings_with_nested_values_as_json(tmp_path: Path) -> None:
    path = tmp_path / "corpus.jsonl"
    path.write_text('{"text": "one", "n": 1, "tags": ["ä"], "flag": true}\n{"text": "two", "n": null}\n')
    (batch,), _ = stream(path)
    assert batch.to_pylist() == [
        {"text": "one", "n": "1", "tags": '["ä"]', "flag": "true"},
        {"text": "two", "n": None, "tags": None, "flag": None},
    ]


@pytest.mark.parametrize("form", [*TEXT_FORMATS, *COLUMN_FORMATS, "txt"])
def test_an_empty_file_is_said_to_be_empty(tmp_path: Path, form: str) -> None:
    path = tmp_path / f"corpus.{form.removesuffix('-stream')}"
    for raw in (b"", gzip.compress(b"")):
        if raw:
            path = path.with_name(path.name + ".gz")
            if form in COLUMN_FORMATS:
                continue
        path.write_bytes(raw)
        for use in (read_texts, lambda source: list(stream_texts(source))):
            with pytest.raises(InputError, match="is empty") as caught:
                use(path)
            assert str(path) in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"), [("a.csv", "id,text\n"), ("a.json", "[]"), ("a.jsonl", "\n\n"), ("a.tsv", "text\n\n")]
)
def test_a_file_without_rows_is_said_to_be_empty(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match="is empty"):
        read_texts(tmp_path / name)


def test_a_table_without_rows_is_said_to_be_empty(tmp_path: Path) -> None:
    table = pa.table({"text": pa.array([], pa.string())})
    for source in (table, write_table(tmp_path, "parquet", table), write_table(tmp_path, "arrow", table)):
        with pytest.raises(InputError, match="is empty"):
            read_texts(source)


@pytest.mark.parametrize(
    "name", ["no.jsonl", "no.json", "no.csv", "no.parquet", "no.arrow", "no.txt", "no.jsonl.gz", "no", "no.xlsx"]
)
def test_a_missing_file_is_said_to_be_missing(tmp_path: Path, name: str) -> None:
    for use in (read_texts, lambda source: list(stream_texts(source)), lambda source: list(read_rows(source))):
        with pytest.raises(InputError, match="no such file") as caught:
            use(tmp_path / name)
        assert name in str(caught.value)


def test_an_unknown_ending_lists_what_can_be_read(tmp_path: Path) -> None:
    (tmp_path / "corpus.xlsx").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"xlsx.*\.parquet"):
        read_texts(tmp_path / "corpus.xlsx")
    with pytest.raises(InputError, match=r"no \.txt file"):
        read_texts(tmp_path)


@pytest.mark.parametrize("form", ["jsonl.gz", "csv.gz", "json.gz"])
@pytest.mark.parametrize("left", [0.5, 0.95])
def test_a_cut_gz_file_is_a_fault_of_the_file(tmp_path: Path, form: str, left: float) -> None:
    rows = [{"id": str(i), "text": f"text {i * 7919 % 1000}"} for i in range(500)]
    path = write(tmp_path, form, rows)
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * left)])
    for use in (read_texts, lambda source: list(stream_texts(source))):
        with pytest.raises(InputError, match="cannot read") as caught:
            use(path)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize("raw", [b"no gzip at all", b"\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\x03\xff\xff\xff\xff"])
def test_what_is_no_gz_file_is_a_fault_of_the_file(tmp_path: Path, raw: bytes) -> None:
    path = tmp_path / "corpus.jsonl.gz"
    path.write_bytes(raw)
    with pytest.raises(InputError, match="cannot read"):
        read_texts(path)


@pytest.mark.parametrize("form", COLUMN_FORMATS)
@pytest.mark.parametrize("left", [3, 0.4, 0.9])
def test_a_cut_columnar_file_is_a_fault_of_the_file(tmp_path: Path, form: str, left: float) -> None:
    path = write(tmp_path, form, [{"id": str(i), "text": f"text {i}"} for i in range(2000)])
    raw = path.read_bytes()
    path.write_bytes(raw[: left if isinstance(left, int) else int(len(raw) * left)])
    with pytest.raises(InputError, match="cannot read") as caught:
        read_texts(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_damaged_page_of_a_parquet_file_is_a_fault_of_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, "parquet", [{"id": str(i), "text": f"text {i}"} for i in range(2000)])
    raw = bytearray(path.read_bytes())
    raw[200:900] = bytes(700)
    path.write_bytes(raw)
    with pytest.raises(InputError, match="cannot read"):
        read_texts(path)


def test_batches_are_small_where_texts_are_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tutelage.data.tables.BATCH_BYTES", 10_000_000)
    monkeypatch.setattr("tutelage.data.columns.BATCH_BYTES", 10_000_000)
    texts = [chr(97 + i % 26) * 100_000 for i in range(300)]
    pq.write_table(pa.table({"text": texts}), tmp_path / "a.parquet", use_dictionary=False, compression="none")
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    for source in (tmp_path / "a.parquet", tmp_path / "a.jsonl", pa.table({"text": texts})):
        batches, _ = stream(source)
        assert streamed_texts(batches) == texts
        assert max(batch.nbytes for batch in batches) < 11_000_000


def test_rows_for_other_readers_are_valid_strings_in_every_format(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"id,text\n\xff,one\n")
    (tmp_path / "a.jsonl").write_bytes(b'{"id": "\\ud800", "text": "one"}\n')
    for name in ("a.csv", "a.jsonl"):
        assert next(iter(read_rows(tmp_path / name)))[1] == {"id": "\ufffd", "text": "one"}
    path = write(tmp_path, "parquet", [{"id": "1", "text": "one"}])
    assert list(read_rows(path)) == [(1, {"id": "1", "text": "one"})]


def test_a_file_that_unpacks_to_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tutelage.data.readers.WHOLE_BYTES", 10_000)
    path = write(tmp_path, "json.gz", [{"id": str(i), "text": "again"} for i in range(500)])
    assert path.stat().st_size < 10_000
    for use in (read_texts, lambda source: list(stream_texts(source))):
        with pytest.raises(InputError, match=r"corpus\.json\.gz: over 10,000 bytes, .* as \.jsonl"):
            use(path)
