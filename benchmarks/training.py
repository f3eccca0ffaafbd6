"""What the loop costs and whether it trains as it should: `python benchmarks/training.py`.

| question | bar |
|---|---|
| the loop's overhead over a bare PyTorch loop, small CNN on signals (2230 weights) | ≤ 5 % |
| plain distillation with a cached teacher against plain training, small CNN on 12 × 12 pictures (23 946 weights) | ≤ 1.1 × |
| the same distillation by a hand-written loop: accuracy | within noise of ours |
| stacked runs against the same runs alone: accuracy | ≤ 0.3 points |
| digits, 100 pictures, 5 seeds: distillation (T = 4) against labels alone | ≥ 4 points, 5 of 5 seeds |

On the signals a step is about a millisecond, and there the dozen small operations of any divergence are seen, whoever writes
the loop: the second ratio is printed for both networks beside the hand-written one, and gated where a step does some work.

Times are those of an undisturbed step (tenth percentile over interleaved rounds, batch 64, one thread). The
hand-written loop of the third question shares no code with the package: its own order, its own loss.
"""

from __future__ import annotations

import math
import statistics
import tempfile
import time
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tutelage.data.digits import digits
from tutelage.objectives import distillation_kl
from tutelage.students.cnn import SmallCnn
from tutelage.students.mlp import mlp
from tutelage.teachers.cache import TeacherCache, logits_signal
from tutelage.training import (
    Callback,
    Distillation,
    Lesson,
    Run,
    StackedFit,
    Supervised,
    fit,
    one_cycle,
    seeded,
    stacked_order,
)

STEPS, BATCH, ROUNDS = 150, 64, 10
SEEDS = range(5)
Answer = tuple[str, str, bool]


def cnn(width: int = 15) -> SmallCnn:
    return SmallCnn(
        (1, width, width, width), 10, dims=1, kernels=(5, 3, 3), strides=2, padding=1, pool="flatten", size=40
    )


def picture_cnn() -> SmallCnn:
    return SmallCnn((1, 16, 32, 64), 10, strides=(1, 2, 1))


class Stopwatch(Callback):
    """Notes when every step ended."""

    def __init__(self) -> None:
        self.stamps: list[float] = []

    def after_step(self, run: Run | None) -> None:
        self.stamps.append(time.perf_counter())

    def steps(self) -> list[float]:
        """Milliseconds of every step."""
        return [1e3 * (b - a) for a, b in pairwise(self.stamps)]


def bare_loop(model: nn.Module, data: tuple[Tensor, ...], watch: Stopwatch) -> None:
    """What one would write without a framework: (x, y), or with a third tensor distillation from those logits."""
    x, y, *teacher = data
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2, weight_decay=0.01, fused=True)
    total, done = 0.0, 0
    model.train()
    while done < STEPS:
        for index in torch.randperm(len(x)).split(BATCH):
            logits = model(x[index])
            loss = F.cross_entropy(logits, y[index])
            if teacher:
                log_p, log_q = F.log_softmax(teacher[0][index] / 4, 1), F.log_softmax(logits / 4, 1)
                loss = 0.1 * loss + 0.9 * 16 * F.kl_div(log_q, log_p, reduction="batchmean", log_target=True)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            total += loss.item()
            done += 1
            watch.after_step(None)
            if done == STEPS:
                break


def typical(*jobs: Callable[[Stopwatch], object]) -> list[float]:
    """Milliseconds of an undisturbed step of each job: the tenth percentile over interleaved rounds."""
    times: list[list[float]] = [[] for _ in jobs]
    for _ in range(ROUNDS):
        for job, held in zip(jobs, times, strict=True):
            watch = Stopwatch()
            job(watch)
            held += watch.steps()[10:]
    return [statistics.quantiles(held, n=10)[0] for held in times]


def costs(make: Callable[[], nn.Module], shape: tuple[int, ...], bars: tuple[float, float]) -> list[Answer]:
    """Overhead of the loop, and of a cached teacher, on a network; a bar of infinity means: reported, not gated."""
    generator = torch.Generator().manual_seed(0)
    size, kind = 40 * BATCH, "signals" if len(shape) == 2 else "pictures"
    x, y = torch.randn(size, *shape, generator=generator), torch.randint(10, (size,), generator=generator)
    with tempfile.TemporaryDirectory() as folder:
        cache = TeacherCache(Path(folder), size=size, signals={"logits": logits_signal(10)}, key={"teacher": "wide"})
        cache.fill(make(), (x, y))
        said = cache.rows("logits", torch.arange(size))

        def timed(lesson: Lesson, watch: Stopwatch) -> object:
            return fit(lesson, (x, y), steps=STEPS, batch_size=BATCH, lr=1e-2, callbacks=[watch])

        bare, ours, by_hand, cached = typical(
            lambda watch: bare_loop(make(), (x, y), watch),
            lambda watch: timed(Supervised(make()), watch),
            lambda watch: bare_loop(make(), (x, y, said), watch),
            lambda watch: timed(Distillation(make(), cache), watch),
        )
    overhead, ratio, by_hand = ours / bare - 1, cached / ours, by_hand / bare
    figures = f"{ours:.3f} → {cached:.3f} ms a step, × {ratio:.3f} (by hand × {by_hand:.3f})"
    return [
        (f"loop over a bare loop, {kind}", f"{bare:.3f} → {ours:.3f} ms a step, {overhead:+.1%}", overhead <= bars[0]),
        (f"cached teacher over none, {kind}", figures, ratio <= bars[1]),
    ]


