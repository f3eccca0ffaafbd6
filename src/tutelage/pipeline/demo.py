"""The demo: the main job on the corpus that ships with the package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from tutelage.pipeline.distill import Distilled, distill

if TYPE_CHECKING:
    from tutelage.teachers.base import Progress


def demo(
    out: str | Path = "runs/demo",
    *,
    student: str = "auto",
    seed: int = 0,
    progress: Progress | None = None,
    log: Callable[[str], None] = lambda _: None,
) -> Distilled:
    """Distil a news-topic classifier from a zero-shot teacher, offline; a fifth of the items is held-out gold."""
    from importlib import resources

    with resources.as_file(resources.files("tutelage.data").joinpath("demo/corpus.jsonl")) as corpus:
        return distill(
            corpus, "iptc", out=out, student=student, gold="topic", lang="lang", seed=seed, progress=progress, log=log
        )
