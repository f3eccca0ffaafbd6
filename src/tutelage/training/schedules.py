"""Schedules: pure functions of how far a run is, u in [0, 1], to a value.

Learning rates, temperatures, loss weights, momentum decays and thresholds all use them; a plain number is the
constant schedule.
Every function here returns a `Schedule`, so that schedules compose: `after(0.1, cosine())` warms up and then decays.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

from tutelage.errors import InputError

Schedule = Callable[[float], float]


def value_at(schedule: Schedule | float, u: float) -> float:
    """The value of a schedule (or of a plain number) at u.

    >>> value_at(0.5, 0.9), value_at(linear(0.0, 2.0), 0.25)
    (0.5, 0.5)
    """
    return schedule(u) if callable(schedule) else schedule


def constant(value: float = 1.0) -> Schedule:
    """The same value always."""
    return lambda u: value


def linear(start: float = 1.0, end: float = 0.0) -> Schedule:
    """A straight line from `start` to `end`."""
    return lambda u: start + (end - start) * u


def cosine(start: float = 1.0, end: float = 0.0) -> Schedule:
    """Half a cosine from `start` to `end`: flat at both ends.

    >>> [round(cosine()(u), 3) for u in (0, 0.5, 1)]
    [1.0, 0.5, 0.0]
    """
    return lambda u: end + (start - end) * 0.5 * (1 + math.cos(math.pi * u))


def sigmoid_ramp(end: float = 1.0, steepness: float = 5.0) -> Schedule:
    """`end * exp(-steepness (1 - u)^2)`: the ramp-up of consistency weights (Laine and Aila, 2017).

    >>> round(sigmoid_ramp()(0.0), 4), sigmoid_ramp(3.0)(1.0)
    (0.0067, 3.0)
    """
    return lambda u: end * math.exp(-steepness * (1 - u) ** 2)


def step(values: Mapping[float, float]) -> Schedule:
    """Piecewise constant: `values[b]` from u = b on. One boundary must be 0.

    >>> decay = step({0.0: 1.0, 0.5: 0.1, 0.75: 0.01})
    >>> decay(0.49), decay(0.5), decay(1.0)
    (1.0, 0.1, 0.01)
    """
    if 0 not in values:
        raise InputError("step: say the value from the start with the key 0.0")
    boundaries = sorted(values)
    return lambda u: values[max(b for b in boundaries if b <= max(u, 0.0))]


def one_cycle(warmup: float = 0.1, start: float = 1 / 25, end: float = 1 / 250_000) -> Schedule:
    """Up from `start` to 1 by a half cosine over the share `warmup`, then down to `end` (Smith and Topin, 2018).

    >>> [round(one_cycle(0.1)(u), 3) for u in (0, 0.1, 0.55, 1)]
    [0.04, 1.0, 0.5, 0.0]
    """
    _share("one_cycle: warmup", warmup)
    rise, fall = cosine(start, 1.0), cosine(1.0, end)
    return lambda u: rise(u / warmup) if u < warmup else fall((u - warmup) / (1 - warmup))


def after(warmup: float, schedule: Schedule | float = 1.0) -> Schedule:
    """A straight line from 0 to the schedule's first value over the share `warmup`, then the schedule over the rest.

    >>> [after(0.2, linear(1.0, 0.0))(u) for u in (0.0, 0.1, 0.2, 0.6, 1.0)]
    [0.0, 0.5, 1.0, 0.5, 0.0]
    """
    _share("after: warmup", warmup)
    return lambda u: (
        value_at(schedule, 0.0) * u / warmup if u < warmup else value_at(schedule, (u - warmup) / (1 - warmup))
    )


def _share(what: str, value: float) -> None:
    if not 0 <= value < 1:
        raise InputError(f"{what} is a share of the run in [0, 1); got {value}")
