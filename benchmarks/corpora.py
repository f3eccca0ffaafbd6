"""The corpora with human labels that students are compared on, and what the default teacher says about them."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from peers import TRAIN
from tutelage.data.annotations import hard_labels, soft_targets
from tutelage.data.labels import LabelScheme
from tutelage.data.sources import ag_news
from tutelage.data.split import group_split
from tutelage.pipeline.labelled import Labelled
from tutelage.teachers.make import make_teacher


class Corpus(NamedTuple):
    """N texts with ids, human codes and languages (N,), and the scheme of their labels.

    held_out: positions that are held out in every split; None holds out another fifth each time.
    """

    ids: np.ndarray
    texts: np.ndarray
    gold: np.ndarray
    lang: np.ndarray
    scheme: LabelScheme
    held_out: np.ndarray | None


def demo() -> Corpus:
    """The corpus that ships with the package."""
    lines = resources.files("tutelage.data").joinpath("demo/corpus.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    ids, texts, lang = (np.array([row[name] for row in rows], object) for name in ("id", "text", "lang"))
    scheme = LabelScheme.load("iptc")
    return Corpus(ids, texts, np.array([scheme.index(row["topic"]) for row in rows]), lang, scheme, None)


def ag_news_test(file: Path) -> Corpus:
    """AG News' test part. The held-out texts are always the 2,600 that `students.py` prints figures of.

    The human labels of the other 5,000 were looked at while the n-gram student was shaped.
    """
    table, scheme = ag_news(file), LabelScheme.load("ag-news")
    texts = np.array(table["text"].to_pylist(), object)
    gold = np.array([scheme.index(name) for name in table["gold"].to_pylist()])
    held = np.random.default_rng(0).permutation(len(texts))[TRAIN:]
    return Corpus(np.arange(len(texts)).astype(str), texts, gold, np.full(len(texts), "en"), scheme, held)


def split(corpus: Corpus, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Pool and held-out positions: a fifth is held out, or else always the same and the pool is four fifths of the rest.

    Every label and language has the same share in all parts.
    """
    rows = np.arange(len(corpus.texts))
    if corpus.held_out is not None:
        rows = np.setdiff1d(rows, corpus.held_out)
    strata = [f"{corpus.gold[row]}|{corpus.lang[row]}" for row in rows]
    pool, rest = group_split(range(len(rows)), [0.8, 0.2], seed=seed, stratify=strata)
    return rows[pool], rows[rest] if corpus.held_out is None else corpus.held_out


def taught(corpus: Corpus, pool: np.ndarray, *, names_only: bool, cache: Path) -> Labelled:
    """The pool with the labels of the default zero-shot teacher; `names_only` gives it no definitions, which makes it weak."""
    scheme = LabelScheme.from_dict(list(corpus.scheme.names)) if names_only else corpus.scheme
    ids, texts, lang = corpus.ids[pool], corpus.texts[pool], corpus.lang[pool]
    table = pa.table({"id": ids.tolist(), "text": texts.tolist(), "lang": lang.tolist()})
    answers = make_teacher("zero-shot", encoder_cache=cache).annotate(table, scheme)
    assert answers["id"].to_pylist() == ids.tolist(), "a teacher that is asked offline answers every text, in order"
    return Labelled(ids, texts, hard_labels(answers, scheme), soft_targets(answers, scheme), lang)
