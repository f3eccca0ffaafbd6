"""Does a tracer predict better when it looks at how the last tries at the asked skill went?

Real pupils: the ASSISTments log of 2009 in its de-duplicated form, 110 skills. Each seed draws its own pupils, 600 to
learn from, 200 that choose the epoch, and 300 of the published test set; answers are cut into pieces of 50. All networks
of a seed see the same pieces in the same order for the same number of steps; each chooses its learning rate on the tuning
seed, by the pupils that choose the epoch.

All networks have dropout, which the paper's have not, so that the baseline is no worse regularised than the method; the long
form shows both without it. Beside the LSTM of the same width stands one with more weights than CAKT has. The control that
decides gives CAKT the right number of frames of the wrong kind: of earlier tries at other skills. Counting right and wrong
answers (PFA) needs no network at all and is printed beside them; where it is not beaten, the sentence says so.

The AUC is returned pupil by pupil, as values whose mean it is (`auc_by_group`), so that the bootstrap draws pupils.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from tutelage.data.answer_files import read_answer_log
from tutelage.data.knowledge_tracing import AnswerLog
from tutelage.evaluation.auc import auc_by_group
from tutelage.evaluation.cost import parameters
from tutelage.methods.education.cakt import CAKT, CaktNetwork, tries
from tutelage.students.knowledge_tracing import Dkt, KnowledgeTracer, NetworkTracer, TracerOptions
from tutelage.students.tracing_baselines import ConceptMean, Pfa
from tutelage.studies import (
    Arm,
    Bar,
    Finding,
    Metric,
    Paper,
    Part,
    Results,
    Role,
    Setup,
    Study,
    Trial,
    beats,
    judge,
    not_worse,
)

FILES = ("assist2009_updated_train.csv", "assist2009_updated_test.csv")
RATES = ({"lr": 1e-3}, {"lr": 3e-3}, {"lr": 1e-2})
ONE = ({"lr": 3e-3},)
SIZES = (150, 300, 600, 1200)


@dataclass(frozen=True)
class Settings:
    """How many pupils, how long they are followed, and how long networks learn."""

    train: int = 600
    validation: int = 200
    test: int = 300
    length: int = 50
    shortest: int = 10
    width: int = 64
    dropout: float = 0.3
    epochs: int = 10
    batch: int = 64


@dataclass(frozen=True)
class Pupils:
    """The three logs of a seed; `test_pupil` is whose each test answer is, `tried` whether the skill was tried before."""

    train: AnswerLog
    validation: AnswerLog
    test: AnswerLog
    test_pupil: np.ndarray
    tried: np.ndarray


def pupils(setup: Setup[Settings]) -> Pupils:
    """Pupils with ten answers or more, drawn for the seed."""
    s = setup.settings
    known = read_answer_log(setup.file(FILES[0]))
    held = read_answer_log(setup.file(FILES[1])).renamed(known.concepts)
    rng = np.random.default_rng(setup.seed)
    drawn = []
    for log, sizes in ((known, (s.train, s.validation)), (held, (s.test,))):
        order = rng.permutation(np.flatnonzero(log.lengths >= s.shortest))[: sum(sizes)]
        drawn += [log.take(rows).pieces(s.length, s.shortest) for rows in np.split(order, np.cumsum(sizes)[:-1])]
    train, validation, test = drawn
    return Pupils(train, validation, test, np.array(test.learners)[test.sequence], np.add(*test.earlier()) > 0)


def figures(data: Pupils, tracer: KnowledgeTracer) -> dict[str, np.ndarray | float]:
    """AUC over all test answers, and over those to skills that the pupil had tried: a value a pupil."""
    said, gold, t = tracer.predict(data.test), data.test.correct, data.tried
    return {
        "AUC": auc_by_group(gold, said, data.test_pupil),
        "AUC, tried before": float(auc_by_group(gold[t], said[t], data.test_pupil[t]).mean()),
    }


def counting(name: str, make: type[ConceptMean] | type[Pfa]) -> Arm[Pupils, Settings]:
    """A tracer without a network."""
    return Arm(name, "reference", lambda data, trial: figures(data, make().fit(data.train)))


def network(
    name: str,
    role: Role,
    make: partial[NetworkTracer],
    grid: tuple[dict[str, float], ...] = RATES,
    learners: int | None = None,
) -> Arm[Pupils, Settings]:
    """A tracer that trains; `make` gets its options, and its width where it does not say it; `learners`: train on so many."""

    def run(data: Pupils, trial: Trial[Settings]) -> dict[str, np.ndarray | float]:
        s = trial.settings
        if learners is not None:
            first = set(list(dict.fromkeys(data.train.learners))[:learners])
            rows = [row for row, pupil in enumerate(data.train.learners) if pupil in first]
            data = replace(data, train=data.train.take(rows))
        options = TracerOptions(s.length, s.epochs, trial.choice["lr"], s.batch, seed=trial.seed)
        tracer = make(**{"width": s.width, "dropout": s.dropout, **make.keywords}, options=options).fit(
            data.train, data.validation
        )
        seen = len(data.train.pieces(s.length))
        trial.budget.count(steps=s.epochs * -(-seen // s.batch), examples=s.epochs * seen)
        reached = np.array(tracer.history_["val AUC"], np.float64)
        return figures(data, tracer) | {
            "validation AUC": reached.max(),
            "best epoch": int(reached.argmax()) + 1,
            "weights": parameters(tracer.network_),
        }

    return Arm(name, role, run, grid)


def other_tries(concepts: Tensor, asked: Tensor, place: Tensor, k: int) -> Tensor:
    """As many steps as `tries` finds, but about other concepts, scattered over the past by a fixed hash: the control."""
    wanted = (tries(concepts, asked, place, k) >= 0).sum(-1, keepdim=True)
    step = torch.arange(concepts.shape[1], device=concepts.device)
    other = (concepts.unsqueeze(1) != asked.unsqueeze(2)) & (concepts.unsqueeze(1) >= 0)
    other &= (step < place.unsqueeze(2)) & (asked.unsqueeze(2) >= 0)
    scattered = (step * 7919 + place.unsqueeze(2) * 104_729 + 1) % 65_537
    first = torch.where(other, scattered, -1).topk(min(k, len(step)), dim=-1)
    kept = (first.values >= 0) & (torch.arange(first.values.shape[-1]) < wanted)
    chosen = torch.where(kept, first.indices, -1).sort(dim=-1).values
    return torch.nn.functional.pad(chosen, (k - chosen.shape[-1], 0), value=-1)


class LstmReader(nn.Module):
    """Frames read by an LSTM in the place of the convolution: [M, k, d] → [M, d]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.lstm = nn.LSTM(width, width, batch_first=True)

    def forward(self, frames: Tensor) -> Tensor:
        return self.lstm(frames)[0][:, -1]


