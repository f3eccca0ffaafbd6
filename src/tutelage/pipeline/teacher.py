"""The teacher of a run: what its configuration names, and how an endpoint is spoken to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tutelage.pipeline.folder import Run, signature

if TYPE_CHECKING:
    import pyarrow as pa

    from tutelage.data.labels import LabelScheme
    from tutelage.teachers.base import Progress, Teacher
    from tutelage.teachers.ledger import Ledger

IMPORTED = "import:"
"""How the configuration of a run names labels that came from a file: "import:NAME#CHECKSUM"."""


@dataclass(frozen=True)
class Service:
    """How an endpoint is spoken to; none of it changes an answer, so none of it is part of the run's configuration."""

    budget: str | None = None
    concurrency: int = 8
    rpm: int | None = None
    tpm: int | None = None
    batch: bool = False
    retry_failed: bool = False


def teacher_of(run: Run, service: Service | None = None, *, encoder_cache: Path | None = None) -> Teacher:
    """The teacher that the run's configuration names; a sentence encoder's vectors are kept in the run, or in another file."""
    from tutelage.teachers.make import make_teacher

    asked = run.config.teacher
    if asked.spec.startswith(IMPORTED):
        return Imported(asked.spec)
    return make_teacher(
        asked.spec, base_url=asked.base_url, temperature=asked.temperature, votes=asked.votes, repairs=asked.repairs,
        wire=asked.wire, explain=asked.explain, price=asked.price, max_words=run.config.texts.max_words,
        encoder_cache=encoder_cache or run.encoder_cache, **vars(service or Service()),
    )  # fmt: skip


@dataclass(frozen=True)
class Imported:
    """A teacher that has said all it will say: labels that were read into the ledger from a file.

    >>> Imported("import:labels.csv#0123").name
    'import:labels.csv'
    """

    spec: str

    @property
    def name(self) -> str:
        return self.spec.partition("#")[0]

    @property
    def fingerprint(self) -> str:
        return signature("import", self.spec)

    def prompt_fingerprint(self, scheme: LabelScheme) -> str:
        return signature("import", scheme.fingerprint)

    def annotate(
        self, table: pa.Table, scheme: LabelScheme, *, ledger: Ledger | None = None, sample: int = 0,
        progress: Progress | None = None,
    ) -> pa.Table:  # fmt: skip
        """What the ledger holds; texts without an imported label are absent."""
        from tutelage.teachers.ledger import Ledger

        if ledger is not None:
            return self.answered(table, scheme, ledger, sample=sample)
        with Ledger(":memory:") as empty:
            return self.answered(table, scheme, empty, sample=sample)

    def answered(self, table: pa.Table, scheme: LabelScheme, ledger: Ledger, *, sample: int = 0) -> pa.Table:
        """See `Teacher.answered`."""
        from tutelage.teachers.base import text_fingerprint

        texts = [text_fingerprint(text) for text in table["text"].to_pylist()]
        return ledger.rows(table["id"].to_pylist(), texts, self.fingerprint, self.prompt_fingerprint(scheme), sample)
