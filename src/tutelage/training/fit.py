"""`fit`: the one loop.

It takes a lesson and data and returns the history. Accelerate decides device, precision and processes (several with
`accelerate launch`, on CPUs with `torchrun` and ACCELERATE_USE_CPU=1); the loop adds what every method needs: one
seed for everything, schedules, accumulation and clipping, callbacks, checkpoints from which a run goes on to the same
figures to the bit (on a CPU), frozen teachers that are checked, and loss parts that are refused by name when not
finite.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from itertools import islice
from pathlib import Path
from typing import TypedDict, cast

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast

from tutelage.errors import InputError
from tutelage.training.batches import Batches, Data, Loader, as_indexed
from tutelage.training.callbacks import Callback
from tutelage.training.checkpoint import Tree
from tutelage.training.history import History
from tutelage.training.lesson import Lesson, Progress
from tutelage.training.resume import resume_run, save_run
from tutelage.training.run import Place, Run, end_epoch, open_epoch, take_step
from tutelage.training.schedules import Schedule, value_at
from tutelage.training.seeding import child_seed, seeded
from tutelage.training.updates import OptimizerFactory, Update, make_optimizer
from tutelage.training.weights import check_frozen, frozen_modules, trained_state


class FitOptions(TypedDict, total=False):
    """The options of `fit`, for those who pass them on (`Stages`)."""

    epochs: int | None
    steps: int | None
    batch_size: int
    drop_last: bool
    lr: float | Mapping[str, float]
    schedule: Schedule | float
    optimizer: str | OptimizerFactory
    weight_decay: float
    clip: float | None
    accumulate: int
    precision: str
    device: str | None
    seed: int
    callbacks: Sequence[Callback]
    checkpoint: str | Path | None
    checkpoint_every: int | None


def fit(
    lesson: Lesson,
    data: Data,
    *,
    epochs: int | None = None,
    steps: int | None = None,
    batch_size: int = 32,
    drop_last: bool = False,
    lr: float | Mapping[str, float] = 1e-3,
    schedule: Schedule | float = 1.0,
    optimizer: str | OptimizerFactory = "adamw",
    weight_decay: float = 0.01,
    clip: float | None = None,
    accumulate: int = 1,
    precision: str = "no",
    device: str | None = None,
    seed: int = 0,
    callbacks: Sequence[Callback] = (),
    checkpoint: str | Path | None = None,
    checkpoint_every: int | None = None,
) -> History:
    """Train a lesson.

    Args:
        lesson: what a step teaches; trained in place and left in evaluation mode.
        data: a map-style data set, tensors (x, y) or a mapping of tensors (batched here, `batch_size` a step over all
            processes), or a DataLoader or other iterable of batches (then `batch_size` and `drop_last` are its own
            business).
        epochs, steps: how long; one of the two.
        lr: learning rate, or one for each optimiser of a game; multiplied by `schedule(u)`, u = share of the steps
            done.
        optimizer: "adamw", "adam", "sgd" (Nesterov momentum 0.9), or a function from parameter groups to an optimiser.
        clip: largest norm of the gradient (each optimiser's own).
        accumulate: batches whose gradients are averaged into one step.
        precision: "no", "bf16" or "fp16", as in Accelerate; device: "cpu" keeps a run off the accelerator.
        seed: order of batches and everything that the method draws; the caller's random state is left alone.
        checkpoint: a file, written every `checkpoint_every` steps (default: each epoch). When it exists the run goes
            on from there.

    Returns: one row an epoch: mean of each loss part, learning rate, seconds, and what callbacks added.

    Raises: InputError: contradictory options, unusable data, a checkpoint of another run; FloatingPointError: a loss
        part is not finite; RuntimeError: a frozen teacher changed.

    >>> from tutelage.training import Supervised
    >>> x = torch.randn(64, 2, generator=torch.Generator().manual_seed(0)); y = (x[:, 0] > 0).long()
    >>> history = fit(Supervised(torch.nn.Linear(2, 2)), (x, y), epochs=20, lr=0.1)
    >>> history["loss"][-1] < 0.3, history["step"][-1]
    (True, 40)
    """
    if (epochs is None) == (steps is None) or min(n for n in (epochs, steps, accumulate) if n is not None) < 1:
        raise InputError("say how long: epochs or steps (one of the two), at least 1; accumulate is at least 1")
    accelerator = _accelerator(precision, device)
    source = _source(data, accelerator, batch_size, drop_last, seed)
    per_epoch = _length(source, accumulate)
    if steps is None:
        if per_epoch is None or epochs is None:
            raise InputError("this data has no length: say how long in steps, not epochs")
        steps = epochs * per_epoch
    lesson.to(accelerator.device)
    updates = _updates(lesson, accelerator, optimizer, lr, weight_decay, clip)
    rank = accelerator.process_index
    generator = torch.Generator(accelerator.device).manual_seed(child_seed(seed, "method", rank))
    planned = epochs or (-(-steps // per_epoch) if per_epoch else 1)
    autocast = accelerator.autocast if precision != "no" else nullcontext
    run = Run(lesson, Progress(0, steps, 0, planned, generator), updates, accelerator, callbacks, autocast)
    settings: dict[str, Tree] = {
        "steps": steps, "batches": per_epoch, "batch_size": batch_size, "drop_last": drop_last, "accumulate": accumulate,
        "lr": dict(lr) if isinstance(lr, Mapping) else lr, "schedule": [value_at(schedule, u / 8) for u in range(9)],
        "optimizer": [type(update.optimizer).__name__ for update in updates.values()], "weight_decay": weight_decay,
        "clip": clip, "precision": precision, "seed": seed, "processes": accelerator.num_processes,
        "frozen": {name: str(part.frozen_fingerprint) for name, part in frozen_modules(lesson)},
    }  # fmt: skip
    with seeded(seed, "method", rank):
        lesson.train()
        place = Place()
        path = None if checkpoint is None else Path(checkpoint)
        if path is not None and path.exists():
            place = resume_run(run, path, settings)
        if accelerator.num_processes > 1:
            _same_start(lesson)
        while run.progress.step < steps and run.history.stopped is None:
            began = time.perf_counter() - place.seconds
            batches = open_epoch(run, source, place)
            while run.progress.step < steps and run.history.stopped is None:
                group = list(islice(batches, accumulate))
                if not group:
                    break
                take_step(run, group, value_at(schedule, run.progress.u), place.sums)
                place.batches += len(group)
                run.progress.step += 1
                for callback in callbacks:
                    callback.after_step(run)
                if path is not None and checkpoint_every and run.progress.step % checkpoint_every == 0:
                    place.seconds = time.perf_counter() - began
                    save_run(run, path, settings, place)
            if not place.batches:
                raise InputError(f"the data gave no batch in epoch {run.progress.epoch}")
            place.seconds = time.perf_counter() - began
            end_epoch(run, place)
            place = Place(random=source.random_state())
            if path is not None and not checkpoint_every:
                save_run(run, path, settings, place)
        if path is not None and checkpoint_every:
            save_run(run, path, settings, place)
        for callback in callbacks:
            callback.end(run)
    check_frozen(lesson)
    lesson.eval()
    return run.history


def _accelerator(precision: str, device: str | None) -> Accelerator:
    if device not in {None, "cpu"}:
        raise InputError(f"device is None (Accelerate chooses) or 'cpu'; got {device!r}")
    if precision not in {"no", "bf16", "fp16"}:
        raise InputError(f"precision is 'no', 'bf16' or 'fp16'; got {precision!r}")
    single = not torch.distributed.is_initialized()
    AcceleratorState._reset_state(reset_partial_state=single)
    return Accelerator(mixed_precision=precision, cpu=device == "cpu")


def _source(data: Data, accelerator: Accelerator, batch_size: int, drop_last: bool, seed: int) -> Batches | Loader:
    indexed = as_indexed(data)
    if indexed is None:
        return Loader(accelerator.prepare(data) if accelerator.num_processes > 1 else data)
    shares = {"process": accelerator.process_index, "processes": accelerator.num_processes}
    return Batches(indexed, batch_size, seed=seed, drop_last=drop_last, **shares)


def _length(source: Batches | Loader, accumulate: int) -> int | None:
    try:
        return -(-len(source) // accumulate)
    except TypeError:
        return None


def _updates(
    lesson: Lesson,
    accelerator: Accelerator,
    optimizer: str | OptimizerFactory,
    lr: float | Mapping[str, float],
    weight_decay: float,
    clip: float | None,
) -> dict[str, Update]:
    groups = lesson.parameter_groups()
    if isinstance(lr, Mapping) and set(lr) != set(groups):
        raise InputError(f"lr names {sorted(lr)}, the lesson's optimisers are {sorted(groups)}")
    rates = lr if isinstance(lr, Mapping) else dict.fromkeys(groups, lr)
    return {
        name: Update(
            make_optimizer(optimizer, held, rates[name], weight_decay), accelerator, clip=clip, alone=len(groups) == 1
        )
        for name, held in groups.items()
    }


def _same_start(lesson: Lesson) -> None:
    """All processes begin with the weights of the first."""
    for value in trained_state(lesson).values():
        value.copy_(cast(torch.Tensor, broadcast(value.clone())))
