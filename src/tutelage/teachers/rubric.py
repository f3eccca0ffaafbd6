"""RubricTeacher: a multi-label scheme as a rubric, every category a yes/no question of its own.

Asking one prompt for all labels is cheap; asking one statement at a time is what makes categories comparable with a person
who codes them one by one (Wang et al., "SIGHT", 2023, arXiv:2306.09343). A category's statement is its definition, or its
`opposite`, whose answer is turned round (for "is not in English" the question that models answer well is "is in English").
Its `examples` and `counter_examples` are shown with the two answers.

Each cell (text, category) is an answer of the inner teacher, with a row of its own in the ledger: interrupted runs go on,
a reworded category is asked anew and the others are not. A text is usable when all its cells are.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa

from tutelage.data.annotations import annotations, soft_targets
from tutelage.data.labels import Label, LabelScheme
from tutelage.errors import InputError
from tutelage.teachers.base import Pool, Progress, ProgressEvent, Teacher, fingerprint
from tutelage.teachers.ledger import Ledger
from tutelage.teachers.records import Answer

if TYPE_CHECKING:
    from tutelage.teachers.llm.teacher import DryRun

RUBRIC_BODY = """\
### Task
Judge one statement about the text at the end. {task}

### Answers
{labels}

### Answer format
{format}
{examples}
### Text
{text}

