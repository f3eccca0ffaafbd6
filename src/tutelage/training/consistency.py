"""Self-training with a teacher that follows the student: few labels, many unlabelled examples, two views of each.

    easy, back  = weak(x)                      what the teachers see
    said_k      = back(read(teacher_k(easy)))  in the frame of x, without a graph
    hard, carry = strong(x)                    what the student sees
    L = supervised(student, batch) + ramp(u) Σ_k weight_k · objective_k(student(hard), carry(said_k), gate(carry(said_k)))

The first `burn_in` steps are supervised only, for a teacher that knows nothing confirms nothing but its own mistakes;
their last step copies the student into the teachers. A view is a pair of the changed input and a function that carries
an answer over: back into the input's frame for the teachers' view, into the view's frame for the student's. Answers are
never compared across frames, and the gate reads what the student is asked to match.

`ConsistencyLesson` is put together from functions. Methods hold one and change what they are about (the order of updates,
who follows whom); they do not inherit from it.

Tarvainen and Valpola, "Mean teachers are better role models", 2017 (arXiv:1703.01780); Sohn et al., "FixMatch", 2020
(arXiv:2001.07685).

Shapes: x [B, …] with y, unlabelled [U, …]; answers [U, …] as `read` returns them, weights as the objective takes them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast

import torch
from torch import Tensor, nn

from tutelage.errors import InputError
from tutelage.objectives.divergence import hard_cross_entropy
from tutelage.training.batches import Batches, Data, as_indexed, epoch_order
from tutelage.training.lesson import Batch, Lesson, Progress, logits_of
from tutelage.training.schedules import Schedule, value_at
from tutelage.training.seeding import child_seed

Carry = Callable[[Tensor], Tensor]
"""An answer in one frame → the same answer in another."""

Weak = Callable[[Tensor, torch.Generator], tuple[Tensor, Carry]]
"""(x, generator) → the teachers' view, and how their answer comes back into the frame of x."""

Strong = Callable[[Tensor, torch.Generator, Tensor, Batch], tuple[Tensor, Carry]]
"""(x, generator, what the first teacher said about x, batch) → the student's view, and how an answer comes into it."""

Supervised = Callable[[nn.Module, Batch, torch.Generator], Tensor]
"""(student, batch, generator) → what the labelled part of the batch costs."""


class Follower(Protocol):
    """A teacher that can be asked and that moves when told where the student is (`MomentumTeacher`)."""

    def __call__(self, x: Tensor, /) -> Any: ...
    def update(self, student: nn.Module) -> None: ...


@dataclass(frozen=True)
class TeacherTerm:
    """One teacher's part of the loss.

    Attributes:
        teacher: who is asked; it follows the student from the last step of burn-in on.
        objective: (student's output, answer in its frame, weight) → scalar.
        weight: of the term, a number or a schedule of u.
    """

    teacher: Follower
    objective: Callable[[Any, Tensor, Tensor], Tensor]
    weight: Schedule | float = 1.0


def photometric(change: Callable[[Tensor, torch.Generator], Tensor]) -> Callable[..., tuple[Tensor, Carry]]:
    """A view in which no answer has to move, as `weak` or as `strong`.

    >>> view = photometric(lambda x, generator: x + 1)
    >>> hard, carry = view(torch.zeros(1, 2), torch.Generator())
    >>> hard.tolist(), carry(torch.ones(1)).item()
    ([[1.0, 1.0]], 1.0)
    """

    def view(x: Tensor, generator: torch.Generator, *context: object) -> tuple[Tensor, Carry]:
        return change(x, generator), lambda answer: answer

    return view


def cross_entropy_with_labels(student: nn.Module, batch: Batch, generator: torch.Generator) -> Tensor:
    """The cost of a labelled batch as it is: logits [B, K], labels [B], or a label a pixel: [B, …, K], [B, …] → scalar."""
    logits, y = logits_of(student, batch["x"]), batch["y"]
    return hard_cross_entropy(logits, y) if logits.ndim == 2 else hard_cross_entropy(logits.flatten(0, -2), y.flatten())


