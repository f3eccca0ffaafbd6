"""Information of a teacher about its examples: the measure by hand, its limits, and how the weight is chosen."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tests.methods.common import Case, MethodContract
from tutelage.errors import InputError
from tutelage.methods.distillation.mcmi import (
    InformationTuning,
    Tuned,
    chosen,
    class_centroids,
    conditional_information,
    information,
    labels_of,
    search_lambda,
)
from tutelage.students.mlp import mlp
from tutelage.studies.distillation._mcmi_rows import Rule, Sizes, Split, teachers
from tutelage.training import Lesson, Progress, Supervised, cosine, fit, one_cycle, seeded

FIRST = Progress(0, 1)


class TestInformationTuning(MethodContract):
    def lesson(self, case: Case) -> Lesson:
        return InformationTuning(case.student, case.data, lam=0.2, every=2)

    def neutral(self, case: Case) -> tuple[Lesson, Lesson]:
        return InformationTuning(case.student, case.data, lam=0.0), Supervised(case.student)

    def mismatched(self, case: Case) -> None:
        return None


def logits(*rows: tuple[float, ...]) -> torch.Tensor:
    return torch.tensor(rows, dtype=torch.float64).log()


def test_the_information_is_the_spread_around_the_class_s_mean():
    said, y = logits((0.9, 0.1), (0.5, 0.5), (0.2, 0.8), (0.2, 0.8)), torch.tensor([0, 0, 1, 1])
    q = (0.7, 0.3)
    first, second = (sum(a * math.log(a / b) for a, b in zip(p, q, strict=True)) for p in ((0.9, 0.1), (0.5, 0.5)))
    assert torch.allclose(class_centroids(said.softmax(-1), y), torch.tensor([[0.7, 0.3], [0.2, 0.8]]).double())
    assert conditional_information(said, y).item() == pytest.approx((first + second) / 4, rel=1e-6)


@settings(deadline=None, max_examples=30)
@given(seed=st.integers(0, 10_000), scale=st.floats(0.01, 20))
def test_it_lies_between_nothing_and_the_entropy_of_the_answer(seed: int, scale: float):
    said = scale * torch.randn(12, 4, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    y = torch.arange(12) % 3
    value = conditional_information(said, y).item()
    assert 0 <= value <= math.log(4) + 1e-9
    assert conditional_information(said[:1].expand(12, 4), y).item() == pytest.approx(0, abs=1e-9)
    assert conditional_information(said + 5.0, y).item() == pytest.approx(value, abs=1e-9)


def test_gradients_pass_through_the_output_only():
    said = torch.randn(4, 3, dtype=torch.float64, requires_grad=True)
    centroids = torch.rand(4, 3, dtype=torch.float64, requires_grad=True)
    information(said, centroids).sum().backward()
    assert centroids.grad is None
    assert torch.autograd.gradcheck(lambda z: information(z, centroids), said)


def test_an_impossible_class_is_clamped_and_each_example_is_capped():
    sure = torch.tensor([[50.0, 0.0]])
    assert information(sure, torch.tensor([[0.0, 1.0]]), floor=1e-6).item() == pytest.approx(6 * math.log(10), rel=1e-4)
    lesson = InformationTuning(nn.Identity(), (torch.zeros(4, 2), torch.tensor([0, 0, 1, 1])), lam=0.5, cap=2.0)
    lesson.centroids.copy_(torch.tensor([[0.0, 1.0], [0.5, 0.5]]))
    parts = lesson.losses({"x": sure.requires_grad_(), "y": torch.tensor([0])}, FIRST)
    assert parts["cmi"].item() == pytest.approx(-0.5 * 2.0)
    parts["cmi"].backward()
    assert not sure.grad.any(), "what has reached the cap pulls no further"


def test_the_centroids_follow_the_teacher_every_few_steps():
    x, y = torch.randn(8, 3, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 2
    with seeded(0, "init"):
        lesson = InformationTuning(nn.Linear(3, 2), (x, y), lam=0.2, every=3)
    start = lesson.centroids.clone()
    fit(lesson, (x, y), steps=2, batch_size=4, lr=0.1)
    assert torch.equal(lesson.centroids, start)
    lesson.after_step(Progress(2, 10))
    assert torch.allclose(lesson.centroids, class_centroids(lesson.student(x).detach().softmax(-1), y))
    assert not torch.equal(lesson.centroids, start)


def blobs() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    y = torch.arange(60) % 3
    return torch.randn(60, 4, generator=generator) + 1.5 * torch.eye(3, 4)[y], y


def test_tuning_raises_the_information_above_equally_long_training():
    x, y = blobs()
    values = []
    for lam in (0.0, 0.3):
        with seeded(0, "init"):
            teacher = mlp(4, 16, 3)
        fit(InformationTuning(teacher, (x, y), lam=lam), (x, y), epochs=20, lr=0.01)
        with torch.no_grad():
            values.append(conditional_information(teacher(x), y).item())
    assert values[1] > values[0]


def test_the_weight_is_the_largest_that_keeps_the_accuracy_of_weight_zero():
    rows = [Tuned(0.0, 0.95, 0, 0), Tuned(0.1, 0.946, 0, 0), Tuned(0.2, 0.90, 0, 0), Tuned(0.3, 0.947, 0, 0)]
    assert chosen(rows, 0.005).lam == 0.3
    assert chosen(rows[:3], 0.005).lam == 0.1
    assert chosen(rows[:3], 0.0).lam == 0.0


def test_the_search_leaves_the_teacher_alone_and_returns_the_chosen_one():
    x, y = blobs()
    with seeded(0, "init"):
        teacher = mlp(4, 8, 3)
    fit(Supervised(teacher), (x, y), epochs=5, lr=0.01)
    before = copy.deepcopy(teacher.state_dict())
    options = {"epochs": 2, "lr": 0.01}
    model, tried = search_lambda(teacher, (x, y), (x, y), grid=[0.3, 0.1], max_drop=1.0, options=options)
    assert [row.lam for row in tried] == [0.0, 0.1, 0.3]
    assert all(torch.equal(before[name], value) for name, value in teacher.state_dict().items())
    with torch.no_grad():
        assert tried[-1].cmi == pytest.approx(conditional_information(model(x), y).item())


def test_a_saturated_teacher_is_warned_of():
    data = (100 * torch.eye(2).repeat(2, 1), torch.tensor([0, 1, 0, 1]))
    with pytest.warns(UserWarning, match="saturated"):
        search_lambda(_Scaled(), data, data, grid=[0.1], options={"steps": 1})


class _Scaled(nn.Module):
    """As sure as can be."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scale * x


