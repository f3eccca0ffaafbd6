"""Verdicts are computed: a bar turns figures into a finding, and the gated bars of a study, ANDed, into its verdict.

A bar compares paired figures (one a seed, or items nested in seeds) and finds one of three outcomes:

    holds         the effect reaches what the bar asks, and is no accident: the 95 % interval of the paired bootstrap
                  excludes zero, or the exact one-sided sign test over seeds has p < .05
    inconclusive  the interval covers zero, the sign test is not met, and an effect of the size asked is not excluded
    fails         everything else
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from tutelage.evaluation.significance import paired_bootstrap, sign_test
from tutelage.studies.results import Results

Outcome = Literal["holds", "fails", "inconclusive"]
Verdict = Literal["holds", "does not hold", "inconclusive", "not run"]

SIGNIFICANT = 0.05


@dataclass(frozen=True)
class Finding:
    """What a bar found: the outcome, the effect with its 95 % interval, p where something was tested, and a remark."""

    outcome: Outcome
    effect: float
    low: float
    high: float
    p: float | None = None
    note: str = ""


@dataclass(frozen=True)
class Bar:
    """One condition of the claim: a sentence, and the pure function of the results that decides it.

    Attributes:
        text: what is asked, in one line.
        test: results → finding.
        gated: whether the verdict depends on it; other bars are reported beside it.
        paper: the paper's own figure, printed beside ours.
    """

    text: str
    test: Callable[[Results], Finding]
    gated: bool = True
    paper: str = ""


def judge(
    gain: np.ndarray | Sequence[float] | Sequence[np.ndarray],
    *,
    by: float = 0.0,
    wins: float = 0.0,
    resamples: int = 10_000,
) -> Finding:
    """Is a gain at least `by` (≥ 0), above zero on a share `wins` of the seeds, and no accident?

    Args:
        gain: (S,) paired differences, positive is better; or one array of items a seed, which nests items in seeds.
        by: the mean gain that is asked.
        wins: share of the seeds on which the gain must be positive: 0.9 asks 9 of 10, 1.0 all.

    >>> judge([1.0, 2.0, 1.5, 1.0, 2.5], by=1.0, wins=1.0).outcome
    'holds'
    >>> judge([1.0, -1.0, 2.0, -1.5, 0.5]).outcome
    'inconclusive'
    >>> judge([0.1, -0.1, 0.1, 0.0, 0.1], by=1.0).outcome  # a gain of 1 is excluded
    'fails'

    Raises: ValueError: a negative `by` (see `not_worse`), gains that are empty or not finite.
    """
    if by < 0:
        raise ValueError(f"by must not be negative; got {by} (a tolerance is `not_worse`)")
    difference = paired_bootstrap(gain, resamples=resamples)
    low, high = difference.interval
    seeds = np.array([np.mean(seed) for seed in gain])
    won, tied, needed = int((seeds > 0).sum()), int((seeds == 0).sum()), math.ceil(wins * len(seeds) - 1e-9)
    p_sign = sign_test(seeds, alternative="greater")
    met = difference.value >= by and won >= needed
    real = low > 0 or p_sign < SIGNIFICANT
    outcome: Outcome
    if met and real:
        outcome = "holds"
    elif not real and high >= by:
        outcome = "inconclusive"
    else:
        outcome = "fails"
    ties = f" ({tied} tied)" if tied else ""
    note = f"{won}/{len(seeds)} seeds{ties}, sign test p {p_value(p_sign)}"
    return Finding(outcome, difference.value, low, high, difference.p, note)


def beats(
    method: str,
    baseline: str,
    metric: str,
    *,
    by: float = 0.0,
    wins: float = 0.0,
    times: float = 1.0,
    gated: bool = True,
    paper: str = "",
) -> Bar:
    """`method` is better than `times` × `baseline` on `metric`, by at least `by`, on a share `wins` of the seeds.

    >>> beats("ps-kd", "ce", "nll", wins=0.9).text
    'ps-kd beats ce on nll, on 90 % of seeds'
    """
    text = f"{method} beats {'' if times == 1 else f'{times:g} × '}{baseline} on {metric}"
    text += f" by {by:g}" if by else ""
    text += f", on {wins:.0%} of seeds".replace("%", " %") if wins else ""
    return Bar(text, lambda r: judge(r.gain(method, baseline, metric, times=times), by=by, wins=wins), gated, paper)


def not_worse(
    method: str,
    baseline: str,
    metric: str,
    *,
    within: float,
    strict: bool = False,
    gated: bool = True,
    paper: str = "",
) -> Bar:
    """`method` loses at most `within` against `baseline`; `strict` asks it of the interval's lower end too.

    Inconclusive where the mean misses the tolerance but the interval still reaches it.
    """

    def test(results: Results) -> Finding:
        difference = paired_bootstrap(results.gain(method, baseline, metric))
        low, high = difference.interval
        missed: Outcome = "inconclusive" if high >= -within else "fails"
        held = low >= -within if strict else difference.value >= -within
        return Finding("holds" if held else missed, difference.value, low, high)

    text = f"{method} is at most {within:g} below {baseline} on {metric}{' (whole interval)' if strict else ''}"
    return Bar(text, test, gated, paper)


def reaches(
    figures: np.ndarray | Sequence[float], bound: float, *, at_most: bool = False, every_seed: bool = False
) -> Finding:
    """Is the mean of one figure a seed at least (`at_most`: at most) the bound, or the figure of every seed?

    Inconclusive where the mean misses the bound but its interval covers it.

    >>> reaches([0.9, 1.0, 1.0], 0.95).outcome, reaches([0.9, 1.0, 1.0], 0.95, every_seed=True).outcome
    ('holds', 'fails')
    """
    values, sign = np.asarray(figures, np.float64), -1 if at_most else 1
    mean = paired_bootstrap(values)
    low, high = mean.interval
    margins = sign * (values - bound)
    outcome: Outcome
    if every_seed:
        outcome = "holds" if bool((margins >= 0).all()) else "fails"
    elif sign * (mean.value - bound) >= 0:
        outcome = "holds"
    else:
        outcome = "inconclusive" if low <= bound <= high else "fails"
    return Finding(outcome, mean.value, low, high, note=f"{int((margins >= 0).sum())}/{len(values)} seeds")


def at_least(
    arm: str, metric: str, bound: float, *, every_seed: bool = False, gated: bool = True, paper: str = ""
) -> Bar:
    """The arm's mean of `metric` (or its figure on every seed) is at least `bound`."""
    text = f"{metric} of {arm} ≥ {bound:g}{' on every seed' if every_seed else ''}"
    return Bar(text, lambda r: reaches(r[arm, metric], bound, every_seed=every_seed), gated, paper)


