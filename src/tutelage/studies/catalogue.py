"""Which studies and methods there are: read from the source tree, without importing what they are about.

A study is `studies/<family>/<slug>.py` and its method `methods/<family>/<slug>.py`, hyphens written as underscores.
Modules whose names begin with an underscore are shared pieces, not studies.
"""

from __future__ import annotations

import ast
import difflib
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import tutelage
from tutelage.errors import InputError
from tutelage.studies.report import Card
from tutelage.studies.study import Study

_ROOT = Path(tutelage.__path__[0])


@dataclass(frozen=True)
class Entry:
    """One study module: where it is, and what its source says about it."""

    slug: str
    family: str
    module: str
    path: Path

    def card(self, study: Study | None = None) -> Card:
        """The study's card; without the study, what its source states as literals (the module may not be importable)."""
        if study is not None:
            paper = study.paper
            return Card(study.slug, self.family, paper.title, paper.year, study.claim, paper.authors, paper.arxiv)
        return _stated(self)


def studies(family: str | None = None) -> list[Entry]:
    """All studies, or those of one family, by family and slug.

    Raises: InputError: no study is of that family.
    """
    paths = sorted(p for p in (_ROOT / "studies").glob("*/*.py") if not p.stem.startswith("_"))
    entries = [
        Entry(_slug(p), p.parent.name, f"tutelage.studies.{p.parent.name}.{p.stem}", p)
        for p in paths
        if "\nSTUDY" in p.read_text(encoding="utf-8")
    ]
    if family is None:
        return entries
    found = [entry for entry in entries if entry.family == family]
    if not found:
        raise InputError(_unknown("family", family, {entry.family for entry in entries}))
    return found


def find_study(name: str) -> Entry:
    """The study of this slug. Raises: InputError: there is none; the message names the nearest ones."""
    entries = {entry.slug: entry for entry in studies()}
    if (entry := entries.get(name.lower().replace("_", "-"))) is None:
        raise InputError(_unknown("study", name, entries))
    return entry


@dataclass(frozen=True)
class Method:
    """One method module, as its source describes it."""

    slug: str
    family: str
    module: str
    path: Path

    @cached_property
    def _tree(self) -> ast.Module:
        return ast.parse(self.path.read_text(encoding="utf-8"))

    @property
    def doc(self) -> str:
        """The module's docstring."""
        return ast.get_docstring(self._tree) or ""

    @property
    def summary(self) -> str:
        """The docstring's first sentence, on one line."""
        return " ".join(self.doc.partition("\n\n")[0].split())

    @property
    def api(self) -> list[tuple[str, str]]:
        """Public classes and functions: (signature, first line of the docstring), in the order of the source."""
        nodes = [n for n in self._tree.body if isinstance(n, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)]
        return [
            (_signature(node), (ast.get_docstring(node) or "").partition("\n")[0])
            for node in nodes
            if not node.name.startswith("_")
        ]


def methods() -> list[Method]:
    """All methods, by family and slug."""
    paths = sorted(p for p in (_ROOT / "methods").glob("*/*.py") if not p.stem.startswith("_"))
    return [Method(_slug(p), p.parent.name, f"tutelage.methods.{p.parent.name}.{p.stem}", p) for p in paths]


def find_method(name: str) -> Method:
    """The method of this slug. Raises: InputError: there is none; the message names the nearest ones."""
    known = {method.slug: method for method in methods()}
    if (method := known.get(name.lower().replace("_", "-"))) is None:
        raise InputError(_unknown("method", name, known))
    return method


def _slug(path: Path) -> str:
    return path.stem.replace("_", "-")


def _unknown(kind: str, name: str, known: Iterable[str]) -> str:
    names = sorted(known)
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f"no {kind} {name!r}; " + (f"did you mean {' or '.join(near)}?" if near else f"there are {', '.join(names)}")


def _stated(entry: Entry) -> Card:
    """The card as far as the call `STUDY = Study(…)` in the source states it in literals."""
    paper: list[str] = []
    claim, year = "", 0
    body = ast.parse(entry.path.read_text(encoding="utf-8")).body
    assigned = [n for n in body if isinstance(n, ast.Assign | ast.AnnAssign) and ast.unparse(n).startswith("STUDY")]
    for call in [node.value for node in assigned if isinstance(node.value, ast.Call)]:
        for keyword in call.keywords:
            if keyword.arg == "claim" and isinstance(keyword.value, ast.Constant):
                claim = str(keyword.value.value)
            elif keyword.arg == "paper" and isinstance(keyword.value, ast.Call):
                values = [argument.value for argument in keyword.value.args if isinstance(argument, ast.Constant)]
                paper = [value for value in values if isinstance(value, str)]
                year = next((value for value in values if isinstance(value, int)), 0)
    title, authors, arxiv = [*paper, "", "", ""][:3]
    return Card(entry.slug, entry.family, title, year, claim, authors, arxiv)


def _signature(node: ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) -> str:
    """`name(arguments)`; for a class those of its constructor, or its annotated fields."""
    if not isinstance(node, ast.ClassDef):
        return f"{node.name}({ast.unparse(node.args)})"
    for inner in node.body:
        if isinstance(inner, ast.FunctionDef) and inner.name == "__init__":
            inner.args.args = inner.args.args[1:]
            return f"{node.name}({ast.unparse(inner.args)})"
    fields = [ast.unparse(inner) for inner in node.body if isinstance(inner, ast.AnnAssign)]
    return f"{node.name}({', '.join(fields)})"
