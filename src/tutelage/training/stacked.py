"""Many small runs as one: seeds × arms of one architecture, trained as a stack.

A step of a small network is overhead: seventy of them one after another cost seventy times the overhead, seventy of
them as one tensor operation cost it once. The trainable weights of R models become one matrix [R, P] (one row a run),
so that the optimiser, clipping and freezing are a few operations on one tensor, and the forward pass is
`torch.func.functional_call` under `torch.vmap`.

Runs never touch: learning rate, weight decay and clipping are per row, and a row that diverges is frozen at its last
finite weights while the others go on. A stacked row equals the same run alone up to rounding.

    m ← β₁ m + (1 − β₁) g,   v ← β₂ v + (1 − β₂) g²,   θ ← θ − lr · (m̂ / (√v̂ + ε) + decay · θ)       (AdamW)

Loshchilov and Hutter, "Decoupled Weight Decay Regularization", 2019 (arXiv:1711.05101).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state

from tutelage.errors import InputError
from tutelage.training.batches import step_order
from tutelage.training.lesson import NORMS, Batch, Progress
from tutelage.training.schedules import Schedule, value_at
from tutelage.training.seeding import child_seed, seeded

RowLosses = Callable[[Tensor, Batch, Progress], Mapping[str, Tensor]]
"""(outputs [R, B, …], batch, progress) → parts, each [R]: what every row pays. Map a pure objective with `torch.vmap`."""


class Stack(nn.Module):
    """R modules of one architecture as one: inputs [R, B, …] → outputs [R, B, …].

    Raises: InputError: no module, architectures that differ, or batch norm with running statistics.

    >>> stack = Stack([nn.Linear(2, 3) for _ in range(4)])
    >>> stack(torch.zeros(5, 2), shared=True).shape, stack.weights.shape
    (torch.Size([4, 5, 3]), torch.Size([4, 9]))
    """

    def __init__(self, modules: Sequence[nn.Module]) -> None:
        super().__init__()
        shapes = [{n: (p.shape, p.requires_grad) for n, p in m.named_parameters()} for m in modules]
        if not modules or any(shape != shapes[0] for shape in shapes):
            raise InputError("a stack needs at least one module, and all of one architecture")
        for name, part in modules[0].named_modules():
            if isinstance(part, nn.modules.batchnorm._NormBase) and part.track_running_stats:
                raise InputError(f"'{name}' keeps running statistics; use track_running_stats=False or another norm")
        template = copy.deepcopy(modules[0])
        self._template = [template.to("meta")]  # in a list: its weights are not the stack's
        state, buffers = stack_module_state(list(modules))  # type: ignore[arg-type]
        trained = {name for name, parameter in modules[0].named_parameters() if parameter.requires_grad}
        self.shapes = {name: tensor.shape[1:] for name, tensor in state.items() if name in trained}
        flat = [state[name].detach().flatten(1) for name in self.shapes]
        self.sizes = [tensor.shape[1] for tensor in flat]
        self.weights = nn.Parameter(torch.cat(flat, 1))
        self.constants = {n: t.detach() for n, t in state.items() if n not in trained} | buffers
        norms = tuple(name for name, part in modules[0].named_modules() if isinstance(part, NORMS))
        decayed = [
            self.weights.new_full((size,), float(name.rpartition(".")[0] not in norms))
            for name, size in zip(self.shapes, self.sizes, strict=True)
        ]
        self.decayed = torch.cat(decayed)

    def __len__(self) -> int:
        return len(self.weights)

    def rows(self) -> dict[str, Tensor]:
        """Name → [R, …]: views into the matrix."""
        pieces = self.weights.split(self.sizes, dim=1)
        named = zip(self.shapes.items(), pieces, strict=True)
        return {name: piece.view(len(piece), *shape) for (name, shape), piece in named}

    def forward(self, x: Tensor, *, shared: bool = False) -> Tensor:
        """Every row on its own inputs [R, B, …], or with `shared` all rows on the same [B, …]."""

        def one(state: dict[str, Tensor], inputs: Tensor) -> Tensor:
            return functional_call(self._template[0], state, (inputs,))

        self._template[0].train(self.training)
        state = {**self.rows(), **self.constants}
        return torch.vmap(one, in_dims=(0, None if shared else 0), randomness="different")(state, x)

    def row(self, index: int, into: nn.Module) -> nn.Module:
        """The run `index` as an ordinary module: a copy of `into` with its weights."""
        module = copy.deepcopy(into)
        own = {name: value[index] for name, value in {**self.rows(), **self.constants}.items()}
        with torch.no_grad():
            for name, value in module.state_dict(keep_vars=True).items():
                value.copy_(own[name].reshape(value.shape))
        return module


@dataclass
class StackedResult:
    """What `StackedFit` did.

    Attributes: curves: part → [steps, R], what every row paid; diverged: row → the step at which it froze.
    """

    curves: dict[str, Tensor]
    diverged: dict[int, int]


class StackedFit:
    """Train R runs at once.

    Args:
        modules: one initialised module a run; arms of a seed are copies of one. They are not changed.
        losses: what each row pays.
        lr, weight_decay, clip: one number, or one a row. clip None: no clipping.
        optimizer: "adamw", or "sgd" (Nesterov momentum 0.9, with L2 decay as in PyTorch).

    Raises: InputError: settings whose length is not R.

    >>> x, y = torch.eye(2), torch.tensor([0, 1])
    >>> def losses(outputs, batch, progress):
    ...     return {"ce": torch.vmap(nn.functional.cross_entropy)(outputs, batch["y"])}
    >>> with seeded(0):
    ...     runs = StackedFit([nn.Linear(2, 2) for _ in range(3)], losses, lr=[0.1, 0.2, 0.3])
    >>> result = runs.fit({"x": x, "y": y}, torch.tensor([[0, 1]]).expand(50, 2))
    >>> runs.predict(x).argmax(-1).tolist()
    [[0, 1], [0, 1], [0, 1]]
    """

    def __init__(
        self,
        modules: Sequence[nn.Module],
        losses: RowLosses,
        *,
        lr: float | Sequence[float] = 1e-3,
        weight_decay: float | Sequence[float] = 0.01,
        clip: float | Sequence[float] | None = None,
        schedule: Schedule | float = 1.0,
        optimizer: Literal["adamw", "sgd"] = "adamw",
        seed: int = 0,
    ) -> None:
        self.stack = Stack(modules)
        self.losses, self.schedule, self.seed = losses, schedule, seed
        if optimizer not in {"adamw", "sgd"}:
            raise InputError(f"optimizer is 'adamw' or 'sgd'; got {optimizer!r}")
        self.optimizer = optimizer
        self.lr = self._per_row("lr", lr)
        self.decay = self._per_row("weight_decay", weight_decay)
        self.clip = None if clip is None else self._per_row("clip", clip)
        self._like = copy.deepcopy(modules[0])
        weights = self.stack.weights.data
        self._first, self._second, self._count = torch.zeros_like(weights), torch.zeros_like(weights), 0
        self._alive = torch.ones(len(weights), dtype=torch.bool, device=weights.device)
        self._diverged: dict[int, int] = {}

    def __len__(self) -> int:
        return len(self.stack)

    def fit(
        self,
        data: Mapping[str, Tensor],
        order: Tensor,
        *,
        own: Mapping[str, Tensor] | None = None,
        epoch_steps: int | None = None,
        after_step: Callable[[Tensor, Batch, Progress], None] | None = None,
    ) -> StackedResult:
        """Run all steps.

        Args:
            data: columns [N, …] that all rows share; own: columns [R, N, …], other values in each row. `x` is in one
                of them.
            order: which examples, [R, steps, B], or [steps, B] for all rows: see `stacked_order`. The batch holds it
                as `index`.
            epoch_steps: steps an epoch, where the method counts epochs (`progress.epoch`).
            after_step: called with the outputs of the step (detached), the batch and the progress: stores, centroids.
        """
        own = own or {}
        if "x" not in {*data, *own} or any(len(column) != len(self) for column in own.values()):
            raise InputError(f"need a column 'x', and own columns with first axis {len(self)}")
        device = self.stack.weights.device
        order = order.to(device).expand(len(self), *order.shape[-2:])
        rows = torch.arange(len(self), device=device).unsqueeze(1)
        steps = order.shape[1]
        generator = torch.Generator(device).manual_seed(child_seed(self.seed, "method"))
        per_epoch = epoch_steps or steps
        progress = Progress(0, steps, 0, -(-steps // per_epoch), generator)
        curves: dict[str, Tensor] = {}
        self.stack.train()
        with seeded(self.seed, "method"):
            for step in range(steps):
                progress.step, progress.epoch, index = step, step // per_epoch, order[:, step]
                batch = {name: column[index] for name, column in data.items()}
                batch |= {name: column[rows, index] for name, column in own.items()} | {"index": index}
                outputs = self.stack(batch["x"])
                parts = self.losses(outputs, batch, progress)
                self._step(torch.stack(list(parts.values())).sum(0), progress)
                if after_step is not None:
                    after_step(outputs.detach(), batch, progress)
                for name, part in parts.items():
                    curves.setdefault(name, part.new_zeros(steps, len(self)))[step] = part.detach()
        self.stack.eval()
        return StackedResult(curves, dict(self._diverged))

    def _step(self, each: Tensor, progress: Progress) -> None:
        if each.shape != (len(self),):
            raise InputError(f"losses must have one value a row ({len(self)}); got {tuple(each.shape)}")
        weights = self.stack.weights
        (gradient,) = torch.autograd.grad(torch.where(self._alive, each, 0.0).sum(), weights)
        norm = gradient.norm(dim=1)
        sound = torch.isfinite(each.detach()) & torch.isfinite(norm)
        if not bool(sound[self._alive].all()):
            lost = (self._alive & ~sound).nonzero().flatten().tolist()
            self._diverged |= dict.fromkeys(lost, progress.step)
            self._alive &= sound
        if self.clip is not None:
            gradient = gradient * (self.clip / (norm + 1e-6)).clamp(max=1.0).unsqueeze(1)
        rate = (self.lr * value_at(self.schedule, progress.u)).unsqueeze(1)
        new = self._updated(weights.data, gradient, rate)
        weights.data = torch.where(self._alive.unsqueeze(1), new, weights.data) if self._diverged else new

    def _updated(self, weights: Tensor, gradient: Tensor, rate: Tensor) -> Tensor:
        self._count += 1
        decay = self.decay.unsqueeze(1) * self.stack.decayed
        if self.optimizer == "sgd":
            gradient = gradient + decay * weights
            self._first.mul_(0.9).add_(gradient)
            return weights - rate * (gradient + 0.9 * self._first)
        self._first.lerp_(gradient, 0.1)
        self._second.mul_(0.999).addcmul_(gradient, gradient, value=0.001)
        root = (self._second / (1 - 0.999**self._count)).sqrt() + 1e-8
        return weights * (1 - rate * decay) - rate * (self._first / (1 - 0.9**self._count)) / root

    def predict(self, x: Tensor) -> Tensor:
        """Outputs of every row on the same inputs: [N, …] → [R, N, …]."""
        self.stack.eval()
        with torch.no_grad():
            return self.stack(x, shared=True)

    def module(self, row: int) -> nn.Module:
        """A run as an ordinary module, in evaluation mode."""
        return self.stack.row(row, self._like).eval()

    def _per_row(self, what: str, value: float | Sequence[float]) -> Tensor:
        values = torch.as_tensor(value, dtype=torch.float32, device=self.stack.weights.device)
        if values.ndim and len(values) != len(self.stack):
            raise InputError(f"{what} has {len(values)} values for {len(self.stack)} rows")
        return values.expand(len(self.stack))


def stacked_order(size: int, batch_size: int, steps: int, seeds: Sequence[int]) -> Tensor:
    """The batches of several runs, [R, steps, B]: row r is what `fit(seed=seeds[r], drop_last=True)` would see."""
    return torch.stack([step_order(size, batch_size, steps, seed) for seed in seeds])
