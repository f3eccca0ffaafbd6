"""The teacher of a run: what its configuration names, and how an endpoint is spoken to."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tutelage.pipeline.folder import Run

if TYPE_CHECKING:
    from tutelage.teachers.base import Teacher


@dataclass(frozen=True)
class Service:
    """How an endpoint is spoken to; none of it changes an answer, so none of it is part of the run's configuration."""

    budget: str | None = None
    concurrency: int = 8
    rpm: int | None = None
    tpm: int | None = None
    batch: bool = False
    retry_failed: bool = False


def teacher_of(run: Run, service: Service | None = None, *, cached: bool = True) -> Teacher:
    """The teacher that the run's configuration names; `cached` keeps a sentence encoder's vectors in the run."""
    from tutelage.teachers.make import make_teacher

    asked = run.config.teacher
    return make_teacher(
        asked.spec, base_url=asked.base_url, temperature=asked.temperature, votes=asked.votes, repairs=asked.repairs,
        wire=asked.wire, explain=asked.explain, price=asked.price, max_words=run.config.texts.max_words,
        encoder_cache=run.encoder_cache if cached else None, **vars(service or Service()),
    )  # fmt: skip
