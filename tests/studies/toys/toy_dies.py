"""The method's process is killed on seed 103 as long as the file TOY_KILL exists: an error; finished trials stay."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from toy_shared import Settings, study

from tutelage.studies import Trial


def method(data: float, trial: Trial[Settings]) -> float:
    if trial.seed == 103 and Path(os.environ["TOY_KILL"]).exists():
        print("last words", file=sys.stderr, flush=True)
        os.kill(os.getpid(), signal.SIGKILL)
    return data + 1.0


STUDY = study("dies", method)
