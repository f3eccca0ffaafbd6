"""Looking ahead: both modes by hand, what is put back, what the teacher keeps, and what cannot look ahead."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from tests.methods.common import Case, MethodContract
from tutelage.errors import InputError
from tutelage.methods.selftraining.future_self_training import (
    FutureSelfTraining,
    decay_per_step,
    mean_teacher,
    paste_classes,
    shares_of,
)
from tutelage.studies import Trial
from tutelage.studies.selftraining.future_self_training import RULES, Digits, arm, lesson_of, shifted, split
from tutelage.teachers.momentum import MomentumTeacher
from tutelage.training import Lesson, Progress, Supervised, fit, seeded
from tutelage.training.consistency import ConsistencyLesson, photometric

SAME = photometric(lambda x, generator: x)
NOISY = photometric(lambda x, generator: x + 0.1 * torch.randn(x.shape, generator=generator).to(x.dtype))


class TestFutureSelfTraining(MethodContract):
    mode = "deep"
    burn_in = 1

    def case(self, shape: tuple[int, ...] = (6,), classes: int = 3, dtype: torch.dtype = torch.float32) -> Case:
        case = super().case(shape, classes, dtype)
        case.data["unlabelled"] = torch.randn(12, *shape, generator=torch.Generator().manual_seed(9)).to(dtype)
        case.student[3].p = 0.0  # type: ignore[index]
        return case

    def lesson(self, case: Case, ramp: float = 1.0, restore: bool = False) -> Lesson:
        inner = mean_teacher(
            case.student, weak=NOISY, strong=NOISY, threshold=0.3, burn_in=self.burn_in, ramp=ramp, decay=0.9
        )
        return FutureSelfTraining(inner, k=1, mode=self.mode, restore_optimizer=restore)  # type: ignore[arg-type]

    def neutral(self, case: Case) -> tuple[Lesson, Lesson] | None:
        """Without weight on what is unlabelled, virtual steps that leave no trace change nothing."""
        return self.lesson(case, ramp=0.0, restore=True), Supervised(case.student)

    def mismatched(self, case: Case) -> None:
        return None


class TestWide(TestFutureSelfTraining):
    mode = "wide"

    def neutral(self, case: Case) -> None:
        """The real step sees its share of the batch only."""
        return


def net() -> nn.Linear:
    with seeded(0, "init"):
        return nn.Linear(2, 2)


def mean_teaching(student: nn.Module, decay: float = 0.5) -> ConsistencyLesson:
    return mean_teacher(student, weak=SAME, strong=SAME, threshold=0.5, decay=decay)


def data(rows: int) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return {
        "x": torch.randn(rows, 2, generator=generator),
        "y": torch.arange(rows) % 2,
        "unlabelled": torch.randn(rows, 2, generator=generator),
    }


def given(batch: dict[str, Tensor], times: int = 1) -> DataLoader:
    """A loader that gives the batch as it is, `times` times an epoch."""
    return DataLoader([batch] * times, batch_size=None)  # type: ignore[arg-type]


def by_hand(model: nn.Module, teacher: nn.Module, batch: dict[str, Tensor], lr: float) -> None:
    """One plain gradient step on labels and on the teacher's labels (a threshold of 1/2 keeps all of two classes)."""
    with torch.no_grad():
        pseudo = teacher(batch["unlabelled"]).argmax(-1)
    loss = nn.functional.cross_entropy(model(batch["x"]), batch["y"])
    loss = loss + nn.functional.cross_entropy(model(batch["unlabelled"]), pseudo)
    for p, g in zip(model.parameters(), torch.autograd.grad(loss, list(model.parameters())), strict=True):
        p.data -= lr * g


def plain_sgd(groups: list[dict[str, object]]) -> torch.optim.Optimizer:
    return torch.optim.SGD([{**group, "weight_decay": 0.0} for group in groups])


