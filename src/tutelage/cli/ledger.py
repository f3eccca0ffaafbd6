"""`tutelage ledger`: what the teacher was asked and said; export, import, forget, verify, repair."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from tutelage.cli import options as o
from tutelage.cli.ui import Screen
from tutelage.errors import InputError


def ledger(
    run: o.RunFolder,
    export: Annotated[
        Path | None, Option(help="Write all answers to a .parquet, .jsonl or .csv file.", show_default=False)
    ] = None,
    import_: Annotated[
        Path | None, Option("--import", help="Read other people's labels from a file.", show_default=False)
    ] = None,
    labels: o.Labels = None,
    text: o.TextColumn = None,
    id: o.IdColumn = None,
    forget: Annotated[
        list[str] | None,
        Option(metavar="ID", help="Delete a text everywhere in the run (repeatable).", show_default=False),
    ] = None,
    verify: Annotated[bool, Option("--verify", help="Check every row's digest.")] = False,
    repair: Annotated[bool, Option("--repair", help="Make a damaged ledger whole; the damaged file stays.")] = False,
    json: o.Json = False,
) -> None:
    """Summarise the ledger of a run, or move answers in and out.

    --import takes an export of another ledger, or any file with texts (or ids of the run) and a `label` column, or one
    column of 0 and 1 for each label. With --labels it makes the run, if there is none, from the file's own texts.
    """
    from tutelage.pipeline import exchange
    from tutelage.pipeline.folder import Run
    from tutelage.pipeline.forget import forget as run_forget

    screen = Screen(json=json)
    actions = {
        "--export": export is not None, "--import": import_ is not None, "--forget": bool(forget), "--verify": verify,
        "--repair": repair,
    }  # fmt: skip
    wanted = [name for name, there in actions.items() if there]
    if len(wanted) > 1:
        raise InputError(f"one thing at a time: {' and '.join(wanted)} are several commands")
    if import_ is None and (labels or text or id):
        raise InputError("--labels, --text and --id say how a file is read: they go with --import FILE")
    if import_ is not None:
        folder = exchange.run_for_import(run, import_, labels, text=text, id=id)
        with folder.working():
            facts = exchange.import_labels(folder, import_, text=text, id=id)
        screen.result(
            facts,
            f"{facts['imported']:,} labels imported, {facts['skipped']:,} rows skipped, {facts['unknown']:,} rows belong to "
            f"no text of the run. Next: tutelage train {run}",
        )
        return
    folder = Run(run)
    if export is not None:
        rows = exchange.export_labels(folder, export)
        screen.result({"rows": rows, "file": str(export)}, f"{rows:,} answers written to {export}")
    elif forget:
        with folder.working():
            count = run_forget(folder, forget)
        screen.result(
            {"forgotten": count},
            f"{count} texts deleted everywhere in {run}; train again, so that the student forgets too",
        )
    elif repair:
        from tutelage.pipeline.repair import repair_ledger

        with folder.working():
            facts = repair_ledger(folder)
        screen.result(
            facts,
            f"{facts['answers']:,} answers kept, {facts['from_tables']:,} more from the run's tables, {facts['damaged']:,} "
            f"damaged. The damaged file is {facts['damaged_file']}. Next: tutelage annotate {run}, which asks for the rest",
        )
    elif verify:
        with folder.ledger(readonly=True) as book:
            wrong = book.verify()
        if wrong:
            raise InputError(
                f"{len(wrong)} answers of {run} do not match their digest; first: text {wrong[0].text[:16]}. "
                f"`tutelage ledger {run} --repair` drops them; they are asked for again"
            )
        screen.result({"damaged": 0}, "every row matches its digest")
    else:
        with folder.ledger(readonly=True) as book:
            facts = book.summary()
        cost = f"{facts['cost']:.4f} {facts['currency']}" if facts["currency"] else "no price known"
        screen.result(
            facts,
            f"texts {facts['texts']:,} · answered {facts['answered']:,} · failed {facts['failed']:,} · "
            f"pending {facts['pending']:,} · requests {facts['requests']:,} · {cost}",
        )
