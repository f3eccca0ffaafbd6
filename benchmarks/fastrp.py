"""Embedding a graph of a million edges: time, memory and quality of FastRP here and of what PyPI has.

    python benchmarks/fastrp.py [--nodes 100000] [--edges 1000000] [--dim 256] [--arms tutelage fastrp …] [--threads 1]

The graph is drawn: communities, half of the edges within them, degrees with a heavy tail. Each arm embeds it in a process of
its own that may use the given number of threads, and gets the graph in memory in the form that it asks for: the timer runs
from there to the embedding. Compiled code is warmed up on a small graph first. "CPU s" is what the processor worked, which is
the fairer figure on a machine that does other things too; memory is the peak during the embedding above what the process
held before. Macro-F1 is that of a logistic regression on a twentieth of the nodes' communities (columns standardised, C by a
split of these).

The three FastRP arms compute the same thing, w = (0, 0, 1, 6) without damping of degrees, which the package does not have.
Cleora and ProNE run with their own defaults. The DeepWalk and node2vec arms are slow, so they get `--walks` of 40 steps a node,
window 5: usual are ten walks or more, which takes as many times as long and is better.

    pip install fastrp pycleora nodevectors scikit-network fastnode2vec gensim

Packages that are not installed are named and left out.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import sparse

COMMUNITIES, WITHIN, SHOWN = 50, 0.5, 0.05
Run = Callable[[], np.ndarray]


def draw(nodes: int, edges: int, seed: int = 0) -> tuple[sparse.csr_matrix, np.ndarray]:
    """A graph with communities and degrees of exponent 2.5: A (n, n) float32, community of each node."""
    rng = np.random.default_rng(seed)
    weight = np.minimum((1 - rng.random(nodes)) ** (-1 / 1.5), np.sqrt(nodes))
    community = rng.integers(COMMUNITIES, size=nodes)
    order = np.argsort(community, kind="stable")
    mass = np.concatenate([[0.0], np.cumsum(weight[order])])
    bounds = mass[np.searchsorted(community[order], np.arange(COMMUNITIES + 1))]

    def pick(low: np.ndarray | float, high: np.ndarray | float, count: int) -> np.ndarray:
        place = np.searchsorted(mass, low + rng.random(count) * (np.asarray(high) - low), side="right") - 1
        return order[np.minimum(place, nodes - 1)]

    held = np.empty(0, np.int64)
    while len(held) < edges:
        count = int((edges - len(held)) * 1.2) + 1000
        u = pick(0.0, mass[-1], count)
        inside = rng.random(count) < WITHIN
        low, high = bounds[community[u]], bounds[community[u] + 1]
        v = pick(np.where(inside, low, 0), np.where(inside, high, mass[-1]), count)
        held = np.unique(np.concatenate([held, (np.minimum(u, v) * nodes + np.maximum(u, v))[u != v]]))
    u, v = np.divmod(rng.permutation(held)[:edges], nodes)
    ends = np.concatenate([u, v]), np.concatenate([v, u])
    return sparse.csr_matrix((np.ones(2 * edges, np.float32), ends), shape=(nodes, nodes)), community


def tutelage(matrix: sparse.csr_matrix, options: argparse.Namespace) -> Run:
    """This package, with its checks of the input."""
    from tutelage.methods.graphs.fastrp import FastRP

    return lambda: FastRP(options.dim, beta=0.0, threads=options.threads).fit_transform(matrix)


def authors(matrix: sparse.csr_matrix, options: argparse.Namespace) -> Run:
    """The authors' formulation in scipy: doubles, products of sparse matrices."""
    from tutelage.studies.graphs.fastrp import as_published

    kept = np.flatnonzero(np.diff(matrix.indptr))
    small = sparse.csr_array(matrix)[kept][:, kept]

    def run() -> np.ndarray:
        z = np.zeros((matrix.shape[0], options.dim), np.float32)
        z[kept] = as_published(small, options.dim, 0, beta=0.0)
        return z

    return run


def fastrp(matrix: sparse.csr_matrix, options: argparse.Namespace) -> Run:
    """The package `fastrp` (Rust), same weights."""
    from fastrp import FastRP

    model = FastRP(dim=options.dim, weights=[0.0, 0.0, 1.0, 6.0], seed=0, undirected=False)
    return lambda: model.fit_transform(matrix)


def scikit_network(matrix: sparse.csr_matrix, options: argparse.Namespace) -> Run:
    """scikit-network's projection of the random walk's powers."""
    from sknetwork.embedding import RandomProjection

    return lambda: RandomProjection(options.dim, n_iter=4, random_walk=True, random_state=0).fit_transform(matrix)


def cleora(matrix: sparse.csr_matrix, options: argparse.Namespace) -> Run:
    """Cleora (Rust): forty steps of the walk, each followed by whitening."""
    import pycleora

    pairs = sparse.triu(matrix).tocoo()
    lines = (f"{a} {b}" for a, b in zip(pairs.row, pairs.col, strict=True))
    graph = pycleora.SparseMatrix.from_iterator(lines, "complex::reflexive::product")
    rows = np.array([int(name) for name in graph.entity_ids])

    def run() -> np.ndarray:
        z = np.zeros((matrix.shape[0], options.dim), np.float32)
        z[rows] = pycleora.embed(graph, feature_dim=options.dim)
        return z

    return run


def prone(matrix: sparse.csr_matrix, options: argparse.Namespace) -> Run:
    """ProNE by nodevectors: a sparse factorisation and a spectral filter."""
    import csrgraph
    from nodevectors import ProNE

    graph = csrgraph.csrgraph(matrix.copy(), threads=options.threads)
    return lambda: ProNE(options.dim, verbose=False).fit_transform(graph)


