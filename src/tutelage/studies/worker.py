"""Runs trials, in this process or as a child: `python -m tutelage.studies.worker MODULE`.

A child imports the study itself; what passes between it and its parent are JSON lines, so nothing is pickled. Each line
on standard input asks for one block of trials, each line on standard output answers one. A study's own prints go to
standard error.
"""

from __future__ import annotations

import importlib
import json
import os
import random
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from tutelage.errors import MissingExtra
from tutelage.studies.store import Measurement
from tutelage.studies.study import Budget, Mode, NotRunnable, Part, Setup, Study, Trial


@dataclass(frozen=True)
class Unit:
    """One trial: an arm on a seed with one setting of its grid."""

    arm: str
    seed: int
    choice: int = 0


@dataclass(frozen=True)
class Block:
    """Trials that are computed in one call: a single unit, or the units of a stack."""

    part: int
    units: tuple[Unit, ...]


class Runner:
    """Computes blocks of one study; the data of the seed in hand is kept for the seed's next arm.

    Raises: ValueError: an arm returned a name or a figure that the part does not allow.
    """

    def __init__(self, study: Study, mode: Mode, scratch: Path, folder: Path | None) -> None:
        self.study, self.scratch, self.folder = study, scratch, folder
        self.mode: Mode = mode
        self._kept: tuple[tuple[int, int], Any] | None = None

    def run(self, block: Block) -> list[Measurement]:
        """Figures, budget and CPU seconds of each unit, in order; a stack's are shared out evenly."""
        part = self.study.parts[block.part]
        started = time.process_time()
        trials = [self._trial(part, unit) for unit in block.units]
        data = {seed: self._data(block.part, seed) for seed in dict.fromkeys(trial.seed for trial in trials)}
        seed_everything(trials[0].seed)
        if part.stacked is not None:
            measured = part.stacked([data[trial.seed] for trial in trials], trials)
            if len(measured) != len(trials):
                raise ValueError(f"the stack returned {len(measured)} results for {len(trials)} trials")
        else:
            run = part.arm(trials[0].arm).run
            assert run is not None
            measured = [run(data[trials[0].seed], trials[0])]
        seconds = (time.process_time() - started) / len(trials)
        return [
            Measurement(_checked(part, trial, values), trial.budget, seconds)
            for trial, values in zip(trials, measured, strict=True)
        ]

    def _trial(self, part: Part[Any, Any], unit: Unit) -> Trial[Any]:
        grid = part.arm(unit.arm).grid
        budget = Budget(trials=1 if self.mode == "fast" else len(grid))
        settings = part.settings_for(self.mode)
        return Trial(unit.seed, settings, self.scratch, self.folder, unit.arm, grid[unit.choice], budget)

    def _data(self, number: int, seed: int) -> Any:
        if self._kept is None or self._kept[0] != (number, seed):
            part = self.study.parts[number]
            seed_everything(seed)
            setup = Setup(seed, part.settings_for(self.mode), self.scratch, self.folder)
            self._kept = (number, seed), part.data(setup)
        return self._kept[1]


def seed_everything(seed: int) -> None:
    """Seed the global generators too: a study has its own, but a library under it may not.

    Done before the data and again before the arm, so that an arm sees the same state whether or not the data were there.
    """
    random.seed(seed)
    np.random.seed(seed)  # noqa: NPY002
    if "torch" in sys.modules:
        sys.modules["torch"].manual_seed(seed)


def _checked(part: Part[Any, Any], trial: Trial[Any], measured: Mapping[str, Any]) -> dict[str, Any]:
    """The arm's figures as JSON values, after asking that they are finite and that the arm counted its budget."""
    where = f"arm {trial.arm!r}, seed {trial.seed}"
    values = {name: np.asarray(value).tolist() for name, value in measured.items()}
    declared = [metric.name for metric in part.metrics]
    if not any(name in values for name in declared):
        raise ValueError(f"{where} returned none of the metrics {', '.join(declared)}; it returned {', '.join(values)}")
    for name in declared:
        if name in values and not np.isfinite(np.asarray(values[name], np.float64)).all():
            raise ValueError(f"{where}: {name} is not finite")
    if part.arm(trial.arm).role in ("baseline", "method") and trial.budget.examples == 0:
        raise ValueError(f"{where} counted no examples: call trial.budget.count(steps=…, examples=…)")
    return values


def missing(error: BaseException) -> str | None:
    """Why a study cannot run here, if that is what the error says: data or a package that is not there."""
    if isinstance(error, NotRunnable | MissingExtra):
        return str(error)
    if isinstance(error, ModuleNotFoundError) and (error.name or "").split(".")[0] not in ("", "tutelage"):
        return f"needs the Python package {(error.name or '').split('.')[0]}, which is not installed"
    return None


def answer(runner: Runner, block: Block) -> dict[str, Any]:
    """The reply to one request: results, what is missing, or the traceback."""
    try:
        return {"results": [measurement.to_json() for measurement in runner.run(block)]}
    except Exception as error:
        if (reason := missing(error)) is not None:
            return {"missing": reason}
        return {"error": "".join(traceback.format_exception(error))}


def load_study(module: str) -> Study:
    """The `STUDY` of a module. Raises: ValueError: it has none."""
    study = getattr(importlib.import_module(module), "STUDY", None)
    if not isinstance(study, Study):
        raise ValueError(f"{module} has no constant STUDY of type Study")
    return study


def main(arguments: Sequence[str]) -> None:
    """Answer requests from standard input until it ends: MODULE MODE SCRATCH [FOLDER]."""
    module, mode, scratch, *folder = arguments
    replies = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    runner = Runner(load_study(module), mode, Path(scratch), Path(folder[0]) if folder else None)  # type: ignore[arg-type]
    for line in sys.stdin:
        request = json.loads(line)
        block = Block(request["part"], tuple(Unit(**unit) for unit in request["units"]))
        replies.write(json.dumps(answer(runner, block)) + "\n")
        replies.flush()


if __name__ == "__main__":
    main(sys.argv[1:])
