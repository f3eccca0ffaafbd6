"""Who agrees with whom on which label: from a file of codes, or from a run's people, teacher and student.

A file holds its raters in one of three forms:

    annotator,label        one row a text and rater: text (or id), annotator, label
    gold,gold_2,teacher    one column a rater: a label, or several as a JSON list or joined by |
    H1_setup,H1_sound,…    one column a rater and label: 1, 0 or empty
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tutelage.data.annotations import annotations, hard_labels
from tutelage.data.labels import LabelScheme
from tutelage.data.readers import read_rows
from tutelage.errors import InputError
from tutelage.evaluation.agreement import Agreement, alpha
from tutelage.evaluation.raters import Measure, Reliability, mean_agreement, reliability_report
from tutelage.methods.labelling.sight import CategoryGate, Relation, relation
from tutelage.pipeline.folder import Run

if TYPE_CHECKING:
    import pyarrow as pa

_FLAGS = {"1": 1.0, "true": 1.0, "yes": 1.0, "0": 0.0, "false": 0.0, "no": 0.0, "": math.nan}


@dataclass(frozen=True)
class Raters:
    """Codes (N, K) of 1, 0 and NaN by rater, the K labels, and which raters are models."""

    codes: Mapping[str, np.ndarray]
    labels: tuple[str, ...]
    models: tuple[str, ...] = ()

    @property
    def people(self) -> dict[str, np.ndarray]:
        """The raters that are no models."""
        return {who: codes for who, codes in self.codes.items() if who not in self.models}


@dataclass(frozen=True)
class AgreementTable:
    """What `tutelage agreement` prints.

    Attributes:
        lines: by model ("" where there is none) HH and HM of every label.
        pairs: by label, agreement of every two raters.
        overall: alpha of every two raters on whole answers (sets of labels, MASI; nominal where each text has one).
        relation: how the first model's HM follows HH, where four labels or more have both.
    """

    raters: Raters
    measure: Measure
    lines: Mapping[str, Sequence[Reliability]]
    pairs: Mapping[str, Mapping[tuple[str, str], Agreement]]
    overall: Mapping[tuple[str, str], Agreement]
    relation: Relation | None

    def outcome(self, position: int) -> str:
        """What the gate says of a label and the first model."""
        return CategoryGate().outcome(next(iter(self.lines.values()))[position])

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON has it; undefined figures are null."""
        said: dict[str, Any] = {
            "raters": list(self.raters.codes), "models": list(self.raters.models), "measure": self.measure, "labels": [],
        }  # fmt: skip
        for position, label in enumerate(self.raters.labels):
            lines = {who: report[position] for who, report in self.lines.items()}
            first = next(iter(lines.values()))
            said["labels"].append(
                {
                    "name": label, "positives": first.positives, "positive": _number(first.positive),
                    "people": _agreement(first.people), "outcome": self.outcome(position),
                    "models": {who: _agreement(line.model) for who, line in lines.items() if line.model},
                    "pairs": [{"raters": list(pair), **_agreement(found)} for pair, found in self.pairs[label].items()],
                }
            )  # fmt: skip
        said["overall"] = [{"raters": list(pair), **_agreement(found)} for pair, found in self.overall.items()]
        said["relation"] = None if self.relation is None else asdict(self.relation)
        return said


def agreement_table(raters: Raters, *, measure: Measure = "kappa", resamples: int = 1_000) -> AgreementTable:
    """All figures of a set of raters.

    Raises: InputError: fewer than two raters, or a model and nobody to compare it with.
    """
    if len(raters.codes) < 2 or not raters.people:
        found = ", ".join(raters.codes) or "none"
        raise InputError(f"agreement needs two raters, at least one of them a person; there is {found}")
    models = raters.models or ("",)
    lines = {
        who: reliability_report(
            raters.people, raters.labels, raters.codes.get(who), measure=measure, resamples=resamples
        )
        for who in models
    }
    every_two = list(itertools.combinations(raters.codes, 2))
    pairs = {
        label: {
            (a, b): mean_agreement(
                [(raters.codes[a][:, k], raters.codes[b][:, k])], measure=measure, resamples=resamples
            )
            for a, b in every_two
        }
        for k, label in enumerate(raters.labels)
    }
    sets = {who: _sets(codes) for who, codes in raters.codes.items()}
    overall = {(a, b): alpha([sets[a], sets[b]], level="masi", resamples=resamples) for a, b in every_two}
    try:
        follows = relation(lines[models[0]])
    except InputError:
        follows = None
    return AgreementTable(raters, measure, lines, pairs, overall, follows)