def at_most(
    arm: str, metric: str, bound: float, *, every_seed: bool = False, gated: bool = True, paper: str = ""
) -> Bar:
    """The arm's mean of `metric` (or its figure on every seed) is at most `bound`."""
    text = f"{metric} of {arm} ≤ {bound:g}{' on every seed' if every_seed else ''}"
    return Bar(text, lambda r: reaches(r[arm, metric], bound, at_most=True, every_seed=every_seed), gated, paper)


def exactly(held: bool, figure: float, note: str = "") -> Finding:
    """The finding of a condition without chance in it: a count, a replication, an identity.

    >>> exactly(True, 0, "no call is paid twice").outcome
    'holds'
    """
    return Finding("holds" if held else "fails", figure, figure, figure, note=note)


def p_value(p: float) -> str:
    """A p as it is printed.

    >>> p_value(0.0314), p_value(0.0002)
    ('= .031', '< .001')
    """
    return "< .001" if p < 0.001 else f"= {p:.3f}".replace("0.", ".", 1)


def cap(finding: Finding, seeds: int, needed: int) -> Finding:
    """Fewer seeds than the bar was written for decide nothing: whatever was found becomes inconclusive."""
    if seeds >= needed or finding.outcome == "inconclusive":
        return finding
    note = f"{finding.note}; " if finding.note else ""
    return replace(finding, outcome="inconclusive", note=f"{note}{seeds} of {needed} seeds decide nothing")


def decide(outcomes: Iterable[Outcome], missing: bool = False) -> Verdict:
    """The verdict of the gated outcomes: one failure decides, then what is missing, then one doubt.

    >>> decide(["holds", "holds"]), decide(["holds", "inconclusive"]), decide(["holds"], missing=True)
    ('holds', 'inconclusive', 'not run')
    >>> decide(["inconclusive", "fails"], missing=True)
    'does not hold'
    """
    found = list(outcomes)
    if "fails" in found:
        return "does not hold"
    if missing or not found:
        return "not run"
    return "inconclusive" if "inconclusive" in found else "holds"
