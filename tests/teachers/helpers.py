"""Pools, oracles and clocks that the tests of teachers share."""

from __future__ import annotations

import asyncio
import hashlib
import time

import pyarrow as pa

from tutelage.data.labels import LabelScheme
from tutelage.teachers.llm.service import Clock

SCHEME = LabelScheme.from_dict(
    {
        "name": "desk",
        "labels": [
            {"name": "sport", "definition": "matches, clubs, athletes"},
            {"name": "politics", "definition": "government, elections, parties"},
            {"name": "weather", "definition": "forecasts, storms, rain"},
        ],
    }
)

FAST = Clock(lambda: time.monotonic() * 1000, lambda seconds: asyncio.sleep(seconds / 1000))
"""A clock that runs a thousand times faster: a minute's wait takes 60 ms."""


def pool(n: int) -> pa.Table:
    """`n` texts, no two alike."""
    return pa.table(
        {"id": [f"t{i}" for i in range(n)], "text": [f"Item {i}: what happened on day {i * 7}." for i in range(n)]}
    )


def truth(text: str) -> str:
    """The label that the oracle gives to a text."""
    return SCHEME.names[hashlib.sha256(text.encode()).digest()[0] % len(SCHEME)]


def oracle(text: str, _: str) -> str:
    """The true answer, in the form that is asked for."""
    return f'{{"label": "{truth(text)}"}}'
