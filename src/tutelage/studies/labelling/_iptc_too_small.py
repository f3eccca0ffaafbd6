"""Part D of the study `iptc` (`--full`): a language model too small for the job, which the acceptance rule must refuse."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from tutelage.data.annotations import hard_labels
from tutelage.data.labels import LabelScheme
from tutelage.data.sources import AG_NEWS_CLASSES, ag_news
from tutelage.evaluation.agreement import alpha
from tutelage.evaluation.classification import accuracy
from tutelage.methods.labelling.iptc import accept
from tutelage.studies import Arm, Metric, Part, Setup, Trial, at_least
from tutelage.studies.labelling._smollm2 import SmolLM2
from tutelage.teachers.llm.scoring import ScoringTeacher

FILE = "ag_news_test.csv"
SCHEME = LabelScheme.load("ag-news")


@dataclass(frozen=True)
class Asked:
    """How many texts people's labels check the model on."""

    texts: int = 200


def news(setup: Setup[Asked]) -> pa.Table:
    """Texts of AG News with gold."""
    table = ag_news(setup.file(FILE))
    return table.take(np.random.default_rng(setup.seed).permutation(len(table))[: setup.settings.texts])


def small_model(data: pa.Table, trial: Trial[Asked]) -> dict[str, float]:
    """SmolLM2-135M scores the labels; would the rule accept it as a teacher?"""
    trial.budget.count(examples=len(data))
    said = hard_labels(ScoringTeacher(SmolLM2()).annotate(data, SCHEME), SCHEME)
    gold = np.array([AG_NEWS_CLASSES.index(str(name)) for name in data["gold"].to_pylist()])
    agreement = alpha([gold, said]).value
    return {
        "accuracy": accuracy(gold, said),
        "alpha": agreement,
        "refused": float(accept([agreement]).outcome == "refused"),
    }


TOO_SMALL = Part(
    name="D · a teacher too small",
    data=news,
    arms=(Arm("smollm2", "method", small_model),),
    metrics=(Metric("accuracy"), Metric("alpha"), Metric("refused", digits=0)),
    bars=(at_least("smollm2", "refused", 1, every_seed=True, gated=False),),
    settings=Asked(),
    fast=Asked(texts=1),
    seeds=1,
    files=(FILE,),
    only_full=True,
)
