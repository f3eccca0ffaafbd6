"""EnsembleTeacher: several teachers, one answer, and how much they disagree.

Each member's answer is its probabilities, or 1 for its label where it gives none; the ensemble's are their mean over the
members that answered. `disagreement`, an extra column, is the share of these members whose own answer is another one: high
values are where a person's look, or a further teacher, pays most.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import numpy as np
import pyarrow as pa

from tutelage.data.annotations import annotations, soft_targets
from tutelage.data.labels import LabelScheme
from tutelage.errors import InputError
from tutelage.teachers.base import Pool, Progress, ProgressEvent, Teacher, fingerprint
from tutelage.teachers.ledger import Ledger
from tutelage.teachers.records import Answer


class EnsembleTeacher:
    """The mean of several teachers. The members' answers are in the ledger; the mean is computed from them.

    Raises: InputError: fewer than two members, or two of one fingerprint.
    """

    def __init__(self, members: Sequence[Teacher]) -> None:
        if len(members) < 2:
            raise InputError(f"an ensemble needs at least two teachers; got {len(members)}")
        if len({member.fingerprint for member in members}) < len(members):
            raise InputError("two members of the ensemble are the same teacher: " + " + ".join(m.name for m in members))
        self.members = tuple(members)

    @property
    def name(self) -> str:
        return "ensemble:" + "+".join(member.name for member in self.members)

    @property
    def fingerprint(self) -> str:
        return fingerprint({"kind": "ensemble", "members": [member.fingerprint for member in self.members]})

    def prompt_fingerprint(self, scheme: LabelScheme) -> str:
        return fingerprint({"members": [member.prompt_fingerprint(scheme) for member in self.members]})

    def annotate(
        self, table: pa.Table, scheme: LabelScheme, *, ledger: Ledger | None = None, sample: int = 0,
        progress: Progress | None = None,
    ) -> pa.Table:  # fmt: skip
        """Annotations with the extra column `disagreement` (float32, in [0, 1]); texts that no member answered are absent."""
        with contextlib.ExitStack() as stack:
            book = ledger or stack.enter_context(Ledger(":memory:"))
            book.describe(
                self.fingerprint, "teacher", {"name": self.name, "members": [m.fingerprint for m in self.members]}
            )
            for place, member in enumerate(self.members):
                member.annotate(table, scheme, ledger=book, sample=sample, progress=self._share(place, progress))
            found = self.answered(table, scheme, book, sample=sample)
            texts = dict(zip(*_ids_and_texts(table), strict=True))
            book.put([self._row(row, texts[str(row["id"])], sample) for row in found.to_pylist()], derived=True)
        return found

    def answered(self, table: pa.Table, scheme: LabelScheme, ledger: Ledger, *, sample: int = 0) -> pa.Table:
        """The mean of what the ledger holds of the members; see `Teacher.answered`."""
        parts = [member.answered(table, scheme, ledger, sample=sample) for member in self.members]
        return self.combine(_ids_and_texts(table)[0], parts, scheme, sample)

    def reworded(self) -> EnsembleTeacher:
        """The ensemble of its members reworded, where they can be."""
        return EnsembleTeacher([getattr(member, "reworded", lambda m=member: m)() for member in self.members])

    def _row(self, row: dict, text: str, sample: int) -> Answer:
        return Answer(
            row["teacher"], row["prompt"], text, sample, row["status"], tuple(row["label"]), row["probs"] and tuple(row["probs"]),
            tokens_in=row["tokens_in"], tokens_out=row["tokens_out"], cost=row["cost"],
        )  # fmt: skip

    def combine(self, ids: Sequence[str], parts: Sequence[pa.Table], scheme: LabelScheme, sample: int = 0) -> pa.Table:
        """One annotation a text from the members' annotations, in the order of `ids`."""
        rows = {key: place for place, key in enumerate(ids)}
        targets = np.zeros((len(parts), len(ids), len(scheme)), np.float32)
        present = np.zeros((len(parts), len(ids)), bool)
        usable = np.zeros((len(parts), len(ids)), bool)
        costs = np.zeros((3, len(ids)))
        failure = ["ok"] * len(ids)
        for m, part in enumerate(parts):
            places = [rows[str(key)] for key in part["id"].to_pylist()]
            targets[m, places] = soft_targets(part, scheme)
            present[m, places] = True
            status = [str(value) for value in part["status"].to_pylist()]
            usable[m, places] = [value == "ok" for value in status]
            for c, name in enumerate(("tokens_in", "tokens_out", "cost")):
                costs[c, places] += np.nan_to_num(part[name].to_numpy().astype(float))
            for place, value in zip(places, status, strict=True):
                failure[place] = value if value != "ok" else failure[place]
        answered = usable.sum(axis=0)
        mean = (targets * usable[:, :, None]).sum(axis=0) / np.maximum(answered, 1)[:, None]
        chosen = mean >= 0.5 if scheme.multi else np.eye(len(scheme), dtype=bool)[mean.argmax(axis=1)]
        own = targets >= 0.5 if scheme.multi else np.eye(len(scheme), dtype=bool)[targets.argmax(axis=2)]
        differs = (own != chosen).any(axis=2) & usable
        disagreement = differs.sum(axis=0) / np.maximum(answered, 1)
        keep = np.flatnonzero(present.any(axis=0)).tolist()
        good = answered > 0
        table = annotations(
            [ids[i] for i in keep],
            [[scheme.names[k] for k in np.flatnonzero(chosen[i])] if good[i] else [] for i in keep],
            sample=sample,
            probs=[mean[i].tolist() if good[i] else None for i in keep],
            status=["ok" if good[i] else failure[i] for i in keep],
            teacher=self.fingerprint,
            prompt=self.prompt_fingerprint(scheme),
            tokens_in=costs[0, keep].astype(np.int64),
            tokens_out=costs[1, keep].astype(np.int64),
            cost=costs[2, keep],
        )
        column = [float(disagreement[i]) if good[i] else None for i in keep]
        return table.append_column("disagreement", pa.array(column, pa.float32()))

    def _share(self, place: int, progress: Progress | None) -> Progress | None:
        """A member's progress as a part of the whole."""
        if progress is None:
            return None

        def report(event: ProgressEvent) -> None:
            done, total = place * event.total + event.done, len(self.members) * event.total
            progress(ProgressEvent(done, total, event.failed, event.cost, event.currency))

        return report


def _ids_and_texts(table: pa.Table) -> tuple[Sequence[str], Sequence[str]]:
    """Ids and text fingerprints; the mean is filed under the whole text, for members may cut it at different places."""
    pool = Pool.of(table)
    return pool.ids, pool.fingerprints
