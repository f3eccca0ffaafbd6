"""Are a few sparse products as good as a singular value decomposition, and as DeepWalk, at a fraction of the time?

BlogCatalog: 10,312 bloggers, 334 thousand friendships, 39 interests, several a blogger. A tenth of the bloggers shows its
interests to a linear probe over the features; the interests of the others are predicted. Every arm chooses the probe's C
from the same four on the tuning seed, by a third of the training part. Weights and damping of FastRP are the method's
defaults, which come from what its authors found by a search on this very graph.

A   features: against the leading eigenvectors of D^(−1/2) A D^(−1/2), the optimal reduction of one step of the walk, and
    with each piece of the method taken away;
B   the same numbers: the authors' formulation (double precision, products of sparse matrices) with the same R;
C   DeepWalk by gensim's skip-gram on ten walks of 40 steps a node (a light setting of it), on one core like all others.

Seconds are those that the processor worked for this process; a seed draws the split and the random matrix.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from scipy.sparse import csr_array, diags_array

from tutelage.data.graphs import LabelledGraph, blogcatalog, shape_of
from tutelage.evaluation.probes import MultiLabelProbe
from tutelage.methods.graphs.fastrp import BETA, WEIGHTS, fastrp, very_sparse_projection
from tutelage.students.propagation import standardise
from tutelage.studies import (
    Arm,
    Bar,
    Finding,
    Metric,
    Paper,
    Part,
    Results,
    Role,
    Setup,
    Study,
    Trial,
    at_most,
    judge,
    not_worse,
    reaches,
)  # fmt: skip
from tutelage.studies.graphs._deepwalk import deepwalk

FILE = "blogcatalog.mat"
GRID = tuple({"C": c} for c in (0.003, 0.03, 0.1, 0.3, 1.0, 3.0))


@dataclass(frozen=True)
class Settings:
    """Width of the features, share of labels, how much of the graph (0: all), and DeepWalk's walks."""

    dim: int = 256
    labelled: float = 0.1
    nodes: int = 0
    per_node: int = 10
    length: int = 40
    window: int = 10


FAST = Settings(dim=8, labelled=0.5, nodes=300, per_node=1, length=5, window=2)
Embed = Callable[[csr_array, Trial[Settings]], np.ndarray]


@cache
def network(path: Path, nodes: int) -> LabelledGraph:
    """BlogCatalog, or the part of it between the `nodes` bloggers with most friends."""
    matrix, labels = blogcatalog(path)
    if not nodes:
        return LabelledGraph(matrix, labels)
    kept = np.sort(np.argsort(-np.diff(matrix.indptr), kind="stable")[:nodes])
    return LabelledGraph(matrix[kept][:, kept], labels[kept])


@cache
def eigenvectors(path: Path, nodes: int, dim: int) -> np.ndarray:
    """V |Λ|^(1/2) of the `dim` largest eigenvalues, by absolute value, of D^(−1/2) A D^(−1/2): (n, dim), variance 1 in all."""
    from scipy.sparse.linalg import eigsh

    matrix = network(path, nodes).adjacency
    root = diags_array(1 / np.sqrt(matrix.sum(axis=1)))
    start = np.ones(shape_of(matrix)[0])
    values, vectors = eigsh(csr_array(root @ matrix @ root), k=dim, which="LM", v0=start)
    features = vectors * np.sqrt(np.abs(values))
    return (features / features.std()).astype(np.float32)


def as_published(matrix: csr_array, dim: int, seed: int, beta: float = BETA) -> np.ndarray:
    """The authors' order of work: M and every U_k stay sparse matrices of doubles until they are summed."""
    from sklearn.preprocessing import normalize, scale

    degrees = np.asarray(matrix.sum(axis=1), np.float64)
    walk = csr_array(diags_array(1 / degrees) @ matrix.astype(np.float64))
    power = csr_array(diags_array(degrees**beta) @ very_sparse_projection(len(degrees), dim, seed=seed))
    total = np.zeros((len(degrees), dim))
    for weight in WEIGHTS:
        power = csr_array(walk @ power)
        total += weight * csr_array(normalize(power)).toarray()
    return np.asarray(scale(total))


