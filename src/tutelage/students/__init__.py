"""The students of text: four tiers with one interface, from the fastest to the strongest.

| tier | class | what |
|---|---|---|
| `ngram` | `NgramClassifier` | hashed words and word pairs -> linear; numba kernels over Arrow buffers |
| `static` | `StaticClassifier` | token vectors distilled from a sentence encoder, pooled -> linear |
| `embedding` | `EmbeddingClassifier` | a frozen sentence encoder -> linear; carries over to languages nobody labelled |
| `encoder` | `EncoderClassifier` | a transformer encoder, fine-tuned |

Names are imported when first used, so that no tier pays for another's dependencies.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tutelage.students.base import Student
    from tutelage.students.embedding import EmbeddingClassifier
    from tutelage.students.encoder import EncoderClassifier
    from tutelage.students.ngram import NgramClassifier
    from tutelage.students.static import StaticClassifier

TIERS = {
    "ngram": "NgramClassifier",
    "static": "StaticClassifier",
    "embedding": "EmbeddingClassifier",
    "encoder": "EncoderClassifier",
}
"""Tier -> the class that is it; its module has the tier's name."""

__all__ = [
    "TIERS",
    "EmbeddingClassifier",
    "EncoderClassifier",
    "NgramClassifier",
    "StaticClassifier",
    "Student",
    "load_student",
]


def load_student(folder: str | Path) -> Student:
    """A student of whichever tier the folder holds; "hf://owner/name[@revision]" is one of a hub (extra `hub`).

    Raises: InputError: damaged, not a student, or of a tier that this version does not know.
    """
    from tutelage.errors import InputError
    from tutelage.students import artifact, hub

    if str(folder).startswith(hub.SCHEME):
        folder = hub.fetched(str(folder))
    tier = artifact.read_config(artifact.check(folder)).get("tier")
    if not isinstance(tier, str) or tier not in TIERS:
        raise InputError(f"{folder} holds a student of tier {tier!r}; known are {', '.join(TIERS)}")
    student: Student = getattr(import_module(f"{__name__}.{tier}"), TIERS[tier]).load(folder)
    return student


def __getattr__(name: str) -> object:
    modules = {cls: tier for tier, cls in TIERS.items()} | {"Student": "base"}
    if name not in modules:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{modules[name]}"), name)
