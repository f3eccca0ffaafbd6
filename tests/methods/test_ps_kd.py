"""The student's past as its teacher: the target by hand, what is remembered when, and what cannot be remembered."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader

from tests.methods.common import Case, MethodContract
from tutelage.errors import InputError
from tutelage.methods.distillation.ps_kd import (
    PreviousModelDistillation,
    ProgressiveSelfDistillation,
    progressive_targets,
    share_of_past,
)
from tutelage.students.mlp import mlp
from tutelage.studies import Trial
from tutelage.studies.distillation.ps_kd import Digits, split, stacked
from tutelage.training import Lesson, Progress, Supervised, fit, one_cycle, seeded


class TestProgressiveSelfDistillation(MethodContract):
    def lesson(self, case: Case, alpha: float = 0.8) -> Lesson:
        return ProgressiveSelfDistillation(
            case.student, examples=len(case.data["x"]), classes=case.classes, alpha=alpha
        )

    def neutral(self, case: Case) -> tuple[Lesson, Lesson]:
        return self.lesson(case, alpha=0.0), Supervised(case.student)

    def mismatched(self, case: Case) -> Lesson:
        return ProgressiveSelfDistillation(case.student, examples=len(case.data["x"]), classes=case.classes + 1)


class TestPreviousModelDistillation(MethodContract):
    def lesson(self, case: Case) -> Lesson:
        return PreviousModelDistillation(case.student)

    def neutral(self, case: Case) -> tuple[Lesson, Lesson]:
        return PreviousModelDistillation(case.student, alpha=0.0), Supervised(case.student)

    def mismatched(self, case: Case) -> None:
        return None


def made(**options: object) -> tuple[ProgressiveSelfDistillation, dict[str, torch.Tensor]]:
    with seeded(0, "init"):
        student = nn.Linear(3, 2)
    batch = {"x": torch.eye(3), "y": torch.tensor([0, 1, 0]), "index": torch.tensor([2, 0, 1])}
    return ProgressiveSelfDistillation(student, **{"examples": 3, "classes": 2, **options}), batch  # type: ignore[arg-type]


def once(batch: dict[str, torch.Tensor]) -> DataLoader:
    """A loader that gives the batch as it is, once an epoch."""
    return DataLoader([batch], batch_size=None)  # type: ignore[arg-type]


def test_the_target_mixes_label_and_past():
    past = torch.tensor([[0.2, 0.3, 0.5], [1.0, 0.0, 0.0]])
    mixed = progressive_targets(torch.tensor([0, 2]), past, alpha=0.25)
    assert torch.allclose(mixed, torch.tensor([[0.8, 0.075, 0.125], [0.25, 0.0, 0.75]]))
    soft = torch.tensor([[0.5, 0.5, 0.0], [0.0, 0.0, 1.0]])
    assert torch.allclose(progressive_targets(soft, past, 0.0), soft), "mixed labels are taken as they are"


def test_the_share_reaches_alpha_in_the_last_planned_epoch():
    assert [share_of_past(0.8, e, 4) for e in range(4)] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    assert share_of_past(0.8, 0, 4, growth=1.0) == 0.8
    with pytest.raises(InputError, match="say `epochs`"):
        share_of_past(0.8, 1, 1)


def test_the_gradient_is_softmax_minus_target():
    lesson, batch = made(alpha=0.5)
    lesson.past.copy_(torch.tensor([[0.9, 0.1], [0.3, 0.7], [0.5, 0.5]]))
    logits = lesson.student(batch["x"])
    logits.retain_grad()
    lesson._cost(logits, batch, Progress(0, 2, epoch=0, epochs=2))["ce"].backward()
    labels = torch.tensor([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    expected = logits.softmax(-1) - 0.75 * labels - 0.25 * lesson.past[batch["index"]]
    assert torch.allclose(logits.grad * 3, expected.detach(), atol=1e-6)


def test_it_remembers_what_was_said_before_the_update_under_the_example_s_own_number():
    lesson, batch = made()
    before = lesson.student(batch["x"]).softmax(-1).detach()
    fit(lesson, once(batch), epochs=1, lr=0.5)
    assert torch.allclose(lesson.past[batch["index"]], before, atol=1e-6)
    assert not torch.allclose(lesson.student(batch["x"]).softmax(-1), before, atol=1e-3)
    assert not lesson.past.requires_grad


def test_asking_for_the_loss_leaves_the_store_alone():
    lesson, batch = made()
    lesson.losses(batch, Progress(0, 1))
    assert not lesson.past.any()


def test_the_first_epoch_trains_on_labels_whatever_alpha_is():
    (ours, batch), (_, again) = made(alpha=0.8), made()
    with seeded(0, "init"):
        plain = Supervised(nn.Linear(3, 2))
    fit(ours, once(batch), epochs=1, lr=0.1)
    fit(plain, once(again), epochs=1, lr=0.1)
    assert torch.equal(ours.student.weight, plain.student.weight)


def test_the_previous_model_is_the_student_at_the_end_of_last_epoch():
    with seeded(0, "init"):
        lesson = PreviousModelDistillation(nn.Linear(3, 2))
    data = {"x": torch.eye(3), "y": torch.tensor([0, 1, 0])}
    fit(lesson, data, epochs=1, lr=0.1)
    ended = lesson.student.weight.detach().clone()
    assert not torch.equal(lesson.past.module.weight, ended), "asked for the first time in the second epoch"
    with pytest.raises(NotImplementedError):
        lesson.train_step(data, {"student": _Stop()}, Progress(1, 2, epoch=1, epochs=2))
    assert torch.equal(lesson.past.module.weight, ended)


class _Stop:
    def minimise(self, parts: object) -> None:
        raise NotImplementedError


def test_a_half_precision_store_teaches_nearly_the_same():
    runs = []
    for dtype in (torch.float32, torch.float16):
        lesson, batch = made(dtype=dtype)
        fit(lesson, once(batch), epochs=5, lr=0.1)
        runs.append(lesson.student.weight.detach())
    assert torch.allclose(*runs, atol=1e-3)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"index": torch.tensor([0, 1, 3])}, "examples 0 to 2; found index 3"),
        ({"y": torch.tensor([0, 1, 2])}, r"labels must be in \[0, 2\); found 2 in row 2"),
        ({"index": torch.tensor([0, 1])}, "one `index` an example"),
        ({"index": None}, "IndexedDataset"),
        ({"y": None}, "no `y`"),
    ],
)
def test_refuses_a_batch_that_it_cannot_remember(change: dict[str, torch.Tensor | None], message: str):
    lesson, batch = made()
    changed = {name: value for name, value in {**batch, **change}.items() if value is not None}
    with pytest.raises(InputError, match=message):
        lesson.losses(changed, Progress(0, 1))


@pytest.mark.parametrize("options", [{"alpha": 1.0}, {"alpha": -0.1}, {"examples": 0}, {"dtype": torch.int64}])
def test_refuses_settings_that_make_no_sense(options: dict[str, object]):
    with pytest.raises(InputError):
        made(**options)


def test_warns_of_a_store_that_fills_the_memory(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("tutelage.methods.distillation.ps_kd.LARGE", 10)
    with pytest.warns(UserWarning, match="float16"):
        made()


def test_the_stacked_arm_of_the_study_is_the_lesson(tmp_path):
    settings = Digits(train=40, validation=10, test=60, steps=12, batch=10)
    trial = Trial(3, settings, tmp_path, arm="ps-kd", choice={"lr": 0.01})
    data = split(trial)
    (figures,) = stacked([data], [trial])
    with seeded(3, "init"):
        lesson = ProgressiveSelfDistillation(mlp(64, 64, 64, 64, 10), examples=40, classes=10)
    options = {"batch_size": 10, "lr": 0.01, "schedule": one_cycle(), "weight_decay": 1e-3, "seed": 3}
    fit(lesson, (data.x, data.y), epochs=3, **options)
    x, y = data.test
    nll = nn.functional.cross_entropy(lesson.student(x), y).item()
    assert figures["NLL"] == pytest.approx(nll, abs=1e-4)
