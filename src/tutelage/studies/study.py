"""A study is the evidence for one paper's claim: data, arms, metrics, seeds, and bars that decide.

A study module holds a constant `STUDY`. Its parts are experiments of their own (real data, a simulator, a stress test):

    STUDY = Study(
        slug="ps-kd",
        paper=Paper("Self-Knowledge Distillation with Progressive Refinement of Targets", "Kim et al.", 2021, "2006.12000"),
        claim="better likelihood and calibration than hard labels at no loss of accuracy",
        parts=(
            Part(
                data=noisy_digits,                                   # (setup) -> the data of one seed
                arms=(Arm("ce", "baseline", ce), Arm("ps-kd", "method", pskd)),  # (data, trial) -> {metric: figure}
                metrics=(Metric("nll", higher_is_better=False), Metric("accuracy")),
                bars=(beats("ps-kd", "ce", "nll", wins=0.9), not_worse("ps-kd", "ce", "accuracy", within=0.002)),
                settings=Settings(steps=600),
                fast=Settings(steps=3),
                seeds=10,
            ),
        ),
    )

Fairness is counted, not promised: every arm tells its budget the steps and examples it uses, and a method that spends
more than its baseline on any seed is an error unless the part says why.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from tutelage.errors import TutelageError
from tutelage.studies.results import Measured, Metric, Results
from tutelage.studies.verdict import Bar

D = TypeVar("D")
"""What the data function returns for one seed."""
S = TypeVar("S")
"""The study's settings: a frozen dataclass of plain values."""

Role = Literal["baseline", "method", "ablation", "reference"]
Mode = Literal["standard", "fast", "full"]

FIRST_SEED = 100
"""Studies run on seeds 100, 101, …: seeds 0 to 9 were spent on shaping the methods."""
TUNING_SEED = 1000
"""The one seed on which arms are tuned."""


class NotRunnable(TutelageError):
    """Something that a study needs is not here (data, an extra): its verdict is NOT RUN, with this line as the reason."""


@dataclass(frozen=True)
class Paper:
    """Where the claim was made."""

    title: str
    authors: str
    year: int
    arxiv: str = ""


@dataclass
class Budget:
    """What an arm has spent: optimiser steps, examples seen, and settings tried. `examples` also counts calls or texts.

    >>> budget = Budget()
    >>> budget.count(steps=10, examples=500)
    >>> budget
    Budget(steps=10, examples=500, trials=1)
    """

    steps: int = 0
    examples: int = 0
    trials: int = 1

    def count(self, *, steps: int = 0, examples: int = 0, trials: int = 0) -> None:
        """Add what was just spent. Raises: ValueError: a negative amount."""
        if min(steps, examples, trials) < 0:
            raise ValueError(f"a budget only grows; got steps={steps}, examples={examples}, trials={trials}")
        self.steps += steps
        self.examples += examples
        self.trials += trials


@dataclass(frozen=True)
class Setup(Generic[S]):
    """What the data function gets: a seed, the settings, and two folders.

    `scratch` is for what is dear to make and can be made again, such as embeddings; it outlives the run (unless nothing is
    to be kept), is shared by all studies and their processes, and no figure may depend on what lies there. `folder` holds
    other people's data.
    """

    seed: int
    settings: S
    scratch: Path
    folder: Path | None = None

    def file(self, name: str) -> Path:
        """A file of the data folder. Raises: NotRunnable: no folder was given, or the file is not in it."""
        return data_file(self.folder, name)


@dataclass(frozen=True)
class Trial(Setup[S]):
    """What an arm gets: the seed, the settings, the tuned choice from its grid, and the budget it must count on."""

    arm: str = ""
    choice: Mapping[str, float] = field(default_factory=dict)
    budget: Budget = field(default_factory=Budget)


@dataclass(frozen=True)
class Arm(Generic[D, S]):
    """One way of doing the task.

    Attributes:
        name, role: as printed; budgets of `baseline` and `method` arms must be equal, `ablation` and `reference` (an
            upper bound, a dummy) are free.
        run: (data, trial) → figures; None in a stacked part.
        grid: settings to choose among on the tuning seed; the first one is used where nothing is tuned.
    """

    name: str
    role: Role
    run: Callable[[D, Trial[S]], Measured] | None = None
    grid: Sequence[Mapping[str, float]] = ({},)


