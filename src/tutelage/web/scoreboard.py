"""The scoreboard as the pages read it: every method of the package beside what its study found, if it ran.

The figures come from a `studies.json` as `tutelage study --all` writes it; the methods come from the source tree, so that a
study that never ran is listed all the same, as not run.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import tutelage
from tutelage.errors import InputError
from tutelage.studies import catalogue

VERDICTS = ("holds", "does not hold", "inconclusive", "not run")
_PACKAGE = Path(tutelage.__path__[0])
SHIPPED = _PACKAGE / "studies" / "studies.json"
"""The scoreboard inside the package."""
_BESIDE = _PACKAGE.parents[1] / "docs" / "studies.json"  # a source tree

Json = Mapping[str, Any]


@dataclass(frozen=True)
class Study:
    """A method with its study: `found` is the study's entry of the scoreboard, empty where it did not run."""

    slug: str
    family: str
    title: str
    authors: str
    year: int
    arxiv: str
    claim: str
    summary: str
    found: Json

    @property
    def verdict(self) -> str:
        """One of `VERDICTS`."""
        return str(self.found.get("verdict") or "not run")

    @property
    def parts(self) -> list[tuple[str, list[Json], list[Json], str]]:
        """(name, arms, bars, sentence) of every part that ran."""
        arms, bars = self.found.get("arms", []), self.found.get("bars", [])
        said = self.found.get("sentences", {})
        return [
            (name, [a for a in arms if a["part"] == name], [b for b in bars if b["part"] == name], said.get(name, ""))
            for name in dict.fromkeys(arm["part"] for arm in arms)
        ]

    @property
    def decisive(self) -> Json | None:
        """The bar to show beside the verdict: the first gated one that failed, else in doubt, else the first."""
        gated = [bar for bar in self.found.get("bars", []) if bar["gated"]]
        for outcome in ("fails", "inconclusive", "holds"):
            for bar in gated:
                if bar["outcome"] == outcome:
                    return bar
        return None


def board(source: Path | None) -> list[Study]:
    """All methods by family and slug. Raises: InputError: a scoreboard was named that cannot be read."""
    found = _figures(source)
    return [_joined(method, found.get(method.slug, {})) for method in _methods()]


def tally(studies: Sequence[Study]) -> list[tuple[str, int]]:
    """How many studies have each verdict."""
    counts = Counter(study.verdict for study in studies)
    return [(verdict, counts[verdict]) for verdict in VERDICTS]


def doc_of(slug: str) -> list[tuple[str, str]]:
    """The method's docstring as ("p" | "pre", text) blocks: what is indented keeps its lines."""
    method = next(m for m in _methods() if m.slug == slug)
    blocks = [block for block in method.doc.split("\n\n") if block.strip()]
    indented = lambda block: all(line.startswith((" ", "|")) for line in block.splitlines())
    return [("pre", block.strip("\n")) if indented(block) else ("p", block) for block in blocks]


def api_of(slug: str) -> tuple[str, list[tuple[str, str]]]:
    """The method's module, and its public names with what they are."""
    method = next(m for m in _methods() if m.slug == slug)
    return method.module, method.api


def _joined(method: catalogue.Method, found: Json) -> Study:
    card = _cards().get(method.slug)
    paper = found.get("paper") or {}
    stated = {key: getattr(card, key) if card else "" for key in ("title", "authors", "arxiv", "claim")}
    return Study(
        method.slug, method.family, paper.get("title") or stated["title"], paper.get("authors") or stated["authors"],
        int(paper.get("year") or (card.year if card else 0)), paper.get("arxiv") or stated["arxiv"],
        found.get("claim") or stated["claim"], method.summary, found,
    )  # fmt: skip


def _figures(source: Path | None) -> dict[str, Json]:
    for path in [source] if source else [SHIPPED, _BESIDE]:
        try:
            return {study["slug"]: study for study in json.loads(path.read_text("utf-8"))["studies"]}
        except FileNotFoundError:
            if source:
                raise InputError(f"there is no scoreboard {source}") from None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"{path} is no scoreboard of studies: {type(error).__name__} {error}") from None
    return {}


@cache
def _methods() -> list[catalogue.Method]:
    return catalogue.methods()


@cache
def _cards() -> dict[str, Any]:
    return {entry.slug: entry.card() for entry in catalogue.studies()}
