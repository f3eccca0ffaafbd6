"""What a cached figure depends on: the source that computes it, the libraries it runs on, the data files it reads.

The source is found without importing it: the study's module, every module of this package that it imports, directly or
through others, and the data files that ship beside these. The harness (the modules beside this one) is left out, so that a
change of the printed table does not throw figures away.
"""

from __future__ import annotations

import ast
import hashlib
import sys
from collections.abc import Iterable, Iterator
from functools import cache
from importlib import metadata, util
from pathlib import Path

import tutelage

PACKAGE = "tutelage"
_ROOT = Path(tutelage.__path__[0])
_HARNESS = _ROOT / "studies"


def sources(module: str) -> dict[str, Path]:
    """The module and all modules of this package that it rests on: name → file, sorted by name.

    `from package import name` counts the module that the package has the name from, which may be loaded lazily, and the whole
    package where it does not say. Other imports for type checkers only do not count.
    """
    found: dict[str, Path] = {}
    waiting = [module]
    while waiting:
        name = waiting.pop()
        path = _file(name)
        if name in found or path is None or (path.parent == _HARNESS and name != module):
            continue
        found[name] = path
        waiting += [n for n in _imports(name, path) if n.split(".")[0] == PACKAGE]
        if name.count(".") > 1 and name.startswith(f"{PACKAGE}."):
            waiting.append(name.rpartition(".")[0])
    return dict(sorted(found.items()))


def code_fingerprint(module: str) -> str:
    """sha256 over the names and contents of `sources(module)`, and of the data files that lie beside them."""
    found = sources(module)
    beside = sorted({file for path in found.values() if path.is_relative_to(_ROOT) for file in _beside(path.parent)})
    digest = hashlib.sha256()
    for name, path in [*found.items(), *((str(file.relative_to(_ROOT)), file) for file in beside)]:
        digest.update(f"{name}\0{hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def versions(module: str) -> dict[str, str]:
    """Python and the installed distributions that the module's sources import: name → version, sorted."""
    imported = {n.split(".")[0] for name, path in sources(module).items() for n in _imports(name, path)}
    owners = _distributions()
    names = {owner for top in imported - {PACKAGE} for owner in owners.get(top, ())}
    return {"python": ".".join(map(str, sys.version_info[:3])), **{n: metadata.version(n) for n in sorted(names)}}


@cache
def file_digest(path: Path) -> str:
    """sha256 of a file, or of the names and contents of a folder's files."""
    if path.is_dir():
        inside = sorted(p for p in path.rglob("*") if p.is_file())
        return hashlib.sha256("".join(f"{p.relative_to(path)}{file_digest(p)}" for p in inside).encode()).hexdigest()
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


@cache
def _distributions() -> dict[str, list[str]]:
    return {top: list(owners) for top, owners in metadata.packages_distributions().items()}


def _beside(folder: Path) -> Iterator[Path]:
    """Package data of a folder: files that are no source, in it and in its folders that are no packages."""
    for entry in folder.iterdir():
        if entry.is_dir() and entry.name != "__pycache__" and not (entry / "__init__.py").exists():
            yield from _beside(entry)
        elif entry.is_file() and entry.suffix not in (".py", ".pyc"):
            yield entry


def _file(name: str) -> Path | None:
    """The source file of a module, found without importing this package's modules."""
    if name == PACKAGE or name.startswith(f"{PACKAGE}."):
        stem = _ROOT.joinpath(*name.split(".")[1:])
        return next((p for p in (stem / "__init__.py", stem.with_suffix(".py")) if p.is_file()), None)
    spec = util.find_spec(name)
    return Path(spec.origin) if spec is not None and spec.origin else None


def _imports(name: str, path: Path) -> Iterator[str]:
    """Modules that a source imports anywhere outside `if TYPE_CHECKING`."""
    package = name if path.name == "__init__.py" else name.rpartition(".")[0]
    for node in _import_statements(path.read_text(encoding="utf-8")):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        else:
            base = node.module or ""
            if node.level:
                outer = package.split(".")[: len(package.split(".")) - node.level + 1]
                base = ".".join([*outer, base] if base else outer)
            yield base
            if base.split(".")[0] == PACKAGE:
                yield from _named(base, [alias.name for alias in node.names])


@cache
def _import_statements(source: str) -> tuple[ast.Import | ast.ImportFrom, ...]:
    """The imports of a source; parsed once, because many studies rest on the same files."""
    return tuple(n for n in _statements(ast.parse(source).body) if isinstance(n, ast.Import | ast.ImportFrom))


def _named(package: str, names: Iterable[str]) -> Iterator[str]:
    """The modules behind `from package import names`: a module of that name, the one that the package has the name from, or
    the whole package where it makes the name itself, because it may load anything then."""
    path = _file(package)
    if path is None or path.name != "__init__.py":
        return
    homes = _homes(path.read_text(encoding="utf-8"))
    for name in names:
        if _file(f"{package}.{name}") is not None:
            yield f"{package}.{name}"
        elif name in homes:
            yield homes[name]
        else:
            modules = path.parent.glob("*.py") if package != PACKAGE else path.parent.glob("*/*.py")
            yield from (_name(p) for p in sorted(modules) if p.stem != "__init__")


@cache
def _homes(source: str) -> dict[str, str]:
    """Name -> the module that a package's `__init__` has it from, also where it says so to type checkers only."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom) and not node.level]
    return {
        alias.asname or alias.name: node.module
        for node in nodes
        for alias in node.names
        if node.module and node.module.startswith(f"{PACKAGE}.")
    }


def _name(path: Path) -> str:
    """The module of a source file of this package."""
    return ".".join((PACKAGE, *path.relative_to(_ROOT).with_suffix("").parts))


def _statements(body: Iterable[ast.AST]) -> Iterator[ast.AST]:
    for node in body:
        if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
            yield from _statements(node.orelse)
        else:
            yield node
            yield from _statements(ast.iter_child_nodes(node))
