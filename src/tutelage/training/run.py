"""A run while it goes on: where it is, one step of it, the end of an epoch.

`fit` sets a run up; what happens inside an epoch is here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

import torch
from accelerate import Accelerator
from accelerate.utils import send_to_device
from torch import Tensor

from tutelage.training.batches import Batches, Loader
from tutelage.training.history import History, Row
from tutelage.training.lesson import Batch, Lesson, Progress
from tutelage.training.seeding import set_random_state
from tutelage.training.updates import Update

if TYPE_CHECKING:
    from tutelage.training.callbacks import Callback


@dataclass
class Run:
    """A run while it goes on: what callbacks see.

    Attributes: lesson, progress, history; updates: optimiser name → `Update`; main_process: whether this process
        writes files.
    """

    lesson: Lesson
    progress: Progress
    updates: Mapping[str, Update]
    accelerator: Accelerator
    callbacks: Sequence[Callback] = ()
    autocast: Callable[..., AbstractContextManager] = nullcontext
    history: History = field(default_factory=History)

    @property
    def main_process(self) -> bool:
        return self.accelerator.is_main_process

    def stop(self, reason: str) -> None:
        """End the run after this step or epoch."""
        self.history.stopped = reason


@dataclass
class Place:
    """Where a run is inside an epoch: batches taken, sums of the parts, random states at its start and at the checkpoint."""

    batches: int = 0
    seconds: float = 0.0
    sums: dict[str, float] = field(default_factory=dict)
    random: dict[str, Tensor] | None = None
    resumed: dict[str, Tensor] | None = None


def take_step(run: Run, group: Sequence[Batch], rate: float, sums: dict[str, float]) -> None:
    """One update from a group of batches whose gradients are averaged; the parts are added to `sums`."""
    for update in run.updates.values():
        update.set_rate(rate)
        update.share = len(group)
    for i, batch in enumerate(group, start=1):
        for update in run.updates.values():
            update.complete = i == len(group)
        with run.autocast():
            parts = run.lesson.train_step(batch, run.updates, run.progress)
        for name, part in parts.items():
            sums[name] = sums.get(name, 0.0) + part.item()
    run.lesson.after_step(run.progress)


def end_epoch(run: Run, place: Place) -> None:
    """Write the epoch's row: means over its batches and over processes."""
    means = {name: value / place.batches for name, value in place.sums.items()}
    if run.accelerator.num_processes > 1:
        values = torch.tensor(list(means.values()), dtype=torch.float64, device=run.accelerator.device)
        everywhere = cast(Tensor, run.accelerator.reduce(values, "mean"))
        means = dict(zip(means, everywhere.tolist(), strict=True))
    first = next(iter(run.updates.values())).optimizer.param_groups[0]["lr"]
    row: Row = {"epoch": run.progress.epoch, "step": run.progress.step, "lr": float(first), "loss": sum(means.values())}
    row |= means
    for callback in run.callbacks:
        callback.after_epoch(run, row)
    row["seconds"] = place.seconds
    run.history.rows.append(row)
    run.progress.epoch += 1


def open_epoch(run: Run, source: Batches | Loader, place: Place) -> Iterator[Batch]:
    """The epoch's batches from where we are, on the run's device; what the source draws at random, it draws again."""
    if place.resumed is None:
        place.random = source.random_state()
        batches = source.epoch(run.progress.epoch)
    else:
        set_random_state(place.resumed)
        source.set_random_state(place.random or {})
        batches = source.epoch(run.progress.epoch, place.batches)
        if place.batches:
            set_random_state(place.resumed)
        place.resumed = None
    device = run.accelerator.device
    if device.type == "cpu":
        return batches
    return (cast(Batch, send_to_device(batch, device, non_blocking=True)) for batch in batches)
