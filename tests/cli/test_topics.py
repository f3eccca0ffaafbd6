"""`tutelage topics`: from PDFs to a page whose every claim leads to its source, offline and with a model on loopback."""

from __future__ import annotations

import csv
import html
import json
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.cli.conftest import KEY, Cli
from tests.pdf_files import locked_pdf, pdf
from tests.teachers.endpoint import Endpoint
from tutelage.pipeline.topic_names import name_topics
from tutelage.pipeline.topics_page import relevance
from tutelage.students.topics import TopicModel
from tutelage.teachers.ledger import Ledger
from tutelage.teachers.llm.asking import Asking
from tutelage.teachers.llm.base import Request, ScriptedChat

TEAMS = ("Lyon", "Turin", "Porto", "Gent", "Basel", "Split", "Derby", "Cork", "Riga", "Bergen", "Malmo", "Brno")
OFFLINE = ("--teacher", "zero-shot:use-multilingual", "--threshold", "0.25", "--passage", "120")


@pytest.fixture
def papers(tmp_path: Path) -> Path:
    """Twelve PDFs of two pages: a match on the first, a price on the second; and a file that breaks out if it can."""
    folder = tmp_path / "papers & co"
    folder.mkdir()
    for n, team in enumerate(TEAMS):
        first = [f"The football team of {team} won the final match {n + 1} to 0", "on Sunday and lifted the cup."]
        second = [f"In {team} the price of bread rose by {n + 10} percent", "in a year, shops report."]
        pdf(folder / f"{n:02d}.pdf", [first, second], title=f"Report on {team}")
    (folder / "evil.html").write_text(
        "<title>&lt;script&gt;alert(1)&lt;/script&gt;</title><p>The team won the football match.</p>"
    )
    return folder


