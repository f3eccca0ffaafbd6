"""What a study found, as an object, as JSON, and as text: the table, the bars, the verdict."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from tutelage.studies.results import Metric, Results
from tutelage.studies.study import Budget, Mode, Part
from tutelage.studies.verdict import Bar, Finding, Verdict, decide


@dataclass(frozen=True)
class Card:
    """What identifies a study: known without running it, and mostly without importing it."""

    slug: str
    family: str
    title: str
    year: int
    claim: str
    authors: str = ""
    arxiv: str = ""


@dataclass
class PartReport:
    """One part: its figures and findings, or the reason why it did not run."""

    part: Part[Any, Any]
    seeds: tuple[int, ...]
    reason: str = ""
    results: Results | None = None
    budgets: Mapping[str, Sequence[Budget]] = field(default_factory=dict)
    seconds: Mapping[str, float] = field(default_factory=dict)
    tuning_seconds: float = 0.0
    choices: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    findings: Sequence[Finding] = ()
    sentence: str = ""
    cached: bool = False

    @property
    def judged(self) -> list[tuple[Bar, Finding]]:
        """Bars with what they found; none where the part did not run."""
        return list(zip(self.part.bars, self.findings, strict=False))

    @property
    def metrics(self) -> list[Metric]:
        """The columns of the table."""
        return [metric for metric in self.part.metrics if metric.shown]


@dataclass
class StudyReport:
    """A study's parts and, computed from them, its verdict."""

    card: Card
    mode: Mode
    parts: Sequence[PartReport]
    reason: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    @property
    def verdict(self) -> Verdict | None:
        """The four words of a verdict; None for a smoke run, which claims nothing."""
        if self.mode == "fast":
            return None
        return decide([finding.outcome for _, finding in self.gated], missing=bool(self.why_not))

    @property
    def gated(self) -> list[tuple[Bar, Finding]]:
        """The bars that the verdict depends on, with what they found."""
        return [(bar, finding) for part in self.parts for bar, finding in part.judged if bar.gated]

    @property
    def decisive(self) -> tuple[Bar, Finding] | None:
        """The bar to show beside the verdict: the first that failed, else the first in doubt, else the first, if any ran."""
        for outcome in ("fails", "inconclusive", "holds"):
            for bar, finding in self.gated:
                if finding.outcome == outcome:
                    return bar, finding
        return None

    @property
    def why_not(self) -> str:
        """What was missing, in one line; empty where everything ran."""
        parts = [f"{p.part.name}: {p.reason}" if p.part.name else p.reason for p in self.parts if p.reason]
        return "; ".join(filter(None, [self.reason, *parts]))

    @property
    def seconds(self) -> float:
        """Seconds of computing, tuning included, summed over processes."""
        return sum(sum(part.seconds.values()) + part.tuning_seconds for part in self.parts)

    @property
    def cached(self) -> bool:
        """Whether every figure came from the store."""
        return bool(self.parts) and all(part.cached for part in self.parts if not part.reason)

    def to_json(self) -> dict[str, Any]:
        """The study as JSON values: its card, arms with per-seed figures and budgets, bars, verdict, seconds, versions."""
        card = self.card
        return {
            "slug": card.slug,
            "family": card.family,
            "paper": {"title": card.title, "authors": card.authors, "year": card.year, "arxiv": card.arxiv},
            "claim": card.claim,
            "verdict": self.verdict,
            "reason": self.why_not,
            "mode": self.mode,
            "seconds": round(self.seconds, 2),
            "versions": dict(self.versions),
            "arms": [arm for part in self.parts for arm in _arms(part)],
            "bars": [_bar(part, bar, finding) for part in self.parts for bar, finding in part.judged],
            "sentences": {part.part.name: part.sentence for part in self.parts if part.sentence},
        }


def _arms(report: PartReport) -> list[dict[str, Any]]:
    results = report.results
    if results is None:
        return []
    return [
        {
            "part": report.part.name,
            "name": arm.name,
            "role": arm.role,
            "seeds": list(report.seeds),
            "figures": {m: _short(results[arm.name, m]) for m in results.metrics if (arm.name, m) in results},
            "budget": [asdict(budget) for budget in report.budgets[arm.name]],
            "choice": dict(report.choices[arm.name]),
            "seconds": round(report.seconds[arm.name], 3),
        }
        for arm in report.part.arms
    ]


def _short(figures: np.ndarray) -> list[float]:
    """Six digits that count: more would be noise of the machine."""
    return [float(f"{figure:.6g}") for figure in figures]


def _bar(report: PartReport, bar: Bar, finding: Finding) -> dict[str, Any]:
    numbers = {k: None if v is None or not np.isfinite(v) else v for k, v in _numbers(finding).items()}
    return {
        "part": report.part.name,
        "text": bar.text,
        "gated": bar.gated,
        "outcome": finding.outcome,
        **numbers,
        "paper": bar.paper,
        "note": finding.note,
    }


def _numbers(finding: Finding) -> dict[str, float | None]:
    return {"effect": finding.effect, "low": finding.low, "high": finding.high, "p": finding.p}
