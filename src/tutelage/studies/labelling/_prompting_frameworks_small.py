"""Part B of the study `prompting-frameworks`: a real small model writes freely, under a grammar, or has labels scored."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tutelage.data.labels import LabelScheme
from tutelage.data.sources import ag_news
from tutelage.evaluation.cost import seconds
from tutelage.studies import Arm, Bar, Finding, Metric, Part, Results, Role, Setup, Trial, at_least, at_most, exactly
from tutelage.studies.labelling._oracle import SCHEME
from tutelage.studies.labelling._smollm2 import SmolLM2
from tutelage.teachers.ledger import Ledger
from tutelage.teachers.llm.scoring import ScoringTeacher
from tutelage.teachers.llm.teacher import LLMTeacher


@dataclass(frozen=True)
class Small:
    """How many texts a seed, words of a text, tokens of a written answer; whether labels are defined and scores calibrated."""

    texts: int = 14
    words: int = 512
    tokens: int = 32
    defined: bool = True
    calibrated: bool = True


def news(setup: Setup[Small]) -> pa.Table:
    """Texts of AG News with gold."""
    table = ag_news(setup.file("ag_news_test.csv"))
    return table.take(np.random.default_rng(setup.seed).choice(len(table), setup.settings.texts, replace=False))


def small(name: str, role: Role) -> Arm[pa.Table, Small]:
    """An arm: annotate, then annotate again from the ledger."""

    def run(data: pa.Table, trial: Trial[Small]) -> dict[str, float]:
        trial.budget.count(examples=len(data))
        s = trial.settings
        scheme = SCHEME if s.defined else LabelScheme.from_dict(list(SCHEME.names))
        model = SmolLM2(grammar=name == "grammar", tokens=s.tokens)
        if name == "scoring":
            teacher = ScoringTeacher(model, max_words=s.words, calibrate=s.calibrated)
        else:
            teacher = LLMTeacher(model, repairs=0, concurrency=1, max_words=s.words)
        with Ledger(":memory:") as ledger:
            with seconds() as spent:
                first = teacher.annotate(data, scheme, ledger=ledger)
            asked = model.calls
            again = teacher.annotate(data, scheme, ledger=ledger)
        labels = [label[0] if label else None for label in first["label"].to_pylist()]
        return {
            "valid": float(np.mean([status == "ok" for status in first["status"].to_pylist()])),
            "accuracy": float(np.mean([a == b for a, b in zip(labels, data["gold"].to_pylist(), strict=True)])),
            "tokens a text": float(np.mean(first["tokens_in"].to_numpy()) + np.mean(first["tokens_out"].to_numpy())),
            "seconds a text": spent.wall / len(data),
            "rerun calls": float(model.calls - asked),
            "rerun equal": 1.0 if again.equals(first) else 0.0,
        }

    return Arm(name, role, run)


def not_always_valid(r: Results) -> Finding:
    """Some answers that are written freely cannot be used."""
    valid = float(r["free", "valid"].mean())
    return exactly(valid < 1, valid, "share of valid answers")


SMALL = Part(
    name="B · SmolLM2-135M",
    data=news,
    arms=(small("free", "baseline"), small("grammar", "method"), small("scoring", "method")),
    metrics=(
        Metric("valid"),
        Metric("accuracy"),
        Metric("tokens a text", higher_is_better=False, digits=0),
        Metric("seconds a text", higher_is_better=False, digits=2),
        Metric("rerun calls", higher_is_better=False, digits=0),
        Metric("rerun equal", digits=0),
    ),
    bars=(
        at_least("scoring", "valid", 1.0, every_seed=True),
        at_least("grammar", "valid", 1.0, every_seed=True),
        Bar("writing freely is not always valid", not_always_valid),
        *(at_most(arm, "rerun calls", 0, every_seed=True) for arm in ("free", "grammar", "scoring")),
        *(at_least(arm, "rerun equal", 1, every_seed=True) for arm in ("free", "grammar", "scoring")),
    ),
    settings=Small(),
    fast=Small(texts=1, words=5, tokens=4, defined=False, calibrated=False),
    seeds=3,
    files=("ag_news_test.csv",),
)
