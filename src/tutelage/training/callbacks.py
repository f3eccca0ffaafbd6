"""Callbacks: what watches a run. Each has one job and keeps its state in the checkpoint.

A callback sees the `Run` after every step and after every epoch; it may write into the epoch's row, ask the run to
stop, or run a function of the user's. Functions are called in evaluation mode, without gradients, and with the random
state put back, so that watching never changes what is watched.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal, TypedDict, cast

import torch
from torch import nn

from tutelage.errors import InputError
from tutelage.training.checkpoint import Tree
from tutelage.training.history import Row
from tutelage.training.lesson import Lesson
from tutelage.training.seeding import random_state, set_random_state
from tutelage.training.weights import load_trained_state, trained_state

if TYPE_CHECKING:
    from tutelage.training.run import Run


class Callback:
    """Override what you need; the defaults do nothing."""

    def after_step(self, run: Run) -> None:
        """After an update; `run.progress.step` counts it."""

    def after_epoch(self, run: Run, row: Row) -> None:
        """After an epoch; `row` is what the history will hold, and may be added to."""

    def end(self, run: Run) -> None:
        """After the last step, however the run ended (errors excepted)."""

    def state(self) -> Tree:
        """What a resumed run needs to know."""
        return None

    def load_state(self, state: Tree) -> None:
        """Take back what `state` returned."""


@contextmanager
def watching(module: nn.Module) -> Iterator[None]:
    """Evaluation mode and no gradients inside; modes and random state as before outside."""
    modes = [(part, part.training) for part in module.modules()]
    before = random_state()
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        set_random_state(before)
        for part, mode in modes:
            part.training = mode


class Validate(Callback):
    """Add the figures that `measure(lesson)` returns to the row of every `every`-th epoch and of the last."""

    def __init__(self, measure: Callable[[Lesson], Mapping[str, float]], every: int = 1) -> None:
        self.measure, self.every = measure, every

    def after_epoch(self, run: Run, row: Row) -> None:
        if (run.progress.epoch + 1) % self.every == 0 or run.progress.step == run.progress.steps:
            with watching(run.lesson):
                row.update({name: float(value) for name, value in self.measure(run.lesson).items()})


class EveryK(Callback):
    """Call `function(run)` after every k steps or epochs: re-mining, refreshed centroids, domain weights."""

    def __init__(self, k: int, function: Callable[[Run], None], unit: Literal["step", "epoch"] = "step") -> None:
        if k < 1:
            raise InputError(f"EveryK: k must be at least 1; got {k}")
        self.k, self.function, self.unit = k, function, unit

    def after_step(self, run: Run) -> None:
        if self.unit == "step" and run.progress.step % self.k == 0:
            self._call(run)

    def after_epoch(self, run: Run, row: Row) -> None:
        if self.unit == "epoch" and (run.progress.epoch + 1) % self.k == 0:
            self._call(run)

    def _call(self, run: Run) -> None:
        with watching(run.lesson):
            self.function(run)


class _Best(Callback):
    """Follows one column of the history."""

    def __init__(self, column: str, mode: Literal["min", "max"]) -> None:
        if mode not in {"min", "max"}:
            raise InputError(f"mode is 'min' or 'max'; got {mode!r}")
        self.column, self.mode = column, mode
        self.best: float | None = None

    def improved(self, row: Row) -> bool | None:
        """Whether this row is the best so far; None where the column is empty."""
        value = row.get(self.column)
        if value is None:
            return None
        if not isinstance(value, int | float):
            raise InputError(f"column '{self.column}' holds {value!r}, not a number")
        if self.best is None or (value < self.best if self.mode == "min" else value > self.best):
            self.best = float(value)
            return True
        return False

    def end(self, run: Run) -> None:
        if self.best is None and run.history.rows:
            raise InputError(f"no column '{self.column}' to follow; the history has {run.history.names}")


class EarlyStop(_Best):
    """Stop when `column` has not improved for `patience` rows that have it. Put it after the callback that writes the column."""

    def __init__(self, column: str, *, patience: int, mode: Literal["min", "max"] = "min") -> None:
        super().__init__(column, mode)
        self.patience = patience
        self.stale: int = 0

    def after_epoch(self, run: Run, row: Row) -> None:
        better = self.improved(row)
        if better is not None:
            self.stale = 0 if better else self.stale + 1
            if self.stale >= self.patience:
                run.stop(f"'{self.column}' has not improved for {self.patience} epochs")

    def state(self) -> Tree:
        return {"best": self.best, "stale": self.stale}

    def load_state(self, state: Tree) -> None:
        held = cast("dict[str, int]", state)
        self.best, self.stale = held["best"], held["stale"]


class _Kept(TypedDict):
    best: float | None
    weights: dict[str, torch.Tensor]


class KeepBest(_Best):
    """Keep the weights of the best row and put them back at the end."""

    def __init__(self, column: str, *, mode: Literal["min", "max"] = "min") -> None:
        super().__init__(column, mode)
        self.weights: dict[str, torch.Tensor] = {}

    def after_epoch(self, run: Run, row: Row) -> None:
        if self.improved(row):
            self.weights = {name: value.detach().clone() for name, value in trained_state(run.lesson).items()}

    def end(self, run: Run) -> None:
        super().end(run)
        if self.weights:
            load_trained_state(run.lesson, self.weights)

    def state(self) -> Tree:
        return {"best": self.best, "weights": self.weights}

    def load_state(self, state: Tree) -> None:
        held = cast(_Kept, state)
        self.best, self.weights = held["best"], held["weights"]


class ShowProgress(Callback):
    """A progress bar on standard error: steps, loss of the last epoch, time left."""

    def __init__(self, label: str = "training") -> None:
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self.bar = Progress(*columns, TextColumn("{task.fields[loss]}"), console=Console(stderr=True))
        self.task = self.bar.add_task(label, loss="")

    def after_step(self, run: Run) -> None:
        if run.main_process:
            self.bar.start()
            self.bar.update(self.task, completed=run.progress.step, total=run.progress.steps)

    def after_epoch(self, run: Run, row: Row) -> None:
        self.bar.update(self.task, loss=f"loss {row['loss']:.4g}")

    def end(self, run: Run) -> None:
        self.bar.stop()
