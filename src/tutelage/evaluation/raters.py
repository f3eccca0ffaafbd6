"""Raters category by category: where people agree with each other, and where a model agrees with them.

A rater's codes are (N, K): 1 where category k applies to unit n, 0 where it does not, NaN where nobody said. For a category

    HH = mean over pairs of people of kappa(h, h')          HM = mean over people of kappa(h, model)

kappa being Cohen's on the units that both of the pair coded, or Krippendorff's alpha in its place. Each pair's 2 × 2 table
is a sum over units, so the means are bootstrapped over units in one matrix product (see `bootstrap`), and two models on the
same units share their resamples. With po the share of units on which a and b agree, pa and pb their shares of ones, and q
the share of ones among the 2n codes of both,

    kappa = (po − pe) / (1 − pe),   pe = pa pb + (1 − pa)(1 − pb)
    alpha = 1 − (1 − po) / De,      De = 2 q (1 − q) · 2n / (2n − 1)

Source: Wang et al., "SIGHT", 2023 (arXiv:2306.09343), who read HH before they trust HM.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from tutelage.errors import InputError
from tutelage.evaluation.agreement import Agreement
from tutelage.evaluation.bootstrap import percentile_interval, resampled_sums

Measure = Literal["kappa", "alpha"]
Pair = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Reliability:
    """How well a category can be coded.

    Attributes:
        people: HH; NaN with a reason where fewer than two people coded.
        model: HM; None where no model was given.
        positive: share of the units, among those that a person coded, to which at least one person gave the category.
        positives: their number.
    """

    category: str
    people: Agreement
    model: Agreement | None
    positive: float
    positives: int


def mean_agreement(
    pairs: Sequence[Pair], *, measure: Measure = "kappa", resamples: int = 1_000, seed: int = 0
) -> Agreement:
    """Mean of Cohen's kappa (or alpha) over pairs of raters of one category, with an interval over units.

    Args: pairs: P pairs of (N,) codes in {0, 1, NaN}. resamples, seed: of the bootstrap.

    Pairs whose agreement is undefined (both raters constant and equal) are left out of the mean; `n` is the smallest number of
    units that a pair rests on.

    >>> pair = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 0])
    >>> mean_agreement([pair]).value, round(mean_agreement([pair], measure="alpha").value, 3)
    (0.5, 0.533)

    Raises: InputError: codes other than 0, 1 and NaN.
    """
    if not pairs:
        return Agreement(math.nan, (math.nan, math.nan), 0, "there is no pair of raters")
    tables = _tables(pairs)
    values = _coefficients(tables.sum(axis=0, keepdims=True), measure)[0]
    n = int(tables.reshape(len(tables), -1, 4).sum(axis=(0, 2)).min())
    if not np.isfinite(values).any():
        reason = "no unit was coded by both" if n == 0 else "nobody gave it" if _never(tables) else "no rater varies"
        return Agreement(math.nan, (math.nan, math.nan), n, reason)
    return Agreement(float(np.nanmean(values)), percentile_interval(_resampled(tables, measure, resamples, seed)), n)


def kappa_gain(ours: Sequence[Pair], theirs: Sequence[Pair], *, resamples: int = 10_000, seed: int = 0) -> np.ndarray:
    """Bootstrapped differences of two mean kappas on the same N units, drawn together: (R,).

    >>> a, b = np.array([0, 1, 0, 1]), np.array([0, 1, 1, 1])
    >>> bool(np.nanmin(kappa_gain([(a, a)], [(a, b)], resamples=50)) >= 0)
    True
    """
    drawn = [_resampled(_tables(pairs), "kappa", resamples, seed) for pairs in (ours, theirs)]
    return drawn[0] - drawn[1]


def reliability_report(
    people: Mapping[str, np.ndarray],
    categories: Sequence[str],
    model: np.ndarray | None = None,
    *,
    measure: Measure = "kappa",
    resamples: int = 1_000,
    seed: int = 0,
) -> list[Reliability]:
    """HH and HM of every category.

    Args: people: codes (N, K) of each; model: codes (N, K) or None; categories: names of the K columns.

    >>> one, two = np.array([[0.0], [0], [1], [1]]), np.array([[0.0], [0], [1], [0]])
    >>> [line] = reliability_report({"ann": one, "ben": two}, ["setup"], model=one)
    >>> line.people.value, line.model.value, line.positives
    (0.5, 0.75, 2)

    Raises: InputError: codes of another shape, or other than 0, 1 and NaN.
    """
    raters = [_checked(who, codes, categories) for who, codes in people.items()]
    said = None if model is None else _checked("model", model, categories)
    if len({len(codes) for codes in (*raters, *(() if said is None else (said,)))}) > 1:
        raise InputError("the raters coded different numbers of units")
    report = []
    for k, category in enumerate(categories):
        human = [codes[:, k] for codes in raters]
        pairs = list(itertools.combinations(human, 2))
        between = mean_agreement(pairs, measure=measure, resamples=resamples, seed=seed)
        with_model = None
        if said is not None:
            pairs = [(codes, said[:, k]) for codes in human]
            with_model = mean_agreement(pairs, measure=measure, resamples=resamples, seed=seed)
        coded = np.isfinite(human).any(axis=0)
        given = (np.array(human) == 1).any(axis=0)
        share = float(given.sum() / coded.sum()) if coded.any() else math.nan
        report.append(Reliability(category, between, with_model, share, int(given.sum())))
    return report


def _checked(who: str, codes: np.ndarray, categories: Sequence[str]) -> np.ndarray:
    table = np.asarray(codes, np.float64)
    if table.ndim != 2 or table.shape[1] != len(categories):
        raise InputError(
            f"{who} has codes of shape {table.shape}; {len(categories)} categories need (N, {len(categories)})"
        )
    return table


def _tables(pairs: Sequence[Pair]) -> np.ndarray:
    """What each unit adds to the P tables (00, 01, 10, 11): (N, 4P); nothing where one of the pair did not code it."""
    columns = []
    for pair in pairs:
        a, b = (np.asarray(codes, np.float64) for codes in pair)
        both = np.isfinite(a) & np.isfinite(b)
        if not np.isin(np.concatenate([a[both], b[both]]), (0, 1)).all():
            raise InputError("codes are 1 (applies), 0 (does not) or empty; found others")
        cell = np.where(both, 2 * a + b, -1)
        columns += [(cell == c).astype(np.float64) for c in range(4)]
    return np.column_stack(columns)


def _coefficients(sums: np.ndarray, measure: Measure) -> np.ndarray:
    """(R, 4P) sums of tables -> (R, P) kappas or alphas; NaN where chance alone would agree always."""
    table = sums.reshape(len(sums), -1, 4)
    n = np.maximum(table.sum(axis=2), 1)
    seen = (table[..., 0] + table[..., 3]) / n
    first, second = (table[..., 2] + table[..., 3]) / n, (table[..., 1] + table[..., 3]) / n
    if measure == "alpha":
        share = (first + second) / 2
        apart = 2 * share * (1 - share) * 2 * n / (2 * n - 1)
    else:
        apart = 1 - first * second - (1 - first) * (1 - second)
    defined = (table.sum(axis=2) > 0) & (apart > 1e-12)
    return np.where(defined, 1 - (1 - seen) / np.where(defined, apart, 1), np.nan)


def _resampled(tables: np.ndarray, measure: Measure, resamples: int, seed: int) -> np.ndarray:
    values = _coefficients(resampled_sums(tables, resamples=resamples, seed=seed), measure)
    defined = np.isfinite(values).sum(axis=1)
    return np.where(defined > 0, np.nansum(values, axis=1) / np.maximum(defined, 1), np.nan)


def _never(tables: np.ndarray) -> bool:
    """Whether no rater of any pair ever gave the category."""
    return not tables.reshape(len(tables), -1, 4)[..., 1:].any()
