"""What fuzzing has found, each with the smallest input that showed it; the mended code answers it as it should."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq
import pytest

from tests.fuzz import artifacts, readers, replies, schemes
from tests.fuzz.edits import written
from tests.fuzz.promise import Target, keeps_promise
from tutelage.data.corpus import read_texts
from tutelage.data.labels import LabelScheme
from tutelage.errors import InputError
from tutelage.students.ngram import NgramClassifier
from tutelage.students.static import StaticClassifier
from tutelage.teachers.llm.endpoint import OpenAIChat, retry_after
from tutelage.teachers.llm.execute import OutputSpec
from tutelage.teachers.reading import parse_answers


def offsets(*values: int) -> bytes:
    return np.array(values, np.int32).tobytes()


HELLO = pa.array(["hello", "xyz"])
LISTS = pa.array([["hello"], ["xyz"]])


@pytest.mark.parametrize(
    ("column", "before", "after"),
    [
        (HELLO, offsets(0, 5, 8), offsets(0, 5, 2_000_000_000)),
        (HELLO, offsets(0, 5, 8), offsets(0, -900_000_000, 8)),
        (HELLO.cast(pa.large_string()), np.array([0, 5, 8]).tobytes(), np.array([0, 2**40, 8]).tobytes()),
        (LISTS, offsets(0, 1, 2), offsets(0, 900_000_000, 900_000_001)),
        (LISTS, b"helloxyz", b"\xff\xfe\xfd\xfcoxyz"),
        (pa.array(["bb", "a"] * 9).dictionary_encode(), offsets(*[0, 1] * 9), offsets(*[0, 2_000_000_000] * 9)),
    ],
    ids=["an offset too far", "a negative offset", "64 bits", "a list too far", "no UTF-8 in a list", "no such entry"],
)
@pytest.mark.parametrize("role", ["text", "another column"])
def test_an_arrow_file_whose_offsets_lead_out_of_it(
    column: pa.Array, before: bytes, after: bytes, role: str, tmp_path: Path
) -> None:
    """Arrow followed them: the process died of a segmentation fault or SIGBUS."""
    path, sink = tmp_path / "a.arrow", io.BytesIO()
    columns = {"x": column} if role == "text" else {"text": ["a"] * len(column), "x": column}
    table = pa.table(columns)
    with ipc.new_file(sink, table.schema) as stream:
        stream.write_table(table)
    head, found, tail = sink.getvalue().rpartition(before)
    assert found
    path.write_bytes(head + after + tail)
    with pytest.raises(InputError, match=r"^cannot read .*a\.arrow: ") as caught:
        read_texts(path, text="x" if role == "text" else "text", keep={"x": "x"} if role != "text" else None)
    assert "\n" not in str(caught.value)


def test_bytes_that_are_not_utf8_still_spoil_their_row_only(tmp_path: Path) -> None:
    """The check of offsets must not refuse what the reader reports row by row."""
    column = pa.array([b"fine", b"\xff"]).view(pa.string())
    with ipc.new_file(tmp_path / "a.arrow", pa.schema({"text": pa.string()})) as stream:
        stream.write_batch(pa.record_batch({"text": column}))
    assert read_texts(tmp_path / "a.arrow")["text"].to_pylist() == ["fine"]


@pytest.mark.parametrize(
    ("column", "text"),
    [
        (pa.array([2**40], pa.timestamp("s")), "\ufffd"),
        (pa.array([["hello"]]), "\ufffd"),
        (pa.array([{"a": [1]}]), '{"a": [1]}'),
    ],
    ids=["the year 36812", "no UTF-8 in a list", "what Python can hold"],
)
def test_values_of_parquet_that_python_cannot_hold(column: pa.Array, text: str, tmp_path: Path) -> None:
    """They raised from pyarrow when such a column was kept."""
    path = tmp_path / "a.parquet"
    pq.write_table(
        pa.table({"text": ["a"], "x": column}), path, compression="none", use_dictionary=False, write_statistics=False
    )
    path.write_bytes(path.read_bytes().replace(b"hello", b"\xff\xfe\xfd\xfc\xfb"))
    assert read_texts(path, keep={"x": "x"})["x"].to_pylist() == [text]


def test_a_parquet_file_with_a_column_whose_name_is_not_utf8(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(pa.table({"text": ["a"], "other": ["b"]}), path, compression="none", store_schema=False)
    path.write_bytes(path.read_bytes().replace(b"other", b"\xff\xffher"))
    with pytest.raises(InputError, match="can't decode"):
        read_texts(path)


FOUND: list[tuple[Target, bytes]] = [
    # names of columns that are not UTF-8, kept or shown in the message
    (readers.TARGET, bytes([2]) + b'{"text": "Rain", "n\xff": 1}\n'),
    (readers.TARGET, bytes([3]) + b'{"rows": [{"te\xa9t": "a", "u": "b"}]}'),
    # line ends in the names of columns that are listed
    (readers.TARGET, bytes([0]) + b'"a\nb",c\n1,2\n'),
    (readers.TARGET, bytes([0]) + b'"a\nb","a\nb"\n1,2\n'),
    (readers.TARGET, bytes([2]) + b'{"a\\nb": 1}\n'),
    (readers.TARGET, bytes([9]) + b'"a\nb",c\n1,2\n'),
    # a slot with a line end in its name
    (readers.TARGET, bytes([16]) + b"{labels} {a\rb} {format} {text}"),
    # PyYAML raises ValueError and OverflowError for these, and neither is a YAMLError
    (schemes.TARGET, b"\0" + rb'["\U00110000", b]'),
    (schemes.TARGET, b"\0" + rb'["\UFFFFFFFF", b]'),
    (schemes.TARGET, b"\0%YAML 1." + b"9" * 5000 + b"\n---\n- a\n- b\n"),
    # a line end in the header of a scheme, shown in the message
    (schemes.TARGET, b'\2"name","defi\nnition"\na,b\n'),
    # infinite and endless counts of tokens and log-probabilities
    (replies.TARGET, b'\1\0{"choices": [{"message": {"content": "a"}}], "usage": {"prompt_tokens": 1e999}}'),
    (replies.TARGET, b'\1\0{"choices": [{"message": {"content": "a"}}], "usage": {"prompt_tokens": 1' + b"0" * 30 + b"}}"),
    (
        replies.TARGET,
        b'\1\0{"choices": [{"message": {"content": "a"}, "logprobs": {"content": [{"token": "a", "logprob": 1'
        + b"0" * 400
        + b"}]}}]}",
    ),
    # half a character in a reply: it could not be sent back for its repair
    (replies.TARGET, rb'\1\0{"choices": [{"message": {"content": "\ud83d"}}]}'.replace(rb"\1\0", b"\1\0")),
    # numbers of questions that are digits, but no numbers that int() takes
    (replies.TARGET, b'\2\0{"answers": [{"question": "\xc2\xb2", "answer": "a"}]}'),
    (replies.TARGET, b"\2\0" + b"9" * 5000 + b". Answer: a"),
    # a date beyond the calendar
    (replies.TARGET, b"\4\0Fri, 31 Dec 99999999999999999999 23:59:59 GMT"),
]  # fmt: skip


@pytest.mark.parametrize(("target", "data"), FOUND, ids=range(len(FOUND)))
def test_an_input_that_was_a_fault_keeps_the_promise(target: Target, data: bytes) -> None:
    keeps_promise(target, data)


def test_a_reply_nested_as_deep_as_it_can_be_read() -> None:
    """Between the depth that json reads and the one that it writes lay a RecursionError."""
    spec = OutputSpec(LabelScheme.from_dict(["a", "b"]))
    for depth in range(900, 1010):
        assert spec.parse('{"label": ' + "[" * depth + "]" * depth + "}").status in ("unknown_label", "invalid_json")


def test_answers_between_thousands_of_empty_lines_are_found_in_time() -> None:
    """The expression for numbered lines looked from every line through all that follow it: minutes for a long reply."""
    assert parse_answers("-\n" * 100_000 + "1. Answer: a\nquote: b", 1) == [("a", "b")]


CONFIG = json.loads((artifacts._saved(NgramClassifier) / "config.json").read_text())


@pytest.mark.parametrize(
    "change",
    [
        {"params": {**CONFIG["params"], "C": {"a": 1}}},
        {"params": {**CONFIG["params"], "C": "no"}},
        {"params": {**CONFIG["params"], "chars": 3}},
        {"params": {**CONFIG["params"], "chars": [1.5, 2.5]}},
        {"params": {**CONFIG["params"], "rank": "a"}},
        {"params": {**CONFIG["params"], "threads": "two"}},
        {"params": {**CONFIG["params"], "multi": "yes"}},
        {"params": {**CONFIG["params"], "dev_share": [0.1]}},
        {"classes": [[1], [2, 3]]},
        {"classes": [[1], [2]]},
        {"classes": ["sport", "weather"]},
        {"thresholds": [10**400, 0.5]},
        {"state": {**CONFIG["state"], "C": 10**400}},
        {"state": {**CONFIG["state"], "losses": {"int8": 10**400}}},
    ],
    ids=lambda change: json.dumps(change)[:40],
)
def test_a_students_config_with_a_value_of_another_kind(change: dict[str, object]) -> None:
    with (
        artifacts._changed(NgramClassifier, "config.json", written({**CONFIG, **change})) as folder,
        pytest.raises(InputError),
    ):
        NgramClassifier.load(folder)


def test_a_students_config_that_names_a_file_to_write(tmp_path: Path) -> None:
    """The embedding student would have kept vectors of what it predicts in a file of the sender's choice."""
    config = json.loads((artifacts._saved(StaticClassifier) / "config.json").read_text())
    config["params"]["cache"] = str(tmp_path / "anywhere.sqlite")
    with (
        artifacts._changed(StaticClassifier, "config.json", written(config)) as folder,
        pytest.raises(InputError, match="names no cache"),
    ):
        StaticClassifier.load(folder)


def test_a_manifest_with_a_name_that_no_file_can_have() -> None:
    manifest = json.loads((artifacts._saved(NgramClassifier) / "manifest.json").read_text())
    manifest["files"]["x" * 300] = {"size": 1, "sha256": ""}
    with (
        artifacts._changed(NgramClassifier, "manifest.json", written(manifest)) as folder,
        pytest.raises(InputError, match="is missing"),
    ):
        NgramClassifier.load(folder)


def test_waiting_times_beyond_the_calendar_are_none() -> None:
    assert retry_after({"retry-after": "Fri, 31 Dec 99999999999999999999 23:59:59 GMT"}) is None


def test_an_error_with_half_a_character_can_be_shown() -> None:
    model = OpenAIChat("m", "http://localhost/v1")
    fault = model.sort_fault(400, {"message": "bad \ud83d"}, "", {}, {})
    assert str(fault).encode()
