"""What a checkpoint of `fit` holds, and how a run goes on from it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypedDict, cast

from accelerate.utils import gather_object
from torch import Tensor

from tutelage.errors import InputError
from tutelage.training.checkpoint import Tree, load_optimizer_tree, load_tree, optimizer_tree, save_tree
from tutelage.training.history import Row
from tutelage.training.run import Place, Run
from tutelage.training.seeding import random_state
from tutelage.training.weights import load_trained_state, trained_state


class Saved(TypedDict):
    """What a checkpoint holds; `processes` has what differs between them."""

    settings: dict[str, Tree]
    step: int
    epoch: int
    batches: int
    seconds: float
    processes: list[OneProcess]
    lesson: dict[str, Tensor]
    updates: dict[str, Tree]
    scaler: dict[str, float] | None
    callbacks: list[Tree]
    history: list[Row]
    stopped: str | None


class OneProcess(TypedDict):
    """A process's random states (global, the method's, and the source's at the start of the epoch) and sums of parts."""

    everywhere: dict[str, Tensor]
    method: Tensor
    source: dict[str, Tensor] | None
    sums: dict[str, float]


def save_run(run: Run, path: Path, settings: dict[str, Tree], place: Place) -> None:
    """Write a checkpoint; every process takes part, the main one writes."""
    own = OneProcess(
        everywhere=random_state(), method=run.progress.generator.get_state(), source=place.random, sums=place.sums
    )
    states = gather_object([own]) if run.accelerator.num_processes > 1 else [own]
    if not run.main_process:
        return
    saved = Saved(
        {
            "settings": settings,
            "step": run.progress.step,
            "epoch": run.progress.epoch,
            "batches": place.batches,
            "seconds": place.seconds,
            "processes": states,
            "lesson": trained_state(run.lesson),
            "updates": {name: optimizer_tree(update.optimizer) for name, update in run.updates.items()},
            "scaler": None if run.accelerator.scaler is None else run.accelerator.scaler.state_dict(),
            "callbacks": [callback.state() for callback in run.callbacks],
            "history": [dict(row) for row in run.history.rows],
            "stopped": run.history.stopped,
        }
    )
    save_tree(cast(Tree, saved), path)


def resume_run(run: Run, path: Path, settings: dict[str, Tree]) -> Place:
    """Put a fresh run where the checkpoint was. Raises: InputError: it belongs to another run."""
    loaded = load_tree(path)
    if not isinstance(loaded, Mapping) or loaded.keys() != Saved.__annotations__.keys():
        raise InputError(f"{path} is not a checkpoint of fit")
    tree = cast(Saved, loaded)
    changed = [name for name, value in settings.items() if tree["settings"].get(name) != value]
    if changed:
        was = {name: tree["settings"].get(name) for name in changed}
        raise InputError(f"{path} belongs to another run; it had {was}: use the same options, or another file")
    device = run.accelerator.device
    load_trained_state(run.lesson, {name: value.to(device) for name, value in tree["lesson"].items()})
    for name, update in run.updates.items():
        load_optimizer_tree(update.optimizer, tree["updates"][name])
    if run.accelerator.scaler is not None and tree["scaler"]:
        run.accelerator.scaler.load_state_dict(tree["scaler"])
    if len(run.callbacks) != len(tree["callbacks"]):
        raise InputError(f"{path} was written with {len(tree['callbacks'])} callbacks; give the same ones")
    for callback, state in zip(run.callbacks, tree["callbacks"], strict=True):
        callback.load_state(state)
    own = tree["processes"][run.accelerator.process_index]
    run.progress.generator.set_state(own["method"])
    run.progress.step, run.progress.epoch = tree["step"], tree["epoch"]
    run.history.rows, run.history.stopped = tree["history"], tree["stopped"]
    return Place(tree["batches"], tree["seconds"], own["sums"], own["source"], own["everywhere"])
