"""`tutelage labels`: show, check and begin label schemes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option, Typer

from tutelage.cli import options as o
from tutelage.cli.ui import Screen
from tutelage.errors import InputError

app = Typer(help="Show, check and begin label schemes.", no_args_is_help=True)

TEMPLATE = """\
# A label scheme. The teacher sees names, definitions and examples: say what belongs under a label, not what the word means.
name: tickets
kind: single            # or multi: any number of labels a text
labels:
  - name: billing
    definition: invoices, refunds, payment methods, prices
    examples: [I was charged twice this month]
  - name: outage
    definition: the service is down, slow or loses data
  - name: how-to
    definition: questions about how to do something that works
"""

Scheme = Annotated[str, Argument(help="A built-in scheme or a file.", show_default=False)]


@app.command()
def show(
    scheme: Scheme,
    prompt: Annotated[bool, Option("--prompt", help="As the teacher sees it.")] = False,
    json: o.Json = False,
) -> None:
    """Print a scheme as YAML, or as the teacher sees it."""
    from tutelage.data.labels import LabelScheme

    loaded = LabelScheme.load(scheme)
    Screen(json=json).result(
        loaded.model_dump(mode="json"), loaded.prompt_block() if prompt else loaded.to_yaml().rstrip()
    )


@app.command()
def check(scheme: Scheme, json: o.Json = False) -> None:
    """Say whether a scheme is sound, and what may cost quality."""
    from tutelage.data.labels import LabelScheme

    loaded = LabelScheme.load(scheme)
    warnings = loaded.warnings()
    lines = [f"{loaded.name}: {len(loaded)} labels, {loaded.kind}", *(f"warning: {line}" for line in warnings)]
    Screen(json=json).result({"name": loaded.name, "labels": len(loaded), "warnings": warnings}, "\n".join(lines))


@app.command()
def template(to: Annotated[Path, Argument(help="The .yaml file to write.", show_default=False)]) -> None:
    """Write a scheme to begin from."""
    if to.exists():
        raise InputError(f"{to} exists; give another name")
    try:
        to.write_text(TEMPLATE, encoding="utf-8")
    except OSError as error:
        raise InputError(f"cannot write {to}: {error.strerror}") from None
    Screen().result({}, f"{to} written; edit it, then: tutelage labels check {to}")
