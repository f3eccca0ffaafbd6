"""Grokking tickets: the wiring of a network that has understood makes a fresh one understand much sooner.

Minegishi, Iwasawa and Matsuo, "Bridging Lottery Ticket and Grokking: Understanding Grokking from Inner Structure of
Networks", 2023 (arXiv:2310.19470, first as "Grokking Tickets: Lottery Tickets Accelerate Grokking").

A network that groks fits its training set at step t_mem and only long after, at t_gen, suddenly the rest. A ticket is the
teacher's structure without its values: with θ_0 the weights at first and θ_T those after t_gen,

    m_i = 1 where |θ_T,i| is among the largest share `keep` of all weights,      student: train f(m ⊙ θ) from θ = θ_0

The student generalises soon after it fits. Masks of the memorising phase, random masks and dense networks whose weights
are scaled to the norm of the ticket,

    r = ‖m ⊙ θ_0‖ / ‖θ_0‖,      θ = r θ_0

do not, so it is structure and not the norm that was missing. The loss is taken in double precision: when all examples fit,
a softmax in single precision rounds its gradient to zero, and generalisation waits for rounding errors.

Shapes: pairs [B, 2] (long), logits [B, K]; a state or mask is {parameter: tensor}.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from tutelage.errors import InputError
from tutelage.evaluation.curves import Crossing, first_crossing
from tutelage.students.masks import Mask, Scope, apply_mask, density, magnitude_mask
from tutelage.training import Batch, Callback, History, Lesson, Progress, Run, fit, logits_of
from tutelage.training.callbacks import watching
from tutelage.training.history import Row

MEMORISED, GENERALISED = 0.99, 0.95
"""Accuracies from which we say so: on the training set, and on the rest."""


class PairMlp(nn.Module):
    """The paper's network for questions about two numbers: logits = ReLU(E_i I + E_j I) O U, without biases.

    Args: p: numbers there are, and classes; width, hidden: 500 and 48 in the paper.

    >>> model = PairMlp(53)
    >>> model(torch.tensor([[3, 4]])).shape, torch.equal(model(torch.tensor([[3, 4]])), model(torch.tensor([[4, 3]])))
    (torch.Size([1, 53]), True)
    """

    def __init__(self, p: int, width: int = 128, hidden: int = 48) -> None:
        super().__init__()
        self.E = nn.Parameter(torch.randn(p, width) / p**0.5)
        self.I = nn.Parameter(torch.randn(width, hidden) / width**0.5)
        self.O = nn.Parameter(torch.randn(hidden, width) / hidden**0.5)
        self.U = nn.Parameter(torch.randn(width, p) / width**0.5)

    def forward(self, pairs: Tensor) -> Tensor:
        first, second = (self.E @ self.I)[pairs].unbind(1)
        return (first + second).relu() @ (self.O @ self.U)


def precise_cross_entropy(logits: Tensor, y: Tensor) -> Tensor:
    """Cross-entropy in double precision: [B, K], [B] → scalar (float64).

    >>> sure = torch.tensor([[40.0, 0.0]], requires_grad=True)
    >>> precise_cross_entropy(sure, torch.tensor([0])).backward(); bool(sure.grad[0, 1] > 0)
    True
    """
    return F.cross_entropy(logits.double(), y)


class PreciseSupervised(Lesson):
    """Plain training with a loss in double precision, for runs that go on long after everything fits."""

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.student = student

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """The label's cost."""
        return {"ce": precise_cross_entropy(logits_of(self.student, batch["x"]), batch["y"])}


@dataclass(frozen=True)
class PhaseTimes:
    """When a run memorised and when it generalised; censored times are the last step."""

    memorised: Crossing
    generalised: Crossing

    @property
    def delay(self) -> float:
        """t_gen − t_mem: a lower bound where the run did not generalise."""
        return self.generalised.step - self.memorised.step


def phase_times(steps: Sequence[float], train: Sequence[float], test: Sequence[float]) -> PhaseTimes:
    """The first steps at which the accuracies on the training set and on the rest are there: 0.99 and 0.95.

    >>> times = phase_times([25, 50, 75], [0.5, 1.0, 1.0], [0.0, 0.1, 0.97])
    >>> times.memorised.step, times.generalised.step, times.delay
    (50.0, 75.0, 25.0)
    """
    return PhaseTimes(first_crossing(steps, train, MEMORISED), first_crossing(steps, test, GENERALISED))


@dataclass(frozen=True)
class Grown:
    """A run: the trained model, its first weights, and the accuracies on the way (`train`, `test` by `step`)."""

    model: nn.Module
    initial: dict[str, Tensor]
    history: History
    times: PhaseTimes