def accuracy(logits: Tensor, y: Tensor) -> float:
    return 100 * (logits.argmax(-1) == y).double().mean().item()


def handwritten(student: nn.Module, teacher_logits: Tensor, x: Tensor, y: Tensor, seed: int) -> None:
    """Hinton's distillation in one loop: T = 4, 0.1 hard, 0.9 soft."""
    generator = torch.Generator().manual_seed(1000 + seed)
    optimizer = torch.optim.AdamW(student.parameters(), lr=1e-2, weight_decay=1e-2)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=1e-2, total_steps=601, pct_start=0.1)
    for _ in range(300):
        for index in torch.randperm(len(x), generator=generator).split(50):
            s, t = student(x[index]), teacher_logits[index]
            soft = F.kl_div(F.log_softmax(s / 4, 1), F.softmax(t / 4, 1), reduction="batchmean") * 16
            loss = 0.1 * F.cross_entropy(s, y[index]) + 0.9 * soft
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()


def few_digits() -> list[Answer]:
    """The standard small benchmark: 100 of the teacher's 1000 digits, a student of 16 hidden units."""
    parts = [digits(seed, 1000, 797, standardise=True) for seed in SEEDS]
    with seeded(0, "teachers"):
        wide = [mlp(64, 128, 128, 10) for _ in SEEDS]
    options = {"lr": 3e-3, "weight_decay": 1e-2, "schedule": one_cycle()}
    teachers = StackedFit(wide, lambda o, b, p: {"ce": torch.vmap(F.cross_entropy)(o, b["y"])}, **options)
    own = {"x": torch.stack([p[0].x for p in parts]), "y": torch.stack([p[0].y for p in parts])}
    teachers.fit({}, stacked_order(1000, 100, 500, list(SEEDS)), own=own)
    said = torch.stack([teachers.module(i)(p[0].x).detach() for i, p in enumerate(parts)])

    initial = []
    for seed in SEEDS:
        with seeded(seed, "init"):
            initial.append(mlp(64, 16, 10))
    soft = torch.tensor([0.0] * len(SEEDS) + [0.9] * len(SEEDS))  # labels alone, then distillation

    def losses(outputs: Tensor, batch: dict[str, Tensor], progress: object) -> dict[str, Tensor]:
        ce = torch.vmap(F.cross_entropy)(outputs, batch["y"])
        kd = torch.vmap(lambda s, t: distillation_kl(s, t, 4.0))(outputs, batch["teacher"])
        return {"ce": (1 - soft) * ce, "kd": soft * kd}

    few = {
        name: column[:, :100].repeat(2, *(1,) * (column.ndim - 1)) for name, column in (own | {"teacher": said}).items()
    }
    start = time.perf_counter()
    runs = StackedFit(initial * 2, losses, lr=1e-2, weight_decay=1e-2, schedule=one_cycle())
    runs.fit({}, stacked_order(100, 50, 600, list(SEEDS) * 2), own=few)
    seconds = time.perf_counter() - start
    scores = [accuracy(runs.module(i)(parts[i % 5][1].x), parts[i % 5][1].y) for i in range(10)]
    labels, distilled = scores[:5], scores[5:]

    ours, reference = [], []
    for seed, (train, test) in enumerate(parts):
        with seeded(seed, "init"):
            one, two = mlp(64, 16, 10), mlp(64, 16, 10)
        data = {"x": train.x[:100], "y": train.y[:100], "index": torch.arange(100)}
        lesson = Distillation(one, lambda batch, t=said[seed]: t[batch["index"]])
        fit(lesson, data, steps=600, batch_size=50, lr=1e-2, weight_decay=1e-2, schedule=one_cycle(), seed=seed)
        handwritten(two, said[seed], train.x[:100], train.y[:100], seed)
        ours.append(accuracy(one(test.x), test.y))
        reference.append(accuracy(two(test.x), test.y))
    gains = [a - b for a, b in zip(distilled, labels, strict=True)]
    gap = statistics.mean(a - b for a, b in zip(ours, reference, strict=True))
    noise = 2 * statistics.stdev(a - b for a, b in zip(ours, reference, strict=True)) / len(SEEDS) ** 0.5
    same = max(abs(a - b) for a, b in zip(ours, distilled, strict=True))
    mean = statistics.mean
    return [
        (
            "hand-written distillation",
            f"{mean(reference):.2f} %, ours {mean(ours):.2f} %, difference {gap:+.2f} ± {noise:.2f}",
            abs(gap) <= max(noise, 0.5),
        ),
        (
            "stacked runs against single ones",
            f"largest difference {same:.2f} points; 10 runs of 600 steps in {seconds:.1f} s",
            same <= 0.3,
        ),
        (
            "distillation over labels alone",
            f"{mean(labels):.1f} → {mean(distilled):.1f} %, {sum(g > 0 for g in gains)} of 5 seeds",
            mean(gains) >= 4 and min(gains) > 0,
        ),
    ]


def main() -> None:
    torch.set_num_threads(1)
    signals = costs(cnn, (1, 40), (0.05, math.inf))
    pictures = costs(picture_cnn, (1, 12, 12), (0.05, 1.1))
    failed = False
    for name, figures, holds in [*signals, *pictures, *few_digits()]:
        print(f"{name:40} {figures:62} {'ok' if holds else 'MISSED'}")
        failed |= not holds
    raise SystemExit(int(failed))


if __name__ == "__main__":
    main()