def test_deep_is_the_algorithm_by_hand():
    batch, student = data(8), net()
    lesson = FutureSelfTraining(mean_teaching(student), k=2)
    fit(lesson, given(batch), epochs=3, lr=0.5, optimizer=plain_sgd)
    theta, phi = net(), MomentumTeacher(net(), 0.5)
    by_hand(theta, phi, batch, 0.5)
    phi.update(theta)
    for _ in range(2):
        kept = copy.deepcopy(theta.state_dict())
        for _ in range(2):
            phi.update(theta)
            by_hand(theta, phi, batch, 0.5)
        phi.update(theta)
        theta.load_state_dict(kept)
        by_hand(theta, phi, batch, 0.5)
    assert torch.allclose(student.weight, theta.weight, atol=1e-6)
    assert torch.allclose(lesson.teacher.module.weight, phi.module.weight, atol=1e-6)  # type: ignore[union-attr]
    assert int(lesson.teacher.updates) == 1 + 2 * 3  # type: ignore[arg-type]


def test_wide_is_the_algorithm_by_hand():
    batch, student = data(9), net()
    lesson = FutureSelfTraining(mean_teaching(student), k=2, mode="wide")
    fit(lesson, given(batch), epochs=2, lr=0.5, optimizer=plain_sgd)
    real, first, second = shares_of(batch, 3)
    theta, phi = net(), MomentumTeacher(net(), 0.5)
    by_hand(theta, phi, real, 0.5)
    phi.update(theta)
    futures = [copy.deepcopy(theta), copy.deepcopy(theta)]
    for future, other in zip(futures, (first, second), strict=True):
        by_hand(future, phi, other, 0.5)
    mean = net()
    for name, value in mean.named_parameters():
        value.data = (futures[0].get_parameter(name) + futures[1].get_parameter(name)).detach() / 2
    phi.update(mean)
    by_hand(theta, phi, real, 0.5)
    phi.update(theta)
    assert torch.allclose(student.weight, theta.weight, atol=1e-6)
    assert torch.allclose(lesson.teacher.module.weight, phi.module.weight, atol=1e-6)  # type: ignore[union-attr]


@pytest.mark.parametrize(("restore", "steps"), [(True, 3), (False, 3 + 2 * 2)])
def test_moments_are_put_back_on_request(restore: bool, steps: int):
    lesson = FutureSelfTraining(mean_teaching(net()), k=2, restore_optimizer=restore)
    held: list[torch.optim.Optimizer] = []

    def adam(groups: list[dict[str, object]]) -> torch.optim.Optimizer:
        held.append(torch.optim.Adam(groups))
        return held[0]

    fit(lesson, given(data(4)), epochs=3, lr=0.1, optimizer=adam)
    assert {int(state["step"]) for state in held[0].state.values()} == {steps}


def test_running_statistics_come_back_with_the_weights():
    """With a learning rate of nearly nothing, the student's statistics are those of its real steps alone."""
    counts = []
    for k in (1, 3):
        student = nn.Sequential(nn.Linear(2, 3), nn.BatchNorm1d(3), nn.Linear(3, 2))
        fit(FutureSelfTraining(mean_teaching(student), k=k), given(data(6)), epochs=3, lr=1e-9, optimizer=plain_sgd)
        counts.append(int(student[1].num_batches_tracked))  # type: ignore[arg-type]
    assert counts == [6, 6], "two forward passes a real step: labelled and unlabelled"


def test_nothing_is_looked_ahead_before_the_teacher_has_spoken():
    student = net()
    inner = mean_teacher(student, weak=SAME, strong=SAME, threshold=0.5, burn_in=2)
    lesson = FutureSelfTraining(inner, k=3)
    updates = []
    for epochs in (1, 2, 3, 4):
        fresh = copy.deepcopy(lesson)
        fit(fresh, given(data(4)), epochs=epochs, lr=0.1)
        updates.append(int(fresh.teacher.updates))  # type: ignore[arg-type]
    assert updates == [0, 1, 2, 2 + 4]


