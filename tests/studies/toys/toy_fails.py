"""The method takes one away: DOES NOT HOLD."""

from toy_shared import study

STUDY = study("fails", lambda data, trial: data - 1.0)
