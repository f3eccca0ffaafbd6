"""`tutelage methods`: what is implemented, what it is for, how it is called, and whether its claim held."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def methods(
    name: Annotated[str | None, typer.Argument(help="Slug of one method, such as swing.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the methods, or show one: its idea, its API, its verdict. Nothing heavy is imported."""
    from rich.console import Console
    from rich.table import Table

    from tutelage.studies import catalogue

    verdicts = _verdicts()
    chosen = catalogue.methods() if name is None else [catalogue.find_method(name)]
    if as_json:
        typer.echo(json.dumps([_plain(method, verdicts) for method in chosen], indent=1, ensure_ascii=False))
        return
    if name is None:
        table = Table(box=None, pad_edge=False, header_style="dim")
        for title in ("method", "family", "verdict", "what it is"):
            table.add_column(title, overflow="fold")
        for method in chosen:
            table.add_row(method.slug, method.family, verdicts.get(method.slug, "–"), method.summary)
        Console(highlight=False).print(table)
        return
    (method,) = chosen
    lines = [method.doc, "", f"from {method.module} import …"]
    for signature, line in method.api:
        lines += [f"  {signature}", f"      {line}"]
    verdict = verdicts.get(method.slug, "not known here").upper()
    typer.echo("\n".join([*lines, "", f"verdict {verdict}   tutelage study {method.slug}"]))


def _plain(method: object, verdicts: dict[str, str]) -> dict[str, object]:
    from tutelage.studies.catalogue import Method

    assert isinstance(method, Method)
    return {
        "slug": method.slug,
        "family": method.family,
        "module": method.module,
        "summary": method.summary,
        "doc": method.doc,
        "api": [{"signature": signature, "summary": line} for signature, line in method.api],
        "verdict": verdicts.get(method.slug),
    }


def _verdicts() -> dict[str, str]:
    """Verdicts by slug from the scoreboard, where there is one: in the working directory or beside the source tree."""
    import tutelage

    for folder in (Path("docs"), Path(tutelage.__path__[0]).parents[1] / "docs"):
        try:
            scoreboard = json.loads((folder / "studies.json").read_text("utf-8"))
            return {study["slug"]: str(study["verdict"]) for study in scoreboard["studies"]}
        except (OSError, ValueError, KeyError, TypeError):
            continue
    return {}
