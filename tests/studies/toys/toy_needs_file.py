"""Needs a file that nobody has: NOT RUN. With it, it holds."""

from toy_shared import study

STUDY = study("needs-file", lambda data, trial: data + 1.0, files=("absent.csv",))