def test_offline_from_pdfs_to_a_page(cli: Cli, papers: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    asked = ("-a", "Which football team won the match?", "-a", "How did the price of bread change?")
    done = cli("topics", papers, *asked, *OFFLINE, "--out", out, "--json")
    assert done.code == 0, done.err
    assert done.data["papers"] == 13
    assert done.data["answers"] >= 20
    assert len(done.data["topics"]) >= 2
    page = (out / "topics.html").read_text()
    overview = json.loads((out / "overview.json").read_text())
    targets = set(re.findall(r'id="([^"]+)"', page))
    references = set(re.findall(r'href="#([^"]+)"', page))
    assert references <= targets, "every link within the page leads somewhere"
    for answer in overview["answers"]:
        assert len(answer["quote"]) >= 10
        assert answer["quote"] in answer["before"] + answer["quote"] + answer["after"]
    for topic in overview["topics"]:
        assert topic["sentences"], "an account of each topic"
        assert all(sentence["answers"] for sentence in topic["sentences"]), "no sentence without a source"
    links = {html.unescape(link) for link in re.findall(r'href="([^"#]+)', page)}
    assert all((out / re.sub("%20", " ", link).replace("%26", "&")).exists() for link in links), links
    assert re.search(r'href="[^"]+\.pdf#page=2"', page)
    assert "<script>alert" not in page
    assert "&lt;script&gt;alert" in page
    assert "http" not in re.sub(r"http-equiv|http://www.w3.org\S*", "", page), "nothing is loaded"
    with (out / "answers.csv").open(newline="") as stream:
        assert len(list(csv.DictReader(stream))) == done.data["answers"]
    assert (out.stat().st_mode & 0o777) == 0o700


def test_papers_that_cannot_be_read_stand_on_the_page(cli: Cli, papers: Path, tmp_path: Path) -> None:
    locked_pdf(papers / "locked.pdf", [["closed to all of us"]], "secret")
    pdf(papers / "scan.pdf", [[]])
    done = cli("topics", papers, "-a", "Which football team won the match?", *OFFLINE, "--out", tmp_path / "out")
    assert done.code == 0, done.err
    assert "locked.pdf left out: encrypted" in done.err
    page = (tmp_path / "out" / "topics.html").read_text()
    assert "scan.pdf: no text on its 1 page: a scan" in page


@pytest.mark.parametrize(
    ("files", "options", "line"),
    [
        ({}, [], "is empty; put papers into it"),
        ({"a.docx": "x"}, [], "holds none of .pdf"),
        (
            {"a.txt": "The rain stayed away."},
            ["--threshold", "0.99"],
            "nothing in 1 passages of 1 papers answers the questions; no passage",
        ),
        ({"a.txt": "Some text."}, ["--threshold", "3"], "--threshold is a cosine"),
        ({"a.txt": "Some text."}, ["--passage", "5"], "--passage is at least 100"),
        ({"a.txt": "Some text."}, ["--budget", "5usd"], "zero-shot costs nothing"),
        ({"a.txt": "Some text."}, ["--teacher", "human:x.csv"], "a teacher that writes is openai:MODEL"),
        ({"a.txt": "Some text."}, ["-a", " "], "at least one question"),
    ],
)
def test_what_is_wrong_in_one_line(
    cli: Cli, tmp_path: Path, files: dict[str, str], options: list[str], line: str
) -> None:
    folder = tmp_path / "papers"
    folder.mkdir()
    for name, text in files.items():
        (folder / name).write_text(text)
    done = cli("topics", folder, "--encoder", "use-multilingual", "--out", tmp_path / "out", *options)
    assert (done.code, line in done.line) == (2, True), done.line


def test_closed_and_scanned_alone_are_an_error_each(cli: Cli, tmp_path: Path) -> None:
    locked_pdf(tmp_path / "a.pdf", [["text of the paper"]], "secret")
    assert "a.pdf: encrypted: save it once without its password" in cli("topics", tmp_path / "a.pdf").line
    pdf(tmp_path / "b.pdf", [[], []])
    assert "b.pdf: no text on its 2 pages: a scan" in cli("topics", tmp_path / "b.pdf").line
    assert "no such folder" in cli("topics", tmp_path / "none").line


def test_another_folder_is_not_written_into(cli: Cli, papers: Path, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.tex").write_text("mine")
    assert "is not empty and holds no overview" in cli("topics", papers, "--out", tmp_path / "full").line


def oracle(text: str, _: str) -> str:
    """Answers about matches; quotes nothing that is not there, but for Turin, whose quote it makes up."""
    found = re.search(r"team of (\w+) won the final match", text)
    if not found:
        return json.dumps({"answers": [{"question": 1, "answer": "", "quote": ""}]})
    quote = "Turin never lost a match" if found[1] == "Turin" else found[0]
    return json.dumps({"answers": [{"question": 1, "answer": f"{found[1]} did.", "quote": quote}]})


@pytest.fixture
def endpoint(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Endpoint]:
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    with Endpoint(oracle, key=KEY, model="known") as server:
        yield server


def test_a_language_model_is_asked_once_and_its_inventions_are_dropped(
    cli: Cli, papers: Path, tmp_path: Path, endpoint: Endpoint
) -> None:
    job = (
        "topics",
        papers,
        "-a",
        "Who won?",
        "--teacher",
        "openai:known",
        "--base-url",
        endpoint.url,
        "--out",
        tmp_path / "out",
    )
    done = cli(*job, "--json")
    assert done.code == 0, done.err
    assert endpoint.total == 13
    assert (done.data["answers"], done.data["rejected"]) == (11, {"quote not in the passage": 1})
    assert [topic["title"] for topic in done.data["topics"]] == ["All answers"]
    page = (tmp_path / "out" / "topics.html").read_text()
    assert "11 answers are too few for topics" in page
    assert "1 claim of the reader rejected: quote not in the passage" in page
    assert cli(*job).code == 0
    assert endpoint.total == 13, "nothing is asked twice"
    assert KEY not in done.out + done.err + page
    assert KEY.encode() not in (tmp_path / "out" / "labels.sqlite").read_bytes()


def test_an_endpoint_that_goes_down_pauses_the_run(cli: Cli, papers: Path, tmp_path: Path, endpoint: Endpoint) -> None:
    job = (
        "topics",
        papers,
        "-a",
        "Who won?",
        "--teacher",
        "openai:known",
        "--base-url",
        endpoint.url,
        "--out",
        tmp_path / "out",
    )
    done = cli(*job, "--budget", "1500tok", "--concurrency", 1)
    assert (done.code, "budget" in done.line) == (3, True), done.line
    before = endpoint.total
    assert 0 < before < 13
    assert cli(*job).code == 0
    assert endpoint.total == 13


def test_a_model_names_topics_by_their_answers_alone() -> None:
    answers = [f"the striker scored {n} goals for {TEAMS[n]}" for n in range(12)]
    answers += [f"bread costs {n} euro in {TEAMS[n]}" for n in range(12)]
    model = TopicModel(2).fit(answers, np.repeat(np.eye(2), 12, axis=0))

    def name(request: Request) -> str:
        topic = "Goals" if "goals" in request.messages[0]["content"] else "Bread"
        sentences = [{"text": f"{topic} it is.", "answers": [1, 99]}, {"text": "All are happy.", "answers": []}]
        return json.dumps({"title": topic, "sentences": sentences})

    chat = ScriptedChat(name)
    with Ledger(":memory:") as ledger:
        name_topics(model, answers, Asking(chat), ledger)
        topics = name_topics(model, answers, Asking(chat), ledger)
    assert len(chat.requests) == 2
    assert {topic.title for topic in topics} == {"Goals", "Bread"}
    for topic in topics:
        [sentence] = topic.sentences
        assert [topic.title.lower()[:5] in answers[n] for n in sentence.answers] == [True]
    silent = name_topics(model, answers, Asking(ScriptedChat(lambda request: "no idea")))
    assert " · " in silent[0].title
    assert [answers[n] for n in silent[0].sentences[0].answers] == [silent[0].sentences[0].text]


def test_the_page_ranks_terms_as_the_model_does() -> None:
    rng = np.random.default_rng(0)
    answers = [" ".join(rng.choice(["goal", "match", "cup", "striker", "keeper"], 3)) for _ in range(20)]
    answers += [" ".join(rng.choice(["bread", "flour", "price", "match", "shop"], 3)) for _ in range(20)]
    model = TopicModel(2).fit(answers, np.repeat(np.eye(2), 20, axis=0))
    topic = name_topics(model, answers)[0]
    for weight in (0.0, 0.6, 1.0):
        best = sorted(topic.terms, key=lambda term: -relevance(term.frequent, term.exclusive, weight))
        assert best[0].word == model.terms(0, weight, 1)[0]
