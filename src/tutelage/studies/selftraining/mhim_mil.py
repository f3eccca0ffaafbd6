"""Does masking what a teacher attends to make the student find the positive instances that plain attention misses?

The world is `DigitBags`: a positive bag holds a few 0s (easy) and 8s (hard), or 8s alone. In training four positive bags of
five hold both, so attending to 0s nearly suffices; in the test it is one of two. Pictures of training and test are disjoint.
Every model is chosen by its AUC on validation bags, which are like the training bags.

MHIM begins with the trained ABMIL model, so its budget is that of ABMIL twice as long. The control drops instances at random
with the same teacher and the same consistency: what is left of the difference is the attention.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tutelage.evaluation.auc import auc
from tutelage.methods.selftraining.mhim_mil import kept_instances, warm_start
from tutelage.students.pooling import AttentionMil, MilOutput
from tutelage.studies import Arm, Metric, Paper, Part, Results, Setup, Study, Trial, beats
from tutelage.training import Stack, child_seed, cosine, seeded, step_order
from tutelage.worlds.digits import DigitBags

TEMPERATURE = 0.1


@dataclass(frozen=True)
class Bags:
    """Sizes, and the settings of model and method."""

    train: int = 60
    validation: int = 40
    test: int = 200
    epochs: int = 40
    width: int = 64
    hidden: int = 32
    dropout: float = 0.25
    lr: float = 5e-4
    decay: float = 0.999


@dataclass(frozen=True)
class Rule:
    """What an arm masks, and the weight of the consistency."""

    random: float = 0.3
    high: float = 0.0
    alpha: float = 0.1


RULES = {
    "random masking": Rule(),
    "mhim": Rule(high=0.05),
    "mhim, no consistency": Rule(high=0.05, alpha=0.0),
}


@dataclass(frozen=True)
class Split:
    """Bags as `DigitBags` makes them."""

    train: dict[str, Tensor]
    validation: dict[str, Tensor]
    test: dict[str, Tensor]


@dataclass
class Best:
    """The row's weights with the highest validation AUC so far, and the share of positive bags that lost their evidence."""

    weights: Tensor
    height: np.ndarray
    lost: Tensor


