"""`tutelage refresh`: drifted texts to the teacher, a new student, and a comparison before anything is replaced."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import Annotated

from typer import Argument, Option, confirm

from tutelage.cli import options as o
from tutelage.cli.ui import Screen


def refresh(
    run: o.RunFolder,
    texts: Annotated[
        str | None, Argument(metavar="[FILE]", help="New texts; without it the samples that `tutelage serve` has left.")
    ] = None,
    text: o.TextColumn = None,
    budget: o.Budget = None,
    concurrency: o.Concurrency = 8,
    yes: Annotated[
        bool, Option("--yes", "-y", help="Replace the old student without asking, if the new one wins.")
    ] = False,
    force: Annotated[bool, Option(help="Replace it even if the new one loses.")] = False,
    quiet: o.Quiet = False,
    json: o.Json = False,
) -> None:
    """Label drifted texts, retrain, and show old against new; the new student takes over when you say so."""
    from tutelage.cli.runs import ask_before_sending_a_key, service
    from tutelage.pipeline.folder import Run
    from tutelage.pipeline.teacher import teacher_of
    from tutelage.serving.refresh import propose

    screen = Screen(quiet=quiet, json=json)
    folder = Run(run)
    ask_before_sending_a_key(folder)
    with folder.working():
        with screen.progress("annotating") as progress:
            teacher = teacher_of(folder, service(budget, concurrency, None, None, False, False))
            candidate = propose(folder, teacher, texts, text=text, progress=progress, log=screen.note)
        rows = [row for row in (candidate.drifted, candidate.gold) if row is not None]
        shown = {"texts": candidate.texts, "labelled": candidate.labelled, "compared": [asdict(row) for row in rows]}
        lines = [
            f"{row.on}: old {row.old:.3f}, new {row.new:.3f}, difference {row.difference:+.3f} "
            f"[{row.interval[0]:+.3f}, {row.interval[1]:+.3f}], {row.texts:,} texts"
            for row in rows
        ]
        if not json:
            screen.result({}, "\n".join(["macro-F1 on", *lines]))
        wanted = yes or force
        if not wanted and not candidate.fault and not json and sys.stdin.isatty():
            wanted = confirm("Replace the old student?")
        if not wanted and not candidate.fault:
            candidate.discard()
            screen.result(
                {**shown, "replaced": False}, "nothing is replaced; the same command with --yes replaces the student"
            )
            return
        try:
            candidate.adopt(force=force)
        finally:
            candidate.discard()
    screen.result({**shown, "replaced": True}, f"the new student has taken over. Next: tutelage evaluate {run}")
