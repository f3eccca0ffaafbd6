"""Does the likeness of untrained networks tell which student a distillation will make best?

The truth is the authors': 64 residual networks with 1, 3, 5 or 7 blocks in each of three stages, trained on CIFAR-100
plainly and with distillation, top-1 accuracies as published. Nothing is trained here. The untrained networks look at 32
patches of two photographs (64 × 64 averaged to 32 × 32, standardised) with random labels; the teacher's architecture is
ResNet-56. A score is averaged over four initialisations; the competitors that need a pass see one. A seed draws patches,
labels and weights.

tau     Kendall's, with the distilled accuracy; p by 2,000 permutations of the accuracies
regret  points of accuracy that the pick loses to the best student under a limit of size: the mean over limits at the 0.3,
        0.5, 0.7 and 0.85 quantiles of the sizes; for the random arm its expectation

Size alone is the baseline that matters: a parameter count costs nothing either.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from tutelage.curricula.search import rank_sum
from tutelage.errors import InputError
from tutelage.evaluation.tabular import rank_report
from tutelage.methods.search.diswot import DisWOT, initialise
from tutelage.students.resnet import StageDepthSpace
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
    beats,
    exactly,
)  # fmt: skip
from tutelage.studies.search._zero_cost import code_kernel_logdet, gradient_norm

FILES = ("diswot_s1-gt-kd.txt", "diswot_s1-gt-cls.txt")
CLASSES, TEACHER = 100, (9, 9, 9)
LIMITS = (0.3, 0.5, 0.7, 0.85)
PERMUTATIONS = 2000


@dataclass(frozen=True)
class Settings:
    """Images of the batch, initialisations that are averaged, every how many-th student is scored, the images' side."""

    images: int = 32
    inits: int = 4
    every: int = 1
    side: int = 32


FAST = Settings(images=16, inits=1, every=9, side=8)


@dataclass(frozen=True)
class Scored:
    """Columns over the students: accuracies in points, sizes, and the scores of every way."""

    distilled: np.ndarray
    plain: np.ndarray
    sizes: np.ndarray
    scores: dict[str, np.ndarray]


def accuracies(path: Path) -> dict[tuple[int, ...], float]:
    """Depths of the three stages → top-1 accuracy; a line is three digits and a number. Raises: InputError: it is not."""
    try:
        rows = [line.split() for line in path.read_text("utf-8").splitlines() if line.strip()]
        return {tuple(map(int, name)): float(value) for name, value in rows}
    except ValueError as error:
        raise InputError(f"{path}: a line is three depths and an accuracy, such as `357 74.44` ({error})") from error


def patches(n: int, side: int, rng: np.random.Generator) -> Tensor:
    """n patches of scikit-learn's two photographs, averaged 2 × 2, standardised per channel: [n, 3, side, side]."""
    from sklearn.datasets import load_sample_images

    pictures = load_sample_images().images
    cut = []
    for _ in range(n):
        picture = pictures[rng.integers(len(pictures))]
        y, x = (int(rng.integers(limit - 2 * side)) for limit in picture.shape[:2])
        cut.append(picture[y : y + 2 * side, x : x + 2 * side])
    images = F.avg_pool2d(torch.from_numpy(np.stack(cut)).permute(0, 3, 1, 2).float(), 2)
    return (images - images.mean((0, 2, 3), keepdim=True)) / images.std((0, 2, 3), keepdim=True)


def students(setup: Setup[Settings]) -> Scored:
    """Everything that a seed scores."""
    return scored(setup.seed, setup.settings, setup.file(FILES[0]), setup.file(FILES[1]))


@cache
def scored(seed: int, settings: Settings, distilled: Path, plain: Path) -> Scored:
    """Score the students on a seed's batch."""
    truth, alone = accuracies(distilled), accuracies(plain)
    names = list(truth)[:: settings.every]
    rng = np.random.default_rng(seed)
    images = patches(settings.images, settings.side, rng).contiguous(memory_format=torch.channels_last)
    labels = torch.from_numpy(rng.integers(CLASSES, size=settings.images))
    space = StageDepthSpace(classes=CLASSES)
    teacher = StageDepthSpace(depths=TEACHER[:1], classes=CLASSES).build(TEACHER)
    table = DisWOT(teacher, space, inits=settings.inits, seed=seed).scores(names, images, labels)
    gradients, codes = [], []
    for name in names:
        network = initialise(space.build(name), seed, str(name))
        codes.append(code_kernel_logdet(network, images))
        gradients.append(gradient_norm(network, images, labels))
    sizes = np.array([c.parameters for c in table], np.float64)
    semantic, relation = np.array([(c.semantic, c.relation) for c in table]).T
    scores = {
        "semantic": semantic,
        "relation": relation,
        "both by rank": rank_sum(np.stack([semantic, relation], 1)),
        "parameters": sizes,
        "gradient norm": np.array(gradients),
        "naswot": np.array(codes),
        "plain training": np.array([alone[name] for name in names]),
    }
    return Scored(np.array([truth[name] for name in names]), scores["plain training"], sizes, scores)


