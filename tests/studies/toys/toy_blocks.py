"""The method's seed 101 opens the pipe TOY_PIPE and never returns, so that a test can interrupt the run."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from toy_shared import Settings, study

from tutelage.studies import Trial


def method(data: float, trial: Trial[Settings]) -> float:
    if trial.seed == 101:
        with Path(os.environ["TOY_PIPE"]).open("w") as pipe:
            pipe.write(str(os.getpid()))
        signal.pause()
    return data + 1.0


STUDY = study("blocks", method)
