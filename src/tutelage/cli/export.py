"""`tutelage export`: the student, or the labelled texts, as a folder that needs no run."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Option

from tutelage.cli import options as o
from tutelage.cli.ui import Screen


def export(
    run: o.RunFolder,
    to: Annotated[Path, Option("--to", help="The folder to write.", show_default=False)],
    format: Annotated[str, Option(help="native, onnx (extra `onnx`), or dataset: the labelled texts.")] = "native",
    push_to_hub: Annotated[
        str | None, Option(help="Push the folder to this repository of a hub too: owner/name.", show_default=False)
    ] = None,
    quiet: o.Quiet = False,
    json: o.Json = False,
) -> None:
    """Write the student and its model card, or the labelled texts, to a folder; ONNX is checked for equal predictions."""
    from tutelage.pipeline.export import export as run_export

    facts = run_export(run, to, format=format, hub=push_to_hub)
    Screen(quiet=quiet, json=json).result(facts, f"{to}: {facts['bytes']:,} bytes, {facts['format']}{facts['note']}")
