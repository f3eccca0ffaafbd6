"""Tutelage: a teacher that knows passes what it knows to a student that is small and fast.

>>> import tutelage
>>> tutelage.LabelScheme.load("ag-news").names
('World', 'Sports', 'Business', 'Sci/Tech')
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tutelage.data.labels import LabelScheme
    from tutelage.pipeline.distill import distill

__version__ = "0.1.0"

__all__ = ["LabelScheme", "__version__", "distill"]

_HOMES = {"LabelScheme": "data.labels", "distill": "pipeline.distill"}


def __getattr__(name: str) -> object:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
