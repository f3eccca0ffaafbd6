"""FACTS: questions to a collection of papers, answered passage by passage and kept only with a literal quote.

Pietrusky, "Automatic answering of scientific questions using the FACTS-V1 framework", 2024 (arXiv:2412.07794).

Papers are cut into passages of whole sentences; a reader (a language model, or a sentence encoder: `teachers.reading`)
answers each question about each passage with a sentence and a quote, or not at all. A claim is kept when

    c  it is an answer, and no form of "no answer"
    d  it has a quote, and the quote is no remark such as "not mentioned"
    e  the quote has ten characters or more and stands in the passage, letter case, white space and quotation marks aside
    b  the passage holds a word of the question        f  the quote holds a word of the question

b and f, the paper's keyword rules, are off by default: they reject answers in other words, which are most of them. Kept
answers are pooled over all papers and become topics (`students.topics`). A small student of the reader's own decisions may
skip passages that hardly ever answer (`ChunkGate`, ours).
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

import numpy as np

from tutelage.data.split import group_split
from tutelage.errors import InputError
from tutelage.students.ngram import NgramClassifier
from tutelage.teachers.base import Progress
from tutelage.teachers.ledger import Ledger
from tutelage.teachers.llm.execute import verify_quote
from tutelage.teachers.reading import Claim, Reader

LEAST_QUOTE = 10
_WORD = re.compile(r"[^\W\d_]{4,}")
_NOTHING = re.compile(
    r"\W*(?:(?:none|n/?a|unknown)(?=\W*$)"
    r"|(?:no\s+(?:clear\s+|direct\s+)?answer|no\s+(?:literal\s+)?(?:quote|citation)"
    r"|no\s+(?:information|mention)\s+(?:is|was|about|on|of|in)"
    r"|not\s+(?:mentioned|stated|specified|addressed|discussed|provided)"
    r"|there\s+is\s+no\s+(?:answer|information|mention)"
    r"|the\s+(?:excerpt|passage|text)\s+(?:does\s+not|doesn'?t|says\s+nothing))\b)",
    re.IGNORECASE,
)


@dataclass(frozen=True)
class Finding:
    """A claim that was verified: its quote is passage[start:end]."""

    passage: int
    question: int
    answer: str
    quote: str
    start: int
    end: int


@dataclass(frozen=True)
class Reading:
    """What came of a collection: the findings, how many claims each rule rejected, and which passages were read (N,)."""

    findings: list[Finding]
    rejected: Counter[str]
    read: np.ndarray


def keywords(question: str, stopwords: Collection[str] | None = None) -> frozenset[str]:
    """Words of a question that have four letters or more and mean something; `stopwords`: default English ones.

    >>> sorted(keywords("How does AI change the work of teachers?"))
    ['change', 'teachers', 'work']
    """
    if stopwords is None:
        from sklearn.feature_extraction.text import ENGLISH_STOP_WORDS as stopwords
    return frozenset(word.lower() for word in _WORD.findall(question)) - frozenset(stopwords) - {"does"}


@dataclass(frozen=True)
class QuoteVerifier:
    """The rules of the module's docstring; with `keyword_rules` also b and f.

    >>> verifier = QuoteVerifier()
    >>> verifier.check(Claim(0, 0, "Marks rose.", "grades went up"), "In May all grades  went up.", "What happened?")
    ('ok', (11, 26))
    >>> verifier.check(Claim(0, 0, "Marks fell.", "grades went down"), "In May all grades  went up.", "What happened?")[0]
    'quote not in the passage'
    """

    keyword_rules: bool = False
    stopwords: Collection[str] | None = None

    def check(self, claim: Claim, passage: str, question: str) -> tuple[str, tuple[int, int] | None]:
        """ "ok" with the quote's place in the passage, or the reason for which the claim is rejected."""
        if self.keyword_rules and not self.readable(passage, question):
            return "passage without a keyword", None
        if not claim.answer.strip() or _NOTHING.match(claim.answer):
            return "no answer", None
        if not claim.quote.strip() or _NOTHING.match(claim.quote):
            return "no quote", None
        if len(claim.quote.strip()) < LEAST_QUOTE:
            return "quote too short", None
        found = verify_quote(claim.quote, passage)
        if found is None or len(found) < LEAST_QUOTE:
            return "quote not in the passage", None
        if self.keyword_rules and not _holds(found, keywords(question, self.stopwords)):
            return "quote without a keyword", None
        start = passage.index(found)
        return "ok", (start, start + len(found))

    def readable(self, passage: str, question: str) -> bool:
        """Rule b, which can be asked before any model is; true for a question that has no keyword."""
        return not self.keyword_rules or _holds(passage, keywords(question, self.stopwords))


def _pick(passages: Sequence[str], rows: np.ndarray) -> list[str]:
    return [passages[int(row)] for row in rows]


def _holds(text: str, words: frozenset[str]) -> bool:
    return not words or any(word.lower() in words for word in _WORD.findall(text))


