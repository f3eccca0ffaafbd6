"""What the arms of the study share: texts about packages, a frozen trunk, six source tasks, and three targets with few labels.

Texts are one-line descriptions of Debian packages, as vectors of a frozen sentence encoder. A task is the archive section or a
facet of the volunteers' tags, on the packages that have exactly one of its values. The trunk (a projection, then four blocks
x ← LN(x + FFN(x)) of width 128) learns to tell sections on packages of its own and is frozen; adapters sit after each FFN.
Targets have one package a source, and no package of theirs, nor a sibling of it, is among the trunk's or the sources'.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn

from tutelage.data.debian_tags import debian_facets
from tutelage.data.split import nested_sizes
from tutelage.methods.adaptation.scalearn import learn_source
from tutelage.students.adapter_bank import AdapterBank
from tutelage.studies.vectors import encode_once
from tutelage.teachers.frozen import frozen
from tutelage.training import Supervised, fit, one_cycle, seeded

SOURCES: dict[str, tuple[str, ...]] = {
    "section": (
        "admin", "devel", "doc", "fonts", "games", "graphics", "libs", "mail", "net", "science", "sound", "text",
    ),
    "role": ("shared-lib", "devel-lib", "program", "documentation", "app-data", "plugin"),
    "implemented-in": ("perl", "c", "c++", "python", "lisp", "java"),
    "interface": ("commandline", "graphical", "daemon", "text-mode"),
    "uitoolkit": ("gtk", "qt", "ncurses", "sdl", "xlib"),
    "works-with": ("text", "audio", "mail", "file", "db", "software:source"),
}  # fmt: skip
TARGETS: dict[str, tuple[str, ...]] = {
    "use": ("gameplaying", "converting", "checking", "editing", "monitor", "configuring"),
    "network": ("client", "server", "scanner"),
    "field": ("mathematics", "finance", "geography", "statistics", "linguistics", "electronics"),
}
WIDTH, LAYERS = 128, 4
PLACES = "*.ffn"


@dataclass(frozen=True)
class Packages:
    """Sizes and lengths. `packages`: how many are read (None: all); `seed` draws packages and first weights of the foundation."""

    encoder: str = "use-multilingual"
    packages: int | None = None
    trunk: int = 8000
    trunk_epochs: int = 3
    per_source: int = 1500
    per_class: int = 300
    source_epochs: int = 12
    reduction: int = 4
    train: int = 100
    validation: int = 150
    test: int = 600
    steps: int = 300
    batch: int = 32
    check_every: int = 30
    seed: int = 0


class Block(nn.Module):
    """x ← LN(x + FFN(x))."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.ffn = nn.Sequential(nn.Linear(width, width), nn.GELU(), nn.Linear(width, width))
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        return self.norm(x + self.ffn(x))


@dataclass(frozen=True)
class Foundation:
    """The frozen blocks, the sources' adapters, and of every target all examples: what the blocks read [N, 128], labels [N]."""

    base: nn.Module
    bank: AdapterBank
    targets: dict[str, tuple[Tensor, Tensor]]


@lru_cache(maxsize=2)
def foundation(path: Path, scratch: Path, s: Packages) -> Foundation:
    """Trunk, then sources: trained once for all seeds of the study."""
    table = debian_facets(path, [*TARGETS, *list(SOURCES)[1:]], without={"interface::x11"}, limit=s.packages)
    targets, sources, rest = drawn(table, s)
    used = np.unique(np.concatenate([rest, *(rows for rows, _ in [*targets.values(), *sources.values()])]))
    texts = [text or "nothing" for text in table["synopsis"].take(used).to_pylist()]
    vectors = torch.from_numpy(encode_once(s.encoder, texts, scratch))
    of = lambda rows: vectors[np.searchsorted(used, rows)]
    embed, blocks = pretrained(of(rest), table["section"].take(rest).to_pylist(), s)
    adapters = {}
    for number, (name, (rows, y)) in enumerate(sources.items()):
        with seeded(s.seed, "source", number):
            head = nn.Linear(WIDTH, len(SOURCES[name]))
            adapters[name] = learn_source(
                blocks, PLACES, head, (embed(of(rows)), y),
                reduction=s.reduction, epochs=s.source_epochs, batch_size=64, lr=1e-3, seed=number,
            )  # fmt: skip
    return Foundation(
        blocks, AdapterBank(adapters), {name: (embed(of(rows)), y) for name, (rows, y) in targets.items()}
    )


Labelled = tuple[np.ndarray, Tensor]
"""Rows of the table, and their labels."""


def drawn(table: pa.Table, s: Packages) -> tuple[dict[str, Labelled], dict[str, Labelled], np.ndarray]:
    """Packages of the targets, of the sources, and of the trunk."""
    rng = np.random.default_rng(s.seed)
    family = np.array(table["source"].to_pylist())
    targets = {
        name: labelled(table, name, classes, s.per_class, rng, alone=family) for name, classes in TARGETS.items()
    }
    free = ~np.isin(family, family[np.concatenate([rows for rows, _ in targets.values()])])
    sources = {
        name: labelled(table, name, classes, min(s.per_class, s.per_source // len(classes)), rng, free=free)
        for name, classes in SOURCES.items()
    }
    free[np.concatenate([rows for rows, _ in sources.values()])] = False
    return targets, sources, rng.permutation(np.flatnonzero(free))[: s.trunk]


def labelled(
    table: pa.Table,
    column: str,
    classes: Sequence[str],
    cap: int,
    rng: np.random.Generator,
    *,
    alone: np.ndarray | None = None,
    free: np.ndarray | None = None,
) -> Labelled:
    """At most `cap` packages a class: rows and labels. `free`: packages that may be taken; `alone`: one of each of these keys."""
    values = np.array([value or "" for value in table[column].to_pylist()])
    rows = rng.permutation(np.flatnonzero(np.isin(values, classes) & (True if free is None else free)))
    if alone is not None:
        rows = rows[np.sort(np.unique(alone[rows], return_index=True)[1])]
    rows = np.concatenate([rows[values[rows] == name][:cap] for name in classes])
    return rows, torch.tensor([classes.index(value) for value in values[rows]])


def pretrained(x: Tensor, sections: Sequence[str], s: Packages) -> tuple[nn.Module, nn.Module]:
    """The trunk, trained to tell the sections and frozen: its projection and its blocks."""
    names = sorted(set(sections))
    y = torch.tensor([names.index(section) for section in sections])
    with seeded(s.seed, "trunk"):
        embed, blocks = nn.Linear(x.shape[1], WIDTH), nn.Sequential(*(Block(WIDTH) for _ in range(LAYERS)))
        trunk = nn.Sequential(embed, blocks, nn.Linear(WIDTH, len(names)))
    fit(Supervised(trunk), (x, y), epochs=s.trunk_epochs, batch_size=128, lr=2e-3, schedule=one_cycle(), seed=s.seed)
    return frozen(embed), frozen(blocks)


@dataclass(frozen=True)
class Few:
    """One target of one seed: three parts of (x [n, 128], y [n])."""

    train: tuple[Tensor, Tensor]
    validation: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


def few(x: Tensor, y: Tensor, s: Packages, seed: int) -> Few:
    """Draw a target's labels; every part has about the class shares of the whole."""
    sizes = [s.train, s.train + s.validation, min(len(y), s.train + s.validation + s.test)]
    order = torch.as_tensor(nested_sizes(y.tolist(), sizes, seed=seed)[-1])
    return Few(*((x[rows], y[rows]) for rows in order.tensor_split(sizes[:2])))