class ConsistencyLesson(Lesson):
    """Self-training put together from parts.

    Batches hold `x`, `y` and `unlabelled` (see `SemiSupervisedBatches`).

    Args:
        student: what is trained.
        terms: name → teacher and what its word costs; parts of the loss have these names. The first teacher's answer is
            what `strong` may use.
        weak, strong: the views; `photometric` makes one of any function that moves nothing.
        gate: answer in the student's frame → weight of each of its entries.
        read: a network's output → its answer; probabilities by default.
        supervised: (student, batch, generator) → the cost of the labelled part.
        ramp: weight of everything unlabelled, by u.
        burn_in: steps without teachers.

    Attributes: kept: mean weight that the gate gave in the last step, of the first teacher.

    Raises: InputError: no teacher, one that shares weights with the student, a negative burn-in, batches without
        `unlabelled`.

    >>> from tutelage.curricula.gates import confidence_gate
    >>> from tutelage.objectives.consistency import pseudo_label_ce
    >>> from tutelage.teachers.momentum import MomentumTeacher
    >>> student, same = nn.Linear(2, 2), photometric(lambda x, generator: x)
    >>> lesson = ConsistencyLesson(
    ...     student, {"pseudo": TeacherTerm(MomentumTeacher(student), pseudo_label_ce)},
    ...     weak=same, strong=same, gate=lambda p: confidence_gate(p, 0.5).weight, burn_in=1)
    >>> batch = {"x": torch.zeros(1, 2), "y": torch.tensor([0]), "unlabelled": torch.zeros(3, 2)}
    >>> [sorted(lesson.losses(batch, Progress(step, 2))) for step in (0, 1)]
    [['supervised'], ['pseudo', 'supervised']]
    """

    kept: Tensor

    def __init__(
        self,
        student: nn.Module,
        terms: Mapping[str, TeacherTerm],
        *,
        weak: Weak,
        strong: Strong,
        gate: Callable[[Tensor], Tensor],
        read: Callable[[Any], Tensor] = lambda output: output.softmax(-1),
        supervised: Supervised = cross_entropy_with_labels,
        ramp: Schedule | float = 1.0,
        burn_in: int = 0,
    ) -> None:
        super().__init__()
        if not terms or burn_in < 0 or "supervised" in terms:
            raise InputError(
                f"need at least one teacher, none called 'supervised', and burn_in >= 0; got {list(terms)}, {burn_in}"
            )
        self.student = student
        self.teachers = nn.ModuleDict({name: cast(nn.Module, term.teacher) for name, term in terms.items()})
        ours = {value.data_ptr() for value in student.parameters()}
        if shared := [n for n, t in self.teachers.items() if any(v.data_ptr() in ours for v in t.parameters())]:
            raise InputError(f"'{shared[0]}' shares weights with the student; a teacher is a copy")
        self.terms = dict(terms)
        self.weak, self.strong, self.gate, self.read, self.supervised = weak, strong, gate, read, supervised
        self.ramp, self.burn_in = ramp, burn_in
        self.register_buffer("kept", torch.zeros(()))

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """What the labelled part costs, and after burn-in each teacher's term."""
        parts = {"supervised": self.supervised(self.student, batch, progress.generator)}
        if progress.step < self.burn_in:
            return parts
        if "unlabelled" not in batch:
            raise InputError("self-training needs batches with `x`, `y` and `unlabelled`: see SemiSupervisedBatches")
        return parts | self.unsupervised(batch, progress)

    def unsupervised(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """The terms of the teachers on the unlabelled part of a batch."""
        x, generator = batch["unlabelled"], progress.generator
        with torch.no_grad():
            easy, back = self.weak(x, generator)
            said = {name: back(self.read(term.teacher(easy))) for name, term in self.terms.items()}
            hard, carry = self.strong(x, generator, next(iter(said.values())), batch)
            targets = {name: carry(answer) for name, answer in said.items()}
            weights = {name: self.gate(target) for name, target in targets.items()}
            self.kept.copy_(next(iter(weights.values())).float().mean())
        output = self.student(hard)
        scale = value_at(self.ramp, progress.u)
        return {
            name: scale * value_at(term.weight, progress.u) * term.objective(output, targets[name], weights[name])
            for name, term in self.terms.items()
        }

    def follow(self) -> None:
        """Every teacher takes in the student as it is now."""
        for term in self.terms.values():
            term.teacher.update(self.student)

    def after_step(self, progress: Progress) -> None:
        """The teachers follow, from the last step of burn-in on."""
        if progress.step + 1 >= self.burn_in:
            self.follow()


class SemiSupervisedBatches:
    """Batches of labelled and unlabelled examples; a loader for `fit`.

    An epoch is one pass over the unlabelled examples (a last batch that is too small is left out); the labelled ones go
    round in an order of their own. Both orders are functions of seed and epoch.

    Args: labelled: tensors (x, y), a mapping of them or a map-style data set; unlabelled: inputs [N, …], or a data set
        whose labels are not read; sizes: labelled and unlabelled examples a batch.

    Raises: InputError: data that cannot be numbered, sizes that do not fit.

    >>> batches = SemiSupervisedBatches((torch.eye(3), torch.arange(3)), torch.zeros(8, 3), sizes=(2, 4))
    >>> [(batch["y"].shape, batch["unlabelled"].shape) for batch in batches] == [((2,), (4, 3))] * 2, len(batches)
    (True, 2)
    """

    def __init__(self, labelled: Data, unlabelled: Data | Tensor, *, sizes: tuple[int, int], seed: int = 0) -> None:
        pool = as_indexed((unlabelled,) if isinstance(unlabelled, Tensor) else unlabelled)
        few = as_indexed(labelled)
        if pool is None or few is None or min(sizes) < 1:
            raise InputError("give tensors or map-style data sets, labelled and unlabelled, and sizes >= 1")
        self.labelled, self.size, self.seed = few, sizes[0], seed
        self.pool = Batches(pool, sizes[1], seed=child_seed(seed, "unlabelled"), drop_last=True)
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.pool)

    def set_epoch(self, epoch: int) -> None:
        """The epoch whose batches are given next."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[Batch]:
        needed, total = len(self) * self.size, len(self.labelled)
        rounds = -(-needed // total)
        first = self.epoch * rounds
        order = torch.cat([epoch_order(total, self.seed, first + number) for number in range(rounds)])[:needed]
        for index, batch in zip(order.split(self.size), self.pool.epoch(self.epoch), strict=True):
            yield self.labelled.batch(index) | {"unlabelled": batch["x"]}
