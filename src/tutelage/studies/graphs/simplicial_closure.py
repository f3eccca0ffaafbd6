"""Do three who all meet in pairs meet all together soon, and does the weakest tie say it better than the whole network?

Who was near whom in a primary school and in a high school, and who wrote to whom at Enron: the first 80 % of the time are
known, the triangles that are open then are the candidates, and those that one later event holds are the answers (one in a
hundred and less). A score is judged by its average precision over that share: a random order has lift 1.

Nothing here is drawn but the resamples of candidates, so each part runs once; whatever is compared is compared on the same
resamples. `ClosureModel` learns on the first 60 % what closes up to 80 %. "0/1 weights" is the harmonic mean after how often
a pair has met is forgotten.

The counts of the closure tables are held against those that the authors published with their code.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy.stats import fisher_exact

from tutelage.data.events import TimedEvents, read_simplices
from tutelage.data.projection import Projection, held
from tutelage.evaluation.bootstrap import percentile_interval
from tutelage.evaluation.ranking import ap_lift, ap_lift_resampled
from tutelage.evaluation.significance import two_sided_p
from tutelage.methods.graphs.simplicial_closure import (
    SCORES,
    ClosureModel,
    Score,
    closure_table,
    generalised_mean,
)
from tutelage.studies import (
    Arm,
    Bar,
    Finding,
    Measured,
    Metric,
    Paper,
    Part,
    Results,
    Role,
    Setup,
    Study,
    Trial,
    exactly,
)  # fmt: skip

PUBLISHED = {
    "email-Enron": {
        "111": (75, 0), "112": (449, 14), "122": (1162, 56), "222": (888, 49), "022": (11082, 236),
        "012": (10669, 132), "011": (2025, 19), "002": (109207, 334), "001": (40734, 78), "000": (265772, 90),
    },
    "contact-primary-school": {
        "111": (2627, 1), "112": (16474, 13), "122": (28402, 97), "222": (32943, 573), "022": (95565, 84),
        "012": (152040, 40), "011": (38993, 2), "002": (678608, 68), "001": (312081, 1), "000": (970888, 1),
    },
    "contact-high-school": {
        "111": (378, 1), "112": (3259, 6), "122": (9218, 53), "222": (12201, 141), "022": (38800, 54),
    },
}  # fmt: skip
"""By class of three: open ones, and those that closed (ScHoLP-Tutorial, output/3-node-closures)."""

RESAMPLED = ("harmonic", "geometric", "arithmetic", "katz", "pagerank", "weighted pagerank")
"""Scores whose lifts are compared."""


@dataclass(frozen=True)
class Window:
    """Which data set, how many of its events (0: all), and resamples of the candidates."""

    name: str
    events: int = 0
    resamples: int = 1_000


@dataclass(frozen=True)
class Candidates:
    """The windows, the graph of the known events, its open triangles (T, 3), and whether each closes (T,)."""

    windows: tuple[TimedEvents, TimedEvents, TimedEvents]
    known: TimedEvents
    graph: Projection
    triangles: np.ndarray
    closes: np.ndarray


def candidates(setup: Setup[Window]) -> Candidates:
    """The open triangles at 80 % of the time."""
    events = read_simplices(setup.file(f"simplices/{setup.settings.name}"))
    if setup.settings.events:
        events = events.part(0, setup.settings.events)
    before, between, future = events.split(0.6, 0.8)
    known, _ = events.split(0.8)
    graph = Projection(known)
    return Candidates((before, between, future), known, graph, graph.open_triangles, held(graph.open_triangles, future))


def judged(name: str, role: Role, score: Score | None = None) -> Arm[Candidates, Window]:
    """The lift of a score, and of its resamples where it is compared with others."""

    def run(data: Candidates, trial: Trial[Window]) -> Measured:
        fitted = score or ClosureModel().fit(*data.windows[:2])
        values = fitted(data.graph, data.triangles)
        trial.budget.count(examples=len(values))
        figures: dict[str, float | np.ndarray] = {"lift": ap_lift(values, data.closes)}
        if name in RESAMPLED:
            figures["resampled"] = ap_lift_resampled(
                values, data.closes, resamples=trial.settings.resamples, seed=trial.seed
            )
        return figures

    return Arm(name, role, run)


def forgetful(graph: Projection, triangles: np.ndarray) -> np.ndarray:
    """The harmonic mean of weights that are all 1: a constant."""
    return generalised_mean(graph.at(graph.pattern, triangles), -1)


def shuffled(graph: Projection, triangles: np.ndarray) -> np.ndarray:
    """A random order."""
    return np.random.default_rng(len(triangles)).random(len(triangles))


def counts(data: Candidates, trial: Trial[Window]) -> Measured:
    """The closure table, and in how many of the published cells it differs."""
    table = closure_table(data.known, data.windows[2])
    published: Mapping[str, tuple[int, int]] = PUBLISHED[trial.settings.name]
    off = sum(mine != theirs for name in published for mine, theirs in zip(table[name], published[name], strict=True))
    figures: dict[str, float] = {"cells off": off}
    for name, cell in table.items():
        figures |= {f"open {name}": cell.open, f"closed {name}": cell.closed}
    return figures


def replicated(name: str, *, gated: bool = True) -> Bar:
    """Every published count comes out."""
    cells = 2 * len(PUBLISHED[name])

    def test(r: Results) -> Finding:
        off = int(r["closure table", "cells off"][0])
        return exactly(off == 0, off, f"{cells - off} of {cells} counts")

    return Bar("the closure table has the published counts", test, gated)


def likelier(first: str, second: str) -> Bar:
    """Threes of one class close more often than those of another, by Fisher's exact test at p < .001."""

    def test(r: Results) -> Finding:
        opened, closed = (
            [r["closure table", f"{what} {c}"][0] for c in (first, second)] for what in ("open", "closed")
        )
        cells = [[closed[k], opened[k] - closed[k]] for k in (0, 1)]
        p = float(np.asarray(fisher_exact(cells, alternative="greater"))[1])
        shares = [closed[k] / max(opened[k], 1) for k in (0, 1)]
        found = exactly(p < 1e-3, shares[0] - shares[1], f"{shares[0]:.2%} against {shares[1]:.3%}".replace("%", " %"))
        return Finding(found.outcome, found.effect, found.low, found.high, p, found.note)

    return Bar(f"P(close | {first}) > P(close | {second}), p < .001", test)


