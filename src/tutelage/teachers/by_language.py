"""ByLanguage: each text goes to the teacher that was made for its language.

The default zero-shot teacher is one: the English encoder for English texts, the multilingual one for all others.
"""

from __future__ import annotations

from collections.abc import Mapping

import pyarrow as pa

from tutelage.data.annotations import merge
from tutelage.data.labels import LabelScheme
from tutelage.errors import InputError
from tutelage.teachers.base import Progress, ProgressEvent, Teacher, fingerprint
from tutelage.teachers.ledger import Ledger


class ByLanguage:
    """Teachers by ISO code of the language, and one for the rest.

    Texts without a language (no column `lang`, or an empty cell) go to the first of `teachers`.

    Args:
        name: what a person calls the whole. teachers: {"en": …}. rest: for every other language.
    """

    def __init__(self, name: str, teachers: Mapping[str, Teacher], rest: Teacher) -> None:
        if not teachers:
            raise InputError("teachers by language need at least one language")
        self.name = name
        self.teachers = dict(teachers)
        self.rest = rest

    @property
    def fingerprint(self) -> str:
        return fingerprint(
            {
                "kind": "by language",
                "of": {k: t.fingerprint for k, t in self.teachers.items()},
                "rest": self.rest.fingerprint,
            }
        )

    def prompt_fingerprint(self, scheme: LabelScheme) -> str:
        own = {k: t.prompt_fingerprint(scheme) for k, t in self.teachers.items()}
        return fingerprint({"of": own, "rest": self.rest.prompt_fingerprint(scheme)})

    def settle(self, table: pa.Table, ledger: Ledger) -> None:
        """See `ZeroShotTeacher.settle`; each teacher with its own texts."""
        for teacher, part in self._parts(table):
            if hasattr(teacher, "settle"):
                teacher.settle(part, ledger)  # type: ignore[attr-defined]

    def annotate(
        self, table: pa.Table, scheme: LabelScheme, *, ledger: Ledger | None = None, sample: int = 0,
        progress: Progress | None = None,
    ) -> pa.Table:  # fmt: skip
        """Annotations in the order of the table, each with its own teacher's fingerprint."""
        done, answers = 0, []
        for teacher, part in self._parts(table):
            report = _shifted(progress, done, table.num_rows)
            answers.append(teacher.annotate(part, scheme, ledger=ledger, sample=sample, progress=report))
            done += part.num_rows
        return _in_order(table, answers)

    def answered(self, table: pa.Table, scheme: LabelScheme, ledger: Ledger, *, sample: int = 0) -> pa.Table:
        """What the ledger holds; see `Teacher.answered`."""
        return _in_order(table, [t.answered(part, scheme, ledger, sample=sample) for t, part in self._parts(table)])

    def reworded(self) -> ByLanguage:
        """Each teacher reworded, where it can be."""
        say = lambda teacher: getattr(teacher, "reworded", lambda: teacher)()
        return ByLanguage(self.name, {k: say(t) for k, t in self.teachers.items()}, say(self.rest))

    def _parts(self, table: pa.Table) -> list[tuple[Teacher, pa.Table]]:
        default = next(iter(self.teachers))
        langs = table["lang"].to_pylist() if "lang" in table.column_names else [default] * table.num_rows
        keys = [str(lang or default).lower()[:2] for lang in langs]
        parts = []
        for key, teacher in (*self.teachers.items(), (None, self.rest)):
            rows = [i for i, k in enumerate(keys) if (k == key if key else k not in self.teachers)]
            if rows:
                parts.append((teacher, table.take(pa.array(rows))))
        return parts


def _in_order(table: pa.Table, answers: list[pa.Table]) -> pa.Table:
    """All answers in the order of the table's ids."""
    together = merge(answers)
    place = {key: row for row, key in enumerate(together["id"].to_pylist())}
    return together.take(pa.array([place[key] for key in table["id"].to_pylist() if key in place], pa.int64()))


def _shifted(progress: Progress | None, before: int, total: int) -> Progress | None:
    if progress is None:
        return None
    return lambda e: progress(ProgressEvent(before + e.done, total, e.failed, e.cost, e.currency))
