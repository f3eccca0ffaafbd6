"""From command-line arguments to a run folder: a new one, or one that goes on."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from inspect import signature
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from tutelage.errors import InputError

if TYPE_CHECKING:
    from tutelage.cli.ui import Screen
    from tutelage.pipeline.config import RunConfig
    from tutelage.pipeline.folder import Run
    from tutelage.pipeline.teacher import Service


def open_run(texts: str, labels: str | None, out: Path | None, **options: Any) -> Run:
    """The run that TEXTS names (a run folder goes on as it was configured), or a new one made from the options.

    Raises: InputError: no label scheme for a new run, or options that an existing run does not take.
    """
    from tutelage.pipeline.distill import configure
    from tutelage.pipeline.folder import Run

    if (Path(texts) / "run.yaml").is_file():
        given = [name for name, value in {"labels": labels, "out": out}.items() if value is not None]
        given += [name for name, value in options.items() if value != _default(configure, name)]
        if given:
            option = given[0].replace("_", "-")
            raise InputError(
                f"the run {texts} goes on as it was configured: leave out --{option}, or give the texts again to change it"
            )
        run = Run(texts)
        ask_before_sending_a_key(run)
        return run
    if labels is None:
        raise InputError(
            "which labels? Give --labels: a built-in scheme (iptc, ag-news) or a file (see `tutelage labels`)"
        )
    config = configure(texts, labels, **options)
    place = out or default_out(texts)
    _check_files(config, place)
    if config.teacher.base_url and os.environ.get("OPENAI_API_KEY"):
        from tutelage.teachers.llm.trust import trust

        trust(config.teacher.base_url)  # who names an address on the command line means it
    return Run.create(place, config)


def _check_files(config: RunConfig, place: Path) -> None:
    """Look into the files before a run, new or there already, takes the configuration.

    Raises: InputError: no such file, nothing in it, no such column.
    """
    from tutelage.data.corpus import read_texts
    from tutelage.pipeline.folder import Run
    from tutelage.pipeline.held_out import gold_column
    from tutelage.pipeline.shield import read_roster

    if config.student.roster:
        read_roster(config.student.roster)
    texts = config.texts
    if texts.source == "-" or texts.source.startswith("hf://"):  # not to be read twice
        return
    if (place / "run.yaml").is_file() and Run(place).config.texts == texts:
        return  # the run may have them already, and the file be gone
    named = {"lang": texts.lang, "gold": gold_column(config)}
    keep = {role: column for role, column in named.items() if column is not None}
    read_texts(texts.source, text=texts.text, id=texts.id, keep=keep, strict=texts.strict, limit=1)


@contextmanager
def rehearsed(texts: str, labels: str | None, out: Path | None, **options: Any) -> Iterator[tuple[Run, Path]]:
    """A run to try a prompt with, and the folder of the run that it would be: a dry run changes nothing that is there."""
    if (Path(texts) / "run.yaml").is_file():
        run = open_run(texts, labels, out, **options)
        yield run, run.path
        return
    place = out or default_out(texts)
    with TemporaryDirectory(prefix="tutelage-") as folder:
        yield open_run(texts, labels, Path(folder) / place.name, **options), place


def _default(function: Callable[..., object], name: str) -> object:
    return signature(function).parameters[name].default


def default_out(texts: str) -> Path:
    """runs/NAME, after the file's name."""
    stem = "stdin" if texts == "-" else Path(texts.removeprefix("hf://")).name.split(".")[0]
    return Path("runs") / (re.sub(r"[^\w-]+", "-", stem).strip("-") or "run")


def service(
    budget: str | None, concurrency: int, rpm: int | None, tpm: int | None, batch: bool, retry_failed: bool
) -> Service:
    """How the endpoint is spoken to."""
    from tutelage.pipeline.teacher import Service

    return Service(budget, concurrency, rpm, tpm, batch, retry_failed)


def ask_before_sending_a_key(run: Run) -> None:
    """Ask before a key goes to a host that only the run folder names: the folder may have come from somebody else."""
    import sys

    from tutelage.teachers.llm.trust import is_trusted, trust

    url = run.config.teacher.base_url
    if not url or not os.environ.get("OPENAI_API_KEY") or is_trusted(url):
        return
    question = f"The run {run.path} asks {url}, to which you have not sent a key before. Send it your OPENAI_API_KEY?"
    if not sys.stdin.isatty():
        raise InputError(f"{question} Answer at a terminal, or give the texts again with --base-url {url}")
    import typer

    if not typer.confirm(question):
        raise InputError("no key was sent")
    trust(url)


def show_summary(screen: Screen, run: Run, metrics: dict[str, Any]) -> None:
    """The main table and where the report is; as JSON all figures, with the texts only where the report may quote them."""
    from tutelage.pipeline.figures import privacy_sentence
    from tutelage.pipeline.summary import render_summary

    shown = metrics if run.stage("report").get("texts", True) else {**metrics, "disagreements": []}
    screen.result(shown, lambda: render_summary(metrics))
    if not screen.json:
        if metrics.get("privacy"):
            screen.result({}, f"SHIELD: {privacy_sentence(metrics['privacy'])}")
        screen.result({}, f"{metrics['acceptance']['outcome'].upper()}: {metrics['acceptance']['sentence']}")
        if "command" in metrics["acceptance"]:
            screen.result({}, f"To check it, review a sample: {metrics['acceptance']['command']}")
        screen.result({}, f"Report: {run.path / 'report.html'}")


def retier(path: Path, **wanted: Any) -> Run:
    """Open a run, with another student where one is asked for: fields of `StudentConfig`, None for "as it is".

    `run.yaml` stays as it is; a student that cannot be made is not to be the run's.
    """
    from pydantic import ValidationError

    from tutelage.pipeline.config import StudentConfig, validation_line
    from tutelage.pipeline.folder import Run

    run = Run(path)
    given = {name: value for name, value in wanted.items() if value is not None}
    if given.get("shield") is False:
        given.setdefault("roster", None)
    try:
        student = StudentConfig.model_validate({**run.config.student.model_dump(), **given})
    except ValidationError as error:
        raise InputError(validation_line(error)) from None
    run.config = run.config.model_copy(update={"student": student})
    return run
