"""What is kept and why not, what the gate reads, and that every quote stands where it is said to stand."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tutelage.errors import InputError
from tutelage.methods.labelling.facts_v1 import ChunkGate, EvidencePipeline, QuoteVerifier, keywords
from tutelage.studies import Setup
from tutelage.studies.labelling._facts_library import Library, Papers, cell_scores
from tutelage.studies.labelling.facts_v1 import Fallible
from tutelage.teachers.base import Progress
from tutelage.teachers.ledger import Ledger
from tutelage.teachers.reading import Claim

PASSAGE = "In the trial, “marks rose” by a tenth.  Nobody asked why they had risen."
QUESTION = "How did marks change?"


@dataclass
class Scripted:
    """A reader that says what a function tells it, and remembers what it was shown."""

    says: object
    shown: list[str] = field(default_factory=list)
    name: str = "scripted"

    def read(
        self, passages: Sequence[str], questions: Sequence[str], *, ledger: Ledger | None = None,
        progress: Progress | None = None,
    ) -> list[Claim]:  # fmt: skip
        self.shown += passages
        found = [(n, self.says(passage)) for n, passage in enumerate(passages)]  # type: ignore[operator]
        return [Claim(n, 0, *claim) for n, claim in found if claim]


@pytest.mark.parametrize(
    ("answer", "quote", "status"),
    [
        ("They rose.", "marks rose” by a tenth", "ok"),
        ("They rose.", '"MARKS  rose" by a tenth', "ok"),
        ("They rose.", "a tenth. Nobody asked", "ok"),
        ("They rose.", "marks fell by a tenth", "quote not in the passage"),
        ("They rose.", "rose marks by tenth a", "quote not in the passage"),
        ("They rose.", "a tenth", "quote too short"),
        ("They rose.", "", "no quote"),
        ("They rose.", "Not mentioned in the text.", "no quote"),
        ("They rose.", "The excerpt does not say", "no quote"),
        ("NO ANSWER!", "marks rose” by a tenth", "no answer"),
        ("No clear answer.", "marks rose” by a tenth", "no answer"),
        ("n/a", "marks rose” by a tenth", "no answer"),
        (" ", "marks rose” by a tenth", "no answer"),
        ("None.", "marks rose” by a tenth", "no answer"),
        ("None of the groups fell behind.", "marks rose” by a tenth", "ok"),
    ],
)
def test_the_rules(answer: str, quote: str, status: str):
    found, span = QuoteVerifier().check(Claim(0, 0, answer, quote), PASSAGE, QUESTION)
    assert found == status
    assert (span is not None) == (status == "ok")


def test_the_keyword_rules_come_on_top():
    rules = QuoteVerifier(keyword_rules=True)
    assert rules.check(Claim(0, 0, "They rose.", "marks rose” by a tenth"), PASSAGE, QUESTION)[0] == "ok"
    off_topic = Claim(0, 0, "They rose.", "Nobody asked why they had risen")
    assert rules.check(off_topic, PASSAGE, QUESTION)[0] == "quote without a keyword"
    assert rules.check(off_topic, PASSAGE, "Which teachers resigned?")[0] == "passage without a keyword"
    assert rules.readable(PASSAGE, "Is it so?"), "a question without keywords rejects nothing"


def test_keywords_are_long_and_mean_something():
    assert keywords("How does the AI change what 4,000 teachers do?") == {"change", "teachers"}
    assert keywords("Wie ändert sich der Unterricht?", stopwords={"sich"}) == {"ändert", "unterricht"}


@given(st.text(max_size=80), st.integers(0, 40), st.integers(0, 60))
def test_a_finding_s_quote_stands_in_its_passage(passage: str, start: int, length: int):
    claim = Claim(0, 0, "An answer.", passage[start : start + length])
    status, span = QuoteVerifier().check(claim, passage, "What?")
    if span is not None:
        assert status == "ok"
        kept = passage[slice(*span)]
        assert len(kept) >= 10
        squeezed = "".join(c for c in kept.casefold() if c.isalnum())
        assert squeezed == "".join(c for c in claim.quote.strip().casefold() if c.isalnum())


def test_findings_are_in_order_and_rejections_counted():
    passages = ["Prices rose by half in May.", "It rained for a week.", "Prices fell again in June."]
    reader = Scripted(
        lambda p: ("They moved.", p[:20]) if "Prices" in p else ("Not stated.", "") if "rained" in p else None
    )
    reading = EvidencePipeline(reader).ask(passages, ["How did prices move?"])
    assert [(f.passage, f.quote, f.start, f.end) for f in reading.findings] == [
        (0, "Prices rose by half", 0, 19), (2, "Prices fell again in", 0, 20),
    ]  # fmt: skip
    assert reading.rejected == {"no answer": 1}
    assert reading.read.all()


def test_the_keyword_rule_is_asked_before_the_reader():
    reader = Scripted(lambda passage: None)
    rules = QuoteVerifier(keyword_rules=True)
    reading = EvidencePipeline(reader, rules).ask(["Prices rose.", "It rained."], ["How did prices move?"])
    assert reader.shown == ["Prices rose."]
    assert reading.read.tolist() == [True, False]


def test_questions_there_must_be():
    for questions in ([], ["What?", " "]):
        with pytest.raises(InputError, match="at least one question"):
            EvidencePipeline(Scripted(lambda passage: None)).ask(["a"], questions)


def passages(n: int = 400) -> list[str]:
    """A fifth of them about prices, each with words of its own."""
    rng = np.random.default_rng(0)
    words = [f"word{i}" for i in range(60)]
    return [
        ("prices rose sharply in the market " if n % 5 == 0 else "the weather stayed mild and dry ")
        + " ".join(rng.choice(words, 6)) + f" {n}."
        for n in range(n)
    ]  # fmt: skip


def test_the_gate_reads_less_and_loses_little():
    texts = passages()
    reader = Scripted(lambda p: ("They rose.", p[:25]) if p.startswith("prices") else None)
    reading = EvidencePipeline(reader, gate=ChunkGate()).ask(texts, ["How did prices move?"])
    assert len(reader.shown) == reading.read.sum() < 0.6 * len(texts)
    assert len(reading.findings) >= 0.9 * 80
    again = EvidencePipeline(Scripted(reader.says), gate=ChunkGate()).ask(texts, ["How did prices move?"])
    assert np.array_equal(again.read, reading.read), "a rerun reads the same passages"


def test_a_gate_that_has_seen_too_little_lets_everything_through():
    texts = passages(60)
    reader = Scripted(lambda p: ("They rose.", p[:25]) if p.startswith("prices") else None)
    assert EvidencePipeline(reader, gate=ChunkGate()).ask(texts, ["How did prices move?"]).read.all()
    assert ChunkGate().lets_through(["anything"]).all()
    assert EvidencePipeline(reader, gate=ChunkGate()).ask([], ["Why?"]).findings == []
    for options in ({"after": 0.0}, {"after": 1.0}, {"recall": 0.0}):
        with pytest.raises(InputError):
            ChunkGate(**options)  # type: ignore[arg-type]


def test_the_study_s_reader_makes_the_same_things_up_in_every_arm(tmp_path):
    texts = [f"Item {n} of the collection says something of its own. More {n}." for n in range(40)]
    relevance = np.tile([0.5, 0.1, 0.1, 0.1], (40, 1))
    library = Library(texts, np.zeros(40, int), np.eye(40), relevance, 0, 0.3)
    claims = [Fallible(library, True, 0.5, 7).read(part, ["q"] * 4) for part in (texts, texts[:10])]
    assert [c.quote for c in claims[0][:10]] == [c.quote for c in claims[1]]
    made_up = [claim.quote not in texts[claim.passage] for claim in claims[0]]
    assert 0.2 < np.mean(made_up) < 0.8
    assert cell_scores(np.eye(4, dtype=bool), np.arange(4)) == {"precision": 1.0, "recall": 1.0, "F1": pytest.approx(1)}
    assert Setup(1, Papers(), tmp_path).settings.faults == 0.3
