"""`tutelage trace`: knowledge tracing over a log of answers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option

from tutelage.cli import options as o
from tutelage.cli.ui import Screen

_COLUMNS = "Columns of the log"


def trace(
    log: Annotated[
        Path,
        Argument(
            metavar="LOG",
            help="One row an answer (.csv, .tsv, .jsonl, .parquet), or three lines a learner.",
            show_default=False,
        ),
    ],
    out: Annotated[Path | None, Option(help="The folder to write. [default: traces/NAME]", show_default=False)] = None,
    tracer: Annotated[
        str, Option(help="mean, pfa, dkt or cakt; auto tries all and takes the simplest of the best.")
    ] = "auto",
    learner: Annotated[str | None, Option(help="Who answered.", rich_help_panel=_COLUMNS, show_default=False)] = None,
    concept: Annotated[
        str | None,
        Option("--concept", "--skill", help="What it was about.", rich_help_panel=_COLUMNS, show_default=False),
    ] = None,
    correct: Annotated[
        str | None, Option(help="Right or wrong: 0 or 1.", rich_help_panel=_COLUMNS, show_default=False)
    ] = None,
    time: Annotated[
        str | None, Option(help="When; without it rows are in order.", rich_help_panel=_COLUMNS, show_default=False)
    ] = None,
    shortest: Annotated[int, Option(help="Learn from learners with so many answers or more.", min=1)] = 5,
    epochs: Annotated[
        int | None,
        Option(help="Passes of a network over the log. [default: 15, more for a small log]", min=1, show_default=False),
    ] = None,
    seed: o.Seed = 0,
    quiet: o.Quiet = False,
    json: o.Json = False,
) -> None:
    """Trace what learners know: mastery by learner and skill, next-answer predictions, and a page for the teacher."""
    import sys

    from tutelage.data.answer_files import read_answer_log
    from tutelage.pipeline.trace import TraceOptions
    from tutelage.pipeline.trace import trace as run_trace

    screen = Screen(quiet=quiet, json=json)
    answers = read_answer_log(log, learner=learner, concept=concept, correct=correct, time=time)
    for remark in answers.remarks:
        screen.note(remark)
    screen.note(f"{answers.answers:,} answers of {len(answers):,} learners about {len(answers.concepts):,} skills")
    folder = out or Path("traces") / log.name.split(".")[0]
    options = TraceOptions(tracer, shortest, epochs, seed)
    facts = run_trace(answers, folder, options, note=screen.note, bars=not screen.quiet and sys.stderr.isatty())
    best, low, high = facts["against"]["gain"], *facts["against"]["interval"]
    lines = [f"{'tracer':8} {'AUC':>6}  95 % interval    (held-out learners)"]
    for row in facts["tracers"]:
        mark = " <- speaks" if row["name"] == facts["chosen"] else ""
        lines.append(
            f"{row['name']:8} {row['test_auc']:6.3f}  {row['interval'][0]:.3f} to {row['interval'][1]:.3f}{mark}"
        )
    lines.append(f"{facts['chosen']} against {facts['against']['name']}: {best:+.3f} ({low:+.3f} to {high:+.3f})")
    lines.append(f"Mastery: {folder / 'mastery.csv'} · page: {folder / 'trace.html'}")
    screen.result({"folder": str(folder)} | {k: facts[k] for k in ("chosen", "tracers", "against")}, "\n".join(lines))
