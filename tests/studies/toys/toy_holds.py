"""The method adds one: HOLDS."""

from toy_shared import study

STUDY = study("holds", lambda data, trial: data + 1.0)
