"""How far samples are from data: two distances between clouds of points.

    Fréchet              ‖ m_x − m_y ‖² + tr(C_x + C_y − 2 (C_x^½ C_y C_x^½)^½)
    sliced Wasserstein   mean over directions w of  1/n Σ_i | sorted(x·w)_i − sorted(y·w)_i |

The Fréchet distance takes features (of a classifier) for Gaussian with means m and covariances C; the sliced one takes
nothing for granted and sees only projections. Both are too high with few samples, by an amount that depends on their number:
compare figures of one number of samples, from one noise, along the same directions.

Sources: Heusel et al. 2017 (arXiv:1706.08500); Bonneel et al., "Sliced and Radon Wasserstein Barycenters of Measures", 2015.
Shapes: samples x, y (n, d) float; directions (k, d), of length one.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from tutelage.errors import InputError


def frechet_distance(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """The Fréchet distance of two clouds (n, d) of features, as a square: what is called FID with Inception's features.

    Raises: InputError: clouds that do not fit, fewer than two samples, figures that are not finite.

    >>> x = np.random.default_rng(0).normal(size=(500, 3))
    >>> round(frechet_distance(x, x), 6), round(frechet_distance(x, x + [3.0, 4.0, 0.0]), 6)
    (0.0, 25.0)
    """
    a, b = _clouds(x, y)
    if min(len(a), len(b)) < 2:
        raise InputError("a covariance needs at least two samples")
    root, other = _root(np.cov(a.T, ddof=1)), np.atleast_2d(np.cov(b.T, ddof=1))
    crossed = np.sqrt(np.clip(np.linalg.eigvalsh(root @ other @ root), 0, None)).sum()
    spread = a.var(0, ddof=1).sum() + b.var(0, ddof=1).sum() - 2 * crossed
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + max(spread, 0.0))


def sliced_wasserstein(x: npt.ArrayLike, y: npt.ArrayLike, directions: npt.ArrayLike) -> float:
    """The sliced 1-Wasserstein distance of two clouds of one size; see `random_directions`.

    Raises: InputError: clouds or directions that do not fit, different numbers of samples.

    >>> sliced_wasserstein([[0.0, 0.0], [1.0, 0.0]], [[3.0, 0.0], [2.0, 0.0]], [[1.0, 0.0], [0.0, 1.0]])
    1.0
    """
    (a, b), along = _clouds(x, y), np.asarray(directions, np.float64)
    if len(a) != len(b):
        raise InputError(f"compare as many samples as there are data; got {len(a)} and {len(b)}")
    if along.ndim != 2 or along.shape[1] != a.shape[1]:
        raise InputError(f"directions must be (k, {a.shape[1]}); got {along.shape}")
    return float(np.abs(np.sort(a @ along.T, axis=0) - np.sort(b @ along.T, axis=0)).mean())


def random_directions(count: int, dim: int, seed: int = 0) -> np.ndarray:
    """Directions (count, dim) of length one, uniform on the sphere, the same for the same seed.

    >>> np.linalg.norm(random_directions(3, 5), axis=1).round(6).tolist()
    [1.0, 1.0, 1.0]
    """
    drawn = np.random.default_rng(seed).normal(size=(count, dim))
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def _root(covariance: np.ndarray) -> np.ndarray:
    values, vectors = np.linalg.eigh(np.atleast_2d(covariance))
    return (vectors * np.sqrt(np.clip(values, 0, None))) @ vectors.T


def _clouds(x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(x, np.float64), np.asarray(y, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1] or not (len(a) and len(b)):
        raise InputError(f"clouds are (n, d) with one d; got {a.shape} and {b.shape}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise InputError("samples must be finite: the generator diverged")
    return a, b
