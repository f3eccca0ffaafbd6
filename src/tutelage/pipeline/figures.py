"""Figures of `metrics.json` as people read them, and the main table that report and terminal share.

Whatever was not measured is an en dash, never a zero. All functions take None.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from tutelage.evaluation.cost import core_hours_per_million

DASH = "–"

Role = Literal["teacher", "student", "other student", "trained on gold", "dummy"]
Metrics = Mapping[str, Any]


@dataclass(frozen=True)
class Line:
    """One labeller in the main table."""

    role: Role
    name: str
    note: str
    macro_f1: float | None
    interval: tuple[float, float] | None
    micro_f1: float | None
    texts_per_second: float | None
    size: int | None
    cost: str

    @property
    def scored(self) -> bool:
        """Whether gold says how good it is."""
        return self.macro_f1 is not None


def number(value: object) -> float | None:
    """A finite number, or None for anything else.

    >>> number(float("nan")), number("3"), number(2)
    (None, None, 2.0)
    """
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def score(value: object) -> str:
    """
    >>> score(0.84251), score(None)
    ('0.843', '–')
    """
    found = number(value)
    return DASH if found is None else f"{found:.3f}"


def interval(value: object) -> str:
    """
    >>> interval([0.8, 0.8812])
    '0.80–0.88'
    """
    if not isinstance(value, Sequence) or len(value) != 2 or None in map(number, value):
        return ""
    return f"{value[0]:.2f}–{value[1]:.2f}"


def percent(value: object) -> str:
    """
    >>> percent(0.876)
    '88%'
    """
    found = number(value)
    return DASH if found is None else f"{100 * found:.0f}%"


def count(value: object) -> str:
    """
    >>> count(12345)
    '12,345'
    """
    found = number(value)
    return DASH if found is None else f"{found:,.0f}"


def rate(value: object) -> str:
    """Texts per second: whole numbers from ten on.

    >>> rate(3.14), rate(342.7)
    ('3.1', '343')
    """
    found = number(value)
    return DASH if found is None else f"{found:,.1f}" if found < 10 else f"{found:,.0f}"


def size(value: object) -> str:
    """Bytes with a decimal unit.

    >>> size(1_204_224)
    '1.2 MB'
    """
    found = number(value)
    if found is None:
        return DASH
    for unit in ("B", "kB", "MB"):
        if found < 999.5:
            return f"{found:.0f} B" if unit == "B" else f"{found:.1f} {unit}"
        found /= 1000
    return f"{found:.1f} GB"


def seconds(value: object) -> str:
    """
    >>> seconds(11.2), seconds(95), seconds(7260)
    ('11 s', '1 min 35 s', '2 h 1 min')
    """
    found = number(value)
    if found is None:
        return DASH
    whole = round(found)
    if whole < 60:
        return f"{found:.1f} s" if found < 10 else f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600:,} h {whole % 3600 // 60} min"


def money(amount: object, currency: object) -> str:
    """
    >>> money(7868, "eur"), money(0.0021, "usd")
    ('7,868 EUR', '0.0021 USD')
    """
    found = number(amount)
    if found is None:
        return DASH
    digits = f"{found:,.0f}" if found >= 100 else f"{found:.2f}" if found >= 0.01 or not found else f"{found:.2g}"
    return f"{digits} {str(currency or '').upper()}".strip()


def lines(metrics: Metrics) -> list[Line]:
    """The main table: teacher, each student, the upper bound of a student of human labels, the dummies."""
    table: list[Line] = []
    costs = metrics.get("cost") or {}
    if teacher := metrics.get("teacher"):
        price = teacher.get("cost_per_million") or {}
        cost = money(price.get("amount"), price.get("currency"))
        table.append(
            _line(
                "teacher", "Teacher", teacher, teacher.get("name", ""), cost if price else _hours(costs.get("teacher"))
            )
        )
    if student := metrics.get("student"):
        note = student.get("name") or student.get("tier", "")
        table.append(_line("student", "Student", student, note, _hours(costs.get("student"))))
    for other in metrics.get("students") or []:
        if not other.get("chosen") and number(other.get("macro_f1")) is not None:
            speed = number(other.get("texts_per_second"))
            cost = _hours({"per_million_texts_core_hours": core_hours_per_million(speed)} if speed else None)
            table.append(_line("other student", f"Student, {other.get('tier', 'other')}", other, "not chosen", cost))
    if gold := metrics.get("gold_student"):
        table.append(_line("trained on gold", "Upper bound", gold, gold.get("name") or "trained on human labels", DASH))
    if dummy := metrics.get("dummy"):
        dummy = {**dummy, "texts_per_second": None}  # the speed of drawing labels says nothing
        table.append(_line("dummy", "Dummy, random", dummy, dummy.get("name") or "never reads the text", DASH))
        if most := dummy.get("most_frequent"):
            table.append(_line("dummy", "Dummy, constant", most, "always the most frequent label", DASH))
    return table


def headline(metrics: Metrics) -> str:
    """The outcome in one sentence: how good, against what, how fast."""
    student, teacher = metrics.get("student") or {}, metrics.get("teacher") or {}
    speed = number(student.get("texts_per_second"))
    pace = f", at {rate(speed)} texts a second" if speed else ""
    mine, theirs = number(student.get("macro_f1")), number(teacher.get("macro_f1"))
    if mine is None:
        alpha = number(((metrics.get("agreement") or {}).get("student_teacher") or {}).get("alpha"))
        if alpha is None:
            return f"The student is trained{pace}; nothing has been measured about its quality."
        return (
            f"The student agrees with its teacher (alpha {alpha:.2f}){pace}; how often the two are right is not known."
        )
    n = (metrics.get("gold") or {}).get("n") or student.get("n")
    on = f" on {count(n)} texts labelled by people" if n else ""
    return f"The student scores {mine:.3f} macro-F1{on}{_against(mine, theirs, metrics)}{pace}."


def privacy_sentence(privacy: Metrics) -> str:
    """What the shield covers, what a student keeps of planted secrets with and without it, and what it costs."""
    found, missed = privacy["exposure"]["found"], privacy["exposure"]["missed"]
    f1 = privacy["dev_macro_f1"]
    return (
        f"{count(privacy['texts'])} of {count(privacy['of'])} texts hold private tokens. Of the {privacy['most']:.1f} bits of a "
        f"planted secret that the rules find a student keeps {found['shield']:.1f} with the shield and {found['plain']:.1f} "
        f"without; of one that they miss {missed['shield']:.1f} and {missed['plain']:.1f}; without any knowledge it is about "
        f"{privacy['chance']:.1f}. Macro-F1 against the teacher: {score(f1['shield'])} and {score(f1['plain'])}. This is "
        f"{privacy['guarantee']}."
    )


def _against(mine: float, theirs: float | None, metrics: Metrics) -> str:
    if theirs is None:
        return ""
    points = 100 * (mine - theirs)
    if abs(points) < 0.05:
        return ", the same as its teacher"
    text = f", {abs(points):.1f} points {'above' if points > 0 else 'below'} its teacher"
    low, high = (metrics.get("student_minus_teacher") or {}).get("ci") or (None, None)
    if low is not None and high is not None and low <= 0 <= high:
        text += " (a difference that chance could make)"
    return text


def _line(role: Role, name: str, entry: Metrics, note: str, cost: str) -> Line:
    ends = entry.get("macro_f1_ci")
    return Line(
        role=role,
        name=name,
        note=note,
        macro_f1=number(entry.get("macro_f1")),
        interval=(ends[0], ends[1]) if ends and interval(ends) else None,
        micro_f1=number(entry.get("micro_f1")),
        texts_per_second=number(entry.get("texts_per_second")),
        size=entry.get("bytes"),
        cost=cost,
    )


def _hours(cost: Metrics | None) -> str:
    hours = number((cost or {}).get("per_million_texts_core_hours"))
    if hours is None:
        return DASH
    return f"{hours:.1f} core h" if hours >= 0.1 else f"{3600 * hours:,.0f} core s"
