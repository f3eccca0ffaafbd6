"""The method helps on odd seeds and hurts on even ones: INCONCLUSIVE."""

from toy_shared import study

STUDY = study("doubtful", lambda data, trial: data + (1.0 if trial.seed % 2 else -1.0), seeds=6)
