"""A study with no learning in it: the data is noise, and arms add to it what the test wants to see."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tutelage.studies import Arm, Metric, Paper, Part, Setup, Study, Trial, beats


@dataclass(frozen=True)
class Settings:
    steps: int = 10


ToyArm = Arm[float, Settings]


def noise(setup: Setup[Settings]) -> float:
    return float(np.random.default_rng(setup.seed).normal())


def arm(name: str, role: str, figure: Callable[[float, Trial[Settings]], float]) -> ToyArm:
    def run(data: float, trial: Trial[Settings]) -> dict[str, float]:
        write(trial)
        trial.budget.count(steps=trial.settings.steps, examples=50)
        return {"score": figure(data, trial)}

    return Arm(name, role, run)


def write(trial: Trial[Settings]) -> None:
    with Path(os.environ["TOY_LOG"]).open("a") as file:
        file.write(f"{trial.arm} {trial.seed}\n")


def study(slug: str, method: Callable[[float, Trial[Settings]], float], **options: object) -> Study:
    """Baseline: the seed's noise. Method: whatever is given. One bar: the method beats the baseline."""
    arms = (arm("base", "baseline", lambda data, trial: data), arm("ours", "method", method))
    part = Part(
        data=noise,
        arms=arms,
        metrics=(Metric("score"),),
        bars=(beats("ours", "base", "score", wins=0.8, paper="+1.0"),),
        settings=Settings(),
        fast=Settings(steps=1),
        **options,
    )
    return Study(slug, Paper("A Toy", "Nobody", 2020, "2001.00001"), "ours beats base", (part,))
