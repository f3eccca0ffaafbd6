"""Plain training and plain distillation keep the promises of every method."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tests.methods.common import Case, MethodContract
from tutelage.errors import InputError
from tutelage.training import Distillation, Lesson, Progress, Supervised, linear


class TestSupervised(MethodContract):
    def lesson(self, case: Case) -> Lesson:
        return Supervised(case.student, label_smoothing=0.1)

    def neutral(self, case: Case) -> tuple[Lesson, Lesson]:
        return Supervised(case.student, label_smoothing=0.0), Supervised(case.student)

    def mismatched(self, case: Case) -> None:
        return None


class TestDistillation(MethodContract):
    def lesson(self, case: Case) -> Lesson:
        return Distillation(case.student, case.teacher, temperature=linear(4.0, 1.0))

    def neutral(self, case: Case) -> tuple[Lesson, Lesson]:
        return Distillation(case.student, case.teacher, hard=1.0, soft=0.0), Supervised(case.student)

    def test_without_labels(self) -> None:
        case = self.case()
        del case.data["y"]
        pure = Distillation(case.student, case.teacher, hard=0.0, soft=1.0)
        assert list(pure.losses(case.data, Progress(0, 1))) == ["kd"]
        with pytest.raises(InputError, match="no labels"):
            self.lesson(case).losses(case.data, Progress(0, 1))

    def test_refuses_weights_and_temperatures_that_make_no_sense(self) -> None:
        for options in ({"temperature": 0.0}, {"hard": -1.0}, {"hard": 0.0, "soft": 0.0}):
            with pytest.raises(InputError):
                Distillation(nn.Linear(2, 2), nn.Linear(2, 2), **options)

    def test_a_teacher_in_training_mode_is_not_asked_with_dropout_when_frozen(self) -> None:
        case = self.case()
        lesson = self.lesson(case).train()
        x = case.data["x"]
        assert torch.equal(lesson.teacher(x), lesson.teacher(x))