@dataclass(frozen=True)
class Part(Generic[D, S]):
    """One experiment: every arm on every seed, compared in pairs.

    Attributes:
        data: setup → the data of one seed; arms of a seed share it and must not change it.
        arms, metrics, bars: what is compared, measured and asked.
        settings, fast, full: a frozen dataclass of plain values for the standard run, the smoke run and `--full`.
        seeds, first_seed: the study's own seeds, `first_seed` .. `first_seed` + `seeds` − 1.
        stacked: computes many trials in one call, in order: (data of each trial, trials) → figures of each.
        tuned_by: metric that chooses from the arms' grids on the tuning seed; it must not look at test data.
        unequal: {"steps" | "examples" | "trials": why baseline and method may differ in it}; printed.
        files: names in the data folder without which the part is NOT RUN.
        only_full: runs with `--full` only.
        sentence: results → the sentence under the table, chosen by a rule.
    """

    data: Callable[[Setup[S]], D]
    arms: Sequence[Arm[D, S]]
    metrics: Sequence[Metric]
    bars: Sequence[Bar]
    settings: S
    fast: S
    full: S | None = None
    name: str = ""
    seeds: int = 5
    first_seed: int = FIRST_SEED
    stacked: Callable[[Sequence[D], Sequence[Trial[S]]], Sequence[Measured]] | None = None
    tuned_by: str | None = None
    unequal: Mapping[str, str] = field(default_factory=dict)
    files: Sequence[str] = ()
    only_full: bool = False
    sentence: Callable[[Results], str] | None = None

    def __post_init__(self) -> None:
        where = f"part {self.name!r}" if self.name else "a part"
        if not any(arm.role == "method" for arm in self.arms):
            raise ValueError(f"{where} has no method arm")
        for kind, names in (("arm", [a.name for a in self.arms]), ("metric", [m.name for m in self.metrics])):
            if len(set(names)) < len(names):
                raise ValueError(f"{where} has two {kind}s of one name: {', '.join(names)}")
        for arm in self.arms:
            if (arm.run is None) != (self.stacked is not None):
                raise ValueError(f"{where}: arm {arm.name!r} needs `run`, or the part `stacked`, and not both")
            if len(arm.grid) > 1 and self.tuned_by is None:
                raise ValueError(f"{where}: arm {arm.name!r} has a grid but `tuned_by` names no metric")
        sizes = {len(arm.grid) for arm in self.arms if arm.role in ("baseline", "method")}
        if len(sizes) > 1 and "trials" not in self.unequal:
            raise ValueError(f"{where}: baseline and method try different numbers of settings: {sorted(sizes)}")
        if self.tuned_by is not None and self.tuned_by not in [metric.name for metric in self.metrics]:
            raise ValueError(f"{where}: tuned_by={self.tuned_by!r} is not one of its metrics")
        if unknown := set(self.unequal) - set(asdict(Budget())):
            raise ValueError(f"{where}: a budget has steps, examples and trials; unequal names {sorted(unknown)}")
        if self.seeds < 1:
            raise ValueError(f"{where}: seeds must be at least 1; got {self.seeds}")

    def arm(self, name: str) -> Arm[D, S]:
        """The arm of this name. Raises: KeyError."""
        return {arm.name: arm for arm in self.arms}[name]

    def settings_for(self, mode: Mode) -> S:
        """The settings of a run: standard, fast or full (standard where a part has no full form)."""
        if mode == "full" and self.full is not None:
            return self.full
        return self.fast if mode == "fast" else self.settings


@dataclass(frozen=True)
class Study:
    """A paper, its claim in one sentence, and the parts whose gated bars, ANDed, are the verdict.

    The family is the folder that the module lies in. Raises: ValueError: a malformed slug, no gated bar, two parts of one
    name.
    """

    slug: str
    paper: Paper
    claim: str
    parts: tuple[Part[Any, Any], ...]

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", self.slug):
            raise ValueError(f"a slug is lower case words joined by hyphens; got {self.slug!r}")
        if not any(bar.gated for part in self.parts for bar in part.bars):
            raise ValueError(f"{self.slug}: no gated bar, so no verdict")
        names = [part.name for part in self.parts]
        if len(set(names)) < len(names):
            raise ValueError(f"{self.slug}: two parts of one name: {names}")


def data_file(folder: Path | None, name: str) -> Path:
    """A file of the data folder. Raises: NotRunnable: no folder was given, or the file is not in it."""
    if folder is None:
        raise NotRunnable(
            f"needs {name}: give the data folder with --data or TUTELAGE_DATA (docs/data.md says how to get it)"
        )
    if not (folder / name).exists():
        raise NotRunnable(f"{name} is not in {folder} (docs/data.md says how to get it)")
    return folder / name
