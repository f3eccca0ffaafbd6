"""A review of the teacher's labels by people: a balanced sample, blind answers in the ledger, agreement as it grows.

`review.json` of the run names the sample and the people; what they say is in the ledger, under the teacher `human`, a
person's place in the list being the sample number. An answer is taken back by a row that says so. The sample stays what it
was when it was drawn, also when its texts have become gold.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from tutelage.data.annotations import annotations, hard_labels
from tutelage.errors import InputError
from tutelage.evaluation.agreement import Ratings
from tutelage.methods.labelling.iptc import Acceptance, accept
from tutelage.pipeline.annotate import labelled
from tutelage.pipeline.folder import Run, write_atomically
from tutelage.pipeline.gold import agreement_of
from tutelage.pipeline.review import items_of, rows_to_review
from tutelage.pipeline.sinks import safe_cell
from tutelage.teachers.base import fingerprint, text_fingerprint
from tutelage.teachers.ledger import Answer, Ledger

TEACHER = "human"
REVIEWED = "reviewed.csv"
"""The file of a run in which `Review.write_gold` leaves texts and answers."""
WITHDRAWN, DISCARDED = "withdrawn", "discarded"
MOST_PEOPLE = 9
_PERSON = re.compile(r"[^\W_][\w. @+-]{0,39}")


@dataclass(frozen=True)
class Said:
    """What a person said of a text: labels, or the code by which it was thrown away."""

    labels: tuple[str, ...]
    discard: str | None = None
    created: str = ""


class Review:
    """The review of a run; see the module. `Review.begin` draws the sample, `Review.of` opens it."""

    def __init__(self, run: Run, ids: Sequence[str], people: Sequence[str]) -> None:
        self.run, self.people = run, list(people)
        self.scheme = run.config.labels
        self._teacher = fingerprint({"kind": TEACHER, "how": "review"})
        self._prompt = fingerprint({"scheme": self.scheme.fingerprint})
        self.items = items_of(run, ids)
        self.place = {item.id: n for n, item in enumerate(self.items)}

    @classmethod
    def begin(cls, run: Run, person: str, per_label: int = 18) -> Self:
        """Draw the sample, or let one more person into the review that is there.

        Raises: InputError: no labels yet, a name that is none, or too many people.
        """
        kept = _kept(run)
        data = None if kept else labelled(run)
        ids = (
            kept["ids"]
            if data is None
            else [str(data.ids[row]) for row in rows_to_review(data, per_label, run.config.seed)]
        )
        people = list(kept.get("people", []))
        if not _PERSON.fullmatch(person):
            raise InputError(
                f"a reviewer's name has letters, digits and . @ + - in it, 40 at most; got {person[:60]!r}"
            )
        if person not in people:
            people.append(person)
        if len(people) > MOST_PEOPLE:
            raise InputError(f"at most {MOST_PEOPLE} people review a run")
        run.put_json("review", {"ids": ids, "people": people})
        return cls(run, ids, people)

    @classmethod
    def of(cls, run: Run) -> Self | None:
        """The review of a run, or None where nobody has begun one."""
        kept = _kept(run)
        return cls(run, kept["ids"], kept["people"]) if kept else None

    def said(self, person: str) -> dict[str, Said]:
        """A person's answers by id of the text. Raises: InputError: nobody of that name reviews."""
        return self._said(self._number(person))

    def everybody(self) -> dict[str, dict[str, Said]]:
        """All answers, by person."""
        return {person: self._said(number) for number, person in enumerate(self.people)}

    def give(self, person: str, id: str, labels: Sequence[str] = (), discard: str | None = None) -> None:
        """File an answer; an answer that is there is replaced.

        Raises: InputError: a text that is not in the sample, labels outside the scheme or too many or none of them, or
            another process that is writing the ledger.
        """
        self._file(person, {id: Said(tuple(labels), discard)})

    def undo(self, person: str) -> str | None:
        """Take back the latest answer: -> the id of its text, None where there is none."""
        given = self.said(person)
        if not given:
            return None
        id = max(given, key=lambda key: (given[key].created, self.place[key]))
        with self._writing() as ledger:
            ledger.put([self._answer(self._number(person), id, status=WITHDRAWN)], derived=True)
        return id

    def take_in(self, answers: Iterable[tuple[str, str, Said]]) -> dict[str, int]:
        """File answers (person, id or text, what they said) from elsewhere: -> counts taken, kept (were there), unknown.

        Answers that are here win. Raises: InputError: see `give` and `begin`; nothing is filed then.
        """
        by_text = {item.text: item.id for item in self.items}
        wanted: dict[str, dict[str, Said]] = {}
        counts = {"taken": 0, "kept": 0, "unknown": 0}
        for person, key, said in answers:
            id = key if key in self.place else by_text.get(key)
            if id is None:
                counts["unknown"] += 1
            else:
                self._check(said)
                wanted.setdefault(person, {})[id] = said
        for person in wanted:
            if person not in self.people:
                self.people = Review.begin(self.run, person).people
        for person, given in wanted.items():
            here = self.said(person)
            fresh = {id: said for id, said in given.items() if id not in here}
            counts["taken"] += len(fresh)
            counts["kept"] += len(given) - len(fresh)
            self._file(person, fresh)
        return counts

    def agreement(self) -> tuple[list[dict[str, Any]], Acceptance]:
        """Alpha of every two raters who share texts, teacher first, and what the acceptance rule says so far."""
        everybody = self.everybody()
        rated = {"teacher": self._ratings({item.id: item.teacher for item in self.items if item.teacher is not None})}
        for person, given in everybody.items():
            rated[person] = self._ratings({id: said.labels for id, said in given.items() if said.discard is None})
        names, rows = list(rated), []
        for n, first in enumerate(names):
            for second in names[n + 1 :]:
                both = sum(
                    not _missing(a) and not _missing(b) for a, b in zip(rated[first], rated[second], strict=True)
                )
                if both:
                    same = sum(a == b and not _missing(a) for a, b in zip(rated[first], rated[second], strict=True))
                    found = agreement_of([rated[first], rated[second]], self.scheme.names)
                    rows.append({"first": first, "second": second, "same": same, **found, "n": both})
        defined = lambda row: np.isfinite(row["alpha"])
        mine = [row["alpha"] for row in rows if row["first"] == "teacher" and defined(row)]
        people = [row["alpha"] for row in rows if row["first"] != "teacher" and defined(row)]
        return rows, accept(mine, float(np.mean(people)) if people else None)

    def write_gold(self) -> Path:
        """Write the answers as `reviewed.csv` of the run (id, text, label, label_2 …), for `tutelage evaluate --gold`.

        Raises: InputError: nobody has answered anything, or the file cannot be written.
        """
        everybody = [given for given in self.everybody().values() if given]
        if not everybody:
            raise InputError("nobody has labelled a text yet")
        page = io.StringIO(newline="")
        writer = csv.writer(page)
        writer.writerow(["id", "text", "label", *(f"label_{n}" for n in range(2, len(everybody) + 1))])
        for item in self.items:
            cells = [_cell(given.get(item.id)) for given in everybody]
            if any(cells):
                writer.writerow([safe_cell(item.id), safe_cell(item.text), *map(safe_cell, cells)])
        path = self.run.path / REVIEWED
        try:
            write_atomically(path, page.getvalue().encode("utf-8", "replace"))
        except OSError as error:
            raise InputError(f"cannot write {path}: {error.strerror or error}") from None
        return path

    def _said(self, number: int) -> dict[str, Said]:
        if not (self.run.path / "labels.sqlite").exists():
            return {}
        texts = {text_fingerprint(item.text): item.id for item in self.items}
        with self.run.ledger(readonly=True) as ledger:
            found = ledger.get(self._teacher, self._prompt, texts, number)
        usable = {texts[text]: answer for text, answer in found.items() if answer.status != WITHDRAWN}
        return {
            id: Said(a.label, a.raw if a.status == DISCARDED else None, a.created) for id, a in usable.items()
        }  # fmt: skip

    def _file(self, person: str, given: Mapping[str, Said]) -> None:
        number = self._number(person)
        for id, said in given.items():
            if id not in self.place:
                raise InputError(f"text {id[:60]!r} is not in the sample")
            self._check(said)
        rows = [
            self._answer(number, id, DISCARDED if said.discard else "ok", said.labels, said.discard)
            for id, said in given.items()
        ]
        with self._writing() as ledger:
            ledger.put(rows, derived=True)

    def _check(self, said: Said) -> None:
        if said.discard is not None:
            if said.discard not in [label.name for label in self.scheme.discard] or said.labels:
                raise InputError(f"{said.discard[:60]!r} is no code for a text to throw away")
        elif unknown := [name for name in said.labels if name not in self.scheme.names]:
            raise InputError(f"{unknown[0][:60]!r} is not a label of {self.scheme.name!r}")
        elif not self.scheme.multi and len(said.labels) != 1:
            raise InputError(f"a text has one label; got {len(said.labels)}")

    def _answer(
        self, number: int, id: str, status: str, labels: tuple[str, ...] = (), code: str | None = None
    ) -> Answer:
        ordered = tuple(sorted(set(labels), key=self.scheme.index))
        text = text_fingerprint(self.items[self.place[id]].text)
        return Answer(self._teacher, self._prompt, text, number, status, ordered, raw=code, cost=0.0)

    def _writing(self) -> Ledger:
        """The ledger, described; the caller closes it."""
        ledger = Ledger(self.run.path / "labels.sqlite", wait=2.0)
        ledger.describe(self._teacher, "teacher", {"name": TEACHER, "annotators": self.people})
        ledger.describe(self._prompt, "prompt", {"scheme": self.scheme.name})
        return ledger

    def _number(self, person: str) -> int:
        if person not in self.people:
            raise InputError(
                f"nobody called {person[:60]!r} reviews this run; there are {', '.join(self.people) or 'none'}"
            )
        return self.people.index(person)

    def _ratings(self, given: Mapping[str, tuple[str, ...]]) -> Ratings:
        """Codes (N,) with −1, or in a multi-label scheme sets of codes with None, for what is not rated."""
        ids = [item.id for item in self.items]
        if self.scheme.multi:
            index = self.scheme.index
            return [frozenset(map(index, given[id])) if id in given else None for id in ids]
        return hard_labels(annotations(ids, [list(given.get(id, ())) for id in ids]), self.scheme)


def _kept(run: Run) -> dict[str, list[str]]:
    """`review.json`; {} where there is none. Raises: InputError: it is not as `Review.begin` writes it."""
    kept = run.json("review")
    lists = [kept.get("ids"), kept.get("people")] if isinstance(kept, dict) else [None]
    if kept and not all(isinstance(one, list) and all(isinstance(x, str) for x in one) for one in lists):
        raise InputError(f"{run.path / 'review.json'} is no review: it names no texts or no people")
    return kept


def _missing(rating: Any) -> bool:
    return rating is None or (not isinstance(rating, frozenset) and rating < 0)


def _cell(said: Said | None) -> str:
    return "" if said is None else said.discard or "|".join(said.labels)
