"""How far labellers agree beyond chance: Krippendorff's alpha and Cohen's kappa, with bootstrap intervals.

Units u have m_u ≥ 2 labels (units with fewer drop out); n_uc of them are c, n_c = Σ_u n_uc, n = Σ_c n_c:

    alpha = 1 − D_o / D_e
    D_o = (1/n) Σ_u (m_u − 1)^−1 Σ_c,k n_uc n_uk δ²_ck            what is seen
    D_e = (n (n − 1))^−1 Σ_c,k n_c n_k δ²_ck                      what chance would give

δ² is 0 or 1 (nominal), the squared distance of mid-ranks (ordinal) or of values (interval), or, for sets of labels, MASI:
1 − M · |A ∩ B| / |A ∪ B| with M = 1 for equal sets, 2/3 where one holds the other, 1/3 for overlap, 0 for disjoint ones.
Where only one value was ever given D_e is 0 and alpha is undefined: NaN with a reason, neither 0 nor 1.

The value comes from the `krippendorff` package, kappa from scikit-learn. Both sums above are sums over units, so all
bootstrap resamples are one matrix product (see `bootstrap`).

Sources: Krippendorff, "Content Analysis", 3rd ed. 2013, ch. 12; Passonneau 2006 (MASI). Reading (Krippendorff): 0.8 and
above is reliable, 0.667 and above acceptable for tentative conclusions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from numbers import Real
from typing import Literal

import numpy as np
import numpy.typing as npt

from tutelage.evaluation.bootstrap import percentile_interval, resampled_sums

Level = Literal["nominal", "ordinal", "interval", "masi"]
Ratings = Sequence[object] | np.ndarray
Statistic = Callable[[np.ndarray], np.ndarray]  # sums (R, D) -> coefficients (R,) or (R, K)

RELIABLE, ACCEPTABLE = 0.8, 0.667
_UNDEFINED = (math.nan, math.nan)
_CELLS = 20_000_000  # of the package's (units, values, values) array; above this alpha comes from the sums themselves


@dataclass(frozen=True)
class Agreement:
    """A coefficient, its 95 % interval, the number of units it rests on; NaN with a `reason` where it is undefined."""

    value: float
    interval: tuple[float, float]
    n: int
    reason: str | None = None


def reading(value: float | None) -> str:
    """What an alpha allows one to do.

    >>> reading(0.7)
    'acceptable'
    """
    if value is None or math.isnan(value):
        return "undefined"
    return "reliable" if value >= RELIABLE else "acceptable" if value >= ACCEPTABLE else "too low"


def alpha(
    table: Sequence[Ratings],
    *,
    level: Level = "nominal",
    values: Sequence[Hashable] | None = None,
    missing: object = None,
    cluster: npt.ArrayLike | None = None,
    resamples: int = 1_000,
    seed: int = 0,
) -> Agreement:
    """Krippendorff's alpha of raters × units.

    Args:
        table: one row a rater, N units each: labels, codes or numbers; for "masi" sets of labels or (N, K) indicators.
            None, NaN and `missing` stand for "not rated".
        level: how far two different values are apart.
        values: all values in their order; needed for ordinal labels that are not numbers.
        missing: one more value that stands for "not rated", such as −1.
        cluster: (N,) resample these whole instead of single units.
        resamples, seed: of the bootstrap.

    >>> a = alpha([[1, 2, 3, 3], [1, 2, 3, None]])
    >>> a.value, a.n
    (1.0, 3)

    Raises: ValueError: fewer than two raters, rows of different lengths, a value that is not among `values`.
    """
    if level == "masi":
        table = [_as_sets(row, missing) for row in table]
    codes, domain = _codes(table, values, missing)
    if level in ("ordinal", "interval") and values is None and not all(isinstance(v, Real) for v in domain):
        raise ValueError(f"{level} labels that are not numbers need values= with the labels in their order")
    counts = _value_counts(codes, len(domain))
    rated = counts.sum(axis=1) >= 2
    counts = counts[rated]
    reason = _why_undefined(counts, domain)
    if reason:
        return Agreement(math.nan, _UNDEFINED, len(counts), reason)
    distance = _distances(domain, level)
    contributions, statistic = _ordinal_sums(counts) if level == "ordinal" else _sums(counts, distance)
    if len(counts) * len(domain) ** 2 <= _CELLS:
        value = _package_alpha(counts, level, distance)
    else:
        value = float(statistic(contributions.sum(axis=0, keepdims=True))[0])
    sums = resampled_sums(contributions, resamples=resamples, seed=seed, cluster=_rows(cluster, rated))
    return Agreement(value, percentile_interval(statistic(sums)), len(counts))


def alpha_per_label(
    table: Sequence[Ratings],
    labels: Sequence[str] | Sequence[int],
    *,
    missing: object = None,
    cluster: npt.ArrayLike | None = None,
    resamples: int = 1_000,
    seed: int = 0,
) -> dict[str | int, Agreement]:
    """Nominal alpha of each label against the rest (does the text have this label: yes or no).

    Args:
        table: as for `alpha`; sets of labels and (N, K) indicators are legal too.
        labels: the K labels (codes where `table` holds codes; the names of the K columns for indicators).

    >>> both = alpha_per_label([["a", "b", "a"], ["a", "b", "b"]], ["a", "b", "c"])
    >>> round(both["a"].value, 3), both["c"].reason
    (0.444, "no rater gave 'c'")
    """
    given, by = _indicators(table, labels, missing)
    rated = by >= 2
    yes, m, k = given[rated].astype(np.float64), by[rated, None].astype(np.float64), len(labels)
    if not len(yes):
        return {label: Agreement(math.nan, _UNDEFINED, 0, "no unit was rated twice") for label in labels}

    def statistic(sums: np.ndarray) -> np.ndarray:
        seen, n_yes, n = sums[:, :k], sums[:, k : 2 * k], sums[:, 2 * k :]
        return _one_minus((n - 1) * seen, 2 * n_yes * (n - n_yes))

    contributions = np.hstack([2 * yes * (m - yes) / (m - 1), yes, m])
    point = statistic(contributions.sum(axis=0, keepdims=True))[0]
    samples = statistic(resampled_sums(contributions, resamples=resamples, seed=seed, cluster=_rows(cluster, rated)))
    result: dict[str | int, Agreement] = {}
    for position, label in enumerate(labels):
        total = yes[:, position].sum()
        if total in (0, m.sum()):
            reason = f"every rater gave {label!r} to every unit" if total else f"no rater gave {label!r}"
            result[label] = Agreement(math.nan, _UNDEFINED, len(yes), reason)
        else:
            result[label] = Agreement(float(point[position]), percentile_interval(samples[:, position]), len(yes))
    return result


def kappa(
    first: Ratings,
    second: Ratings,
    *,
    weights: Literal["linear", "quadratic"] | None = None,
    values: Sequence[Hashable] | None = None,
    missing: object = None,
    cluster: npt.ArrayLike | None = None,
    resamples: int = 1_000,
    seed: int = 0,
) -> Agreement:
    """Cohen's kappa of two raters: 1 − Σ w o / Σ w e over the table of their pairs; "quadratic" weights give the QWK.

    Args: as for `alpha`; units that one of the two did not rate drop out.

    >>> kappa([0, 0, 1, 1], [0, 0, 1, 0]).value
    0.5
    """
    from sklearn.metrics import cohen_kappa_score

    codes, domain = _codes([first, second], values, missing)
    rated = np.all(codes >= 0, axis=0)
    a, b = codes[:, rated]
    reason = _why_undefined(_value_counts(codes[:, rated], len(domain)), domain)
    if reason:
        return Agreement(math.nan, _UNDEFINED, len(a), reason)
    v = len(domain)
    pairs = np.zeros((len(a), v * v))
    pairs[np.arange(len(a)), a * v + b] = 1
    steps = np.abs(np.subtract.outer(np.arange(v), np.arange(v))).astype(np.float64)
    cost = np.minimum(steps, 1) if weights is None else steps if weights == "linear" else steps**2

    def statistic(sums: np.ndarray) -> np.ndarray:
        seen = sums.reshape(-1, v, v)
        chance = ((seen.sum(axis=2) @ cost) * seen.sum(axis=1)).sum(axis=1)
        return _one_minus(sums @ cost.ravel() * sums.sum(axis=1), chance)

    sums = resampled_sums(pairs, resamples=resamples, seed=seed, cluster=_rows(cluster, rated))
    value = float(cohen_kappa_score(a, b, labels=list(range(v)), weights=weights))
    return Agreement(value, percentile_interval(statistic(sums)), len(a))


def masi(a: frozenset[Hashable], b: frozenset[Hashable]) -> float:
    """MASI distance of two label sets, in [0, 1]; two empty sets are equal.

    >>> masi(frozenset("ab"), frozenset("a"))  # 1 − 2/3 · 1/2
    0.6666666666666667
    """
    if a == b:
        return 0.0
    common = len(a & b)
    monotone = 0.0 if not common else 2 / 3 if a <= b or b <= a else 1 / 3
    return 1.0 - monotone * common / len(a | b)


def _codes(
    table: Sequence[Ratings], values: Sequence[Hashable] | None, missing: object
) -> tuple[np.ndarray, list[Hashable]]:
    """Ratings as positions in the list of values: (raters, N) int64, −1 where not rated."""
    rows = [row.tolist() if isinstance(row, np.ndarray) else list(row) for row in table]
    if len(rows) < 2 or len({len(row) for row in rows}) != 1:
        raise ValueError(f"agreement needs two or more raters of the same units; got rows of {[len(r) for r in rows]}")
    used = {cell for row in rows for cell in row if not _is_missing(cell, missing)}
    domain: list[Hashable] = sorted(used, key=_order) if values is None else list(values)
    place = {value: position for position, value in enumerate(domain)}
    unknown = sorted((cell for cell in used if cell not in place), key=_order)
    if unknown:
        raise ValueError(f"rating {unknown[0]!r} is not among the values {domain}")
    codes = [[-1 if _is_missing(cell, missing) else place[cell] for cell in row] for row in rows]
    return np.array(codes, np.int64).reshape(len(rows), -1), domain


def _is_missing(cell: object, missing: object) -> bool:
    return cell is None or (isinstance(cell, Real) and cell != cell) or (missing is not None and cell == missing)


def _order(value: object) -> tuple[bool, float, str]:
    """Numbers by size, then anything else by how it is written."""
    if isinstance(value, Real):
        return False, float(value), ""
    return True, 0.0, repr(sorted(map(repr, value)) if isinstance(value, frozenset) else value)


def _as_sets(row: Ratings, missing: object) -> list[frozenset[Hashable] | None]:
    if isinstance(row, np.ndarray) and row.ndim == 2:
        return [frozenset(np.flatnonzero(cells).tolist()) for cells in row]
    return [None if _is_missing(cell, missing) else frozenset(_members(cell)) for cell in row]


def _members(cell: object) -> Sequence[Hashable]:
    if isinstance(cell, np.ndarray):
        raise ValueError("give a rater's (N, K) indicators as one array, not as a list of rows")
    return list(cell) if isinstance(cell, set | frozenset | list | tuple) else [cell]


def _value_counts(codes: np.ndarray, v: int) -> np.ndarray:
    """How many raters gave each value to each unit: (raters, N) codes -> (N, V)."""
    n = codes.shape[1]
    cells = codes + np.arange(n) * v
    return np.bincount(cells[codes >= 0], minlength=n * v).reshape(n, v)


def _indicators(table: Sequence[Ratings], labels: Sequence[Hashable], missing: object) -> tuple[np.ndarray, np.ndarray]:
    """How many raters gave each label to each unit (N, K), and how many rated the unit at all (N,)."""
    names = list(labels)
    counts = np.zeros((len(table[0]), len(names)), np.int64)
    by = np.zeros(len(counts), np.int64)
    place = {label: position for position, label in enumerate(names)}
    for row in table:
        if len(row) != len(counts):
            raise ValueError(f"raters rated different numbers of units: {len(counts)} and {len(row)}")
        if isinstance(row, np.ndarray) and row.ndim == 2:
            counts += row.astype(bool)
            by += 1
            continue
        for unit, cell in enumerate(row.tolist() if isinstance(row, np.ndarray) else row):
            if not _is_missing(cell, missing):
                by[unit] += 1
                for member in _members(cell):
                    if member not in place:
                        raise ValueError(f"rating {member!r} of unit {unit} is not among the labels {names}")
                    counts[unit, place[member]] += 1
    return counts, by


def _rows(cluster: npt.ArrayLike | None, rated: np.ndarray) -> np.ndarray | None:
    return None if cluster is None else np.asarray(cluster)[rated]


def _why_undefined(counts: np.ndarray, domain: list[Hashable]) -> str | None:
    if not len(counts):
        return "no unit was rated twice"
    used = np.flatnonzero(counts.sum(axis=0))
    if len(used) > 1:
        return None
    value = domain[used[0]]
    return f"every rater gave {sorted(map(str, value)) if isinstance(value, frozenset) else repr(value)} to every unit"


def _distances(domain: list[Hashable], level: Level) -> np.ndarray:
    """δ² of every two values (V, V); the ordinal one depends on the counts instead."""
    if level == "masi":
        return np.array([[masi(a, b) for b in domain] for a in domain])  # pyright: ignore[reportArgumentType]
    if level == "interval":
        numbers = np.array(domain, np.float64)
        return np.subtract.outer(numbers, numbers) ** 2
    return 1.0 - np.eye(len(domain))


def _package_alpha(counts: np.ndarray, level: Level, distance: np.ndarray) -> float:
    import krippendorff

    def ours(v1: object, v2: object, i1: np.ndarray, i2: np.ndarray, n_v: object, dtype: object = None) -> np.ndarray:
        return distance[i1, i2]

    metric = "ordinal" if level == "ordinal" else ours
    return float(krippendorff.alpha(value_counts=counts, level_of_measurement=metric))  # pyright: ignore[reportArgumentType]


def _sums(counts: np.ndarray, distance: np.ndarray) -> tuple[np.ndarray, Statistic]:
    """What each unit adds to the sums of D_o and D_e (units, 1 + V), and alpha as a function of those sums."""
    n_u = counts.astype(np.float64)
    seen = ((n_u @ distance) * n_u).sum(axis=1, keepdims=True) / (n_u.sum(axis=1, keepdims=True) - 1)

    def statistic(sums: np.ndarray) -> np.ndarray:
        n_c = sums[:, 1:]
        return _one_minus((n_c.sum(axis=1) - 1) * sums[:, 0], ((n_c @ distance) * n_c).sum(axis=1))

    return np.hstack([seen, n_u]), statistic


def _ordinal_sums(counts: np.ndarray) -> tuple[np.ndarray, Statistic]:
    """The same where δ² is the squared distance of mid-ranks, which every resample has its own of: (units, V² + V)."""
    n_u, v = counts.astype(np.float64), counts.shape[1]
    coincidences = n_u[:, :, None] * n_u[:, None, :]
    coincidences[:, np.arange(v), np.arange(v)] -= n_u
    coincidences /= n_u.sum(axis=1)[:, None, None] - 1

    def statistic(sums: np.ndarray) -> np.ndarray:
        n_c = sums[:, v * v :]
        rank = np.cumsum(n_c, axis=1) - n_c / 2
        apart = (rank[:, :, None] - rank[:, None, :]) ** 2
        seen = (sums[:, : v * v].reshape(-1, v, v) * apart).sum(axis=(1, 2))
        return _one_minus((n_c.sum(axis=1) - 1) * seen, np.einsum("ri,rj,rij->r", n_c, n_c, apart))

    return np.hstack([coincidences.reshape(len(n_u), -1), n_u]), statistic


def _one_minus(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    """1 − top / bottom; NaN where bottom is 0 (a resample in which everybody gave the same value)."""
    return np.where(bottom > 0, 1 - top / np.where(bottom > 0, bottom, 1), np.nan)