def raters_of_run(run: Run) -> Raters:
    """People (gold, gold_2 …), teacher and student on the held-out texts of a run.

    Raises: InputError: the run has no human labels, or no student yet.
    """
    from tutelage.pipeline.predict import open_student

    if not run.has("gold"):
        raise InputError(
            f"the run {run.path} has no human labels: make a sample to review with "
            f"`tutelage evaluate {run.path} --sample to_review.csv`"
        )
    scheme, table = run.config.labels, run.table("gold")
    ids = [str(key) for key in table["id"].to_pylist()]
    names = [name for name in table.column_names if name.split("_")[0] == "gold"]
    codes = {name.replace("gold", "person", 1): _listed(table[name].to_pylist(), scheme) for name in names}
    if run.has("gold_annotations"):
        given = run.table("gold_annotations")
        answers = {
            key: label
            for key, label, status in zip(
                given["id"].to_pylist(), given["label"].to_pylist(), given["status"].to_pylist(), strict=True
            )
            if status == "ok"
        }
        codes["teacher"] = _listed([answers.get(key) for key in ids], scheme)
    said = open_student(run.path).predict(table["text"].to_pylist())
    codes["student"] = said.astype(np.float64) if said.ndim == 2 else _listed([[x] for x in said], scheme)
    return Raters(codes, scheme.names, tuple(who for who in ("teacher", "student") if who in codes))


def raters_of_file(
    source: str | Path | pa.Table,
    raters: Sequence[str] = (),
    models: Sequence[str] = (),
    labels: LabelScheme | None = None,
) -> Raters:
    """Raters of a file (see the module).

    Args: raters: columns, column prefixes or annotators; without any all annotators, or all columns that hold 0 and 1 by
        rater. models: those of them that are no people. labels: the scheme; without it all labels that occur.

    Raises: InputError: no such rater, a label outside the scheme, cells that are no codes.
    """
    rows = [fields for _, fields in read_rows(source) if isinstance(fields, dict)]
    if not rows:
        raise InputError(f"{source} holds no rows")
    columns = list(rows[0])
    wanted = list(dict.fromkeys([*raters, *models]))
    if "annotator" in columns and not set(wanted) & set(columns):
        cells = _by_annotator(rows, raters, models)
    elif not wanted:
        raise InputError(
            f"which raters? Name them with --raters: columns, or the beginnings of columns; there are {', '.join(columns[:40])}"
        )
    elif all(name in columns for name in wanted):
        cells = {name: [_names(row.get(name)) for row in rows] for name in wanted}
    else:
        return _wide(rows, columns, wanted, models, labels)
    found = {name for column in cells.values() for names in column if names for name in names}
    known = labels.names if labels else tuple(sorted(found))
    if unknown := sorted(found - set(known)):
        raise InputError(f"{source}: label {unknown[0]!r} is not in the scheme: {', '.join(known)}")
    scheme = labels or LabelScheme.from_dict({"kind": "multi", "labels": list(known)}, where=str(source))
    return Raters({who: _listed(column, scheme) for who, column in cells.items()}, scheme.names, tuple(models))


