"""Debian package descriptions and their volunteer translations: parallel texts with human gold (the archive section)."""

from __future__ import annotations

import gzip
import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from tutelage.data.labels import LabelScheme

FILE = "debian_multilingual.json.gz"
LANGUAGES = ("en", "de", "fr", "it", "es", "pl", "ru")

SECTIONS = LabelScheme.from_dict(
    {
        "name": "debian-sections",
        "labels": [
            {"name": name, "definition": what}
            for name, what in {
                "games": "computer games, puzzles, arcade, board games and game data",
                "admin": "system administration tools: packages, disks, users, booting, logging, monitoring",
                "text": "text processing: word processors, document formats, spell checkers, dictionaries",
                "net": "network programs: clients and servers, chat, file transfer, remote login, routing",
                "sound": "sound and music: audio players, recorders, synthesizers, MIDI",
                "localization": "translations and language support of other programs, language packs",
                "science": "scientific software: physics, chemistry, biology, astronomy, simulation",
                "graphics": "graphics: image editors, viewers, drawing, 3D modelling, photographs, scanning",
                "mail": "electronic mail: mail readers, mail servers, filters, mailing lists",
                "web": "the World Wide Web: browsers, web servers, web applications, HTML",
                "math": "mathematics: computer algebra, statistics, plotting, numerical computation",
                "devel": "software development: compilers, debuggers, build tools, libraries for programmers",
            }.items()
        ],
    }
)


@dataclass(frozen=True)
class Packages:
    """N packages: source (N,), section as a position in `SECTIONS` (N,), and by language the texts there are.

    `rows[lang]` are the packages (positions) that have a text in that language, `texts[lang]` these texts in that order.
    """

    source: list[str]
    section: np.ndarray
    rows: dict[str, np.ndarray]
    texts: dict[str, list[str]]

    def take(self, lang: str, keep: np.ndarray) -> np.ndarray:
        """Places in `texts[lang]` of the packages in `keep`, in the order of `rows[lang]`."""
        return np.flatnonzero(np.isin(self.rows[lang], keep))


def packages(path: Path, limit: int | None = None, seed: int = 0) -> Packages:
    """Read the file; with `limit` a random part of it."""
    with gzip.open(path, "rt", encoding="utf-8") as stream:
        content = json.load(stream)
    order = np.array([SECTIONS.index(name) for name in content["labels"]])
    items = content["rows"]
    if limit is not None and limit < len(items):
        items = [items[n] for n in np.random.default_rng(seed).choice(len(items), limit, replace=False)]
    rows = {lang: np.array([n for n, item in enumerate(items) if lang in item]) for lang in LANGUAGES}
    return Packages(
        [item["source"] for item in items],
        order[[item["y"] for item in items]],
        rows,
        {lang: [items[n][lang] for n in rows[lang]] for lang in LANGUAGES},
    )
