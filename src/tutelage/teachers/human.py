"""HumanTeacher: labels that people (or other programs) gave, read from a file, and the blind sample that people fill in.

A file of labels has one row a text and annotator. Its columns:

| column | |
|---|---|
| `id`, or `text` where there is no id | which text |
| `label` (or `labels`) | one name; several joined by `|` or `;`, or a list; empty: not reviewed |
| or one 0/1 column a label | a multi-label file in wide form |
| `annotator` | who; optional |

A discard code of the scheme ("not news") makes a row with status "discarded".
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from tutelage.data.annotations import merge
from tutelage.data.labels import LabelScheme
from tutelage.data.readers import read_rows
from tutelage.data.split import few_per_class
from tutelage.errors import InputError
from tutelage.teachers.base import Pool, Progress, ProgressEvent, fingerprint
from tutelage.teachers.ledger import Ledger
from tutelage.teachers.records import Answer


@dataclass(frozen=True)
class Review:
    """One person's answer to one text; `key` is its id, or the text itself where the file has no ids."""

    row: int
    key: str
    annotator: str
    labels: tuple[str, ...]
    status: str


class HumanTeacher:
    """Labels from a file or table.

    Args: source: any format that corpora have, or an Arrow table; id, text, label, annotator: names of its columns;
        kind: "human", or "import" for labels that another program made.

    Raises: InputError: the file is missing, unreadable or empty.
    """

    def __init__(
        self, source: str | Path | pa.Table, *, id: str = "id", text: str = "text", label: str = "label",
        annotator: str = "annotator", kind: str = "human",
    ) -> None:  # fmt: skip
        rows = []
        for number, fields in read_rows(source):
            if isinstance(fields, str):
                raise InputError(f"{_title(source)}, row {number}: {fields}")
            rows.append((number, fields))
        if not rows:
            raise InputError(f"{_title(source)} holds no labels")
        self._rows = rows
        self._columns = {"id": id, "text": text, "label": label, "annotator": annotator}
        self._title = _title(source)
        self.kind = kind
        content = json.dumps([fields for _, fields in rows], sort_keys=True, default=str)
        self._content = hashlib.sha256(content.encode("utf-8", "surrogatepass")).hexdigest()

    @property
    def name(self) -> str:
        return f"{self.kind}:{self._title}"

    @property
    def fingerprint(self) -> str:
        return fingerprint({"kind": self.kind, "content": self._content})

    def prompt_fingerprint(self, scheme: LabelScheme) -> str:
        return fingerprint({"scheme": scheme.fingerprint})

    @property
    def annotators(self) -> tuple[str, ...]:
        """Who gave labels, in alphabetical order; the place in it is the sample number."""
        return tuple(sorted({self._field(fields, "annotator") for _, fields in self._rows}))

    def _field(self, fields: Mapping[str, object], which: str) -> str:
        value = fields.get(self._columns[which])
        return "" if value is None else str(value).strip() if which != "text" else str(value)

    def reviews(self, scheme: LabelScheme) -> list[Review]:
        """All reviewed rows. Raises: InputError: a label outside the scheme, or two answers of one person to one text."""
        known = {label.name.casefold(): label.name for label in scheme.labels}
        discard = {label.name.casefold() for label in scheme.discard}
        found: dict[tuple[str, str], Review] = {}
        for number, fields in self._rows:
            key = self._field(fields, "id") or self._field(fields, "text")
            if not key:
                raise InputError(
                    f"{self._title}, row {number}: neither {self._columns['id']!r} nor {self._columns['text']!r}"
                )
            names = self._labels(number, fields, scheme)
            if names is None:
                continue
            folded = [name.casefold() for name in names]
            thrown = [name for name in folded if name in discard]
            unknown = [name for name, f in zip(names, folded, strict=True) if f not in known and f not in discard]
            if unknown:
                raise InputError(
                    f"{self._title}, row {number}: label {unknown[0]!r} is not in scheme {scheme.name!r} "
                    f"(it has {', '.join(scheme.names)})"
                )
            labels = () if thrown else tuple(sorted({known[f] for f in folded}, key=scheme.index))
            if len(labels) > 1 and not scheme.multi:
                raise InputError(
                    f"{self._title}, row {number}: {len(labels)} labels, but scheme {scheme.name!r} takes one a text"
                )
            review = Review(number, key, self._field(fields, "annotator"), labels, "discarded" if thrown else "ok")
            before = found.setdefault((key, review.annotator), review)
            if (before.labels, before.status) != (review.labels, review.status):
                raise InputError(
                    f"{self._title}: rows {before.row} and {number} give two different labels to {key[:60]!r}"
                )
        return list(found.values())

    def _labels(self, number: int, fields: Mapping[str, object], scheme: LabelScheme) -> list[str] | None:
        """The names in a row, or None where it was not reviewed."""
        column = self._columns["label"] if self._columns["label"] in fields else "labels"
        if column in fields:
            return _names(fields[column], scheme)
        wide = [name for name in scheme.names if name in fields]
        if not wide:
            raise InputError(
                f"{self._title} has no column {self._columns['label']!r} and no column named as a label; "
                f"it has {', '.join(fields)}"
            )
        values = {name: str(fields[name] if fields[name] is not None else "").strip().lower() for name in wide}
        if not any(values.values()):
            return None
        flags = {"1": True, "1.0": True, "true": True, "0": False, "0.0": False, "false": False, "": False}
        for name, value in values.items():
            if value not in flags:
                raise InputError(f"{self._title}, row {number}, column {name!r}: expected 0 or 1; found {value!r}")
        return [name for name in wide if flags[values[name]]]

    def annotate(
        self, table: pa.Table, scheme: LabelScheme, *, ledger: Ledger | None = None, sample: int = 0,
        progress: Progress | None = None,
    ) -> pa.Table:  # fmt: skip
        """Annotations by annotator number `sample`; texts that nobody of that number reviewed are absent.

        Raises: InputError: no reviewed text is in the table, or as `reviews`.
        """
        pool = Pool.of(table)
        who = dict(enumerate(self.annotators)).get(sample)
        reviews = {review.key: review for review in self.reviews(scheme) if review.annotator == who}
        teacher, prompt = self.fingerprint, self.prompt_fingerprint(scheme)
        answers = {}
        for key, content, text in zip(pool.ids, pool.texts, pool.fingerprints, strict=True):
            review = reviews.get(key) or reviews.get(content)
            if review:
                answers[text] = Answer(teacher, prompt, text, sample, review.status, review.labels, cost=0.0)
        if reviews and not answers:
            raise InputError(f"{self._title}: none of its {len(reviews)} texts is in the table (ids must be the same)")
        with contextlib.ExitStack() as stack:
            book = ledger or stack.enter_context(Ledger(":memory:"))
            book.describe(teacher, "teacher", {"name": self.name, "annotators": list(self.annotators)})
            book.register(pool.ids, pool.fingerprints)
            book.put(answers.values())
            if progress:
                progress(ProgressEvent(len(answers), len(answers)))
            return book.rows(pool.ids, pool.fingerprints, teacher, prompt, sample)

    def answered(self, table: pa.Table, scheme: LabelScheme, ledger: Ledger, *, sample: int = 0) -> pa.Table:
        """What the ledger holds; see `Teacher.answered`."""
        pool = Pool.of(table)
        return ledger.rows(pool.ids, pool.fingerprints, self.fingerprint, self.prompt_fingerprint(scheme), sample)

    def annotate_all(self, table: pa.Table, scheme: LabelScheme, *, ledger: Ledger | None = None) -> pa.Table:
        """Annotations by all annotators, one after the other; `sample` is the annotator's number."""
        return merge(self.annotate(table, scheme, ledger=ledger, sample=k) for k in range(len(self.annotators)))