def _wide(
    rows: Sequence[Mapping[str, object]], columns: Sequence[str], wanted: Sequence[str], models: Sequence[str],
    labels: LabelScheme | None,
) -> Raters:  # fmt: skip
    """One column a rater and label, named rater_label."""
    has = {who: [c.removeprefix(f"{who}_") for c in columns if c.startswith(f"{who}_")] for who in wanted}
    for who, names in has.items():
        if not names:
            raise InputError(f"no column is {who!r} or begins with {who + '_'!r}; there are {', '.join(columns[:40])}")
    known = labels.names if labels else tuple(n for n in has[wanted[0]] if all(n in names for names in has.values()))
    if not known:
        raise InputError(f"the raters {', '.join(wanted)} have no label in common")
    codes = {}
    for who in wanted:
        if missing := [name for name in known if name not in has[who]]:
            raise InputError(f"rater {who!r} has no column {who + '_' + missing[0]!r}")
        cells = [
            [_flag(row.get(f"{who}_{name}"), f"{who}_{name}", n) for name in known] for n, row in enumerate(rows, 1)
        ]
        codes[who] = np.array(cells, np.float64)
    return Raters(codes, known, tuple(models))


def _by_annotator(
    rows: Sequence[Mapping[str, object]], raters: Sequence[str], models: Sequence[str]
) -> dict[str, list[list[str] | None]]:
    """One row a text and annotator; without `raters` all that there are."""
    key = next((name for name in ("id", "text") if name in rows[0]), None)
    if key is None or "label" not in rows[0]:
        raise InputError(
            f"a file with a column `annotator` needs `label` and `id` or `text`; it has {', '.join(rows[0])}"
        )
    texts = {text: place for place, text in enumerate(dict.fromkeys(str(row.get(key)) for row in rows))}
    present = list(dict.fromkeys(str(row.get("annotator") or "") for row in rows))
    if unknown := [who for who in (*raters, *models) if who not in present]:
        raise InputError(f"no annotator {unknown[0]!r}; there are {', '.join(present)}")
    cells: dict[str, list[list[str] | None]] = {who: [None] * len(texts) for who in (*(raters or present), *models)}
    for row in rows:
        if (who := str(row.get("annotator") or "")) in cells:
            cells[who][texts[str(row.get(key))]] = _names(row.get("label"))
    return cells


def _names(cell: object) -> list[str] | None:
    """Label names of a cell; None where it is empty."""
    if isinstance(cell, str) and cell.lstrip().startswith("["):
        try:
            cell = json.loads(cell)
        except ValueError:
            raise InputError(f"{cell[:60]!r} is no list of labels (in JSON)") from None
    if isinstance(cell, Sequence) and not isinstance(cell, str):
        return [str(name) for name in cell]
    text = "" if cell is None else str(cell).strip()
    return [part.strip() for part in text.split("|") if part.strip()] or None


def _flag(cell: object, column: str, row: int) -> float:
    text = "" if cell is None else str(cell).strip().lower().removesuffix(".0")
    if text not in _FLAGS:
        raise InputError(f"row {row}, column {column!r}: expected 0, 1 or nothing; found {cell!r}")
    return _FLAGS[text]


def _listed(cells: Sequence[Sequence[str] | None], scheme: LabelScheme) -> np.ndarray:
    """Lists of label names as codes (N, K); NaN where there is no list."""
    multi = scheme.model_copy(update={"kind": "multi"})
    codes = hard_labels(annotations([str(n) for n in range(len(cells))], [list(x or ()) for x in cells]), multi)
    return np.where([[x is not None] for x in cells], codes.astype(np.float64), np.nan)


def _sets(codes: np.ndarray) -> list[frozenset[int] | None]:
    """Answers as sets of label positions; None where a cell is missing."""
    return [frozenset(np.flatnonzero(row == 1).tolist()) if np.isfinite(row).all() else None for row in codes]


def _agreement(found: Agreement | None) -> dict[str, Any]:
    if found is None:
        return {}
    low, high = found.interval
    plain = {"value": _number(found.value), "low": _number(low), "high": _number(high), "n": found.n}
    return plain | ({"reason": found.reason} if found.reason else {})


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