def lifts_more(method: str, baseline: str, *, gated: bool = True) -> Bar:
    """The 95 % interval of the difference of lifts lies above 0."""

    def test(r: Results) -> Finding:
        gain = r.items(method, "resampled")[0] - r.items(baseline, "resampled")[0]
        low, high = percentile_interval(gain)
        outcome = "holds" if low > 0 else "inconclusive" if high > 0 else "fails"
        effect = float(r[method, "lift"][0] - r[baseline, "lift"][0])
        return Finding(outcome, effect, low, high, two_sided_p(gain))

    return Bar(f"lift of {method} > lift of {baseline} (whole interval)", test, gated)


def best(r: Results) -> str:
    """Which local and which long-range score is best here."""
    lift = {name: float(r[name, "lift"][0]) for name in SCORES}
    far = [name for name in lift if "katz" in name or "pagerank" in name]
    near = [name for name in lift if name not in far]
    top = [max(names, key=lambda name: lift[name]) for names in (near, far)]
    local, distant = (f"{name} ({lift[name]:.2f})" for name in top)
    return f"Best of the local scores: {local}; of the long-range ones: {distant}."


MEANS = ("geometric", "arithmetic", "minimum", "maximum")
ROLES: dict[str, Role] = {"harmonic": "method", **dict.fromkeys(MEANS, "ablation")}


def part(title: str, window: Window, fast: int, bars: tuple[Bar, ...]) -> Part[Candidates, Window]:
    """One data set, all scores."""
    return Part(
        name=title,
        data=candidates,
        arms=(
            judged("random", "reference", shuffled),
            *(judged(name, ROLES.get(name, "baseline"), score) for name, score in SCORES.items()),
            judged("0/1 weights", "ablation", forgetful),
            judged("closure model", "reference"),
            Arm("closure table", "reference", counts),
        ),
        metrics=(Metric("lift", digits=2), Metric("cells off", higher_is_better=False, shown=False)),
        bars=bars,
        settings=window,
        fast=Window(window.name, fast, 20),
        seeds=1,
        files=(f"simplices/{window.name}",),
        sentence=best,
    )


STUDY = Study(
    slug="simplicial-closure",
    paper=Paper("Simplicial Closure and Higher-order Link Prediction", "Benson et al.", 2018, "1802.06916"),
    claim="threes whose pairs meet often close far more often, and a mean of their three weights foretells it better than "
    "long-range scores",
    parts=(
        part(
            "primary school",
            Window("contact-primary-school"),
            20_000,
            (
                lifts_more("harmonic", "weighted pagerank"),
                lifts_more("harmonic", "katz"),
                replicated("contact-primary-school"),
                likelier("222", "111"),
                likelier("222", "022"),
                lifts_more("harmonic", "pagerank", gated=False),
                lifts_more("geometric", "weighted pagerank", gated=False),
                lifts_more("harmonic", "arithmetic", gated=False),
            ),
        ),
        part(
            "e-mail",
            Window("email-Enron"),
            3_000,
            (replicated("email-Enron"), lifts_more("harmonic", "pagerank", gated=False)),
        ),
        part(
            "high school",
            Window("contact-high-school"),
            20_000,
            (
                replicated("contact-high-school", gated=False),
                lifts_more("harmonic", "weighted pagerank", gated=False),
            ),
        ),
    ),
)
