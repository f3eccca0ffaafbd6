"""SSLD: distil without labels, so that every unlabelled picture is training data.

Cui et al., "Beyond Self-Supervision: A Simple Yet Effective Network Distillation Alternative to Improve Backbones", 2021
(arXiv:2103.05959).

The student is pulled towards the teacher's distribution only; with p = softmax(s), q = softmax(t), m = (p + q) / 2:

    L = JS(p, q) = ½ KL(p ‖ m) + ½ KL(q ‖ m)

No label is read, so the target set grows by a pool that nobody labelled. The recipe is

    clean    drop from the pool what repeats a held-out (test) picture
    select   give each picture to the class that the teacher thinks likeliest; keep the k surest of each class
    distil   L on target set and pool, long                                               (stage 1)
    restore  L on the target set only, short, at a hundredth of the learning rate         (stage 2)

and for another task the student is a backbone whose early layers learn slowly (`BackboneTuning`). JS is at most log 2 and
its gradient is small while p and q are far apart: train longer than with KL, not shorter.

Shapes: logits s, t [B, K]; pool and held-out inputs [N, …].
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import ConcatDataset, Dataset, Subset

from tutelage.curricula.selection import top_k_per_group
from tutelage.data.indexed import IndexedDataset
from tutelage.data.near_vectors import near_duplicate_vectors
from tutelage.errors import InputError
from tutelage.objectives.divergence import Direction, distillation_kl
from tutelage.training import (
    Batch,
    Lesson,
    Progress,
    Signal,
    Stage,
    Stages,
    decay_groups,
    logits_of,
    one_cycle,
    predict_all,
    signal_of,
)
from tutelage.training.fit import FitOptions

Rows = Dataset | Mapping[str, Tensor] | tuple[Tensor, ...]
"""A map-style data set, a mapping of tensors, or a tuple of tensors (x,) or (x, y)."""


@dataclass(frozen=True)
class Pool:
    """What `select_pool` kept.

    Attributes:
        index: [n] positions in the pool, ascending.
        counts: class → pictures kept; lowest: class → the lowest teacher probability among them: look here for junk.
        repeated: pictures dropped because they repeat a held-out one or an earlier one of the pool.
    """

    index: Tensor
    counts: Mapping[int, int]
    lowest: Mapping[int, float]
    repeated: int

    def __str__(self) -> str:
        kept = ", ".join(f"{c}: {n} (from {self.lowest[c]:.2f})" for c, n in self.counts.items() if n)
        return f"{len(self.index)} kept, {self.repeated} repeated; by class {kept}"


def select_pool(
    teacher: nn.Module,
    pool: Rows,
    *,
    per_class: int,
    held_out: Rows,
    near: float | None = 0.98,
    min_confidence: float = 0.0,
    embedder: nn.Module | None = None,
) -> Pool:
    """Clean and select: the `per_class` pictures of each class that the teacher is surest of.

    Args:
        held_out: what the student will be judged on.
        near: cosine from which a picture of the pool repeats another; None: only identical pictures are looked for, and
            those that are held out are refused.
        min_confidence: teacher probability that a picture needs whatever its class's quota; keeps junk out of rare classes.
        embedder: inputs → [B, d] that are compared; the inputs themselves by default.

    Raises: InputError: nothing is left, or `near` is None and the pool holds a held-out picture.

    >>> teacher = nn.Identity()
    >>> x = torch.tensor([[3.0, 0.0], [2.0, 0.1], [0.0, 1.0], [0.1, 2.0]])
    >>> print(select_pool(teacher, (x,), per_class=1, held_out=(torch.tensor([[6.0, 0.0]]),)))
    1 kept, 3 repeated; by class 1: 1 (from 0.73)
    """
    compared, reserved = (predict_all(embedder or nn.Flatten(), rows).flatten(1).numpy() for rows in (pool, held_out))
    found = near_duplicate_vectors(compared, threshold=near, held_out=reserved)
    if near is None and (overlap := int((found.of >= len(compared)).sum())):
        raise InputError(f"{overlap} pictures of the pool are held out: the figures would be wrong; set `near`")
    fresh = torch.from_numpy(~found.drop).nonzero().flatten()
    if not len(fresh):
        raise InputError("every picture of the pool repeats a held-out one")
    confidence, likeliest = predict_all(teacher, pool).float().softmax(-1)[fresh].max(-1)
    chosen = top_k_per_group(confidence.numpy(), likeliest.numpy(), per_class, minimum=min_confidence)
    if not len(chosen.index):
        raise InputError(
            f"the teacher is nowhere as sure as {min_confidence}; its best is {float(confidence.max()):.2f}"
        )
    classes = sorted(int(str(name)) for name in chosen.counts)
    return Pool(
        fresh[torch.from_numpy(chosen.index)].sort().values,
        {c: chosen.counts[c] for c in classes},
        {c: chosen.lowest[c] for c in classes if c in chosen.lowest},
        int(found.drop.sum()),
    )


def without_labels(target: Rows, pool: Rows | None = None, index: Tensor | None = None) -> Rows:
    """The inputs of the target set, then those of the pool (or of its positions `index`): what stage 1 trains on.

    >>> without_labels((torch.zeros(2, 1), torch.tensor([0, 1])), (torch.ones(3, 1),), torch.tensor([2]))[0].tolist()
    [[0.0], [0.0], [1.0]]
    """
    first = _Inputs(target)
    if pool is None:
        return (first.x,) if first.x is not None else first
    second = _Inputs(pool)
    if first.x is not None and second.x is not None:
        return (torch.cat([first.x, second.x if index is None else second.x[index]]),)
    return ConcatDataset([first, second if index is None else Subset(second, index.tolist())])


class LabelFreeDistillation(Lesson):
    """Pull the student towards the teacher's distribution; labels in the batch are not looked at.

    Student and teacher see the same view, so augmentation is welcome with a teacher that is asked live. A teacher that
    knows the examples by `index` (a `TeacherCache`) needs views that do not change.

    Args:
        student, teacher: the same K classes in the same order; the teacher frozen, or a function of the batch.
        direction: "js" as in the paper; "forward" is distillation's usual KL, "reverse" the other one.
        temperature: T > 0 on both sides, with the factor T²; the paper's is 1.

    Raises: InputError: a temperature that is not positive; teacher and student with different K.

    >>> lesson = LabelFreeDistillation(nn.Identity(), lambda batch: batch["x"])
    >>> lesson.losses({"x": torch.tensor([[1.0, 2.0]])}, Progress(0, 1))
    {'js': tensor(0.)}
    """

    def __init__(
        self, student: nn.Module, teacher: Signal, *, direction: Direction = "js", temperature: float = 1.0
    ) -> None:
        super().__init__()
        if temperature <= 0 or direction not in {"js", "forward", "reverse"}:
            raise InputError(f"need a positive temperature and a known direction; got {temperature}, {direction!r}")
        self.student, self.teacher = student, teacher
        self.direction: Direction = direction
        self.temperature = temperature

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        logits, said = logits_of(self.student, batch["x"]), signal_of(self.teacher, batch)
        return {self.direction: distillation_kl(logits, said, self.temperature, direction=self.direction)}


def two_stages(
    lesson: LabelFreeDistillation,
    target: Rows,
    pool: Rows,
    *,
    index: Tensor | None = None,
    epochs: tuple[int, int] = (60, 10),
    lr: float = 1e-2,
    restore: float = 0.01,
    options: FitOptions | None = None,
) -> Stages:
    """Stage "distil" on target set and pool, stage "restore" on the target set at `restore` × the learning rate.

    Args: index: positions of the pool that are used (`Pool.index`); options: of `fit`, for both stages.

    >>> from tutelage.teachers.frozen import frozen
    >>> lesson = LabelFreeDistillation(nn.Linear(2, 2), frozen(nn.Linear(2, 2)))
    >>> stages = two_stages(lesson, (torch.zeros(4, 2), torch.zeros(4).long()), (torch.ones(8, 2),), epochs=(1, 1))
    >>> stages.run()["stage"]
    ['distil', 'restore']
    """
    shared: FitOptions = {"schedule": one_cycle(), **(options or {})}
    first: FitOptions = {**shared, "epochs": epochs[0], "lr": lr}
    second: FitOptions = {**shared, "epochs": epochs[1], "lr": lr * restore}
    distil = Stage("distil", lesson, without_labels(target, pool, index), first)
    return Stages([distil, Stage("restore", lesson, without_labels(target), second)])


class BackboneTuning(Lesson):
    """Train a distilled student on another task: plain cross-entropy, each part at its own share of the learning rate.

    Args:
        student: the backbone with a new head: [B, …] → logits [B, K].
        scales: name of a submodule → share, such as the paper's 0.1, 0.1, 0.2, 0.2, 0.3 for the five stages of a ResNet;
            a part under two names takes the longer one, what has none learns at 1.

    Raises: InputError: a name that the student does not have.

    >>> lesson = BackboneTuning(nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2)), {"0": 0.1})
    >>> [group["lr_scale"] for group in lesson.parameter_groups()["student"]]
    [0.1, 1.0]
    """

    def __init__(self, student: nn.Module, scales: Mapping[str, float]) -> None:
        super().__init__()
        parts = dict(student.named_modules())
        if unknown := sorted(set(scales) - set(parts)):
            raise InputError(f"the student has no part {unknown[0]!r}; it has {', '.join(filter(None, parts))}")
        self.student, self.scales = student, dict(scales)

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        return {"ce": F.cross_entropy(logits_of(self.student, batch["x"]), batch["y"])}

    def parameter_groups(self) -> dict[str, list[dict[str, object]]]:
        """The longest names first, so that an inner part is not taken by the one around it."""
        groups: list[dict[str, object]] = []
        taken: set[int] = set()
        for name in [*sorted(self.scales, key=lambda name: -name.count(".")), ""]:
            for group in decay_groups(self.student.get_submodule(name), lr_scale=self.scales.get(name, 1.0)):
                held = [p for p in group["params"] if id(p) not in taken]  # pyright: ignore[reportGeneralTypeIssues]
                taken |= {id(p) for p in held}
                groups += [{**group, "params": held}] if held else []
        return {"student": groups}


class _Inputs(Dataset):
    """The inputs of a data set, in order; `x` is all of them at once where the set is made of tensors."""

    def __init__(self, rows: Rows) -> None:
        self.rows = IndexedDataset(rows)
        self.x = None if self.rows.columns is None else self.rows.columns["x"]

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        return {"x": self.rows[index]["x"]}