def blind_sample(
    table: pa.Table, labelled: pa.Table, scheme: LabelScheme, *, per_label: int = 18, seed: int = 0
) -> pa.Table:
    """Texts for people to label: as many of each teacher label, shuffled, and without the teacher's label.

    Args: table: id, text; labelled: the teacher's annotations. Where a label has fewer texts, all are taken.

    Returns: columns id, text, label (empty strings, to be filled in), in an order that says nothing of the labels.

    The sample is balanced by the teacher's label, so its shares are not those of the pool: accuracy on it is no estimate of
    accuracy on the pool before it is weighted back.
    """
    given = {
        row["id"]: row["label"]
        for row in labelled.select(["id", "label", "status"]).to_pylist()
        if row["status"] == "ok"
    }
    rows = [place for place, key in enumerate(table["id"].to_pylist()) if given.get(key)]
    if not rows:
        raise InputError("there is no labelled text to take a sample of")
    labels = [given[table["id"][row].as_py()][0] for row in rows]
    chosen = few_per_class(labels, per_label, seed=seed)
    order = np.random.default_rng(seed).permutation(chosen)
    sample = table.select(["id", "text"]).take([rows[i] for i in order])
    return sample.append_column("label", pa.array([""] * len(sample), pa.string()))


def _names(value: object, scheme: LabelScheme) -> list[str] | None:
    """Label names of a cell: None where it is empty; an empty list (multi-label) is a review that found none."""
    if isinstance(value, str) and value.lstrip().startswith("["):
        with contextlib.suppress(ValueError):
            value = json.loads(value)
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [str(item) for item in value]
    text = "" if value is None else str(value).strip()
    if not text:
        return None
    whole = text.casefold()
    if not scheme.multi or any(whole == label.name.casefold() for label in (*scheme.labels, *scheme.discard)):
        return [text]
    parts = text.replace(";", "|").split("|")
    return [part.strip() for part in parts if part.strip()]


def _title(source: str | Path | pa.Table) -> str:
    return "table" if isinstance(source, pa.Table) else Path(source).name
