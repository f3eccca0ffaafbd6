"""`tutelage report`: the page for people, written again."""

from __future__ import annotations

from tutelage.cli import options as o
from tutelage.cli.ui import Screen


def report(run: o.RunFolder, no_texts: o.NoTexts = False, quiet: o.Quiet = False, json: o.Json = False) -> None:
    """Write report.html from metrics.json: one file that opens offline."""
    from tutelage.pipeline.folder import Run
    from tutelage.pipeline.report import publish

    path = publish(Run(run), texts=not no_texts)
    Screen(quiet=quiet, json=json).result({"report": str(path)}, str(path))
