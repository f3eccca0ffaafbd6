"""`tutelage report`: the page for people, written again; the figures, in an experiment tracker."""

from __future__ import annotations

from typing import Annotated

from typer import Option

from tutelage.cli import options as o
from tutelage.cli.ui import Screen


def report(
    run: o.RunFolder,
    no_texts: o.NoTexts = None,
    log_to: Annotated[
        str | None, Option(help="Log the figures too, without any text: mlflow or trackio.", show_default=False)
    ] = None,
    quiet: o.Quiet = False,
    json: o.Json = False,
) -> None:
    """Write report.html from metrics.json: one file that opens offline."""
    from tutelage.pipeline.folder import Run
    from tutelage.pipeline.report import publish

    screen, folder = Screen(quiet=quiet, json=json), Run(run)
    with folder.working():
        path = publish(folder, texts=None if no_texts is None else not no_texts)
    facts: dict[str, object] = {"report": str(path)}
    if log_to is not None:
        from tutelage.pipeline.trackers import log_run

        facts["logged"] = log_run(folder, log_to)
        screen.note(f"{facts['logged']} figures logged to {log_to}")
    screen.result(facts, str(path))
