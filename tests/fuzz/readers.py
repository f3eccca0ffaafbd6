"""Readers of files: corpora, logs of answers, documents, prompts, other tools' reviews. Byte 0 is the form, the rest the file."""

from __future__ import annotations

import gzip
import io
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq

from tests.fuzz.edits import edited, written
from tests.fuzz.promise import Target, one_line
from tests.pdf_files import pdf
from tutelage.data.answer_files import read_answer_log
from tutelage.data.columns import columns_of
from tutelage.data.corpus import Reject, read_texts, stream_texts
from tutelage.data.documents import read_documents
from tutelage.data.labels import LabelScheme
from tutelage.data.text import fault
from tutelage.pipeline.review_files import read_answers
from tutelage.teachers.llm.data import PromptTemplate
from tutelage.teachers.llm.execute import OutputSpec

_REASONS = {"empty", "too_long", "nul_bytes", "invalid_utf8", "not_text", "bad_json", "bad_csv", "duplicate_id"}
_SCHEME = LabelScheme.from_dict(["sport", "politics"])
_SAID = {
    "from_name": "label",
    "to_name": "text",
    "type": "choices",
    "value": {"choices": ["sport"]},
    "meta": {"annotator": "ann"},
}
REVIEW = [
    {
        "data": {"id": "1", "text": "t"},
        "annotations": [{"result": [_SAID], "was_cancelled": False, "completed_by": {"id": 3}}],
    },
    {"id": "2", "fields": {"text": "t"}, "responses": {"label": [{"value": "politics", "user_id": "u"}]}},
]


@cache
def _folder() -> Path:
    """Files are written here, one over the other."""
    return Path(tempfile.mkdtemp(prefix="tutelage-fuzz-"))


def _file(ending: str, content: bytes) -> Path:
    path = _folder() / f"input{ending}"
    path.write_bytes(content)
    return path


def corpus(ending: str, content: bytes) -> None:
    """Rows with valid texts and ids, or one line; a stream of the file gives the texts that reading it whole gives."""
    path = _file(ending, content)
    rejects: list[Reject] = []
    with one_line():
        keep = {f"kept {place}": name for place, name in enumerate(columns_of(path).names)}
        table = read_texts(path, keep=keep, on_reject=rejects.append)
        table.validate(full=True)
        assert table.num_rows
        assert table.schema == pa.schema([(name, pa.string()) for name in ("id", "text", *keep)])
        texts = table["text"].to_pylist()
        assert [text for text in texts if fault(text)] == []
        assert all(table["id"].to_pylist())
        assert {reject.reason for reject in rejects} <= _REASONS
        again: list[Reject] = []
        batches = list(stream_texts(path, batch_rows=3, on_reject=again.append))
        streamed = [text for batch in batches for text in batch[batch.schema.metadata[b"text"].decode()].to_pylist()]
        assert len(streamed) == len(texts) + sum(reject.reason == "duplicate_id" for reject in rejects)
        assert set(streamed) >= set(texts)
        assert len(streamed) + len(again) == len(texts) + len(rejects)
        for batch in batches:
            batch.validate(full=True)


def answer_log(ending: str, content: bytes) -> None:
    """Sequences of answers whose numbers fit one another, or one line."""
    with one_line():
        log = read_answer_log(_file(ending, content))
        assert log.bounds[0] == 0
        assert log.bounds[-1] == log.answers == len(log.correct) > 0
        assert (np.diff(log.bounds) > 0).all()
        assert log.concept.min() >= 0
        assert log.concept.max() < len(log.concepts)
        right, wrong = log.earlier()
        assert ((right + wrong) < log.answers).all()


def documents(ending: str, content: bytes) -> None:
    """Text with pages that add up, or one line."""
    with one_line():
        found, unread = read_documents(_file(ending, content))
        assert len(found) == 1
        assert unread == []
        assert found[0].text.strip()
        found[0].text.encode()
        assert not found[0].paged or found[0].page_of(len(found[0].text)) == len(found[0].pages)


def reviews(ending: str, content: bytes) -> None:
    """Answers inside of the scheme, or one line."""
    with one_line():
        review: Any = SimpleNamespace(people=["ann"], scheme=_SCHEME)
        for person, key, said in read_answers(content, review):
            assert isinstance(person, str)
            assert isinstance(key, str)
            assert {*said.labels} <= {*_SCHEME.names}


def changed_reviews(ending: str, content: bytes) -> None:
    """The same for changes of a good file."""
    reviews(ending, written(edited(REVIEW, content)))


