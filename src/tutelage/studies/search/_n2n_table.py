"""All children of a digit classifier, trained once: the tables on which searches are replayed.

    python -m tutelage.studies.search._n2n_table FOLDER     makes them anew, in some minutes on one core

Handwritten digits of scikit-learn: 1000 to learn, 397 that reward, 400 for the test. The teacher is a convolution, six
removable ones (32–32–64, halved, 64–64–96), a mean and a linear head. Every child of stage 1 (2⁶ removals), of a smaller
teacher with four removable convolutions (2⁴), and of stage 2 (every layer of the best child of stage 1 at one of four
widths) learns the teacher's logits for five epochs from two initialisations.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Iterable, Sequence
from functools import cache
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from tutelage.data.digits import digits
from tutelage.evaluation.cost import parameters
from tutelage.evaluation.tabular import Architecture, Row, TabularBenchmark
from tutelage.methods.search.n2n import LogitMatching, compression_reward
from tutelage.students.editing import narrower, outputs_of, rebuild, removable
from tutelage.training import Supervised, cosine, fit, predict_all, seeded

SPLIT, SIZES = 0, (1000, 397, 400)
BLOCKS = ((32, 32, 64), (64, 64, 96))
SMALL_BLOCKS = ((32, 32), (64, 64))
LEVELS = (0.25, 0.5, 0.75, 1.0)
CHILD_EPOCHS, RUNS, LR, BATCH = 5, 2, 3e-3, 64
EXAMPLE = torch.zeros(1, 1, 8, 8)
TABLES = {name: Path(__file__).with_name(f"_n2n_{name}.json") for name in ("removal", "small", "shrinkage")}


class Task(NamedTuple):
    """A trained teacher with its logits on the training part, and the parts."""

    teacher: nn.Sequential
    logits: Tensor
    train: Tensor
    held_out: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]

    @property
    def accuracy(self) -> float:
        """The teacher's, on the data that reward."""
        return accuracy(self.teacher, self.held_out)


def convolutional(blocks: Sequence[Sequence[int]]) -> nn.Sequential:
    """The network: a first block of 16 channels, groups of blocks with a halving between them, mean, head."""

    def block(fan_in: int, width: int) -> nn.Module:
        return nn.Sequential(nn.Conv2d(fan_in, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU())

    layers, fan_in = [block(1, 16)], 16
    for place, group in enumerate(blocks):
        layers += [nn.MaxPool2d(2)] if place else []
        for width in group:
            layers.append(block(fan_in, width))
            fan_in = width
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(fan_in, 10))


@cache
def task(blocks: tuple[tuple[int, ...], ...] = BLOCKS, epochs: int = 25) -> Task:
    """The parts, and a teacher trained on the first."""
    train, held_out, test = digits(SPLIT, *SIZES, flat=False, standardise=True)
    with seeded(0, "init"):
        teacher = convolutional(blocks)
    fit(Supervised(teacher), (train.x, train.y), epochs=epochs, batch_size=BATCH, lr=LR, schedule=cosine(), seed=0)
    return Task(teacher, predict_all(teacher, train.x), train.x, (held_out.x, held_out.y), (test.x, test.y))


def accuracy(network: nn.Module, part: tuple[Tensor, Tensor]) -> float:
    """Share of right answers."""
    return float((predict_all(network, part[0]).argmax(1) == part[1]).float().mean())


def train_child(network: nn.Module, given: Task, epochs: int, seed: int) -> None:
    """Match the teacher's logits, as `N2N.fit_child` does."""
    data = {"x": given.train, "t": given.logits}
    fit(
        LogitMatching(network),
        data,
        epochs=epochs,
        batch_size=BATCH,
        lr=LR,
        optimizer="adam",
        weight_decay=5e-4,
        seed=seed,
    )


def child(
    network: nn.Sequential, *, keep: Architecture | None = None, shrink: Architecture | None = None, seed: int
) -> nn.Sequential:
    """A child with fresh weights: kept items (0 or 1 each), or positions in LEVELS."""
    flags = None if keep is None else [bool(k) for k in keep]
    outputs = (
        {} if shrink is None else {i: narrower(outputs_of(network[i]) or 0, LEVELS[shrink[i]]) for i in widths(network)}
    )
    with seeded(seed, "init"):
        made = rebuild(network, EXAMPLE, keep=flags, outputs=outputs)
    assert made is not None, "a 3 × 3 convolution with padding fits every map"
    return made


def widths(network: nn.Sequential) -> list[int]:
    """Places of the items that stage 2 makes narrower."""
    return [i for i, item in enumerate(network) if outputs_of(item) is not None and i < len(network) - 1]


def measured(given: Task, parent: nn.Sequential, kind: str, actions: Iterable[Architecture]) -> TabularBenchmark:
    """Train every child."""
    rows = {}
    for action in actions:
        made = [child(parent, **{kind: action}, seed=seed) for seed in range(RUNS)]
        for seed, network in enumerate(made):
            train_child(network, given, CHILD_EPOCHS, seed)
        scores = [tuple(round(accuracy(n, part), 4) for n in made) for part in (given.held_out, given.test)]
        rows[action] = Row(scores[0], scores[1], parameters(made[0]))
    about = {
        "data": f"digits, seed {SPLIT}, parts {SIZES}", "epochs": CHILD_EPOCHS, "batch": BATCH, "lr": LR,
        "torch": torch.__version__, "parent": parameters(parent), "teacher": parameters(given.teacher),
        "teacher accuracy": round(given.accuracy, 4),
    }  # fmt: skip
    return TabularBenchmark(rows, about)


def reward_of(
    table: TabularBenchmark,
    actions: Architecture,
    accuracy: float,
    *,
    max_parameters: int | None = None,
    iteration: int = 0,
) -> float:
    """R of a child of a table whose training gave this accuracy."""
    size, teacher = table[actions].parameters, table.about
    if size >= teacher["parent"]:
        return -1.0
    sizes = {"max_parameters": max_parameters, "iteration": iteration}
    return compression_reward(accuracy, teacher["teacher accuracy"], size, teacher["teacher"], **sizes)


def best_of(table: TabularBenchmark) -> Architecture:
    """The child with the highest mean reward."""
    return max(table.rows, key=lambda a: reward_of(table, a, sum(table[a].validation) / len(table[a].validation)))


def removals(network: nn.Sequential) -> list[Architecture]:
    """All masks: 1 keeps an item."""
    return list(itertools.product(*[(0, 1) if free else (1,) for free in removable(network)]))


def shrinkages(network: nn.Sequential) -> list[Architecture]:
    """All choices of a level for every width; the last level where there is nothing to choose."""
    free, last = set(widths(network)), len(LEVELS) - 1
    return list(itertools.product(*[range(len(LEVELS)) if i in free else (last,) for i in range(len(network))]))


def build(folder: Path) -> None:
    """Make the three tables."""
    for name, blocks in (("small", SMALL_BLOCKS), ("removal", BLOCKS)):
        given = task(blocks)
        measured(given, given.teacher, "keep", removals(given.teacher)).save(folder / TABLES[name].name)
    table = TabularBenchmark.load(folder / TABLES["removal"].name)
    base = child(task().teacher, keep=best_of(table), seed=0)
    measured(task(), base, "shrink", shrinkages(base)).save(folder / TABLES["shrinkage"].name)


if __name__ == "__main__":
    torch.set_num_threads(1)
    build(Path(sys.argv[1]))