def under_limits(data: Scored, choose: Callable[[np.ndarray], float]) -> float:
    """Mean over the limits of the best accuracy under a limit minus what `choose` (allowed students → accuracy) gets."""
    limits = [data.sizes <= np.quantile(data.sizes, share) for share in LIMITS]
    return float(np.mean([data.distilled[allowed].max() - choose(allowed) for allowed in limits]))


def permutation_p(scores: np.ndarray, truth: np.ndarray, rng: np.random.Generator) -> float:
    """One-sided p of Kendall's tau: the share of permutations of the truth, with the one in hand, that reach it."""
    pairs = np.triu_indices(len(truth), 1)
    order = np.sign(scores[pairs[0]] - scores[pairs[1]])
    here = order @ np.sign(truth[pairs[0]] - truth[pairs[1]])
    shuffled = rng.permuted(np.tile(truth, (PERMUTATIONS, 1)), axis=1)
    there = np.sign(shuffled[:, pairs[0]] - shuffled[:, pairs[1]]) @ order
    return float((1 + (there >= here).sum()) / (1 + PERMUTATIONS))


def by(name: str, role: Role) -> Arm[Scored, Settings]:
    """Take the student with the highest score."""

    def run(data: Scored, trial: Trial[Settings]) -> dict[str, float]:
        scores = data.scores[name]
        report = rank_report(scores, data.distilled)
        pick = lambda allowed: data.distilled[allowed][int(np.argmax(scores[allowed]))]
        p = permutation_p(scores, data.distilled, np.random.default_rng(trial.seed))
        trial.budget.count(examples=len(scores))
        return {"tau": report.kendall, "p": p, "regret": under_limits(data, pick), "unlimited": report.regret}

    return Arm(name, role, run)


def at_random(data: Scored, trial: Trial[Settings]) -> dict[str, float]:
    """Any allowed student, in expectation."""
    trial.budget.count(examples=len(data.sizes))
    expected = under_limits(data, lambda allowed: data.distilled[allowed].mean())
    return {"tau": 0.0, "p": 1.0, "regret": expected, "unlimited": float(data.distilled.max() - data.distilled.mean())}


def predicts(tau: float, seeds: int, p: float) -> Bar:
    """The semantic score's tau on a number of seeds, and its p on all."""

    def test(r: Results) -> Finding:
        taus, worst = r["semantic", "tau"], r["semantic", "p"].max()
        reached = int((taus >= tau).sum())
        note = f"{reached}/{len(taus)} seeds, largest p {worst:.4f}"
        return exactly(reached >= seeds and worst < p, float(taus.mean()), note)

    return Bar(f"tau of semantic ≥ {tau:g} on {seeds} seeds, permutation p < {p:g} on all", test)


def other_winner(r: Results) -> Finding:
    """What is lost by distilling the network that is best without a teacher."""
    lost = float(r["plain training", "unlimited"].mean())
    return exactly(lost > 0, lost, "points below the best distilled student")


def size_alone(r: Results) -> str:
    """How the score stands to a parameter count, by the figures."""
    gap = r["semantic", "tau"].mean() - r["parameters", "tau"].mean()
    verb = "orders these students better than" if gap > 0 else "does not order these students better than"
    return f"The semantic score {verb} a plain parameter count: tau {gap:+.3f}."


STUDY = Study(
    slug="diswot",
    paper=Paper(
        "DisWOT: Student Architecture Search for Distillation WithOut Training", "Dong et al.", 2023, "2303.15678"
    ),
    claim="how alike untrained teacher and student look for classes predicts distilled accuracy far better than chance, and the "
    "best network without a teacher is not the best student",
    parts=(
        Part(
            data=students,
            arms=(
                Arm("random", "baseline", at_random),
                by("parameters", "baseline"),
                by("semantic", "method"),
                by("relation", "ablation"),
                by("both by rank", "ablation"),
                by("gradient norm", "reference"),
                by("naswot", "reference"),
                by("plain training", "reference"),
            ),
            metrics=(
                Metric("tau"),
                Metric("p", higher_is_better=False, digits=4),
                Metric("regret", higher_is_better=False, unit="points", digits=2),
                Metric("unlimited", higher_is_better=False, unit="points", digits=2),
            ),
            bars=(
                predicts(0.5, seeds=4, p=0.01),
                beats("semantic", "random", "regret", times=0.5, wins=1.0),
                Bar("the best network under plain training is not the best distilled one", other_winner),
                beats("semantic", "parameters", "tau", gated=False),
            ),
            settings=Settings(),
            fast=FAST,
            files=FILES,
            sentence=size_alone,
        ),
    ),
)
