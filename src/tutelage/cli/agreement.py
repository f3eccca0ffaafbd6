"""`tutelage agreement`: on which labels people agree, and on which a teacher or student agrees with them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from typer import Argument, Option

from tutelage.cli import options as o
from tutelage.cli.ui import Screen
from tutelage.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from tutelage.evaluation.agreement import Agreement
    from tutelage.pipeline.agreement import AgreementTable


def agreement(
    source: Annotated[str, Argument(help="A run folder with human labels, or a file of codes.", show_default=False)],
    raters: Annotated[
        str | None,
        Option(help="People: columns, beginnings of columns, or annotators; a,b,…", show_default=False),
    ] = None,
    models: Annotated[str | None, Option(help="The same for teachers and students.", show_default=False)] = None,
    labels: o.Labels = None,
    measure: Annotated[str, Option(help="kappa (Cohen) or alpha (Krippendorff).")] = "kappa",
    json: o.Json = False,
) -> None:
    """Inter-rater figures for each label, and which labels can be handed to a model.

    A file has one column a rater (a label, or several joined by |), one column a rater and label (H1_setup, with 0 and 1),
    or the columns text, annotator, label.
    """
    from tutelage.data.labels import LabelScheme
    from tutelage.pipeline.agreement import agreement_table, raters_of_file, raters_of_run
    from tutelage.pipeline.folder import Run

    if measure not in ("kappa", "alpha"):
        raise InputError(f"--measure is kappa or alpha; got {measure!r}")
    if (Path(source) / "run.yaml").is_file():
        if raters or models or labels:
            raise InputError("a run knows its raters and labels: leave out --raters, --models and --labels")
        who = raters_of_run(Run(source))
    else:
        scheme = LabelScheme.load(labels) if labels else None
        who = raters_of_file(source, _listed(raters), _listed(models), scheme)
    found = agreement_table(who, measure=measure)
    screen = Screen(json=json)
    screen.result(found.to_dict(), lambda: _table(found))
    if json:
        return
    short = _short(list(who.codes))
    for (a, b), value in found.overall.items():
        screen.result({}, f"whole answers, {short[a]} and {short[b]}: alpha {_figure(value)}")
    if found.relation is not None:
        r = found.relation
        screen.result(
            {},
            f"{short[who.models[0]]} follows people's agreement over {r.n} labels: Pearson {r.pearson:.2f} "
            f"({r.interval[0]:.2f} to {r.interval[1]:.2f}), one-sided p {r.p:.3f}",
        )


def _listed(names: str | None) -> list[str]:
    return [name.strip() for name in (names or "").split(",") if name.strip()]


def _short(names: list[str]) -> dict[str, str]:
    """Names of raters without the beginning that all of them share."""
    parts = [name.split("_") for name in names]
    shared = 0
    while all(len(words) > shared + 1 and words[shared] == parts[0][shared] for words in parts):
        shared += 1
    return {name: "_".join(words[shared:]) for name, words in zip(names, parts, strict=True)}


def _table(found: AgreementTable) -> Table:
    """One line a label: how often people give it, people among each other, each model with people, what follows."""
    from rich import box
    from rich.table import Table

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column("label", min_width=min(20, max(map(len, found.raters.labels))))
    several, models = len(found.raters.people) > 1, found.raters.models
    short = _short(list(found.raters.codes))
    columns = ["given", *(["people"] if several else []), *(short[who] for who in models)]
    rows: list[list[str]] = []
    for position in range(len(found.raters.labels)):
        lines = [report[position] for report in found.lines.values()]
        share = "–" if math.isnan(lines[0].positive) else f"{lines[0].positives} ({lines[0].positive:.0%})"
        cells = [share, *([_figure(lines[0].people)] if several else [])]
        cells += [_figure(line.model) for line in lines if line.model is not None]
        rows.append([*cells, *([found.outcome(position).removeprefix("needs a ")] if models and several else [])])
    for place, title in enumerate(columns):
        table.add_column(title, justify="right", no_wrap=True, min_width=max(len(row[place]) for row in rows))
    if models and several:
        table.add_column("wants", no_wrap=True, min_width=max(len(row[-1]) for row in rows))
    for label, cells in zip(found.raters.labels, rows, strict=True):
        table.add_row(label, *cells)
    table.caption = f"{found.measure} with its 95 % interval; given: by at least one person"
    return table


def _figure(found: Agreement) -> str:
    if math.isnan(found.value):
        return f"– ({found.reason})"
    low, high = found.interval
    return f"{found.value:.2f} [{low:.2f}, {high:.2f}]"