class OneBag(nn.Module):
    """A model that takes instances and mask as one argument, as a stack passes it."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def forward(self, bag: tuple[Tensor, Tensor]) -> MilOutput:
        return self.model(*bag)


def split(setup: Setup[Bags]) -> Split:
    """Training and validation from one half of the pictures, the test from the other, with more hard-only bags."""
    s = setup.settings
    generator = torch.Generator().manual_seed(child_seed(setup.seed, "bags"))
    world = DigitBags(split=setup.seed)
    unlike = DigitBags(split=setup.seed, half=1, easy_share=0.5)
    return Split(world.batch(s.train, generator), world.batch(s.validation, generator), unlike.batch(s.test, generator))


def model(seed: int, s: Bags, which: str = "init") -> AttentionMil:
    """The network of a seed."""
    with seeded(seed, which):
        return AttentionMil(64, 2, width=s.width, hidden=s.hidden, dropout=s.dropout)


def stack_of(models: Sequence[AttentionMil]) -> Stack:
    """Models as the rows of a stack."""
    return Stack([OneBag(one) for one in models])


def column(data: Sequence[Split], part: str, name: str) -> Tensor:
    """One column of all rows: [R, N, …]."""
    return torch.stack([getattr(one, part)[name] for one in data])


@torch.no_grad()
def heights(stack: Stack, data: Sequence[Split], part: str, *, hard_only: bool = False) -> np.ndarray:
    """AUC of every row on a part [R]; with `hard_only`, of its bags without easy instances."""
    stack.eval()
    logits = stack((column(data, part, "x"), column(data, part, "mask"))).logits  # type: ignore[arg-type, attr-defined]
    scores, found = (logits[..., 1] - logits[..., 0]).numpy(), []
    for row, one in enumerate(data):
        bags = getattr(one, part)
        asked = ~(bags["truth"] == 1).any(1).numpy() if hard_only else np.ones(len(bags["y"]), bool)
        found.append(auc(bags["y"].numpy()[asked], scores[row][asked]))
    return np.array(found)


def train(
    stack: Stack,
    data: Sequence[Split],
    seeds: Sequence[int],
    s: Bags,
    *,
    epochs: int,
    teachers: Stack | None = None,
    rules: Sequence[Rule] = (),
) -> list[Best]:
    """Train every row, one bag a step; returns the best weights of each row after every `s.epochs` epochs."""
    x, mask, y, truth = (column(data, "train", name) for name in ("x", "mask", "y", "truth"))
    order = torch.stack([step_order(s.train, 1, epochs * s.train, seed)[:, 0] for seed in seeds])
    rows, optimizer = torch.arange(len(seeds)), torch.optim.Adam([stack.weights], lr=s.lr, fused=True)
    random, high, alpha = (torch.tensor([getattr(rule, n) for rule in rules]) for n in ("random", "high", "alpha"))
    generator = torch.Generator().manual_seed(child_seed(seeds[0], "method", 0))
    fall = cosine()
    best = Best(stack.weights.detach().clone(), np.full(len(seeds), -1.0), torch.zeros(len(seeds)))
    kept_until: list[Best] = []
    for step in range(order.shape[1]):
        index = order[:, step]
        bag, kept, label = x[rows, index], mask[rows, index], y[rows, index]
        stack.train()
        consistency = torch.zeros(())
        if teachers is not None:
            with torch.no_grad():
                said = teachers((bag.unsqueeze(1), kept.unsqueeze(1)))  # type: ignore[arg-type]
            u = step / order.shape[1]
            kept = kept_instances(said.attention[:, 0], kept, random=random, high=high * fall(u), generator=generator)  # type: ignore[attr-defined]
            best.lost += (label == 1) & ~(kept & (truth[rows, index] > 0)).any(1)
        output = stack((bag.unsqueeze(1), kept.unsqueeze(1)))  # type: ignore[arg-type]
        if teachers is not None:
            target = (said.feature[:, 0] / TEMPERATURE).softmax(-1)  # type: ignore[attr-defined, possibly-undefined]
            consistency = -(alpha * (target * output.feature[:, 0].log_softmax(-1)).sum(-1))  # type: ignore[attr-defined]
        loss = F.cross_entropy(output.logits[:, 0], label, reduction="none") + consistency  # type: ignore[attr-defined]
        optimizer.zero_grad()
        loss.sum().backward()
        optimizer.step()
        if teachers is not None:
            teachers.weights.data.lerp_(stack.weights.data, 1 - s.decay)
        if (step + 1) % s.train == 0:
            now = heights(stack, data, "validation")
            better = torch.from_numpy(now > best.height).unsqueeze(1)
            best.weights = torch.where(better, stack.weights.detach(), best.weights)
            best.height = np.maximum(now, best.height)
            if (step + 1) % (s.epochs * s.train) == 0:
                kept_until.append(
                    Best(best.weights.clone(), best.height, best.lost / ((y.sum(1) * (step + 1)) / s.train))
                )
    return kept_until


def stacked(data: Sequence[Split], trials: Sequence[Trial[Bags]]) -> list[dict[str, float]]:
    """ABMIL of all seeds, half of it the start of MHIM; then all masked arms of all seeds."""
    s = trials[0].settings
    by_seed = {trial.seed: one for one, trial in zip(data, trials, strict=True)}
    seeds, splits = list(by_seed), list(by_seed.values())
    plain = stack_of([model(seed, s) for seed in seeds])
    torch.manual_seed(child_seed(seeds[0], "dropout"))
    once, twice = train(plain, splits, seeds, s, epochs=2 * s.epochs)
    results: dict[tuple[str, int], dict[str, float]] = {}
    for arm, best in (("abmil", once), ("abmil, twice as long", twice)):
        results |= judged(plain, best, splits, [(arm, seed) for seed in seeds])
    rows = [(name, seed) for name in RULES for seed in seeds]
    plain.weights.data = once.weights
    begun = {seed: plain.row(row, OneBag(model(seed, s))).get_submodule("model") for row, seed in enumerate(seeds)}
    students = [warm_start(begun[seed], model(seed, s, "student")) for _, seed in rows]
    stack = stack_of(students)  # type: ignore[arg-type]
    teachers = stack_of([begun[seed] for _, seed in rows]).train()  # type: ignore[misc]
    each = [by_seed[seed] for _, seed in rows]
    rules = [RULES[name] for name, _ in rows]
    (mined,) = train(stack, each, [seed for _, seed in rows], s, epochs=s.epochs, teachers=teachers, rules=rules)
    results |= judged(stack, mined, each, rows)
    for trial in trials:
        steps = s.train * s.epochs * (1 if trial.arm == "abmil" else 2)
        trial.budget.count(steps=steps, examples=steps)
    return [results[trial.arm, trial.seed] for trial in trials]


def judged(
    stack: Stack, best: Best, data: Sequence[Split], keys: Sequence[tuple[str, int]]
) -> dict[tuple[str, int], dict[str, float]]:
    """Figures of the best weights on the test."""
    stack.weights.data = best.weights.clone()
    everything, hard = heights(stack, data, "test"), heights(stack, data, "test", hard_only=True)
    return {
        key: {
            "AUC": everything[row],
            "hard-only AUC": hard[row],
            "validation AUC": best.height[row],
            "evidence lost": best.lost[row].item(),
        }
        for row, key in enumerate(keys)
    }


def what_masks(r: Results) -> str:
    """What the parts do, by the figures."""
    mean = {name: float(r[name, "hard-only AUC"].mean()) for name in ("abmil", "random masking", "mhim")}
    without = float((r["mhim", "AUC"] - r["mhim, no consistency", "AUC"]).mean())
    return (
        f"On bags without easy instances plain attention has an AUC of {mean['abmil']:.3f}, random masking "
        f"{mean['random masking']:.3f}, MHIM {mean['mhim']:.3f}; consistency of bag features adds {without:+.3f} of AUC. "
        f"Masking took all evidence from {r['mhim', 'evidence lost'].mean():.1%} of positive bags."
    )


BAGS = Part(
    data=split,
    arms=(
        Arm("abmil", "reference"),
        Arm("abmil, twice as long", "baseline"),
        Arm("random masking", "baseline"),
        Arm("mhim", "method"),
        Arm("mhim, no consistency", "ablation"),
    ),
    metrics=(
        Metric("AUC"),
        Metric("hard-only AUC"),
        Metric("validation AUC"),
        Metric("evidence lost", higher_is_better=False),
    ),
    bars=(
        beats("mhim", "abmil", "AUC", by=0.02, wins=0.8, paper="0.958 with masking (CAMELYON-16)"),
        beats("mhim", "abmil, twice as long", "AUC", by=0.02, wins=0.8),
        beats("mhim", "random masking", "hard-only AUC", wins=0.8),
        beats("mhim", "mhim, no consistency", "AUC", gated=False),
        beats("random masking", "abmil", "AUC", gated=False),
    ),
    settings=Bags(),
    fast=Bags(train=6, validation=8, test=12, epochs=2, width=8, hidden=4),
    seeds=10,
    stacked=stacked,
    sentence=what_masks,
)

STUDY = Study(
    slug="mhim-mil",
    paper=Paper(
        "Multiple Instance Learning Framework with Masked Hard Instance Mining for Whole Slide Image Classification",
        "Tang et al.",
        2023,
        "2307.15254",
    ),
    claim="masking the instances that the teacher attends to makes the student find hard positives that plain attention misses",
    parts=(BAGS,),
)