Answer now, with the JSON object alone.
"""
"""The prompt of a chat model that answers one statement."""

_COSTS = ("tokens_in", "tokens_out", "cost")


@dataclass(frozen=True)
class RubricTeacher:
    """Answers of `teacher` to one statement a category, put together to multi-label annotations.

    >>> from tutelage.teachers.llm.base import ScriptedChat
    >>> from tutelage.teachers.llm.teacher import LLMTeacher
    >>> model = ScriptedChat(lambda r: '{"label": "true"}' if "chalk" in r.messages[0]["content"] else '{"label": "false"}')
    >>> rubric = LabelScheme.from_dict({"kind": "multi", "labels": [
    ...     {"name": "setup", "definition": "It is about board, chalk or sound."},
    ...     {"name": "foreign", "definition": "It is not English.", "opposite": "It is English, or says chalk."}]})
    >>> texts = pa.table({"id": ["1"], "text": ["Speak up!"]})
    >>> RubricTeacher(LLMTeacher(model)).annotate(texts, rubric)["label"].to_pylist()
    [['setup']]

    Raises: InputError (from its verbs): a scheme that is not multi-label.
    """

    teacher: Teacher

    @property
    def name(self) -> str:
        return f"rubric:{self.teacher.name}"

    @property
    def fingerprint(self) -> str:
        return fingerprint({"kind": "rubric", "teacher": self.teacher.fingerprint})

    def prompt_fingerprint(self, scheme: LabelScheme) -> str:
        asked = [self.teacher.prompt_fingerprint(question(label)) for label in _categories(scheme)]
        turned = [label.opposite is not None for label in scheme.labels]
        return fingerprint({"categories": scheme.names, "prompts": asked, "turned": turned})

    def annotate(
        self, table: pa.Table, scheme: LabelScheme, *, ledger: Ledger | None = None, sample: int = 0,
        progress: Progress | None = None,
    ) -> pa.Table:  # fmt: skip
        """Annotations of all texts; see `Teacher.annotate`. Categories are asked one after the other."""
        with contextlib.ExitStack() as stack:
            book = ledger or stack.enter_context(Ledger(":memory:"))
            book.describe(self.fingerprint, "teacher", {"name": self.name, "teacher": self.teacher.fingerprint})
            book.describe(
                self.prompt_fingerprint(scheme), "prompt", {"scheme": scheme.name, "labels": list(scheme.names)}
            )
            for place, label in enumerate(_categories(scheme)):
                share = _share(place, len(scheme), progress)
                self.teacher.annotate(table, question(label), ledger=book, sample=sample, progress=share)
            found = self.answered(table, scheme, book, sample=sample)
            pool = Pool.of(table)
            texts = dict(zip(pool.ids, pool.fingerprints, strict=True))
            book.put([_row(row, texts[str(row["id"])], sample) for row in found.to_pylist()], derived=True)
        return found

    def answered(self, table: pa.Table, scheme: LabelScheme, ledger: Ledger, *, sample: int = 0) -> pa.Table:
        """Texts of which the ledger holds every cell; see `Teacher.answered`."""
        ids = [str(key) for key in table["id"].to_pylist()]
        probs, asked, failure, costs = self._cells(table, scheme, ledger, sample)
        keep = np.flatnonzero(asked.all(axis=1)).tolist()
        good = {i for i in keep if np.isfinite(probs[i]).all()}
        return annotations(
            [ids[i] for i in keep],
            [[scheme.names[k] for k in np.flatnonzero(probs[i] >= 0.5)] if i in good else [] for i in keep],
            sample=sample,
            probs=[probs[i].tolist() if i in good else None for i in keep],
            status=["ok" if i in good else failure[i] for i in keep],
            teacher=self.fingerprint,
            prompt=self.prompt_fingerprint(scheme),
            **{name: costs[name][keep].astype(float if name == "cost" else int).tolist() for name in _COSTS},
        )

    def dry_run(self, table: pa.Table, scheme: LabelScheme, *, ledger: Ledger | None = None, sample: int = 0) -> DryRun:
        """The first category's prompt and what all categories together would cost; see `LLMTeacher.dry_run`.

        Raises: InputError: the inner teacher sends no prompts.
        """
        rehearse = getattr(self.teacher, "dry_run", None)
        if rehearse is None:
            raise InputError(f"the teacher {self.name} sends no prompts: there is nothing to rehearse")
        shown = [rehearse(table, question(label), ledger=ledger, sample=sample) for label in _categories(scheme)]
        totals = {name: sum(getattr(one, name) for one in shown) for name in ("pending", "tokens_in", "tokens_out")}
        cost = None if shown[0].cost is None else sum(one.cost for one in shown)
        return replace(shown[0], texts=len(scheme) * len(table), cost=cost, **totals)

    def codes(self, table: pa.Table, scheme: LabelScheme, ledger: Ledger, *, sample: int = 0) -> np.ndarray:
        """What the ledger holds cell by cell: (N, K) float64 of 1, 0 and NaN where there is no usable answer."""
        probs = self._cells(table, scheme, ledger, sample)[0]
        return np.where(np.isfinite(probs), probs >= 0.5, np.nan)

    def _cells(
        self, table: pa.Table, scheme: LabelScheme, ledger: Ledger, sample: int
    ) -> tuple[np.ndarray, np.ndarray, dict[int, str], dict[str, np.ndarray]]:
        """Probabilities (N, K) with NaN for failures, which cells were asked (N, K), first failures, costs (N,)."""
        place = {str(key): row for row, key in enumerate(table["id"].to_pylist())}
        probs, asked = np.full((len(place), len(scheme)), np.nan), np.zeros((len(place), len(scheme)), bool)
        failure: dict[int, str] = {}
        costs = {name: np.zeros(len(place)) for name in _COSTS}
        for k, label in enumerate(_categories(scheme)):
            cells = self.teacher.answered(table, question(label), ledger, sample=sample)
            rows = np.array([place[str(key)] for key in cells["id"].to_pylist()], np.int64)
            status = [str(value) for value in cells["status"].to_pylist()]
            usable = np.array([value == "ok" for value in status], bool)
            true = soft_targets(cells, question(label))[:, 0]
            probs[rows[usable], k] = (1 - true if label.opposite is not None else true)[usable]
            asked[rows, k] = True
            for row, value in zip(rows.tolist(), status, strict=True):
                if value != "ok":
                    failure.setdefault(row, value)
            for name in _COSTS:
                costs[name][rows] += np.nan_to_num(np.array(cells[name].to_pylist(), np.float64))
        return probs, asked, failure, costs


def question(label: Label) -> LabelScheme:
    """The two answers to a category's statement, as the scheme that the inner teacher is asked with.

    >>> print(question(Label(name="setup", definition="It is about the board.", examples=("chalk squeaks",))).prompt_block())
    - true - It is about the board. (for example: chalk squeaks)
    - false - The statement above does not fit the text.
    """
    statement = label.opposite or label.definition or f"The text belongs under {label.name!r}."
    shown = label.counter_examples if label.opposite is not None else label.examples
    others = label.examples if label.opposite is not None else label.counter_examples
    labels = (
        Label(name="true", definition=statement, examples=shown),
        Label(name="false", definition="The statement above does not fit the text.", examples=others),
    )
    return LabelScheme(name=label.name, kind="binary", labels=labels)


def _categories(scheme: LabelScheme) -> tuple[Label, ...]:
    if not scheme.multi:
        raise InputError(
            f"a rubric's categories are judged one by one, so its scheme is `kind: multi`; {scheme.name!r} is {scheme.kind!r}"
        )
    return scheme.labels


def _row(row: dict, text: str, sample: int) -> Answer:
    return Answer(
        row["teacher"], row["prompt"], text, sample, row["status"], tuple(row["label"]), row["probs"] and tuple(row["probs"]),
        tokens_in=row["tokens_in"], tokens_out=row["tokens_out"], cost=row["cost"],
    )  # fmt: skip


def _share(place: int, parts: int, progress: Progress | None) -> Progress | None:
    """A category's progress as a part of the whole."""
    if progress is None:
        return None
    return lambda event: progress(
        ProgressEvent(place * event.total + event.done, parts * event.total, event.failed, event.cost, event.currency)
    )