@dataclass
class ChunkGate:
    """A student of the reader's decisions: which passages are worth reading.

    Args: after: share of the passages that are read before it decides; recall: share of the answering passages that it is
        to let through, by cross-fitting on those read; least: of fewer answering passages it learns nothing and lets all
        through; seed.
    """

    after: float = 0.25
    recall: float = 0.95
    least: int = 20
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.after < 1 or not 0 < self.recall <= 1:
            raise InputError(f"after is in (0, 1) and recall in (0, 1]; got {self.after}, {self.recall}")
        self.threshold_ = 0.0
        self._student: NgramClassifier | None = None

    def fit(self, passages: Sequence[str], answers: np.ndarray) -> ChunkGate:
        """Learn from (n,) passages that were read and whether each had an answer (n,) bool."""
        y = np.asarray(answers, bool)
        self._student, self.threshold_ = None, 0.0
        if min(y.sum(), (~y).sum()) < self.least:
            return self
        held = np.zeros(len(y))
        for fold in group_split(range(len(y)), [0.2] * 5, seed=self.seed, stratify=y.tolist()):
            rest = np.setdiff1d(np.arange(len(y)), fold)
            held[fold] = self._learn(passages, y, rest).predict_proba(_pick(passages, fold))[:, 1]
        self.threshold_ = float(np.quantile(held[y], 1 - self.recall, method="lower"))
        self._student = self._learn(passages, y, np.arange(len(y)))
        return self

    def _learn(self, passages: Sequence[str], y: np.ndarray, rows: np.ndarray) -> NgramClassifier:
        student = NgramClassifier(class_weight="balanced", C=4.0, threads=1, seed=self.seed)
        return student.fit(_pick(passages, rows), y[rows].astype(np.int64))

    def lets_through(self, passages: Sequence[str]) -> np.ndarray:
        """Which passages are to be read: (n,) bool."""
        if self._student is None or not passages:
            return np.ones(len(passages), bool)
        return self._student.predict_proba(list(passages))[:, 1] >= self.threshold_


@dataclass(frozen=True)
class EvidencePipeline:
    """Reader, verifier and, if wanted, gate.

    >>> from tutelage.teachers.llm.asking import Asking
    >>> from tutelage.teachers.llm.base import ScriptedChat
    >>> from tutelage.teachers.reading import QuotingReader
    >>> reply = '{"answers": [{"question": 1, "answer": "Marks rose.", "quote": "all marks rose"}]}'
    >>> pipeline = EvidencePipeline(QuotingReader(Asking(ScriptedChat(lambda request: reply))))
    >>> reading = pipeline.ask(["In May all marks rose.", "Nothing was said."], ["What changed?"])
    >>> [(f.passage, f.quote) for f in reading.findings], dict(reading.rejected)
    ([(0, 'all marks rose')], {'quote not in the passage': 1})
    """

    reader: Reader
    verifier: QuoteVerifier = field(default_factory=QuoteVerifier)
    gate: ChunkGate | None = None

    def ask(
        self,
        passages: Sequence[str],
        questions: Sequence[str],
        *,
        ledger: Ledger | None = None,
        progress: Progress | None = None,
    ) -> Reading:
        """Verified answers to the questions, by passage and question.

        Raises: InputError: no question; Paused: see the reader.
        """
        if not questions or not all(question.strip() for question in questions):
            raise InputError("ask at least one question, and no empty one")
        worth = [any(self.verifier.readable(passage, question) for question in questions) for passage in passages]
        rows = np.flatnonzero(worth)
        claims: list[Claim] = []
        if self.gate is not None and len(rows):
            order = np.random.default_rng(self.gate.seed).permutation(rows)
            first, rest = np.split(order, [max(1, round(self.gate.after * len(order)))])
            claims += self._read(first, passages, questions, ledger, progress)
            found = {f.passage for f in self._verify(claims, passages, questions)[0]}
            self.gate.fit(_pick(passages, first), np.isin(first, sorted(found)))
            rest = rest[self.gate.lets_through(_pick(passages, rest))]
            claims += self._read(rest, passages, questions, ledger, progress)
            rows = np.concatenate([first, rest])
        else:
            claims += self._read(rows, passages, questions, ledger, progress)
        findings, rejected = self._verify(claims, passages, questions)
        read = np.zeros(len(passages), bool)
        read[rows] = True
        return Reading(sorted(findings, key=lambda f: (f.passage, f.question)), rejected, read)

    def _read(
        self, rows: np.ndarray, passages: Sequence[str], questions: Sequence[str], ledger: Ledger | None,
        progress: Progress | None,
    ) -> list[Claim]:  # fmt: skip
        said = self.reader.read(_pick(passages, rows), questions, ledger=ledger, progress=progress)
        return [Claim(int(rows[c.passage]), c.question, c.answer, c.quote) for c in said]

    def _verify(
        self, claims: Sequence[Claim], passages: Sequence[str], questions: Sequence[str]
    ) -> tuple[list[Finding], Counter[str]]:
        findings, rejected = [], Counter()
        for claim in claims:
            status, span = self.verifier.check(claim, passages[claim.passage], questions[claim.question])
            if span is None:
                rejected[status] += 1
            else:
                quote = passages[claim.passage][slice(*span)]
                findings.append(Finding(claim.passage, claim.question, claim.answer, quote, *span))
        return findings, rejected
