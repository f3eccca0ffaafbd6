"""Changes of a JSON document that leave it JSON: another value in one place, another name. Bytes say where and what."""

from __future__ import annotations

import copy
import json
from typing import Any

from tests.fuzz.promise import Draws

VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 7, 2**31, 2**63, 10**30, 10**400, 0.5, -0.5, 1e-300, 1e308, float("inf"), float("nan"),
    "", " ", "a", "a\nb", "\x00", "\x1b[2J", "\ud800", "é" * 40, "x" * 300, "x" * 5000, "../x", "/etc/passwd", "0", "²", "no",
    [], {}, [0], ["a"], ["a", "a"], [None], [[1], [2]], [[1], [2, 3]], [0.1, 0.9], [1, 2**70], {"a": 1}, {"": {}}, [{}],
)  # fmt: skip
"""What does not belong where it is put."""
NAMES = ("", "a\nb", "x" * 200, "../x", "/etc/passwd", "\x00", "\ud800", ".", "..", "config.json/x", "name", "C")


def edited(document: object, script: bytes) -> Any:
    """The document after the changes of a script, four bytes a change: kind, place (two) and what is put there.

    >>> edited({"a": [1, {"b": 2}]}, bytes([0, 3, 0, 3]))
    {'a': [1, 0]}
    """
    draws, holder = Draws(script), [copy.deepcopy(document)]
    while change := draws.take(4):
        kind, low, high, what = change.ljust(4, b"\0")
        places = [*_places(holder)]
        container, key = places[(low + 256 * high) % len(places)]
        match kind % 4:
            case 1 if isinstance(container, dict):
                container[NAMES[what % len(NAMES)]] = container.pop(key)
            case 2 if container is not holder:
                del container[key]
            case 3 if isinstance(container[key], list) and container[key]:
                container[key].append(copy.deepcopy(container[key][what % len(container[key])]))
            case _:
                container[key] = copy.deepcopy(VALUES[what % len(VALUES)])
    return holder[0]


def written(document: object) -> bytes:
    """A document as JSON, NaN and half characters included."""
    return json.dumps(document).encode()


def _places(holder: Any):
    """Every place of a nested value as (container, key or index)."""
    keys = holder if isinstance(holder, dict) else range(len(holder))
    for key in [*keys]:
        yield holder, key
        if isinstance(holder[key], dict | list):
            yield from _places(holder[key])
