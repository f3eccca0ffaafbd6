"""What every method that trains promises, tested once.

A method's test file subclasses `MethodContract`, says how its lesson is made, and inherits the checks:

    class TestProgressiveSelfDistillation(MethodContract):
        def lesson(self, case):
            return ProgressiveSelfDistillation(case.student, examples=len(case.data["x"]), classes=case.classes)

        def neutral(self, case):
            return ProgressiveSelfDistillation(case.student, examples=…, classes=…, alpha=0.0), Supervised(case.student)

Methods on other data than vectors with labels override `case`; methods without a neutral setting or without a teacher
say so by returning None.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import pytest
import torch
from torch import Tensor, nn

from tutelage.errors import InputError
from tutelage.teachers.frozen import frozen
from tutelage.training import Callback, Lesson, fit, load_weights, save_weights, seeded
from tutelage.training.weights import trained_state, weights_fingerprint


@dataclass
class Case:
    """One setting in which a method is tried: models and data that fit one another.

    Attributes: data: columns by name, `x` and `y` among them; student, teacher: x → logits [B, classes].
    """

    student: nn.Module
    teacher: nn.Module
    data: dict[str, Tensor]
    classes: int


def vectors(shape: tuple[int, ...], classes: int, dtype: torch.dtype, seed: int = 0, examples: int = 12) -> Case:
    """Random inputs of a shape, labels, and two small networks."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(examples, *shape, generator=generator).to(dtype)
    y = torch.arange(examples) % classes
    return Case(
        network(shape, 5, classes, seed).to(dtype),
        frozen(network(shape, 7, classes, seed + 1).to(dtype)),
        {"x": x, "y": y},
        classes,
    )


def network(shape: tuple[int, ...], hidden: int, classes: int, seed: int) -> nn.Module:
    """Flatten, one hidden layer, dropout."""
    with seeded(seed, "init"):
        width = int(torch.tensor(shape).prod())
        return nn.Sequential(
            nn.Flatten(), nn.Linear(width, hidden), nn.Tanh(), nn.Dropout(0.1), nn.Linear(hidden, classes)
        )


class _Cut(Exception):
    pass


class _CutAt(Callback):
    def after_step(self, run) -> None:
        if run.progress.step == 3:
            raise _Cut


def trained(lesson: Lesson, case: Case, **options: object) -> Tensor:
    """The trained state as one vector, after two epochs of three batches."""
    settings: dict[str, object] = {"epochs": 2, "batch_size": 4, "lr": 0.02, "seed": 3} | options
    fit(lesson, case.data, **settings)  # type: ignore[arg-type]
    return torch.cat([value.flatten().double() for value in trained_state(lesson).values()])


class MethodContract:
    """The checks; subclass it and write `lesson`."""

    settings = (((6,), 3, torch.float32), ((2, 4), 4, torch.float64))
    options: Mapping[str, object] = MappingProxyType({})

    def case(self, shape: tuple[int, ...] = (6,), classes: int = 3, dtype: torch.dtype = torch.float32) -> Case:
        """Models and data of these shapes; the same ones every time."""
        return vectors(shape, classes, dtype)

    def lesson(self, case: Case) -> Lesson:
        """The method on `case.student`."""
        raise NotImplementedError

    def neutral(self, case: Case) -> tuple[Lesson, Lesson] | None:
        """The method with its contribution switched off, and plain training, on equal students. None: it has no such setting."""
        return None

    def mismatched(self, case: Case) -> Lesson | None:
        """The method with a teacher whose classes do not fit. None: it asks no teacher."""
        case.teacher = frozen(network(tuple(case.data["x"].shape[1:]), 7, case.classes + 1, 1).to(case.data["x"].dtype))
        return self.lesson(case)

    @pytest.mark.parametrize("number", [0, 1])
    def test_trains_on_shapes_and_types(self, number: int) -> None:
        shape, classes, dtype = self.settings[number]
        case = self.case(shape, classes, dtype)
        before = copy.deepcopy(case.student.state_dict())
        history = fit(self.lesson(case), case.data, steps=2, batch_size=4, lr=0.02, **self.options)  # type: ignore[arg-type]
        assert torch.isfinite(torch.tensor(history["loss"])).all()
        after = case.student.state_dict()
        assert any(not torch.equal(before[name], after[name]) for name in before), "the student did not learn anything"
        assert all(value.dtype == before[name].dtype for name, value in after.items())

    def test_leaves_the_teacher_alone(self) -> None:
        case = self.case()
        before = weights_fingerprint(case.teacher)
        trained(self.lesson(case), case, **self.options)
        assert weights_fingerprint(case.teacher) == before
        assert all(parameter.grad is None for parameter in case.teacher.parameters())

    def test_a_seed_decides_everything(self) -> None:
        runs = []
        for seed in (3, 3, 4):
            case = self.case()
            runs.append(trained(self.lesson(case), case, **{**self.options, "seed": seed}))
        assert torch.equal(runs[0], runs[1])
        assert not torch.equal(runs[0], runs[2])

    def test_goes_on_from_a_checkpoint_to_the_same_bits(self, tmp_path: Path) -> None:
        path = tmp_path / "run.safetensors"
        whole, cut, again = (self.case() for _ in range(3))
        options = {**self.options, "checkpoint_every": 2}
        expected = trained(self.lesson(whole), whole, **options)
        with pytest.raises(_Cut):
            trained(self.lesson(cut), cut, **options, checkpoint=path, callbacks=[_CutAt()])
        assert torch.equal(
            trained(self.lesson(again), again, **options, checkpoint=path, callbacks=[Callback()]), expected
        )

    def test_its_student_survives_a_file(self, tmp_path: Path) -> None:
        case, fresh = self.case(), self.case()
        trained(self.lesson(case), case, **self.options)
        save_weights(case.student, tmp_path / "student.safetensors")
        load_weights(fresh.student, tmp_path / "student.safetensors")
        assert weights_fingerprint(fresh.student) == weights_fingerprint(case.student)

    def test_refuses_a_teacher_that_does_not_fit(self) -> None:
        case = self.case()
        with pytest.raises(InputError):
            self._train_mismatched(case)

    def _train_mismatched(self, case: Case) -> None:
        lesson = self.mismatched(case)
        if lesson is None:
            pytest.skip("asks no teacher")
        trained(lesson, case, **self.options)

    def test_its_neutral_setting_is_plain_training(self) -> None:
        first, second = self.case(), self.case()
        pair, other = self.neutral(first), self.neutral(second)
        if pair is None or other is None:
            pytest.skip("has no neutral setting")
        trained(pair[0], first, **self.options)
        trained(other[1], second, **self.options)
        for name, value in first.student.state_dict().items():
            assert torch.allclose(value, second.student.state_dict()[name], atol=1e-6), name