@pytest.mark.parametrize(
    ("y", "message"),
    [
        (torch.tensor([0, 0, 0, 1]), "class 1 has one example"),
        (torch.tensor([0, 0, 3, 3]), "found 0 to 3"),
        (torch.rand(4), "not defined for regression"),
        (torch.zeros(4, 2, dtype=torch.long), "several labels"),
    ],
)
def test_refuses_labels_that_have_no_information(y: torch.Tensor, message: str):
    with pytest.raises(InputError, match=message):
        InformationTuning(nn.Linear(2, 2), (torch.zeros(4, 2), y), lam=0.1)


@pytest.mark.parametrize("options", [{"lam": -0.1}, {"lam": 0.1, "every": 0}, {"lam": 0.1, "floor": 0.0}])
def test_refuses_settings_that_make_no_sense(options: dict):
    with pytest.raises(InputError):
        InformationTuning(nn.Linear(2, 2), (torch.zeros(4, 2), torch.tensor([0, 0, 1, 1])), **options)


def test_the_labels_of_a_data_set_come_in_its_order_and_a_loader_has_none():
    data = TensorDataset(torch.zeros(3, 2), torch.tensor([2, 0, 1]))
    assert labels_of(data).tolist() == [2, 0, 1]
    with pytest.raises(InputError, match="not a loader"):
        labels_of(DataLoader(data))


def test_the_stacked_teachers_of_the_study_are_the_lesson():
    x, y = blobs()
    with seeded(3, "init"):
        teacher = mlp(4, 16, 10)
    sizes = Sizes((), 60, 0, 0, 10, 12, 0, lr=0.01, tune_lr=0.005, every=4, batch=20)
    split = Split((x, y), (x, y), (x, y), (lambda: mlp(4, 16, 10), lambda: mlp(4, 4, 10)))
    ours = teachers({3: split}, {"tuned": Rule(lam=0.3), "early": Rule(tuned=False)}, sizes)
    options = {"batch_size": 20, "weight_decay": 0.01, "seed": 3}
    fit(Supervised(teacher), (x, y), steps=10, lr=0.01, schedule=one_cycle(), **options)
    assert torch.allclose(teacher(x), ours["early", 3](x), atol=1e-4)
    fit(InformationTuning(teacher, (x, y), lam=0.3, every=4), (x, y), steps=12, lr=0.005, schedule=cosine(), **options)
    assert torch.allclose(teacher(x), ours["tuned", 3](x), atol=1e-3)
