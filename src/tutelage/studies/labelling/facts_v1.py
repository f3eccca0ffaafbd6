"""Does reading with verified quotes turn a corpus into supported answers, and are topics of the answers purer?

News items (AG News, human gold) make 60 "papers" of 40 items, half of them of the paper's own class; each of four
questions asks for one class without naming it. The reader is a sentence encoder whose threshold is chosen on ten papers of
their own; as a stand-in for a language model it makes things up: three in ten of its claims come with a shuffled quote, a
quote of another item, or a remark in the quote's place. An answer is right when the item is of the question's class.

A, reading: keyword search, the reader, and the verifier with and without the paper's keyword rules, all on the same faults.
B, topics of the kept answers against topics of all items. C, one question and a gate that decides what is read at all.

Questions and the gate's shrinkage were settled on seeds 0 and 1.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from tutelage.methods.labelling.facts_v1 import ChunkGate, EvidencePipeline, QuoteVerifier, Reading
from tutelage.students.topics import TopicModel
from tutelage.studies import (
    Arm,
    Bar,
    Metric,
    Paper,
    Part,
    Results,
    Role,
    Study,
    Trial,
    at_least,
    at_most,
    beats,
    reaches,
)  # fmt: skip
from tutelage.studies.labelling._facts_library import FILE, QUESTIONS, Fallible, Library, Papers, cell_scores, library


def reading(name: str, role: Role, *, exclusive: bool = True, verifier: QuoteVerifier | None) -> Arm[Library, Papers]:
    """The fallible reader, and what a verifier keeps of it (all, without one)."""

    def run(data: Library, trial: Trial[Papers]) -> dict[str, float]:
        passages = [data.texts[row] for row in data.test]
        trial.budget.count(examples=len(passages))
        reader = Fallible(data, exclusive, trial.settings.faults, trial.seed)
        if verifier is None:
            claims = reader.read(passages, QUESTIONS)
            kept = [(claim.passage, claim.question, claim.quote) for claim in claims]
        else:
            found = EvidencePipeline(reader, verifier).ask(passages, QUESTIONS).findings
            kept = [(finding.passage, finding.question, finding.quote) for finding in found]
        cells = np.zeros((len(passages), len(QUESTIONS)), bool)
        for passage, question, _ in kept:
            cells[passage, question] = True
        unsupported = [not _stands(quote, passages[passage]) for passage, _, quote in kept]
        return cell_scores(cells, data.gold[data.test]) | {"unsupported": float(np.mean(unsupported)) if kept else 0.0}

    return Arm(name, role, run)


def _stands(quote: str, passage: str) -> bool:
    """Whether a quote stands in a passage, checked apart from the verifier."""
    return " ".join(quote.casefold().split()) in " ".join(passage.casefold().split())


def keyword_search(data: Library, trial: Trial[Papers]) -> dict[str, float]:
    """Every item that holds a word of the question."""
    rule = QuoteVerifier(keyword_rules=True)
    passages = [data.texts[row] for row in data.test]
    trial.budget.count(examples=len(passages))
    cells = np.array([[rule.readable(passage, question) for question in QUESTIONS] for passage in passages])
    return cell_scores(cells, data.gold[data.test])


READING = Part(
    name="A · verified reading",
    data=library,
    arms=(
        Arm("keywords", "baseline", keyword_search),
        reading("reader", "ablation", exclusive=False, verifier=None),
        reading("reader, best question", "ablation", verifier=None),
        reading("verified", "method", verifier=QuoteVerifier()),
        reading("verified, keyword rules", "ablation", verifier=QuoteVerifier(keyword_rules=True)),
    ),
    metrics=(
        Metric("precision"),
        Metric("recall"),
        Metric("F1"),
        Metric("unsupported", higher_is_better=False),
    ),
    bars=(
        at_most("verified", "unsupported", 0, every_seed=True),
        at_least("reader, best question", "unsupported", 0.2, every_seed=True),
        beats("verified", "keywords", "F1", by=0.30, wins=1.0),
        beats("verified", "keywords", "precision", wins=1.0),
        beats("verified", "verified, keyword rules", "F1", by=0.20),
    ),
    settings=Papers(),
    fast=Papers(papers=6, items=8, validation=2, encoder="use-multilingual"),
    seeds=5,
    files=(FILE,),
    sentence=lambda r: _cost_of_the_rules(r),
)


def _cost_of_the_rules(r: Results) -> str:
    """What the keyword rules cost and give."""
    with_rules, without = ((r[arm, "recall"].mean(), r[arm, "precision"].mean()) for arm in (
        "verified, keyword rules", "verified"
    ))  # fmt: skip
    return (
        f"The keyword rules keep {with_rules[0] / max(without[0], 1e-9):.0%} of the right answers and move precision from "
        f"{without[1]:.2f} to {with_rules[1]:.2f}: they are off unless asked for."
    )


def topics(name: str, role: Role, *, kept: bool, kind: Literal["clusters", "lda"] = "clusters") -> Arm[Library, Papers]:
    """As many topics of the verified answers' items as of all items; the reader is the one that makes nothing up."""

    def run(data: Library, trial: Trial[Papers]) -> dict[str, float]:
        from sklearn.metrics import normalized_mutual_info_score

        rows = data.test
        if kept:
            reader = Fallible(data, True, 0.0, trial.seed)
            found = EvidencePipeline(reader).ask([data.texts[row] for row in rows], QUESTIONS).findings
            rows = rows[sorted({finding.passage for finding in found})]
        trial.budget.count(examples=len(rows))
        model = TopicModel(trial.settings.topics, kind=kind, seed=trial.seed)
        model.fit([data.texts[row] for row in rows], data.vectors[rows])
        return {
            "NMI": float(normalized_mutual_info_score(data.gold[rows], model.topic_)),
            "NPMI": model.coherence_,
            "items": float(len(rows)),
        }

    return Arm(name, role, run)


