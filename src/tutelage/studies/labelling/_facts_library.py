"""What the study `facts-v1` reads: papers made of news items, and a reader that makes some of its quotes up."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from tutelage.data.sources import AG_NEWS_CLASSES, ag_news
from tutelage.data.text import sentence_spans
from tutelage.studies import Setup
from tutelage.studies.vectors import encode_once
from tutelage.teachers.base import Progress
from tutelage.teachers.ledger import Ledger
from tutelage.teachers.reading import Claim, first_words, matches

QUESTIONS = (
    "What do governments, armies or diplomats do, and who is killed in which conflict?",
    "Which team or player won, lost or set a record, and in which tournament?",
    "Which companies report profits or losses, and how do markets react?",
    "Which new software, devices or discoveries are described?",
)
FILE = "ag_news_test.csv"


@dataclass(frozen=True)
class Papers:
    """How many papers, items in each, papers that choose the threshold, share of made-up quotes, topics."""

    papers: int = 60
    items: int = 40
    validation: int = 10
    faults: float = 0.3
    topics: int = 8
    encoder: str = "minilm"


@dataclass(frozen=True)
class Library:
    """N items: text, gold class (N,), vectors (N, d), cosines with the questions (N, 4).

    The first `held` are for validation: the threshold is the cosine with the best F1 on them.
    """

    texts: list[str]
    gold: np.ndarray
    vectors: np.ndarray
    relevance: np.ndarray
    held: int
    threshold: float

    @property
    def test(self) -> np.ndarray:
        """Positions of the items that are judged."""
        return np.arange(self.held, len(self.texts))


def library(setup: Setup[Papers]) -> Library:
    """Papers of one main class each; no item is in two of them."""
    s = setup.settings
    table = ag_news(setup.file(FILE))
    classes = np.array([AG_NEWS_CLASSES.index(str(name)) for name in table["gold"].to_pylist()])
    rng = np.random.default_rng(setup.seed)
    left = [rng.permutation(np.flatnonzero(classes == k)).tolist() for k in range(4)]
    order = []
    for paper in range(s.papers):
        order += [left[paper % 4].pop() for _ in range(s.items // 2)]
        others = rng.integers(4, size=s.items - s.items // 2)
        order += [left[k].pop() for k in others]
    texts = [str(text) for text in table["text"].take(order).to_pylist()]
    vectors = encode_once(s.encoder, texts, setup.scratch)
    relevance = vectors @ encode_once(s.encoder, QUESTIONS, setup.scratch).T
    gold, held = classes[order], s.validation * s.items
    grid = np.linspace(-0.1, 0.5, 61)
    scores = [cell_scores(matches(relevance[:held], t, exclusive=False), gold[:held])["F1"] for t in grid]
    return Library(texts, gold, vectors, relevance, held, float(grid[int(np.argmax(scores))]))


def cell_scores(kept: np.ndarray, gold: np.ndarray) -> dict[str, float]:
    """Precision, recall and F1 of (N, 4) kept cells against the class of each item."""
    right = float(kept[np.arange(len(gold)), gold].sum())
    precision, recall = right / max(1.0, float(kept.sum())), right / len(gold)
    return {"precision": precision, "recall": recall, "F1": 2 * precision * recall / max(precision + recall, 1e-9)}


@dataclass(frozen=True)
class Fallible:
    """A reader of the library by its cosines, whose quotes are made up with a probability; the same ones in every arm."""

    data: Library
    exclusive: bool
    faults: float
    seed: int
    asked: tuple[int, ...] = (0, 1, 2, 3)
    name: str = "fallible"

    def read(
        self,
        passages: Sequence[str],
        questions: Sequence[str],
        *,
        ledger: Ledger | None = None,
        progress: Progress | None = None,
    ) -> list[Claim]:
        place = {text: row for row, text in enumerate(self.data.texts)}
        rows = [place[passage] for passage in passages]
        answered = matches(self.data.relevance[rows], self.data.threshold, exclusive=self.exclusive)
        claims = []
        for passage, row in enumerate(rows):
            for question, k in enumerate(self.asked):
                if answered[passage, k]:
                    text = self.data.texts[row]
                    sentence = text[slice(*sentence_spans(text)[0])]
                    claims.append(Claim(passage, question, sentence, self._quote(row, k)))
        return claims

    def _quote(self, row: int, question: int) -> str:
        """The item's first words, or what a model that makes things up would give for them."""
        quote = first_words(self.data.texts[row])
        rng = np.random.default_rng([self.seed, row, question])
        if rng.random() >= self.faults:
            return quote
        foreign = self.data.texts[int(rng.integers(len(self.data.texts)))]
        kind = int(rng.integers(3))
        return (" ".join(rng.permutation(quote.split())), first_words(foreign), "not mentioned in the text")[kind]
