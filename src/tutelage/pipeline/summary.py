"""The main table of a run for the terminal."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tutelage.pipeline import figures

if TYPE_CHECKING:
    from rich.table import Table

_STYLE = {"teacher": "", "student": "bold", "other student": "dim", "trained on gold": "", "dummy": "dim"}


def render_summary(metrics: figures.Metrics) -> Table:
    """The report's main table: who, macro-F1 with its interval, micro-F1, texts per second, size, cost.

    Columns that nobody has a figure for are left out.
    """
    from rich import box
    from rich.table import Table
    from rich.text import Text

    rows = figures.lines(metrics)
    columns = [
        ("macro-F1", [figures.score(r.macro_f1) for r in rows]),
        ("95%", [figures.interval(r.interval) for r in rows]),
        ("micro-F1", [figures.score(r.micro_f1) for r in rows]),
        ("texts/s", [figures.rate(r.texts_per_second) for r in rows]),
        ("size", [figures.size(r.size) for r in rows]),
        ("per million", [r.cost for r in rows]),
    ]
    shown = [(title, cells) for title, cells in columns if any(cell not in ("", figures.DASH) for cell in cells)]
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True, show_edge=False)
    table.add_column("", min_width=14)  # gives way on a narrow terminal; the figures never do
    for title, cells in shown:
        table.add_column(title, justify="right", no_wrap=True, min_width=max(map(len, cells)))
    for position, row in enumerate(rows):
        who = Text.assemble(row.name, "  ", (row.note, "dim not bold"), no_wrap=True, overflow="ellipsis")
        table.add_row(who, *(Text(cells[position]) for _, cells in shown), style=_STYLE[row.role])
    return table