def template(ending: str, content: bytes) -> None:
    """A prompt in which the text stands between its marks, or one line."""
    with one_line():
        made = PromptTemplate.from_file(_file(ending, content))
        shown = made.render("a {text} inside", _SCHEME, OutputSpec(_SCHEME))[0]["content"]
        assert ">\na {text} inside\n</text-" in shown


FORMS: tuple[tuple[Callable[[str, bytes], None], str], ...] = (
    (corpus, ".csv"), (corpus, ".tsv"), (corpus, ".jsonl"), (corpus, ".json"), (corpus, ".txt"), (corpus, ".csv.gz"),
    (corpus, ".parquet"), (corpus, ".arrow"), (corpus, ".feather"), (answer_log, ".csv"), (answer_log, ".parquet"),
    (documents, ".html"), (documents, ".md"), (documents, ".pdf"), (reviews, ".json"),
    (changed_reviews, ".json"), (template, ".txt"),
)  # fmt: skip


def run(data: bytes) -> None:
    """See `TARGET`."""
    check, ending = FORMS[data[0] % len(FORMS)] if data else FORMS[0]
    check(ending, data[1:])


def seeds() -> list[bytes]:
    """Each form's smallest files."""
    table = pa.table({"id": ["a", "b", "c"], "text": ["Rain falls.", None, "Sun é"], "n": [["u"], [], ["vw", ""]]})
    coded = pa.table({"text": pa.array(["one", "two", "one"]).dictionary_encode(), "extra": [{"x": "y"}] * 3})
    answers = pa.table({"student": ["ann", "ann", "bob"], "skill": ["add", "sub", "add"], "correct": [1, 0, 1]})
    rows = b'id,text,n\n1,"Rain ""falls""",2\n2,Sun,3\n'
    contents: dict[tuple[Callable[[str, bytes], None], str], list[bytes]] = {
        (corpus, ".csv"): [rows, rows.replace(b",", b";"), b"\xef\xbb\xbftext\na\nb\n"],
        (corpus, ".tsv"): [rows.replace(b",", b"\t")],
        (corpus, ".jsonl"): [b'{"id": 1, "text": "Rain"}\n"Sun"\n{"text": null, "x": [1]}\n'],
        (corpus, ".json"): [b'[{"id": 1, "text": "Rain"}, "Sun"]', b'{"rows": [{"text": "\\u00e9"}]}'],
        (corpus, ".txt"): [b"Rain falls.\nSun \xc3\xa9\r\n\n"],
        (corpus, ".csv.gz"): [gzip.compress(rows, mtime=0)],
        (corpus, ".parquet"): [_parquet(table), _parquet(coded)],
        (corpus, ".arrow"): [_ipc(table, ipc.new_file), _ipc(coded, ipc.new_file), _ipc(coded, ipc.new_stream)],
        (corpus, ".feather"): [_ipc(table, ipc.new_file)],
        (answer_log, ".csv"): [
            b"student,skill,ok,time\nann,add,1,2024-05-31\nbob,sub,no,3\n",
            b"2\n1,2,\n0,1,\n1\n3\n1\n",
        ],
        (answer_log, ".parquet"): [_parquet(answers)],
        (documents, ".html"): [b"<title>T</title><p>Rain &amp; sun</p><script>x</script><table><td>1"],
        (documents, ".md"): [b"# Head\n\nRain falls-\nover.\n\n12\n"],
        (documents, ".pdf"): [pdf(_folder() / "seed.pdf", [["A line of text that is long."], ["More."]]).read_bytes()],
        (reviews, ".json"): [written(REVIEW)],
        (changed_reviews, ".json"): [bytes([0, 5, 0, 3])],
        (template, ".txt"): [b"{labels} {{x}} {format}\n{examples}{task} {text}"],
    }
    return [bytes([FORMS.index(form)]) + content for form, files in contents.items() for content in files]


def _parquet(table: pa.Table) -> bytes:
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="none")
    return sink.getvalue()


def _ipc(table: pa.Table, writer: Callable) -> bytes:
    sink = io.BytesIO()
    with writer(sink, table.schema) as stream:
        stream.write_table(table)
    return sink.getvalue()


TARGET = Target(
    "Any file in any of our forms gives rows that are sound, or an error of one line.",
    run,
    seeds,
    words=(
        b'"',
        b'""',
        b"\n",
        b"\r",
        b",",
        b";",
        b"\t",
        b"\x00",
        b"\xff",
        b"\\ud800",
        b"null",
        b"1e999",
        b"text",
        b"{",
        b"[",
    ),
)