def read_by_lstm(width: int, *, dropout: float, options: TracerOptions) -> NetworkTracer:
    """CAKT with `LstmReader`."""
    reader = lambda concepts: CaktNetwork(concepts, width, 4, LstmReader(width), dropout=dropout)
    return NetworkTracer(reader, options)


def half_is_lost(r: Results) -> Finding:
    """Without the right tries, at least half of the gain over the LSTM is gone: gain over the control − gain / 2 ≥ 0."""
    over_control, over_lstm = r.gain("cakt", "other tries", "AUC"), r.gain("cakt", "dkt", "AUC")
    found = judge([np.asarray(a) - np.asarray(b) / 2 for a, b in zip(over_control, over_lstm, strict=True)])
    if np.mean([np.mean(gain) for gain in over_lstm]) > 0:
        return found
    return replace(found, outcome="inconclusive", note=f"no gain to lose; {found.note}")


def beside(r: Results) -> str:
    """CAKT against counting, by the figures."""
    ours, counted, lstm = (r[name, "AUC"].mean() for name in ("cakt", "pfa", "dkt"))
    if counted >= ours:
        verdict = f"Counting right and wrong answers (PFA, {counted:.3f}) does as well as CAKT ({ours:.3f}) without a network."
    else:
        verdict = f"Counting right and wrong answers (PFA) reaches {counted:.3f}, CAKT {ours:.3f}, the LSTM {lstm:.3f}."
    return verdict


