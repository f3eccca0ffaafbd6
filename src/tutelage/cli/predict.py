"""`tutelage predict`: a student labels files of any size."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from tutelage.cli import options as o
from tutelage.cli.ui import Screen


def predict(
    student: Annotated[
        Path, Argument(metavar="RUN_OR_STUDENT", help="A run folder or an exported student.", show_default=False)
    ],
    texts: Annotated[
        str, Argument(metavar="FILE", help="A file, a folder, hf://NAME, or '-' for standard input.")
    ] = "-",
    out: Annotated[
        str, Option(help="A .parquet, .jsonl, .csv or .tsv file, or '-' for JSON Lines on standard output.")
    ] = "-",
    text: o.TextColumn = None,
    threshold: Annotated[float, Option(help="Below this confidence the label is left empty.", min=0, max=1)] = 0.0,
    format: Annotated[
        str | None, Option(help="parquet, jsonl, csv or tsv where --out does not tell.", show_default=False)
    ] = None,
    batch_rows: Annotated[int, Option(help="Rows in memory at a time.", min=1)] = 8192,
    strict: o.Strict = False,
    quiet: o.Quiet = False,
) -> None:
    """Add a label and a confidence to every text: constant memory, order kept, bad rows reported and skipped."""
    from tutelage.pipeline.predict import open_student
    from tutelage.pipeline.predict import predict as run_prediction

    screen = Screen(quiet=quiet)
    model = open_student(student)
    with screen.counter("predicting") as progress:
        done = run_prediction(
            model, texts, out, text=text, threshold=threshold, batch_rows=batch_rows, strict=strict, format=format,
            progress=progress,
        )  # fmt: skip
    for reject in done.rejects[:5]:
        screen.note(f"row {reject.row} skipped: {reject.reason}")
    reasons = ", ".join(f"{count:,} {reason}" for reason, count in done.rejected.items())
    rest = f", {sum(done.rejected.values()):,} bad rows skipped ({reasons})" if reasons else ""
    unsure = f", {done.abstained:,} below the threshold" if threshold else ""
    screen.note(f"{done.rows:,} rows labelled{unsure}{rest}")