def train_to_generalise(
    model: nn.Module,
    train: Mapping[str, Tensor],
    test: Mapping[str, Tensor],
    *,
    steps: int = 8000,
    lr: float = 3e-3,
    weight_decay: float = 1.0,
    every: int = 25,
    patience: int = 200,
    seed: int = 0,
) -> Grown:
    """Train on the whole set in every step until `patience` steps after the rest is understood, or for all `steps`.

    AdamW with betas 0.9 and 0.98. `model` is left as it is.

    Args: train, test: x and y of the set and of the rest; every: steps between two looks; weight_decay: 0 for a ticket
        of the right density, else generalisation needs it.

    Raises: InputError: from `fit`.

    >>> pairs = torch.cartesian_prod(torch.arange(2), torch.arange(2)); xor = {"x": pairs, "y": pairs.sum(1) % 2}
    >>> grown = train_to_generalise(PairMlp(2, 8, 16), xor, xor, steps=500, lr=0.03, every=5, patience=0)
    >>> grown.times.generalised.censored, grown.times.delay
    (False, 0.0)
    """
    student = copy.deepcopy(model)
    initial = copy.deepcopy(model.state_dict())
    loader = DataLoader([dict(train)], batch_size=None, sampler=[0] * every)  # type: ignore[arg-type]
    history = fit(
        PreciseSupervised(student),
        loader,
        steps=steps,
        lr=lr,
        weight_decay=weight_decay,
        optimizer=partial(torch.optim.AdamW, betas=(0.9, 0.98)),
        seed=seed,
        callbacks=[_Phases(train, test, patience)],
    )
    steps_taken, known, understood = (_numbers(history, name) for name in ("step", "train", "test"))
    return Grown(student, initial, history, phase_times(steps_taken, known, understood))


@dataclass(frozen=True)
class Ticket:
    """Structure to pass on: which weights there are, and the values to begin with.

    >>> model = PairMlp(5, 4, 4); ticket = Ticket.of(model.state_dict(), model.state_dict(), keep=0.5)
    >>> student = ticket.rewind(model)
    >>> ticket.density, round((student.E != 0).float().mean().item(), 2) < 1
    (0.5, True)
    """

    initial: dict[str, Tensor]
    mask: Mask

    @classmethod
    def of(
        cls, initial: Mapping[str, Tensor], trained: Mapping[str, Tensor], keep: float = 0.4, scope: Scope = "global"
    ) -> Ticket:
        """The largest weights of `trained`, to be started from `initial`: states of one and the same run.

        Raises: InputError: states of different shapes; keep outside (0, 1]; weights that are not finite.
        """
        if {n: v.shape for n, v in initial.items()} != {n: v.shape for n, v in trained.items()}:
            raise InputError("first and trained weights must be of one run; their names or shapes differ")
        return cls(dict(initial), magnitude_mask(trained, keep, scope))

    @classmethod
    def of_run(cls, grown: Grown, keep: float = 0.4, scope: Scope = "global") -> Ticket:
        """The ticket of a run. Raises: InputError: it has not generalised: its mask is that of a memoriser, which is no help."""
        if grown.times.generalised.censored:
            raise InputError(
                f"this run had not generalised by step {grown.times.generalised.step:.0f}: a ticket of a network that "
                "memorises does not help; train longer, on more data or with more weight decay"
            )
        return cls.of(grown.initial, grown.model.state_dict(), keep, scope)

    @property
    def density(self) -> float:
        """Share of the masked tensors' weights that are there."""
        return density(self.mask)

    def rewind(self, model: nn.Module) -> nn.Module:
        """A masked copy of `model` at the first weights. Give it a fresh optimiser; `bake_mask` makes it plain again.

        Raises: InputError: a model of another shape.
        """
        student = copy.deepcopy(model)
        student.load_state_dict(self.initial)
        return apply_mask(student, self.mask)


def norm_matched(initial: Mapping[str, Tensor], mask: Mapping[str, Tensor], order: float = 1) -> dict[str, Tensor]:
    """The control of equal norm: the masked tensors dense, scaled to the L1 (or L2, …) norm that the ticket starts with.

    >>> norm_matched({"w": torch.tensor([[3.0, 1.0]])}, {"w": torch.tensor([[True, False]])})
    {'w': tensor([[2.2500, 0.7500]])}
    """
    dense = torch.cat([initial[name].flatten() for name in mask])
    kept = torch.cat([(initial[name] * there).flatten() for name, there in mask.items()])
    ratio = kept.norm(p=order) / dense.norm(p=order)
    return {name: value * ratio if name in mask else value for name, value in initial.items()}


class _Phases(Callback):
    """Writes both accuracies into the row of every epoch, and ends the run some steps after it generalised."""

    def __init__(self, train: Mapping[str, Tensor], test: Mapping[str, Tensor], patience: int) -> None:
        self.parts, self.patience = {"train": train, "test": test}, patience
        self.since: int | None = None

    def after_epoch(self, run: Run, row: Row) -> None:
        lesson = run.lesson
        with watching(lesson):
            for name, part in self.parts.items():
                said = logits_of(lesson.get_submodule("student"), part["x"].to(run.accelerator.device))
                row[name] = (said.argmax(-1).cpu() == part["y"]).float().mean().item()
        if self.since is None and float(row["test"] or 0.0) >= GENERALISED:
            self.since = run.progress.step
        if self.since is not None and run.progress.step >= self.since + self.patience:
            run.stop("generalised")


def _numbers(history: History, name: str) -> list[float]:
    return [float(value) for value in history[name] if value is not None]