def graph(setup: Setup[Settings]) -> LabelledGraph:
    """The graph of every seed."""
    return network(setup.file(FILE), setup.settings.nodes)


def scored(name: str, role: Role, embed: Embed, grid: Sequence[Mapping[str, float]]) -> Arm[LabelledGraph, Settings]:
    """Embed, then probe: figures on the bloggers whose labels were not shown."""

    def run(data: LabelledGraph, trial: Trial[Settings]) -> dict[str, float]:
        started = time.process_time()
        z = embed(data.adjacency, trial)
        seconds = time.process_time() - started
        order = np.random.default_rng(trial.seed).permutation(len(z))
        train, test = np.split(order, [round(trial.settings.labelled * len(z))])
        learn, held = np.split(train, [2 * len(train) // 3])
        probe = MultiLabelProbe(trial.choice["C"])
        validation = probe.fit(z[learn], data.labels[learn]).f1(z[held], data.labels[held])
        trial.budget.count(examples=len(train))
        figures = probe.fit(z[train], data.labels[train]).f1(z[test], data.labels[test])
        return figures | {"seconds": seconds, "validation": validation["macro-F1"]}

    return Arm(name, role, run, grid)


def ours(**options: object) -> Embed:
    """FastRP, with a piece taken away or put in the place of another."""

    def embed(matrix: csr_array, trial: Trial[Settings]) -> np.ndarray:
        return fastrp(matrix, trial.settings.dim, seed=trial.seed, threads=1, **options)  # type: ignore[arg-type]

    return embed


def gaussian(matrix: csr_array, trial: Trial[Settings]) -> np.ndarray:
    """A dense normal R."""
    dense = np.random.default_rng(trial.seed).standard_normal((shape_of(matrix)[0], trial.settings.dim), np.float32)
    return fastrp(matrix, projection=dense, threads=1)


def leading(matrix: csr_array, trial: Trial[Settings]) -> np.ndarray:
    """The eigenvectors. Nothing in them is drawn: they are computed once, and only the first seed's seconds are real."""
    return eigenvectors(trial.file(FILE), trial.settings.nodes, trial.settings.dim)


def skip_gram(matrix: csr_array, trial: Trial[Settings]) -> np.ndarray:
    """DeepWalk, standardised like the others."""
    s = trial.settings
    z = deepwalk(matrix, s.dim, per_node=s.per_node, length=s.length, window=s.window, seed=trial.seed)
    return standardise(z.copy(), 1)


@dataclass(frozen=True)
class Published:
    """What the authors' formulation gives for a seed, and the seconds it takes."""

    matrix: csr_array
    z: np.ndarray
    seconds: float


def published(setup: Setup[Settings]) -> Published:
    """The reference of part B."""
    matrix = graph(setup).adjacency
    started = time.process_time()
    z = as_published(matrix, setup.settings.dim, setup.seed)
    return Published(matrix, z, time.process_time() - started)


def reference(data: Published, trial: Trial[Settings]) -> dict[str, float]:
    """The authors' formulation, as `published` timed it."""
    trial.budget.count(examples=shape_of(data.matrix)[0])
    return {"seconds": data.seconds}


def same(data: Published, trial: Trial[Settings]) -> dict[str, float]:
    """Ours with the same R: the best of three runs."""
    seconds, z = [], data.z
    for _ in range(3):
        started = time.process_time()
        z = fastrp(data.matrix, trial.settings.dim, seed=trial.seed, threads=1)
        seconds.append(time.process_time() - started)
    trial.budget.count(examples=shape_of(data.matrix)[0])
    return {"seconds": min(seconds), "largest difference": float(np.abs(z - data.z).max())}


def above(baseline: str, by: float, wins: float) -> Bar:
    """Macro-F1 beats the baseline's by more than `by` on a share of the seeds; p is that of no more than `by`."""

    def test(r: Results) -> Finding:
        found = judge(r["fastrp", "macro-F1"] - r[baseline, "macro-F1"] - by, wins=wins)
        return replace(found, effect=found.effect + by, low=found.low + by, high=found.high + by)

    text = f"macro-F1 of fastrp beats {baseline} by more than {by:g} on {wins:.0%} of seeds"
    return Bar(text.replace("%", " %"), test)


def faster(baseline: str, times: float, *, paper: str = "") -> Bar:
    """The baseline's seconds over ours."""

    def test(r: Results) -> Finding:
        return reaches(r[baseline, "seconds"] / r["fastrp", "seconds"], times)

    return Bar(f"fastrp is at least {times:g} times as fast as {baseline}", test, paper=paper)


def beside(r: Results) -> str:
    """What each piece is worth, by the figures."""
    full = r["fastrp", "macro-F1"].mean()
    lost = {
        name: full - r[name, "macro-F1"].mean() for name in ("beta = 0", "one step", "no row lengths", "gaussian R")
    }
    return "Macro-F1 that goes with a piece: " + ", ".join(f"{name} {loss:+.3f}" for name, loss in lost.items()) + "."


FIGURES = (Metric("micro-F1"), Metric("macro-F1"), Metric("validation", shown=False))

STUDY = Study(
    slug="fastrp",
    paper=Paper(
        "Fast and Accurate Network Embeddings via Very Sparse Random Projection", "Chen et al.", 2019, "1908.11512"
    ),
    claim="a few sparse products give features as good as DeepWalk's, orders of magnitude faster, and better than the leading "
    "singular vectors",
    parts=(
        Part(
            name="A · what the features know",
            data=graph,
            arms=(
                scored("svd", "baseline", leading, GRID),
                scored("fastrp", "method", ours(), GRID),
                scored("beta = 0", "ablation", ours(beta=0.0), GRID),
                scored("one step", "ablation", ours(weights=(1.0,)), GRID),
                scored("no row lengths", "ablation", ours(normalise=False), GRID),
                scored("gaussian R", "ablation", gaussian, GRID),
            ),
            metrics=FIGURES,
            bars=(above("svd", 0.01, 14 / 15), above("one step", 0.05, 1.0)),
            settings=Settings(),
            fast=FAST,
            seeds=15,
            tuned_by="validation",
            files=(FILE,),
            sentence=beside,
        ),
        Part(
            name="B · the same numbers",
            data=published,
            arms=(Arm("as published", "baseline", reference), Arm("fastrp", "method", same)),
            metrics=(
                Metric("seconds", higher_is_better=False, unit="s", digits=2),
                Metric("largest difference", higher_is_better=False, digits=5),
            ),
            bars=(at_most("fastrp", "largest difference", 1e-3, every_seed=True), faster("as published", 3)),
            settings=Settings(dim=128),
            fast=FAST,
            seeds=3,
            files=(FILE,),
        ),
        Part(
            name="C · against DeepWalk",
            data=graph,
            arms=(
                scored("deepwalk", "baseline", skip_gram, ({"C": 0.1},)),
                scored("fastrp", "method", ours(), ({"C": 0.1},)),
            ),
            metrics=(Metric("seconds", higher_is_better=False, unit="s", digits=2), *FIGURES),
            bars=(
                faster("deepwalk", 30, paper="over 4000 times"),
                not_worse(
                    "fastrp", "deepwalk", "macro-F1", within=0.02, gated=False, paper="+0.015 (512 against 128 wide)"
                ),
            ),
            settings=Settings(dim=128),
            fast=FAST,
            seeds=2,
            files=(FILE,),
        ),
    ),
)
