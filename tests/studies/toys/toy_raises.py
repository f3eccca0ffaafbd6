"""The method divides by zero on one seed: an error, not a verdict."""

from toy_shared import study

STUDY = study("raises", lambda data, trial: 1 / (trial.seed - 103))