def test_the_teacher_looks_further_than_the_student_is():
    """A student that walks in one direction: the mean teacher is behind it, the look-ahead teacher is ahead of that."""

    class Walk(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.place = nn.Parameter(torch.zeros(1))

        def forward(self, x: Tensor) -> Tensor:
            return torch.stack([self.place.expand(len(x)), torch.zeros(len(x))], -1)

    places = {}
    for k in (0, 3):
        inner = mean_teacher(
            Walk(), weak=SAME, strong=SAME, threshold=0.5, decay=0.9, ramp=0.0,
            supervised=lambda student, batch, generator: -student.place.sum(),
        )  # fmt: skip
        lesson = FutureSelfTraining(inner, k=k) if k else inner
        fit(lesson, given(data(4)), epochs=30, lr=1.0, optimizer=plain_sgd)
        places[k] = inner.teachers["pseudo"].module.place.item()
        assert inner.student.place.item() == pytest.approx(30.0), "the student itself goes no further"
    assert places[0] < places[3] < 33


def test_classes_are_pasted_with_their_labels_and_move_with_nothing_else():
    view = paste_classes(3, photometric(lambda x, generator: x + 1))
    x, said = torch.zeros(4, 1, 2, 2), torch.full((4, 2, 2, 3), 1 / 3)
    batch = {"x": torch.full((2, 1, 2, 2), 5.0), "y": torch.tensor([[[0, 0], [1, 1]], [[2, 2], [2, 2]]])}
    mixed, carry = view(x, torch.Generator().manual_seed(0), said, batch)
    target = carry(said)
    pasted = mixed[:, 0] == 6
    assert pasted.flatten(1).float().mean(1).tolist() == [0.5, 1.0, 0.5, 1.0], "half of the classes, rounded up"
    assert torch.equal(target[pasted].argmax(-1), batch["y"].repeat(2, 1, 1)[pasted])
    assert torch.equal(target[~pasted], said[~pasted])


def test_the_decay_of_a_step():
    assert decay_per_step(0.9, 1) == pytest.approx(0.81)
    assert decay_per_step(0.9, 0) == 0.9


@pytest.mark.parametrize("options", [{"k": 0}, {"mode": "sideways"}])
def test_refuses_settings_that_make_no_sense(options: dict[str, object]):
    with pytest.raises(InputError):
        FutureSelfTraining(mean_teaching(net()), **options)  # type: ignore[arg-type]


def test_refuses_batches_that_it_cannot_cut_and_accumulated_gradients():
    with pytest.raises(InputError, match="multiples of 4"):
        FutureSelfTraining(mean_teaching(net()), mode="wide").losses(data(6), Progress(0, 1))
    with pytest.raises(InputError, match="accumulate=1"):
        fit(FutureSelfTraining(mean_teaching(net())), given(data(4), 4), epochs=1, lr=0.1, accumulate=2)


SMALL = Digits(test=200, labelled_batch=10, unlabelled_batch=16, burn_in=2, steps=10)


def test_arms_of_a_seed_share_weights_and_batches_and_the_pool_has_no_test_picture(tmp_path):
    trial = Trial(3, SMALL, tmp_path, arm="mean teacher")
    one = split(trial)
    assert torch.bincount(one.labelled[1]).tolist() == [2] * 10
    assert len(one.pool) == 1797 - 200 - 20
    assert not (one.pool.flatten(1).unsqueeze(1) == one.test[0][:50].flatten(1)).all(-1).any()
    first = [lesson_of(rule, 3, SMALL)[1].state_dict() for rule in RULES.values()]
    key = next(name for name in first[0] if name.endswith("student.body.0.weight"))
    assert torch.equal(first[0][key], first[2][key])
    repeated = [arm(one, replace(trial, arm=name)) for name in ("mean teacher", "mean teacher")]
    assert repeated[0] == repeated[1]


def test_a_shift_moves_a_picture_by_at_most_a_pixel():
    x = torch.zeros(200, 1, 8, 8)
    x[:, :, 4, 4] = 1.0
    moved = shifted(x, torch.Generator().manual_seed(0)).flatten(1)
    rows, columns = moved.argmax(1) // 8, moved.argmax(1) % 8
    assert {(int(r), int(c)) for r, c in zip(rows, columns, strict=True)} == {
        (r, c) for r in (3, 4, 5) for c in (3, 4, 5)
    }
