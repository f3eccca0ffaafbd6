"""`tutelage predict`: a student labels files of any size."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

from typer import Argument, Option

from tutelage.cli import options as o
from tutelage.cli.ui import Screen
from tutelage.errors import Interrupted


def predict(
    student: Annotated[
        Path, Argument(metavar="RUN_OR_STUDENT", help="A run folder or an exported student.", show_default=False)
    ],
    texts: Annotated[
        list[str] | None,
        Argument(
            metavar="FILE...",
            help="Files, folders (of .txt, or of Parquet files), hf://NAME, or '-' for standard input. \\[default: -]",
            show_default=False,
        ),
    ] = None,
    out: Annotated[
        str,
        Option(
            help="A .parquet, .jsonl, .csv or .tsv file, or '-' for JSON Lines on standard output; with --engine ray also "
            "a folder of Parquet parts."
        ),
    ] = "-",
    text: o.TextColumn = None,
    threshold: Annotated[float, Option(help="Below this confidence the label is left empty.", min=0, max=1)] = 0.0,
    prefix: Annotated[
        str, Option(help="What the names of the two new columns begin with.", metavar="TEXT", show_default=False)
    ] = "",
    format: Annotated[
        str | None, Option(help="parquet, jsonl, csv or tsv where --out does not tell.", show_default=False)
    ] = None,
    batch_rows: Annotated[int, Option(help="Rows in memory at a time.", min=1)] = 8192,
    strict: o.Strict = False,
    engine: o.Engine = "local",
    workers: o.Workers = None,
    quiet: o.Quiet = False,
) -> None:
    """Add a label and a confidence to every text: constant memory, order kept, bad rows reported and skipped."""
    sources = texts or ["-"]
    options = {
        "text": text, "threshold": threshold, "prefix": prefix, "batch_rows": batch_rows, "strict": strict, "format": format,
    }  # fmt: skip
    screen = Screen(quiet=quiet)
    if sources == ["-"] and sys.stdin.isatty():
        screen.note("reading texts from the terminal, one a line; Ctrl-D ends them")
    written = [0]
    with screen.counter("predicting") as show:

        def progress(rows: int) -> None:
            written[0] = rows
            if show:
                show(rows)

        try:
            done = _run(engine, workers)(student, sources, out, progress=progress, **options)
        except KeyboardInterrupt:
            kept = "the last line on standard output may be cut off"
            if out != "-":
                kept = f"{out} is as it was before" if Path(out).exists() else f"{out} is not written"
            raise Interrupted(f"interrupted after {written[0]:,} rows; {kept}") from None
    for reject in done.rejects[:5]:
        where = f"{reject.source}, " if reject.source else ""
        screen.note(f"{where}row {reject.row} skipped: {reject.reason}")
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in done.rejected.items())
    bad = sum(done.rejected.values())
    rest = f", {_rows(bad, 'bad row')} skipped ({reasons})" if bad else ""
    unsure = f", {done.abstained:,} below the threshold" if threshold else ""
    screen.note(f"{_rows(done.rows, 'row')} labelled{unsure}{rest}")


def _rows(count: int, what: str) -> str:
    return f"{count:,} {what}{'s' * (count != 1)}"


def _run(engine: str, workers: int | None) -> Any:
    """The engine as a function of student folder, sources and sink."""
    from functools import partial

    if engine == "ray":
        from tutelage.pipeline.predict_ray import predict_on_ray

        return partial(predict_on_ray, workers=workers)
    o.check_engine(engine, workers)
    from tutelage.pipeline.predict import open_student
    from tutelage.pipeline.predict import predict as run_prediction

    return lambda student, *arguments, **options: run_prediction(open_student(student), *arguments, **options)
