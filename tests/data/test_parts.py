"""Parts of files: read one after the other they are what one reader of the whole gives, wherever they were cut."""

from __future__ import annotations

import json
import tempfile
from itertools import pairwise
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.data.data_files import stream
from tutelage.data.columns import Columns, columns_of
from tutelage.data.corpus import Reject, read_texts, stream_texts
from tutelage.data.json_values import without_json
from tutelage.data.parts import Part, parts_of, split
from tutelage.data.readers import read_rows
from tutelage.errors import InputError

LINES = st.lists(st.sampled_from([
    b'{"text": "one", "n": 1}', b'{"text": ""}', b'{"text": "tw\xc3\xb6", "late": [1]}', b"broken", b"", b'"bare"', b"\xff",
    b'\xef\xbb\xbf{"text": "a mark of the byte order"}', b'{"text": "' + b"long " * 30 + b'"}',
]), max_size=14)  # fmt: skip


def outcome(parts: list[Part]) -> tuple[list[dict[str, object]], list[Reject]]:
    """All rows of the parts, and the rejects with the numbers that they have in the file."""
    rows: list[dict[str, object]] = []
    rejects: list[Reject] = []
    offset = 0
    for part in parts:
        batches, bad = stream(part)  # type: ignore[arg-type]
        rows += [row for batch in batches for row in without_json(pa.table(batch)).to_pylist()]
        rejects += [Reject(one.row + offset, one.id, one.reason) for one in bad]
        offset += part.rows()
    return rows, rejects


@settings(max_examples=60, deadline=None)
@given(LINES, st.integers(1, 90), st.booleans(), st.sampled_from(["jsonl", "txt"]))
def test_a_file_of_lines_may_be_cut_anywhere(lines: list[bytes], size: int, ended: bool, ending: str) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / f"a.{ending}"
        path.write_bytes(b'{"text": "first", "n": "0"}\n' + b"\n".join(lines) + (b"\n" if ended else b""))
        (whole,) = parts_of([path])
        parts = split(whole, size)
        assert outcome(parts) == outcome([whole])
        assert parts[0].start == 0
        assert all(a.stop == b.start for a, b in pairwise(parts))
        assert parts[-1].stop == path.stat().st_size
        longest = max(map(len, path.read_bytes().split(b"\n"))) + 1
        assert all(part.stop - part.start <= size + longest for part in parts if part.stop is not None)


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.sampled_from(["one", None, "", "zwei"]), min_size=1, max_size=30),
    st.integers(1, 7),
    st.integers(1, 900),
)
def test_parquet_is_cut_between_row_groups(values: list[str | None], group: int, size: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.parquet"
        pq.write_table(
            pa.table({"n": range(len(values)), "text": pa.array(values, pa.string())}), path, row_group_size=group
        )
        (whole,) = parts_of([path])
        parts = split(whole, size)
        assert outcome(parts) == outcome([whole])
        assert sum(part.rows() for part in parts) == len(values)


@pytest.mark.parametrize("name", ["a.jsonl.gz", "a.csv", "a.json", "a.arrow"])
def test_other_formats_stay_whole(tmp_path: Path, name: str) -> None:
    part = Part(str(tmp_path / name), "text", ("text",))
    assert split(part, 10) == [part]


def test_a_part_has_the_columns_of_the_corpus_and_may_be_without_a_row(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "one", "n": 1}\n{"n": 2, "other": "x"}\n')
    first, second = split(parts_of([path])[0], 20)
    assert [batch.to_pylist() for batch in stream_texts(first)] == [[{"text": "one", "n": "1", "other": None}]]
    assert list(stream_texts(second)) == []


def test_several_files_are_read_for_the_columns_of_the_first(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"title": "x", "body": "one"}))
    (tmp_path / "b.csv").write_text("body,n\ntwo,2\n")
    (tmp_path / "c.jsonl").write_text("")
    parts = parts_of([tmp_path / name for name in ("a.jsonl", "c.jsonl", "b.csv")])
    assert [row for part in parts for row in outcome([part])[0]] == [
        {"title": "x", "body": "one"}, {"title": None, "body": "two"},
    ]  # fmt: skip
    with pytest.raises(InputError, match=r"c\.jsonl is empty"):
        parts_of([tmp_path / "c.jsonl"] * 2)
    with pytest.raises(InputError, match=r"no such file: .*d\.jsonl"):
        parts_of([tmp_path / "a.jsonl", tmp_path / "d.jsonl"])
    with pytest.raises(InputError, match="no file is given"):
        parts_of([])
    with pytest.raises(InputError, match="standard input is one stream"):
        parts_of([tmp_path / "a.jsonl", "-"])