TOPICS = Part(
    name="B · topics",
    data=library,
    arms=(
        topics("all items", "baseline", kept=False),
        topics("answers", "method", kept=True),
        topics("answers, LDA", "ablation", kept=True, kind="lda"),
    ),
    metrics=(Metric("NMI"), Metric("NPMI"), Metric("items", digits=0)),
    bars=(beats("answers", "all items", "NMI", wins=1.0),),
    settings=Papers(),
    fast=Papers(papers=8, items=16, validation=2, topics=2, encoder="use-multilingual"),
    seeds=5,
    unequal={"examples": "to leave items out is what the filter does"},
    files=(FILE,),
)


def gated(name: str, role: Role) -> Arm[Library, Papers]:
    """One question (another one on each seed) to all items: read all, a random share, or what the gate lets through."""

    def run(data: Library, trial: Trial[Papers]) -> dict[str, float]:
        k = trial.seed % len(QUESTIONS)
        reader = Fallible(data, True, 0.0, trial.seed, asked=(k,))
        everything = EvidencePipeline(reader).ask(data.texts, [QUESTIONS[k]])
        gate = EvidencePipeline(reader, gate=ChunkGate(seed=trial.seed)).ask(data.texts, [QUESTIONS[k]])
        read = gate.read
        if name == "random":
            chosen = np.random.default_rng(trial.seed).permutation(len(read))[: int(read.sum())]
            read = np.isin(np.arange(len(read)), chosen)
        trial.budget.count(examples=int(read.sum()))
        return {"calls saved": float(1 - read.mean()), "answers kept": _share(everything, read)}

    return Arm(name, role, run)


def _share(everything: Reading, read: np.ndarray) -> float:
    """Share of the answers of a full reading that are in the passages that were read."""
    answered = sorted({finding.passage for finding in everything.findings})
    return float(read[answered].mean()) if answered else 1.0


GATE = Part(
    name="C · what to read",
    data=library,
    arms=(gated("random", "baseline"), gated("gate", "method")),
    metrics=(Metric("calls saved"), Metric("answers kept")),
    bars=(
        Bar("the gate saves a fifth of the calls", lambda r: reaches(r["gate", "calls saved"], 0.20)),
        Bar("nine tenths of the answers are kept", lambda r: reaches(r["gate", "answers kept"], 0.90)),
        beats("gate", "random", "answers kept"),
    ),
    settings=Papers(),
    fast=Papers(papers=8, items=16, validation=2, encoder="use-multilingual"),
    seeds=5,
    files=(FILE,),
)

STUDY = Study(
    slug="facts-v1",
    paper=Paper(
        "Automatic answering of scientific questions using the FACTS-V1 framework: New methods in research to increase "
        "efficiency through the use of AI",
        "Pietrusky",
        2024,
        "2412.07794",
    ),
    claim="the pipeline turns a corpus into literally supported answers, and topics over them are purer than topics over "
    "the raw corpus",
    parts=(READING, TOPICS, GATE),
)
