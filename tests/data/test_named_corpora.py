"""The corpus that ships with the package, and readers of public files (which run where `TUTELAGE_DATA` points to them)."""

from __future__ import annotations

import gzip
import os
from collections import Counter
from pathlib import Path

import pytest

from tutelage.data.dedup import near_duplicates
from tutelage.data.labels import LabelScheme
from tutelage.data.sources import AG_NEWS_CLASSES, ag_news, demo_corpus, sight_coded, sight_comments
from tutelage.data.text import fault
from tutelage.errors import InputError

DATA = os.environ.get("TUTELAGE_DATA")
needs_data = pytest.mark.skipif(DATA is None, reason="set TUTELAGE_DATA to the folder of the public files")


def data(name: str) -> Path:
    path = Path(str(DATA)) / name
    if not path.exists():
        pytest.skip(f"{name} is not in TUTELAGE_DATA")
    return path


def test_the_demo_corpus_is_balanced_over_topics_and_languages() -> None:
    table = demo_corpus()
    assert table.column_names == ["id", "text", "lang", "gold"]
    counts = Counter(zip(table["lang"].to_pylist(), table["gold"].to_pylist(), strict=True))
    topics = LabelScheme.load("iptc").names
    assert counts == {
        (lang, topic): 30 if lang == "en" else 10 for lang in ("en", "de", "es", "fr", "pl") for topic in topics
    }
    assert len(set(table["id"].to_pylist())) == 1190


def test_demo_texts_are_short_news_items_without_fault() -> None:
    for row in demo_corpus().to_pylist():
        assert fault(row["text"]) is None
        assert 40 <= len(row["text"].split()) <= 80, row["id"]
        assert row["text"] == " ".join(row["text"].split()), row["id"]
        assert row["text"][-1] in '.!?"»”“', row["id"]


@pytest.mark.parametrize(("n", "threshold"), [(5, 0.5), (3, 0.2), (5, 0.1)])
def test_no_two_demo_texts_are_alike(n: int, threshold: float) -> None:
    texts = demo_corpus()["text"].to_pylist()
    assert near_duplicates(texts, threshold=threshold, n=n).of.max() == -1


def test_demo_texts_do_not_share_their_beginnings() -> None:
    for language in ("en", "de", "es", "fr", "pl"):
        rows = [row for row in demo_corpus().to_pylist() if row["lang"] == language]
        starts = Counter(" ".join(row["text"].split()[:4]) for row in rows)
        assert max(starts.values()) <= 2, starts.most_common(3)


def test_demo_texts_do_not_name_their_topic_outright() -> None:
    """A label's whole name in its texts would make the corpus a test of string search."""
    rows = [row for row in demo_corpus().to_pylist() if row["lang"] == "en" and "," in row["gold"]]
    assert not [row["id"] for row in rows if row["gold"] in row["text"].lower()]


def test_ag_news_by_hand(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text('"3","Title ","A ""quoted""\\text"\n"1","T","B"\n')
    assert ag_news(tmp_path / "a.csv").to_pylist() == [
        {"id": "ag-1", "text": 'Title. A "quoted" text', "gold": "Business"},
        {"id": "ag-2", "text": "T. B", "gold": "World"},
    ]


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b"class,title,description\n", "line 1 is not"),
        (b'"5","a","b"\n', "line 1 is not"),
        (b'"1","a","b"\n"2","a"\n', "line 2 is not"),
        (b"\xff\xfe", "cannot read"),
    ],
)
def test_ag_news_of_another_form_is_refused(tmp_path: Path, raw: bytes, message: str) -> None:
    (tmp_path / "a.csv").write_bytes(raw)
    with pytest.raises(InputError, match=message) as caught:
        ag_news(tmp_path / "a.csv")
    assert "a.csv" in str(caught.value)
    with pytest.raises(InputError, match="no such file"):
        ag_news(tmp_path / "b.csv")


@pytest.mark.parametrize("delimiter", [",", " "])
@pytest.mark.parametrize("zipped", [True, False])
def test_sight_comments_by_hand(tmp_path: Path, delimiter: str, zipped: bool) -> None:
    rows = [
        ["comment_id", "comment", "annotator_v0_setup", "annotator_v8_confusion", "annotator_v74_pedagogy"],
        ["7", '"nice board, sir"', "1.0", "0.0", ""],
        ["8", '"why?"', "0.0", "1.0", "0.0"],
    ]
    raw = "".join(delimiter.join(row) + "\n" for row in rows).encode()
    path = tmp_path / ("a.csv.gz" if zipped else "a.csv")
    path.write_bytes(gzip.compress(raw) if zipped else raw)
    assert sight_comments(path).to_pylist() == [
        {"id": "sight-1", "text": "nice board, sir", "pedagogy": None, "setup": 1, "confusion": 0},
        {"id": "sight-2", "text": "why?", "pedagogy": 0, "setup": 0, "confusion": 1},
    ]


def test_sight_files_of_another_form_are_refused(tmp_path: Path) -> None:
    (tmp_path / "empty.csv").write_text("")
    (tmp_path / "other.csv").write_text("a,b\n1,2\n")
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(b"comment,setup\n" * 1000)[:30])
    for use, name, message in (
        (sight_comments, "empty.csv", "no column for 'comment'"),
        (sight_comments, "other.csv", "no column for 'comment'; it has: a, b"),
        (sight_comments, "cut.csv.gz", "cannot read"),
        (sight_coded, "empty.csv", "is empty"),
        (sight_coded, "none.csv", "no such file"),
    ):
        with pytest.raises(InputError, match=message):
            use(tmp_path / name)


@needs_data
def test_ag_news_is_the_published_test_set() -> None:
    table = ag_news(data("ag_news_test.csv"))
    assert Counter(table["gold"].to_pylist()) == dict.fromkeys(AG_NEWS_CLASSES, 1900)
    assert LabelScheme.load("ag-news").names == AG_NEWS_CLASSES
    assert len(set(table["id"].to_pylist())) == 7600
    assert all(fault(text) is None for text in table["text"].to_pylist())


@needs_data
def test_sight_has_the_published_counts() -> None:
    table = sight_comments(data("sight_gpt_labels.csv.gz"))
    assert table.num_rows == 15784
    assert {name: sum(v or 0 for v in table[name].to_pylist()) for name in ("setup", "confusion", "pedagogy")} == {
        "setup": 671, "confusion": 2542, "pedagogy": 720,
    }  # fmt: skip


@needs_data
def test_the_coded_sample_of_sight_has_two_people() -> None:
    table = sight_coded(data("sight_sample_dataset.csv"))
    assert table.num_rows == 289
    assert {"comment", "annotator_H1_confusion", "annotator_H2_confusion"} <= set(table.column_names)
