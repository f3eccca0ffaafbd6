"""Does the wiring of a network that understood addition make a fresh one understand it sooner?

All unordered pairs of Z_53, of which 45 % are for training. The teacher is a dense network that was trained until it had
understood the rest; its first weights, on which all arms of a seed start, are kept. The ticket starts from them again with
only the 80 % of weights that the teacher made largest: the network is a quarter of the paper's, whose ticket of 40 % has
twice as many weights; that of 40 % is reported. What else could explain a gain stands beside: as few weights anywhere
(sparsity), in each layer as many (its densities), the largest weights at the moment of memorising (any trained structure),
and the dense network scaled to the ticket's L1 norm (the norm).

A run ends 200 steps after it has generalised. One that has not by the last step is counted as if it had then: that flatters
the arms that the ticket is compared with. Without weight decay, tickets of six densities are reported beside the dense
network.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor

from tutelage.methods.dynamics.grokking_tickets import PairMlp, norm_matched
from tutelage.students.masks import magnitude_mask, random_mask, shuffled
from tutelage.studies import Arm, Bar, Finding, Metric, Paper, Part, Results, Setup, Study, Trial, beats, judge
from tutelage.studies.dynamics._grokking_rows import Row, Training, grow
from tutelage.training import child_seed, seeded
from tutelage.worlds.modular import ModularArithmetic

DENSITIES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.8)
SPARSE = 0.4
"""The paper's density, reported."""
CONTROLS = ("dense of equal norm", "random mask", "shuffled ticket", "memoriser's ticket", f"ticket of {SPARSE:g}")


@dataclass(frozen=True)
class Addition:
    """The task, the network, the ticket's density, and how long runs may be with and without weight decay."""

    p: int = 53
    share: float = 0.45
    width: int = 128
    hidden: int = 48
    keep: float = 0.8
    steps: int = 8000
    steps_without_decay: int = 1500
    every: int = 25
    lr: float = 3e-3
    decay: float = 1.0


@dataclass(frozen=True)
class Questions:
    """Both parts of the table, x [n, 2] and y [n], and the first weights of the seed's network."""

    train: dict[str, Tensor]
    test: dict[str, Tensor]
    initial: dict[str, Tensor]


def split(setup: Setup[Addition]) -> Questions:
    """The table of a seed in two parts, and its network."""
    s = setup.settings
    generator = torch.Generator().manual_seed(child_seed(setup.seed, "table"))
    train, test = ModularArithmetic(s.p).split(s.share, generator)
    with seeded(setup.seed, "init"):
        model = PairMlp(s.p, s.width, s.hidden)
    return Questions(train, test, {name: value.detach() for name, value in model.state_dict().items()})


def without_decay(keep: float) -> str:
    """The name of an arm."""
    return f"ticket of {keep:g}, no decay"


def arms_of(dense: Row, seed: int, s: Addition) -> dict[str, Row]:
    """The runs that follow from a grown network, each on a row of its own."""
    new = partial(Row, train=dense.train, test=dense.test, decay=s.decay)
    generator = torch.Generator().manual_seed(child_seed(seed, "masks"))
    ticket = magnitude_mask(dense.final, s.keep)
    return {
        "ticket": new(dense.initial, mask=ticket),
        "dense of equal norm": new(norm_matched(dense.initial, ticket)),
        "random mask": new(dense.initial, mask=random_mask(dense.initial, s.keep, generator)),
        "shuffled ticket": new(dense.initial, mask=shuffled(ticket, generator)),
        "memoriser's ticket": new(dense.initial, mask=magnitude_mask(dense.at_memory or dense.final, s.keep)),
        f"ticket of {SPARSE:g}": new(dense.initial, mask=magnitude_mask(dense.final, SPARSE)),
    }


def undecayed(dense: Row) -> dict[str, Row]:
    """The same without weight decay, for tickets of several densities."""
    new = partial(Row, dense.initial, dense.train, dense.test, decay=0.0)
    tickets = {without_decay(keep): new(mask=magnitude_mask(dense.final, keep)) for keep in DENSITIES}
    return {"dense, no decay": new(), **tickets}


