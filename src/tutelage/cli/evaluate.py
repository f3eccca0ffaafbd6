"""`tutelage evaluate`: how far the student can be trusted; or the sample that people review to find out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from tutelage.cli import options as o
from tutelage.cli.ui import Screen
from tutelage.errors import InputError


def evaluate(
    run: o.RunFolder,
    gold: Annotated[
        str | None, Option(help="Reviewed labels: a file with id or text, and label.", show_default=False)
    ] = None,
    sample: Annotated[
        Path | None, Option(help="Write a blind sample for people to review, and stop.", show_default=False)
    ] = None,
    per_label: Annotated[int, Option(help="Texts of each teacher label in the sample.", min=1)] = 18,
    budget: o.Budget = None,
    force: o.Force = False,
    no_texts: o.NoTexts = None,
    quiet: o.Quiet = False,
    json: o.Json = False,
) -> None:
    """Score teacher and student on human labels, and write metrics.json and report.html."""
    from tutelage.cli.runs import ask_before_sending_a_key, show_summary
    from tutelage.pipeline.annotate import annotate
    from tutelage.pipeline.distill import gold_config, refuse_unless
    from tutelage.pipeline.evaluate import evaluate as run_evaluation
    from tutelage.pipeline.folder import Run
    from tutelage.pipeline.pool import prepare
    from tutelage.pipeline.report import publish
    from tutelage.pipeline.review import write_review_sample
    from tutelage.pipeline.teacher import Service, teacher_of

    screen = Screen(quiet=quiet, json=json)
    if sample is not None and gold is not None:
        raise InputError("--sample writes a file for people, --gold reads it back: one after the other")
    folder = Run(run)
    if sample is not None:
        count = write_review_sample(folder, sample, per_label=per_label)
        screen.result(
            {"sample": str(sample), "texts": count},
            f"{count} texts to review in {sample}: fill in `label` (a second person: `label_2`), then\n"
            f"tutelage evaluate {run} --gold {sample}",
        )
        return
    if gold is not None:
        ask_before_sending_a_key(folder)
    with folder.working():
        if gold is not None:  # the pool loses the reviewed texts; the teacher's answers on them are in the ledger
            folder.config = folder.config.model_copy(update={"gold": gold_config(gold)})
            prepare(folder, log=screen.note)  # a file that is wrong changes nothing
            folder.configure(folder.config)
            annotate(folder, teacher_of(folder, Service(budget)), limit=0, log=screen.note)
        metrics = run_evaluation(folder, log=screen.note)
        publish(folder, texts=None if no_texts is None else not no_texts)
    show_summary(screen, folder, metrics)
    refuse_unless(metrics, force, folder)
