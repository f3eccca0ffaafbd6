"""Data and method draw from the global generators, as a library under a study may do."""

from __future__ import annotations

import random
from dataclasses import replace

import numpy as np
from toy_shared import Settings, study

from tutelage.studies import Setup


def data(setup: Setup[Settings]) -> float:
    return random.random() + float(np.random.rand())  # noqa: NPY002


_PLAIN = study("global", lambda data, trial: data + float(np.random.rand()))  # noqa: NPY002
STUDY = replace(_PLAIN, parts=(replace(_PLAIN.parts[0], data=data),))