def stacked(data: Sequence[Questions], trials: Sequence[Trial[Addition]]) -> list[dict[str, float]]:
    """The dense networks of all seeds; then all that follows from them, with and without decay."""
    s = trials[0].settings
    training = Training(s.steps, s.every, lr=s.lr)
    dense = {
        trial.seed: Row(one.initial, one.train, one.test, decay=s.decay)
        for one, trial in zip(data, trials, strict=True)
    }
    grow(list(dense.values()), training)
    decayed = {seed: arms_of(row, seed, s) for seed, row in dense.items()}
    grow([row for rows in decayed.values() for row in rows.values()], training)
    free = {seed: undecayed(row) for seed, row in dense.items()}
    shorter = Training(s.steps_without_decay, s.every, lr=s.lr)
    grow([row for rows in free.values() for row in rows.values()], shorter)
    results = []
    for trial in trials:
        row = {"dense": dense[trial.seed], **decayed[trial.seed], **free[trial.seed]}[trial.arm]
        trial.budget.count(steps=row.spent, examples=row.spent * len(row.train["y"]))
        limit = training.steps if trial.arm == "dense" or trial.arm in decayed[trial.seed] else shorter.steps
        results.append(figures(row, limit))
    return results


def figures(row: Row, limit: int) -> dict[str, float]:
    """When the row memorised and generalised (the limit where it did not), and how well it did at best."""
    memorised, generalised = row.memorised or limit, row.generalised or limit
    return {
        "steps to memorise": memorised,
        "steps to generalise": generalised,
        "delay": generalised - memorised,
        "best accuracy": row.best,
        "censored": float(row.generalised is None),
    }


def best_without_decay() -> Bar:
    """The density whose mean accuracy is best, against the dense network: chosen after the fact, and so not gated."""

    def test(r: Results) -> Finding:
        best = max(DENSITIES, key=lambda keep: r[without_decay(keep), "best accuracy"].mean())
        found = judge(r.gain(without_decay(best), "dense, no decay", "best accuracy"))
        return replace(found, note=f"keep {best:g}; {found.note}")

    return Bar("without decay, the ticket of the best density beats dense on best accuracy", test, gated=False)


def what_was_seen(r: Results) -> str:
    """Ratios, and which runs never generalised."""
    ratios = r["ticket", "steps to generalise"] / r["dense", "steps to generalise"]
    never = ", ".join(
        f"{arm} {int(count)}" for arm in ("dense", "ticket", *CONTROLS) if (count := r[arm, "censored"].sum())
    )
    return (
        f"The ticket needs {np.median(ratios):.2f} of the dense network's steps (median; {ratios.min():.2f} to "
        f"{ratios.max():.2f}). "
        f"Runs of {len(ratios)} that did not generalise: {never or 'none'}."
    )


ADDITION = Part(
    data=split,
    arms=(
        Arm("dense", "baseline"),
        Arm("ticket", "method"),
        *(Arm(name, "ablation") for name in CONTROLS),
        *(Arm(name, "ablation") for name in ("dense, no decay", *map(without_decay, DENSITIES))),
    ),
    metrics=(
        Metric("steps to memorise", higher_is_better=False, digits=0),
        Metric("steps to generalise", higher_is_better=False, digits=0),
        Metric("delay", higher_is_better=False, digits=0),
        Metric("best accuracy"),
        Metric("censored", higher_is_better=False, shown=False),
    ),
    bars=(
        beats("ticket", "dense", "steps to generalise", times=0.5, wins=1.0),
        beats("ticket", "dense of equal norm", "steps to generalise", wins=0.8),
        beats("ticket", "random mask", "steps to generalise", wins=0.8),
        beats("ticket", "memoriser's ticket", "steps to generalise", wins=0.8),
        beats(f"ticket of {SPARSE:g}", "dense", "steps to generalise", times=0.5, wins=1.0, gated=False),
        beats("ticket", "shuffled ticket", "steps to generalise", wins=0.8, gated=False),
        best_without_decay(),
    ),
    settings=Addition(),
    fast=Addition(p=7, width=8, hidden=8, steps=50, steps_without_decay=25),
    full=Addition(p=67, share=0.4, width=500, keep=0.4, lr=1e-3, steps=30_000, steps_without_decay=10_000),
    seeds=5,
    stacked=stacked,
    unequal=dict.fromkeys(
        ("steps", "examples"), "a run ends 200 steps after it generalised: how many it needs is the question"
    ),
    sentence=what_was_seen,
)

STUDY = Study(
    slug="grokking-tickets",
    paper=Paper("Grokking Tickets: Lottery Tickets Accelerate Grokking", "Minegishi et al.", 2023, "2310.19470"),
    claim="the mask of a network that generalised, with its first weights, halves the steps to generalisation; masks of "
    "memorisers, random masks and dense networks of equal norm do not",
    parts=(ADDITION,),
)
