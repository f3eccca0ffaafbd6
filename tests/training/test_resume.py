"""A run that was cut goes on to the same figures, to the bit."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from torch import nn
from torch.utils.data import DataLoader, Dataset

from tutelage.errors import InputError
from tutelage.teachers.frozen import frozen
from tutelage.teachers.momentum import MomentumTeacher
from tutelage.training import (
    Callback,
    Distillation,
    EarlyStop,
    KeepBest,
    Lesson,
    Supervised,
    Validate,
    fit,
    load_tree,
    load_weights,
    one_cycle,
    save_tree,
    save_weights,
    seeded,
)

X = torch.randn(40, 4, generator=torch.Generator().manual_seed(1))
Y = (X.sum(1) > 0).long()


class Cut(Exception):
    """The power goes out."""


class CutAt(Callback):
    def __init__(self, step: int) -> None:
        self.step = step

    def after_step(self, run) -> None:
        if run.progress.step == self.step:
            raise Cut


class Noisy(Dataset):
    """A data set whose views draw from the global generator."""

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: int):
        return X[index] + 0.1 * torch.randn(4), Y[index]


class Everything(Lesson):
    """Dropout, batch norm, a momentum teacher, the method's own noise, and a store of the student's past."""

    def __init__(self) -> None:
        super().__init__()
        with seeded(3, "init"):
            self.student = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 2))
        self.teacher = MomentumTeacher(self.student, 0.9)
        self.register_buffer("past", torch.zeros(40, 2))

    def losses(self, batch, progress):
        noise = 0.1 * torch.randn(batch["x"].shape, generator=progress.generator)
        logits = self.student(batch["x"] + noise)
        pull = (logits - self.teacher(batch["x"])).square().mean()
        if "index" in batch:
            pull = pull + (logits - self.past[batch["index"]]).square().mean()
            self.past[batch["index"]] = logits.detach()
        return {"ce": nn.functional.cross_entropy(logits, batch["y"]), "pull": 0.1 * pull}

    def after_step(self, progress):
        self.teacher.update(self.student)


def data(kind: str):
    if kind == "tensors":
        return X, Y
    generator = torch.Generator().manual_seed(5) if kind == "loader with a generator" else None
    return DataLoader(Noisy(), batch_size=8, shuffle=True, generator=generator)


@pytest.mark.parametrize("kind", ["tensors", "loader", "loader with a generator"])
@pytest.mark.parametrize(("every", "cut"), [(None, 12), (3, 8), (5, 11)])
def test_a_cut_run_goes_on_to_the_same_bits(tmp_path: Path, kind: str, every: int | None, cut: int) -> None:
    options = {"epochs": 4, "batch_size": 8, "lr": 0.02, "schedule": one_cycle(), "seed": 11, "checkpoint_every": every}
    whole = Everything()
    expected = fit(whole, data(kind), checkpoint=tmp_path / "whole.safetensors", **options)
    with pytest.raises(Cut):
        fit(Everything(), data(kind), checkpoint=tmp_path / "cut.safetensors", callbacks=[CutAt(cut)], **options)
    again = Everything()
    history = fit(again, data(kind), checkpoint=tmp_path / "cut.safetensors", callbacks=[Callback()], **options)
    for name, value in whole.state_dict().items():
        assert torch.equal(value, again.state_dict()[name]), name
    for mine, theirs in zip(history, expected, strict=True):
        assert {k: v for k, v in mine.items() if k != "seconds"} == {k: v for k, v in theirs.items() if k != "seconds"}


def test_callbacks_go_on_where_they_were(tmp_path: Path) -> None:
    values = [3.0, 1.0, 2.0, 2.0, 5.0, 0.0]

    def run(path: Path, cut: int | None):
        count = iter(values)
        watch = Validate(lambda lesson: {"score": next(count)})
        keep, stop = KeepBest("score"), EarlyStop("score", patience=3)
        student = nn.Linear(4, 2)
        torch.nn.init.zeros_(student.weight)
        torch.nn.init.zeros_(student.bias)
        cuts = [] if cut is None else [CutAt(cut)]
        lesson = Supervised(student)
        history = fit(lesson, (X, Y), epochs=6, batch_size=20, checkpoint=path, callbacks=[watch, keep, stop, *cuts])
        return history, student.weight.detach().clone()

    history, best = run(tmp_path / "a", None)
    assert history["score"] == [3.0, 1.0, 2.0, 2.0, 5.0]
    assert history.stopped == "'score' has not improved for 3 epochs"
    single = nn.Linear(4, 2)
    nn.init.zeros_(single.weight)
    nn.init.zeros_(single.bias)
    fit(Supervised(single), (X, Y), epochs=2, batch_size=20)
    assert torch.equal(best, single.weight.detach()), "the best row's weights are those after two epochs"
    finished, kept = run(tmp_path / "a", None)
    assert finished["score"] == history["score"]
    assert torch.equal(kept, best)


def test_a_checkpoint_of_another_run_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    fit(Supervised(nn.Linear(4, 2)), (X, Y), epochs=1, checkpoint=path, lr=0.1)
    with pytest.raises(InputError, match=r"another run; it had \{'lr': 0.1\}"):
        fit(Supervised(nn.Linear(4, 2)), (X, Y), epochs=1, checkpoint=path, lr=0.2)
    with pytest.raises(InputError, match="another model"):
        fit(Supervised(nn.Linear(4, 3)), (X, Y), epochs=1, checkpoint=path, lr=0.1)


def test_a_checkpoint_knows_its_teacher(tmp_path: Path) -> None:
    path = tmp_path / "run.safetensors"
    teacher = nn.Linear(4, 2)
    fit(Distillation(nn.Linear(4, 2), frozen(teacher)), (X, Y), epochs=1, checkpoint=path)
    with safe_open(path, framework="pt") as file:
        assert not any("teacher" in name for name in file.keys())  # noqa: SIM118
    with pytest.raises(InputError, match="frozen"):
        fit(Distillation(nn.Linear(4, 2), frozen(nn.Linear(4, 2))), (X, Y), epochs=1, checkpoint=path)


def test_damaged_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "broken"
    path.write_bytes(b"not a checkpoint")
    with pytest.raises(InputError, match="cannot read the checkpoint"):
        fit(Supervised(nn.Linear(4, 2)), (X, Y), epochs=1, checkpoint=path)
    save_tree({"a": 1}, path)
    with pytest.raises(InputError, match="not a checkpoint of fit"):
        fit(Supervised(nn.Linear(4, 2)), (X, Y), epochs=1, checkpoint=path)


def test_trees_come_back_as_they_were(tmp_path: Path) -> None:
    tree = {"a": [1, 2.5, None, True, "text"], "b": {"c": torch.arange(3), "d": torch.tensor([0.1])}, "e": 0.1 + 0.2}
    save_tree(tree, tmp_path / "tree")
    back = load_tree(tmp_path / "tree")
    assert back["a"] == tree["a"]
    assert back["e"] == tree["e"]
    assert torch.equal(back["b"]["c"], tree["b"]["c"])
    with pytest.raises(InputError, match="'/x' holds a set"):
        save_tree({"x": {1}}, tmp_path / "tree")


def test_weights_survive_a_file(tmp_path: Path) -> None:
    tied = nn.ModuleDict({"a": nn.Linear(3, 3), "b": nn.Linear(3, 3)})
    tied["b"].weight = tied["a"].weight
    other = nn.ModuleDict({"a": nn.Linear(3, 3), "b": nn.Linear(3, 3)})
    save_weights(tied, tmp_path / "w.safetensors")
    load_weights(other, tmp_path / "w.safetensors")
    assert torch.equal(other["b"].weight, tied["a"].weight)
    with pytest.raises(InputError, match="another model"):
        load_weights(nn.Linear(3, 3), tmp_path / "w.safetensors")
    with pytest.raises(InputError, match="no weights at"):
        load_weights(other, tmp_path / "none")
