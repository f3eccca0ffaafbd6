"""The method takes one step more than the baseline on one seed: an error."""

from __future__ import annotations

from toy_shared import Settings, study

from tutelage.studies import Trial


def method(data: float, trial: Trial[Settings]) -> float:
    if trial.seed == 102:
        trial.budget.count(steps=1)
    return data + 1.0


STUDY = study("unequal", method)
