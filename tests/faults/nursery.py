"""Starts commands that can be killed: everything is imported once, each command is a fork of this process.

Reads lines of JSON, the arguments of a command, on standard input; a line holds the child's process id, and when it has ended
a second one how: its exit code, or the negative number of the signal that killed it. What the commands print goes to
standard error's file.
"""

from __future__ import annotations

import json
import os
import sys

import numpy as np

from tutelage.cli import main
from tutelage.students import NgramClassifier


def warm() -> None:
    """Compile, or load what is compiled: a child must not pay for it."""
    student = NgramClassifier(C=4.0).fit(["a goal", "a bank"] * 4, ["sport", "money"] * 4)
    assert np.isfinite(student.predict_proba(["goal"])).all()
    for module in (
        "sklearn.linear_model",
        "altair",
        "vl_convert",
        "openai",
        "tutelage.pipeline.evaluate",
        "rich.table",
    ):
        __import__(module)


def run(arguments: list[str]) -> int:
    """One command: -> its exit code."""
    sys.argv = ["tutelage", *arguments]
    try:
        main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 1
    return 0


if __name__ == "__main__":
    warm()
    print("ready", flush=True)
    for line in sys.stdin:
        child = os.fork()
        if not child:
            os.dup2(2, 1)  # answers of the nursery are all that its standard output holds
            status = 1
            try:
                status = run(json.loads(line))
            finally:
                os._exit(status)
        print(child, flush=True)
        print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
