"""Who knows: zero-shot encoders, language models, people, and ensembles of them, with one ledger of what they said.

Every teacher has `annotate(table, scheme, ledger=…)`, which asks about the texts that the ledger holds no answer for.
Names load on first use, so that importing this package costs nothing.

>>> from tutelage.teachers import make_teacher
>>> make_teacher("zero-shot:use-multilingual").name
'zero-shot:use-multilingual'
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tutelage.teachers.ensemble import EnsembleTeacher
    from tutelage.teachers.human import HumanTeacher
    from tutelage.teachers.ledger import Ledger
    from tutelage.teachers.llm.teacher import LLMTeacher
    from tutelage.teachers.make import make_teacher
    from tutelage.teachers.zero_shot import ZeroShotTeacher

__all__ = ["EnsembleTeacher", "HumanTeacher", "LLMTeacher", "Ledger", "ZeroShotTeacher", "make_teacher"]

_HOMES = {
    "EnsembleTeacher": "ensemble",
    "HumanTeacher": "human",
    "LLMTeacher": "llm.teacher",
    "Ledger": "ledger",
    "ZeroShotTeacher": "zero_shot",
    "make_teacher": "make",
}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_HOMES})
