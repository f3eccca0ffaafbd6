"""`tutelage demo`: the whole job on a small corpus that ships with the package."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from tutelage.cli import options as o
from tutelage.cli.ui import Screen


def demo(
    out: Annotated[Path, Option(help="The run folder.")] = Path("runs/demo"),
    student: o.Tier = "auto",
    seed: o.Seed = 0,
    quiet: o.Quiet = False,
    json: o.Json = False,
) -> None:
    """Distil a news-topic classifier from a zero-shot teacher: 1,190 items, 17 topics, five languages, offline."""
    from tutelage.cli.runs import show_summary
    from tutelage.pipeline.demo import demo as run_demo

    screen = Screen(quiet=quiet, json=json)
    with screen.progress("annotating") as progress:
        done = run_demo(out, student=student, seed=seed, progress=progress, log=screen.note)
    show_summary(screen, done.run, done.metrics)
    if not json:
        screen.result({}, f"Try it: echo 'Rain and gales are expected tonight.' | tutelage predict {out} -")
