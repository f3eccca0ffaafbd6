"""Students of runs, loaded once and again when they change."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from tutelage.pipeline.folder import Run
from tutelage.pipeline.predict import open_student, student_folder

if TYPE_CHECKING:
    from tutelage.students.base import Student


def student_of(run: Run) -> Student:
    """The run's student. Raises: InputError: it has none yet, or a damaged one."""
    place = student_folder(run.path)
    return _loaded(run.path, (place / "config.json").stat().st_mtime_ns)


@lru_cache(maxsize=4)
def _loaded(path: Path, stamp: int) -> Student:
    return open_student(path)