MAIN = (
    counting("skill mean", ConceptMean),
    counting("pfa", Pfa),
    network("dkt", "baseline", partial(Dkt)),
    network("dkt, wide", "baseline", partial(Dkt, width=128)),
    network("cakt", "method", partial(CAKT)),
    network("other tries", "ablation", partial(CAKT, history=other_tries), ONE),
)
PAIR: tuple[tuple[str, Role, partial[NetworkTracer]], ...] = (
    ("dkt", "baseline", partial(Dkt)),
    ("cakt", "method", partial(CAKT)),
)
METRICS = (
    Metric("AUC"),
    Metric("AUC, tried before"),
    Metric("validation AUC", shown=False),
    Metric("best epoch", digits=0),
    Metric("weights", higher_is_better=False, digits=0),
)

FAST = Settings(train=12, validation=6, test=6, length=20, width=9, epochs=1, batch=8)

STUDY = Study(
    slug="cakt",
    paper=Paper("Deep Knowledge Tracing with Learning Curves", "Yang, Zhu & Lu", 2020, "2008.01169"),
    claim="a tracer that is shown the last tries at the asked skill predicts the next answer better than the mixed state of an "
    "LSTM alone",
    parts=(
        Part(
            name="ASSISTments 2009",
            data=pupils,
            arms=MAIN,
            metrics=METRICS,
            bars=(
                beats("cakt", "dkt", "AUC", by=0.003, wins=0.8, paper="+.0155 on the whole log"),
                not_worse("cakt", "dkt, wide", "AUC", within=0.0),
                Bar("frames of other skills lose at least half of what CAKT gains over dkt", half_is_lost),
                beats("cakt", "pfa", "AUC", gated=False),
            ),
            settings=Settings(),
            fast=FAST,
            seeds=5,
            tuned_by="validation AUC",
            files=FILES,
            sentence=beside,
        ),
        Part(
            name="ablations",
            data=pupils,
            arms=(
                network("dkt", "baseline", partial(Dkt), ONE),
                network("cakt", "method", partial(CAKT), ONE),
                network("dkt, no dropout", "ablation", partial(Dkt, dropout=0.0), ONE),
                network("cakt, no dropout", "ablation", partial(CAKT, dropout=0.0), ONE),
                network("no fading", "ablation", partial(CAKT, decay=None), ONE),
                network(
                    "tries at the last skill", "ablation", partial(CAKT, history=partial(tries, at="current")), ONE
                ),
                network("frames read by an LSTM", "ablation", partial(read_by_lstm), ONE),
                network("frames folded (3-D)", "ablation", partial(CAKT, film="3d", width=36), ONE),
            ),
            metrics=METRICS,
            bars=(
                beats("cakt, no dropout", "dkt, no dropout", "AUC", gated=False),
                beats("cakt", "no fading", "AUC", gated=False),
            ),
            settings=Settings(),
            fast=FAST,
            seeds=3,
            files=FILES,
            only_full=True,
        ),
        Part(
            name="how many pupils",
            data=pupils,
            arms=tuple(
                network(f"{name} {learners}", role, make, ONE, learners)
                for learners in SIZES
                for name, role, make in PAIR
            ),
            metrics=METRICS,
            bars=tuple(beats(f"cakt {learners}", f"dkt {learners}", "AUC", gated=False) for learners in SIZES),
            settings=Settings(train=max(SIZES)),
            fast=FAST,
            seeds=3,
            unequal=dict.fromkeys(("steps", "examples"), "the number of pupils differs by design"),
            files=FILES,
            only_full=True,
        ),
    ),
)