def parquet_folder(folder: Path, **files: pa.Table) -> Path:
    for name, table in files.items():
        path = folder / f"{name.replace('__', '/')}.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(table, path)
    return folder


def test_a_folder_of_parquet_is_its_files_in_order(tmp_path: Path) -> None:
    schema = pa.schema([("text", pa.string()), ("n", pa.int16())])
    one, two = (pa.table({"text": texts, "n": [1, 2]}, schema) for texts in (["a", None], ["c", "d"]))
    folder = parquet_folder(
        tmp_path / "set.parquet",
        part_1=two.select(["n", "text"]),
        part_0=one,
        _temporary__x=one,
        part_2=one.slice(0, 0),
    )
    (folder / "_SUCCESS").write_text("")
    assert columns_of(folder) == Columns(("text", "n"), frozenset({"text"}))
    rejects: list[Reject] = []
    assert read_texts(folder, keep={"n": "n"}, on_reject=rejects.append)["n"].to_pylist() == ["1", "1", "2"]
    assert [(r.row, r.reason) for r in rejects] == [(2, "empty")]
    batches, _ = stream(folder)
    assert {batch.schema.remove_metadata() for batch in batches} == {schema}
    assert len(list(read_rows(folder))) == 4
    assert [Path(str(part.source)).name for part in parts_of([folder])] == [f"part_{i}.parquet" for i in (0, 1, 2)]
    (tmp_path / "none.parquet").mkdir()
    with pytest.raises(InputError, match="holds no Parquet file"):
        read_texts(tmp_path / "none.parquet")


@pytest.mark.parametrize(
    ("other", "says"),
    [({"text": ["b"]}, "no n, there n: int64"), ({"text": ["b"], "n": ["2"]}, "n: string, there n: int64")],
)
def test_files_of_other_columns_are_named_before_anything_is_read(
    tmp_path: Path, other: dict[str, list[str]], says: str
) -> None:
    folder = parquet_folder(tmp_path, a=pa.table({"text": ["a"], "n": [1]}), b=pa.table(other))
    for use in (lambda: parts_of([folder]), lambda: parts_of([folder / "a.parquet", folder / "b.parquet"])):
        with pytest.raises(InputError, match=says) as caught:
            use()
        assert "b.parquet has other columns than" in str(caught.value)
    with pytest.raises(InputError, match=says):
        read_texts(folder)
    (tmp_path / "c.jsonl").write_text('{"text": "x"}')
    with pytest.raises(InputError, match="of different kinds"):
        parts_of([folder / "a.parquet", tmp_path / "c.jsonl"])


def test_columns_are_learned_from_a_thousand_rows_and_found_letter_case_aside(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    lines = ["broken", '{"Topic": 1}', *['{"n": 2}'] * 900, '{"Text": "x"}', *['{"n": 2}'] * 99, '{"late": 1}']
    path.write_text("\n".join(lines))
    columns = columns_of(path)
    assert columns.names == ("Topic", "n", "Text")
    assert (columns.find("label", "topic"), columns.find("nothing"), columns.text()) == ("Topic", None, "Text")
    path.write_text("broken\n" * 3)
    with pytest.raises(InputError, match="no row in it that can be read"):
        columns_of(path)