def node2vec(matrix: sparse.csr_matrix, options: argparse.Namespace) -> Run:
    """node2vec by fastnode2vec: walks in numba, skip-gram by gensim; p = q = 1 would be DeepWalk."""
    from fastnode2vec import Graph, Node2Vec

    pairs = sparse.triu(matrix).tocoo()
    graph = Graph(zip(pairs.row.tolist(), pairs.col.tolist(), strict=True), directed=False, weighted=False)

    def run() -> np.ndarray:
        model = Node2Vec(graph, options.dim, 40, window=5, p=1.0, q=0.5, workers=options.threads, seed=0)
        model.train(epochs=options.walks)
        z = np.zeros((matrix.shape[0], options.dim), np.float32)
        z[[int(node) for node in model.wv.index_to_key]] = model.wv.vectors
        return z

    return run


def deepwalk(matrix: sparse.csr_matrix, options: argparse.Namespace) -> Run:
    """DeepWalk: uniform walks in numpy, skip-gram by gensim."""
    from tutelage.studies.graphs._deepwalk import deepwalk

    return lambda: deepwalk(matrix, options.dim, per_node=options.walks, length=40, window=5, seed=0)


ARMS = {
    "tutelage": tutelage,
    "fastrp": fastrp,
    "authors": authors,
    "scikit-network": scikit_network,
    "cleora": cleora,
    "prone": prone,
    "node2vec": node2vec,
    "deepwalk": deepwalk,
}
WARM = ("tutelage", "prone")  # arms with code that is compiled when first called


def quality(z: np.ndarray, community: np.ndarray) -> float:
    """Macro-F1 of a linear model that sees a twentieth of the communities."""
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import f1_score
    from sklearn.preprocessing import scale

    order = np.random.default_rng(1).permutation(len(z))
    rows = scale(np.asarray(z, np.float32)[order])
    shown = int(SHOWN * len(z))
    cut, labels = 2 * shown // 3, community[order]
    models = [LogisticRegression(C=c, max_iter=200) for c in (0.001, 0.01, 0.1)]
    scores = [model.fit(rows[:cut], labels[:cut]).score(rows[cut:shown], labels[cut:shown]) for model in models]
    best = models[int(np.argmax(scores))].fit(rows[:shown], labels[:shown])
    tested = slice(shown, shown + 20_000)
    return float(f1_score(labels[tested], best.predict(rows[tested]), average="macro"))


def memory(field: str) -> float:
    """A line of /proc/self/status, in MB."""
    return int(re.search(rf"{field}:\s+(\d+)", Path("/proc/self/status").read_text("utf-8"))[1]) / 1024  # type: ignore[index]


def child(options: argparse.Namespace) -> None:
    """One arm in its own process; prints one line of JSON."""
    held = np.load(options.graph)
    matrix = sparse.csr_matrix((held["data"], held["indices"], held["indptr"]))
    try:
        if options.child in WARM:
            ARMS[options.child](matrix[:500][:, :500] + sparse.eye(500, dtype=np.float32, format="csr"), options)()
        run = ARMS[options.child](matrix, options)
        Path("/proc/self/clear_refs").write_text("5", "utf-8")  # forget the peak so far
        before, wall, cpu = memory("VmRSS"), time.perf_counter(), time.process_time()
        z = run()
        result = {"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu, "mb": memory("VmHWM") - before}
        result["f1"] = quality(z, held["community"])
    except Exception as error:
        result = {"error": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:90]}
    print("\n" + json.dumps(result))


def spawn(name: str, graph: Path, options: argparse.Namespace) -> dict:
    """Run an arm in a process that may use `threads` threads."""
    limits = dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS", "NUMBA_NUM_THREADS"),
        str(options.threads),
    )
    # -P: this file's folder, and with it its name, hides no package
    command = [sys.executable, "-P", __file__, "--child", name, "--graph", str(graph), "--dim", str(options.dim)]
    command += ["--threads", str(options.threads), "--walks", str(options.walks)]
    done = subprocess.run(command, env={**os.environ, **limits}, capture_output=True, text=True, check=False)
    results = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return (
        json.loads(results[-1]) if results else {"error": done.stderr.strip()[-90:] or f"ended with {done.returncode}"}
    )


def main() -> None:
    """Draw the graph, run all arms, print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--nodes", type=int, default=100_000)
    parser.add_argument("--edges", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=256)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--walks", type=int, default=1)
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--graph", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options)
        return
    with tempfile.TemporaryDirectory() as folder:
        graph = Path(folder) / "graph.npz"
        matrix, community = draw(options.nodes, options.edges)
        np.savez(graph, data=matrix.data, indices=matrix.indices, indptr=matrix.indptr, community=community)
        print(f"{options.nodes:,} nodes, {options.edges:,} edges, dim {options.dim}, {options.threads} thread(s)")
        print(f"load before: {os.getloadavg()[0]:.1f}")
        print(f"{'arm':<16}{'wall s':>9}{'CPU s':>9}{'× ours':>9}{'memory MB':>11}{'macro-F1':>10}")
        ours = None
        for name in options.arms:
            got = spawn(name, graph, options)
            if "error" in got:
                print(f"{name:<16}  left out: {got['error']}", flush=True)
                continue
            ours = ours or got["cpu"]
            speed = f"{got['wall']:>9.2f}{got['cpu']:>9.2f}{got['cpu'] / ours:>9.1f}"
            print(f"{name:<16}{speed}{got['mb']:>11,.0f}{got['f1']:>10.3f}", flush=True)


if __name__ == "__main__":
    main()
