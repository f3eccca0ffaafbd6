"""`tutelage study`: run studies and print their verdicts."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from tutelage.errors import InputError

if TYPE_CHECKING:
    from rich.console import Console

    from tutelage.studies.catalogue import Entry
    from tutelage.studies.report import StudyReport
    from tutelage.studies.runner import Options

COMMAND = "tutelage study --all"
WIDTH = 120
"""Columns of the text where no terminal says how many it has."""


def study(
    name: Annotated[
        str | None, typer.Argument(help="Slug of one study, such as swing; `tutelage methods` lists them.")
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Every study; writes docs/studies.md and docs/studies.json.")
    ] = False,
    family: Annotated[str | None, typer.Option(help="Every study of one family.")] = None,
    fast: Annotated[bool, typer.Option("--fast", help="Smoke form: one seed, tiny settings, claims nothing.")] = False,
    full: Annotated[bool, typer.Option("--full", help="The long form, where a study has one.")] = False,
    seeds: Annotated[
        int | None, typer.Option(help="Number of seeds; fewer than the study's own decide nothing.")
    ] = None,
    first_seed: Annotated[
        int | None, typer.Option(help="First seed; another one is a fresh test that nobody tuned on.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", help="Write the results here (- for standard output).")
    ] = None,
    data: Annotated[Path | None, typer.Option(envvar="TUTELAGE_DATA", help="Folder of other people's data.")] = None,
    no_cache: Annotated[bool, typer.Option("--no-cache", help="Compute everything anew and keep nothing.")] = False,
    jobs: Annotated[int, typer.Option(help="Processes side by side, one thread each.")] = 2,
) -> None:
    """Run a study: data, arms, seeds, and a verdict that is computed."""
    from rich.console import Console

    from tutelage.studies.catalogue import find_study, studies
    from tutelage.studies.runner import Options
    from tutelage.studies.scoreboard import to_json, write_scoreboard
    from tutelage.studies.store import cache_folder

    if sum([name is not None, everything, family is not None]) != 1:
        raise InputError("say which study: a NAME, --family FAMILY or --all")
    if fast and full:
        raise InputError("--fast and --full exclude each other")
    entries = [find_study(name)] if name is not None else studies(family)
    options = Options(
        seeds=seeds,
        first_seed=first_seed,
        mode="fast" if fast else "full" if full else "standard",
        data=data,
        store=None if no_cache else cache_folder(),
        jobs=jobs,
    )
    console = Console(stderr=json_file == Path("-"), highlight=False)
    if not console.is_terminal:
        console.width = WIDTH
    reports, failed = _run_all(entries, options, console)
    if json_file is not None:
        single = len(reports) == 1 and name is not None
        _write_json(reports[0].to_json() if single else to_json(reports, _command(family)), json_file)
    if failed:
        console.print(f"{len(failed)} failed: {', '.join(failed)}", style="bold red")
        raise typer.Exit(1)
    if everything and not fast and seeds is None and first_seed is None:
        page, table = write_scoreboard(reports, Path("docs"), COMMAND + (" --full" if full else ""))
        console.print(f"wrote {page} and {table}")


def _run_all(entries: list[Entry], options: Options, console: Console) -> tuple[list[StudyReport], list[str]]:
    """Run study after study, print each as it ends; a failing arm is printed and does not stop the others."""
    from tutelage.studies.crew import ArmFailed
    from tutelage.studies.scoreboard import render

    reports, failed = [], []
    for entry in entries:
        try:
            reports.append(_run(entry, options))
            console.print(render(reports[-1]))
        except ArmFailed as error:
            console.print(f"{entry.slug}: {error}", style="red", markup=False)
            failed.append(entry.slug)
        console.print()
    return reports, failed


def _run(entry: Entry, options: Options) -> StudyReport:
    """One study under a progress bar."""
    from dataclasses import replace

    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    from tutelage.studies.runner import run_study

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    quiet = not sys.stderr.isatty()
    with Progress(*columns, console=Console(stderr=True), transient=True, disable=quiet) as bar:
        task = bar.add_task(entry.slug, total=None)

        def watch(done: int, total: int, what: str) -> None:
            bar.update(task, completed=done, total=total, description=" · ".join(filter(None, [entry.slug, what])))

        return run_study(entry, replace(options, watch=watch))


def _command(family: str | None) -> str:
    return COMMAND if family is None else f"tutelage study --family {family}"


def _write_json(value: object, target: Path) -> None:
    from tutelage.studies.scoreboard import to_text

    text = to_text(value)
    if target == Path("-"):
        typer.echo(text, nl=False)
        return
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {target}: {os.strerror(error.errno or 0)}") from None
