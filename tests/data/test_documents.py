"""A folder of papers: pages and their places, what cannot be read and why, and nothing counted twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pdf_files import locked_pdf, pdf
from tutelage.data import documents
from tutelage.data.documents import Document, read_documents
from tutelage.data.text import clean_text, sentence_spans
from tutelage.errors import InputError, MissingExtra

LINES = [
    ["The trial lasted ten weeks and com-", "pared two groups.", "", "12"],
    ["Both groups improved, and", "so did the third."],
]


def test_a_pdf_is_clean_text_that_knows_its_pages(tmp_path: Path):
    pdf(tmp_path / "paper.pdf", LINES, title="A trial")
    [paper], unread = read_documents(tmp_path)
    assert not unread
    assert (paper.name, paper.title, len(paper.pages)) == ("paper.pdf", "A trial", 2)
    assert "compared two groups." in paper.text
    assert "12" not in paper.text
    assert paper.page_of(paper.text.index("compared")) == 1
    assert paper.page_of(paper.text.index("third")) == 2
    assert paper.page_of(len(paper.text) - 1) == 2


def test_a_sentence_goes_on_over_the_end_of_a_page():
    paper = Document("a", "a", ("The first half", "is here. Next.", "", "Last page"), paged=True)
    assert paper.text == "The first half is here. Next.\n\nLast page"
    assert [paper.page_of(paper.text.index(word)) for word in ("first", "here", "Last")] == [1, 2, 4]
    assert Document("a.txt", "a", ("one",)).page_of(0) is None


def test_text_markdown_and_html(tmp_path: Path):
    (tmp_path / "b.txt").write_text("Plain words, one paragraph.\nStill the same.\n\nAnother.")
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "c.md").write_text("intro\n\n# The title\n\nBody of the text.")
    (tmp_path / "d.html").write_text(
        "<title>Page</title><script>var secret = 1</script><nav>menu</nav><h1>Head</h1><p>Fish &amp; <b>chips</b>.</p>"
    )
    (tmp_path / ".hidden.txt").write_text("not this")
    (tmp_path / "e.docx").write_text("nor this")
    found = {paper.name: paper for paper in read_documents(tmp_path)[0]}
    assert found["b.txt"].text == "Plain words, one paragraph. Still the same.\n\nAnother."
    assert found["deep/c.md"].title == "The title"
    assert "#" not in found["deep/c.md"].text
    assert (found["d.html"].title, found["d.html"].text) == ("Page", "Head\n\nFish & chips.")
    assert set(found) == {"b.txt", "deep/c.md", "d.html"}


def test_what_cannot_be_read_is_reported_with_its_reason(tmp_path: Path):
    pdf(tmp_path / "good.pdf", LINES)
    pdf(tmp_path / "copy.pdf", LINES)
    pdf(tmp_path / "scan.pdf", [[], [], []])
    locked_pdf(tmp_path / "locked.pdf", LINES, "secret")
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.4 and then nothing")
    (tmp_path / "blank.txt").write_text(" \n ")
    papers, unread = read_documents(tmp_path)
    assert [paper.name for paper in papers] == ["copy.pdf"]
    reasons = {file.name: file.reason for file in unread}
    assert reasons["good.pdf"] == "the same text as copy.pdf"
    assert reasons["scan.pdf"].startswith("no text on its 3 pages: a scan")
    assert reasons["locked.pdf"].startswith("encrypted")
    assert reasons["broken.pdf"].startswith("damaged")
    assert reasons["blank.txt"] == "no text in it"


def test_a_pdf_that_an_empty_password_opens_is_open(tmp_path: Path):
    locked_pdf(tmp_path / "a.pdf", LINES, "")
    assert "compared" in read_documents(tmp_path)[0][0].text


def test_one_file_is_a_collection_too_and_progress_is_told(tmp_path: Path):
    seen: list[tuple[int, int]] = []
    pdf(tmp_path / "one.pdf", LINES)
    (tmp_path / "other.txt").write_text("something else")
    assert [paper.name for paper in read_documents(tmp_path / "one.pdf")[0]] == ["one.pdf"]
    read_documents(tmp_path, lambda done, total: seen.append((done, total)))
    assert seen == [(1, 2), (2, 2)]


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "is empty; put papers into it"),
        ({"a.docx": b"x"}, "holds none of .pdf, .txt"),
        ({"a.txt": b"  ", "b.txt": b""}, r"no text in .*: a.txt: no text in it \(and 1 more files\)"),
    ],
)
def test_a_folder_without_text(tmp_path: Path, files: dict[str, bytes], message: str):
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        read_documents(tmp_path)


def test_no_folder_and_no_extra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    with pytest.raises(InputError, match="no such folder"):
        read_documents(tmp_path / "nowhere")
    pdf(tmp_path / "a.pdf", LINES)
    monkeypatch.setattr(documents, "find_spec", lambda name: None)
    with pytest.raises(MissingExtra, match=r"tutelage\[pdf\]"):
        read_documents(tmp_path)


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("Deﬁ\u00adnition", "Definition"),
        ("end-\nof line", "endof line"),
        ("Nobel-\nPrize", "Nobel- Prize"),
        ("a\n\n3\n\nb\nPage 4 of 9\nc\n\n17/20", "a\n\nb\n\nc"),
        ("in 1999\nit began", "in 1999 it began"),
    ],
)
def test_cleaning(raw: str, clean: str):
    assert clean_text(raw) == clean


@settings(max_examples=50)
@given(st.text(alphabet="aB1-. \n\u00ad", max_size=80))
def test_cleaning_twice_changes_nothing(text: str):
    once = clean_text(text)
    assert clean_text(once) == once
    assert "\n\n\n" not in once


def test_sentences_are_cut_at_their_ends():
    text = " One is here.  Is Two?\n\nThree"
    assert [text[a:b] for a, b in sentence_spans(text)] == ["One is here.", "Is Two?", "Three"]
    assert sentence_spans("") == []
