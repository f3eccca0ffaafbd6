"""Chance that belongs to a thing and not to the order in which things are asked: the same draw for the same key, always.

Two arms of an experiment that ask about the same pupil in the same round see the same luck, however many draws either made
before.
"""

from __future__ import annotations

import hashlib
import json


def keyed_uniform(*key: str | int) -> float:
    """A number in [0, 1) that depends on the key alone.

    >>> keyed_uniform(0, "problem 7", 3) == keyed_uniform(0, "problem 7", 3)
    True
    """
    digest = hashlib.sha256(json.dumps(key).encode()).digest()
    return int.from_bytes(digest[:7], "big") / 2**56
