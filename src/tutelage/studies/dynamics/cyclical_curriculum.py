"""Does a cyclical curriculum help where labels are wrong, and cost nothing where they are right?

Real digits, 704 for training, of whose labels none, a tenth or three tenths are replaced by others; 200 rightly labelled
validation pictures choose the checkpoint by their likelihood. The same on MNIST-1D signals is reported. All arms of a seed
share examples, labels and first weights, see as many in as many steps, and are looked at equally often: twenty times.

Scores come from the plain arm at its chosen checkpoint. They cost that arm's training once more, so plain training of twice
the length stands beside. Rivals: the same scores with other sizes (growing once; always half of the data), the same sizes
without scores or hard examples first, and the published code's score 1/loss.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from tutelage.curricula.difficulty import Kind, easiness
from tutelage.curricula.pacing import cycle_sizes, grow_sizes
from tutelage.data.digits import digits
from tutelage.data.mnist1d import mnist1d_signals
from tutelage.data.noise import corrupt_labels
from tutelage.evaluation.significance import paired_bootstrap, sign_test
from tutelage.methods.dynamics.cyclical_curriculum import presentations
from tutelage.students.mlp import mlp
from tutelage.studies import Arm, Bar, Finding, Metric, Paper, Part, Results, Setup, Study, Trial, beats
from tutelage.studies.verdict import Outcome, p_value
from tutelage.training import Batch, Progress, StackedFit, seeded

CLASSES = 10
NOISE = {"clean": 0.0, "10 % wrong": 0.1, "30 % wrong": 0.3}
CIFAR = "+0.038 on CIFAR-10, best test epoch of one run"
FLOOR = {"prob": 0.02, "inverse_loss": 0.01, "loss": 0.01}


@dataclass(frozen=True)
class Noisy:
    """Data, sizes and the length of training; `looks` checkpoints at equal distances."""

    signals: bool = False
    train: int = 704
    validation: int = 200
    test: int = 797
    width: int = 128
    epochs: int = 20
    batch: int = 32
    lr: float = 2e-3
    looks: int = 20

    @property
    def steps(self) -> int:
        """Of a run of one budget."""
        return self.train * self.epochs // self.batch


@dataclass(frozen=True)
class Split:
    """Inputs [n, d] and labels [n]; `y` has a row for each noise level [L, n], the other labels are never wrong."""

    x: Tensor
    y: Tensor
    validation: tuple[Tensor, Tensor]
    test: tuple[Tensor, Tensor]


@dataclass(frozen=True)
class Rule:
    """How an arm paces (budget → sizes) and what it scores by; None: all examples alike."""

    sizes: Callable[..., list[float]]
    score: Kind | None


def constant(share: float, budget: float) -> list[float]:
    """The same share of the data in every phase."""
    return [share] * math.ceil(budget / share)


RULES = {
    "ccl": Rule(cycle_sizes, "prob"),
    "ccl, 1/loss": Rule(cycle_sizes, "inverse_loss"),
    "ccl, no scores": Rule(cycle_sizes, None),
    "ccl, hard first": Rule(cycle_sizes, "loss"),
    "growing": Rule(grow_sizes, "prob"),
    "growing, 1/loss": Rule(grow_sizes, "inverse_loss"),
    "half": Rule(partial(constant, 0.5), "prob"),
    "half, 1/loss": Rule(partial(constant, 0.5), "inverse_loss"),
}
EQUAL = ("plain", *RULES)


@dataclass
class Looks:
    """What the checkpoints of R rows showed: validation loss and test accuracy [looks, R], training logits of the best so far."""

    loss: list[Tensor]
    accuracy: list[Tensor]
    logits: Tensor | None = None

    def figures(self, every: slice = slice(None)) -> dict[str, np.ndarray]:
        """Test accuracy of each row at the checkpoint of least validation loss, of the last five, and of the best by the test."""
        loss, accuracy = torch.stack(self.loss[every]), torch.stack(self.accuracy[every])
        chosen = accuracy.gather(0, loss.argmin(0, keepdim=True))[0]
        named = {"accuracy": chosen, "last five": accuracy[-5:].mean(0), "best on test": accuracy.max(0).values}
        return {name: value.numpy() for name, value in named.items()}


def split(setup: Setup[Noisy]) -> Split:
    """The digits or the signals of a seed, with every share of wrong labels."""
    s = setup.settings
    sizes = [s.train, s.validation, s.test]
    if s.signals:
        x, y = mnist1d_signals(-(-sum(sizes) // 10) * 10, cache=setup.scratch)
        order = torch.randperm(len(x), generator=torch.Generator().manual_seed(setup.seed))[: sum(sizes)]
        train, validation, test = ((x[index], y[index]) for index in order.split(sizes))
    else:
        train, validation, test = digits(setup.seed, *sizes, standardise=True)
    given = [corrupt_labels(train[1].numpy(), rate, classes=CLASSES, seed=setup.seed)[0] for rate in NOISE.values()]
    return Split(train[0], torch.from_numpy(np.stack(given)), validation, test)


def network(inputs: int, seed: int, s: Noisy) -> nn.Module:
    """The network with which all arms of a seed begin."""
    with seeded(seed, "init"):
        return mlp(inputs, s.width, 64, CLASSES)


def cost(logits: Tensor, y: Tensor) -> Tensor:
    """Mean cross-entropy of each row: [R, B, K], [R, B] → [R]."""
    each = nn.functional.cross_entropy(logits.flatten(0, 1), y.flatten(), reduction="none")
    return each.view(y.shape).mean(1)


def train(rows: Sequence[tuple[Split, int, int]], streams: Sequence[Tensor], s: Noisy, *, ask: bool = False) -> Looks:
    """Train a row for each (data, noise level, seed) on its stream of examples, and look `s.looks` times a budget.

    With `ask`, the logits on the training pictures are kept from the checkpoint that validation likes best in the first
    budget.
    """
    runs = StackedFit(
        [network(data.x.shape[1], seed, s) for data, _, seed in rows],
        lambda outputs, batch, progress: {"ce": cost(outputs, batch["y"])},
        lr=s.lr,
        weight_decay=0.0,
    )
    x = torch.stack([data.x for data, _, _ in rows])
    (vx, vy), (tx, ty) = (
        [torch.stack([getattr(data, part)[side] for data, _, _ in rows]) for side in (0, 1)]
        for part in ("validation", "test")
    )
    looks, every = Looks([], []), s.steps // s.looks

    def look(outputs: Tensor, batch: Batch, progress: Progress) -> None:
        if (progress.step + 1) % every:
            return
        with torch.no_grad():
            loss = cost(runs.stack(vx), vy)
            if ask and progress.step < s.steps:
                now = runs.stack(x)
                better = loss < torch.stack(looks.loss).min(0).values if looks.loss else torch.ones_like(loss) > 0
                looks.logits = now if looks.logits is None else torch.where(better.view(-1, 1, 1), now, looks.logits)
            looks.loss.append(loss)
            looks.accuracy.append((runs.stack(tx).argmax(-1) == ty).float().mean(1))

    y = torch.stack([data.y[level] for data, level, _ in rows])
    runs.fit({}, torch.stack([stream.view(-1, s.batch) for stream in streams]), own={"x": x, "y": y}, after_step=look)
    return looks


def stacked(data: Sequence[Split], trials: Sequence[Trial[Noisy]]) -> list[dict[str, float]]:
    """Plain training of all seeds and noise levels, twice as long; with its scores all curricula."""
    s = trials[0].settings
    splits = {trial.seed: one for one, trial in zip(data, trials, strict=True)}
    rows = [(one, level, seed) for seed, one in splits.items() for level in range(len(NOISE))]
    longer = [
        presentations(torch.ones(s.train), constant(1.0, 2 * s.epochs), seed, 0, 2 * s.steps * s.batch)
        for *_, seed in rows
    ]
    plain = train(rows, longer, s, ask=True)
    assert plain.logits is not None
    streams, curricula = [], []
    for rule in RULES.values():
        for (one, level, seed), logits in zip(rows, plain.logits, strict=True):
            kind = rule.score
            scores = torch.ones(s.train) if kind is None else easiness(logits, one.y[level], kind, floor=FLOOR[kind])
            streams.append(presentations(scores, rule.sizes(budget=s.epochs), seed, 0, s.steps * s.batch))
            curricula.append((one, level, seed))
    found = {"plain": plain.figures(slice(s.looks)), "plain, twice as long": plain.figures(slice(1, None, 2))}
    taught = train(curricula, streams, s).figures()
    for number, name in enumerate(RULES):
        part = slice(number * len(rows), (number + 1) * len(rows))
        found[name] = {figure: values[part] for figure, values in taught.items()}
    results = []
    for trial in trials:
        steps = s.steps * (2 if trial.arm == "plain, twice as long" else 1)
        trial.budget.count(steps=steps, examples=steps * s.batch)
        results.append(by_noise(found[trial.arm], list(splits).index(trial.seed) * len(NOISE)))
    return results


def by_noise(found: dict[str, np.ndarray], first: int) -> dict[str, float]:
    """The figures of one seed: for each share of wrong labels, and their means."""
    levels = {
        f"{figure}, {name}": float(values[first + number])
        for figure, values in found.items()
        for number, name in enumerate(NOISE)
    }
    return levels | {figure: float(values[first : first + len(NOISE)].mean()) for figure, values in found.items()}


def pooled_signs(r: Results) -> Finding:
    """Curriculum against plain training on both noisy forms, as one sign test."""
    gains = [np.asarray(r.gain("ccl", "plain", f"accuracy, {name}")) for name, rate in NOISE.items() if rate]
    all_gains = np.concatenate(gains)
    p, difference = sign_test(all_gains, alternative="greater"), paired_bootstrap(np.mean(gains, axis=0))
    note = f"{int((all_gains > 0).sum())}/{len(all_gains)} pairs, sign test p {p_value(p)}"
    return Finding("holds" if p < 0.01 else "fails", difference.value, *difference.interval, p, note)


def unchanged(r: Results, within: float = 0.004) -> Finding:
    """Nothing gained and nothing lost on clean labels."""
    difference = paired_bootstrap(r.gain("ccl", "plain", "accuracy, clean"))
    low, high = difference.interval
    missed: Outcome = "inconclusive" if low <= within and high >= -within else "fails"
    return Finding("holds" if abs(difference.value) <= within else missed, difference.value, low, high)


def safest(r: Results, within: float = 0.01) -> Finding:
    """Against the best other arm of the same budget that loses at most `within` on clean labels."""
    clean = {arm: r[arm, "accuracy, clean"].mean() for arm in EQUAL}
    safe = [arm for arm in EQUAL if arm != "ccl" and clean[arm] >= clean["plain"] - within]
    best = max(safe, key=lambda arm: r[arm, "accuracy"].mean())
    difference = paired_bootstrap(r.gain("ccl", best, "accuracy"))
    low, high = difference.interval
    missed: Outcome = "inconclusive" if high >= 0 else "fails"
    found = "holds" if difference.value >= 0 else missed
    return Finding(found, difference.value, low, high, note=f"the best of {len(safe)} is {best}")


def who_is_best(r: Results) -> str:
    """The best arm at each noise level, and how much choosing on the test flatters."""
    best = {name: max(EQUAL, key=lambda arm: r[arm, f"accuracy, {name}"].mean()) for name in NOISE}
    said = ", ".join(f"{name} {arm} ({r[arm, f'accuracy, {name}'].mean():.3f})" for name, arm in best.items())
    flatter = [f"{arm} {(r[arm, 'best on test'] - r[arm, 'accuracy']).mean():+.3f}" for arm in ("plain", "ccl")]
    return f"Best by noise: {said}. The released code's best test checkpoint flatters by {', '.join(flatter)}."


def part(name: str, settings: Noisy, fast: Noisy, *, gated: bool) -> Part[Split, Noisy]:
    """The experiment on one kind of data."""
    return Part(
        name=name,
        data=split,
        arms=(
            Arm("plain", "baseline"),
            Arm("ccl", "method"),
            Arm("plain, twice as long", "reference"),
            *(Arm(arm, "ablation") for arm in RULES if arm != "ccl"),
        ),
        metrics=(
            *(Metric(f"accuracy, {noise}") for noise in NOISE),
            Metric("accuracy"),
            Metric("last five"),
            Metric("best on test", shown=False),
        ),
        bars=(
            beats("ccl", "plain", "accuracy, 10 % wrong", by=0.005, wins=0.8, gated=gated),
            beats("ccl", "plain", "accuracy, 30 % wrong", by=0.01, wins=0.8, gated=gated, paper=CIFAR),
            Bar("ccl beats plain on both noisy forms, pooled sign test p < .01", pooled_signs, gated),
            Bar("ccl is within 0.004 of plain on clean labels", unchanged, gated),
            Bar("ccl ≥ every arm of its budget that loses at most 0.01 on clean labels, on accuracy", safest, gated),
            beats("ccl", "ccl, no scores", "accuracy, 10 % wrong", gated=gated),
            beats("ccl", "ccl, no scores", "accuracy, 30 % wrong", gated=gated),
            beats("ccl", "plain, twice as long", "accuracy", gated=False),
        ),
        settings=settings,
        fast=fast,
        seeds=10,
        stacked=stacked,
        sentence=who_is_best,
    )


FAST = Noisy(train=64, validation=32, test=64, width=16, epochs=2, looks=2)

STUDY = Study(
    slug="cyclical-curriculum",
    paper=Paper("Cyclical Curriculum Learning", "Kesgin and Amasyali", 2023, "2202.05531"),
    claim="at equal presentations a cyclical easy-first curriculum beats plain training under label noise and costs nothing "
    "on clean data; the gain comes from the scores, not from the cycling alone",
    parts=(
        part("digits", Noisy(), FAST, gated=True),
        part("mnist1d", Noisy(signals=True), replace(FAST, signals=True), gated=False),
    ),
)
