"""HARD: who moves in which direction, who stays where it is, and how far the teacher holds."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from tests.methods.common import Case, MethodContract
from tutelage.curricula.augmentors import AffineAugmentor, Augmentor, NoiseAugmentor
from tutelage.errors import InputError
from tutelage.feedback import Alternation
from tutelage.methods.distillation.hard import HARD, widest_range
from tutelage.studies.distillation.hard import every_shift
from tutelage.teachers.frozen import frozen
from tutelage.training import Batch, Distillation, Lesson, Progress, fit, seeded


class TestHard(MethodContract):
    def lesson(self, case: Case) -> Lesson:
        return HARD(case.student, case.teacher, NoiseAugmentor(1.0), labels=0.1)

    def neutral(self, case: Case) -> tuple[Lesson, Lesson]:
        off = HARD(case.student, case.teacher, NoiseAugmentor(1.0), augmented=0.0)
        return off, Distillation(case.student, case.teacher, temperature=1.0, hard=0.0, soft=1.0)


class TestHardThatWaits(MethodContract):
    def lesson(self, case: Case) -> Lesson:
        turn = Alternation(l_max=1.2, l_min=1.1, most=3)
        return HARD(case.student, case.teacher, NoiseAugmentor(1.0), alternation=turn, kind="mse")


class Recorder:
    """An optimiser that only writes down what it is asked to minimise."""

    def __init__(self) -> None:
        self.asked: list[float] = []

    def minimise(self, parts) -> None:
        self.asked.append(sum(part.item() for part in parts.values()))


class Add(Augmentor):
    """x~ = x + w, without chance."""

    def forward(self, x: Tensor, generator: torch.Generator) -> Tensor:
        return x + self.widths


def linear(weight: list[list[float]]) -> nn.Linear:
    layer = nn.Linear(1, 2, bias=False)
    with torch.no_grad():
        layer.weight.copy_(torch.tensor(weight))
    return layer


def made(**options: object) -> tuple[HARD, Batch]:
    """s(x) = (0, 0), t(x) = (x, −x): the disagreement is x² and grows with x."""
    student, teacher = linear([[0.0], [0.0]]), linear([[1.0], [-1.0]])
    batch = {"x": torch.tensor([[1.0], [2.0]]), "y": torch.tensor([0, 1])}
    return HARD(student, teacher, Add(2.0, start=0.5), kind="mse", **options), batch  # type: ignore[arg-type]


def test_the_student_pays_on_clean_and_on_augmented_inputs():
    lesson, batch = made(augmented=0.5, labels=0.2)
    parts = lesson.losses(batch, Progress(0, 1))
    assert {name: round(part.item(), 4) for name, part in parts.items()} == {
        "clean": 2.5,  # (1 + 4) / 2
        "augmented": 3.25,  # 0.5 · (4 + 9) / 2, at x + 1
        "ce": 0.1386,  # 0.2 · log 2
    }


def test_the_augmentor_gets_no_gradient_from_the_students_loss():
    lesson, batch = made()
    sum(lesson.losses(batch, Progress(0, 1)).values()).backward()  # type: ignore[union-attr]
    assert lesson.augmentor.phi.grad is None
    assert lesson.student.weight.grad is not None


def test_the_augmentor_climbs_and_nobody_else_moves():
    lesson, batch = made()
    before = copy.deepcopy(lesson.state_dict())
    optimizer = torch.optim.SGD(lesson.augmentor.parameters(), lr=0.1)

    class Step:
        def minimise(self, parts) -> None:
            sum(parts.values()).backward(inputs=list(lesson.augmentor.parameters()))
            optimizer.step()

    lesson.climb(batch, Step(), Progress(0, 1))
    after = lesson.state_dict()
    assert after["augmentor.phi"] > before["augmentor.phi"], "the disagreement grows with the width"
    assert all(torch.equal(after[name], before[name]) for name in ("student.weight", "teacher.weight"))
    assert lesson.student.weight.grad is None


def test_the_ascent_asks_for_minus_the_disagreement():
    lesson, batch = made()
    recorder = Recorder()
    lesson.climb(batch, recorder, Progress(0, 1))
    assert recorder.asked == [-6.5]  # (4 + 9) / 2


def test_turns_are_counted_and_limited():
    lesson, batch = made(alternation=Alternation(most=3))
    student, augmentor = Recorder(), Recorder()
    lesson.train_step(batch, {"student": student, "augmentor": augmentor}, Progress(0, 1))
    assert (len(student.asked), len(augmentor.asked)) == (1, 3)
    assert lesson.report()["augmentor_steps"] == 3
    waiting, batch = made(alternation=Alternation(l_max=2.0))
    student, augmentor = Recorder(), Recorder()
    for _ in range(3):
        waiting.train_step(batch, {"student": student, "augmentor": augmentor}, Progress(0, 1))
    assert (len(student.asked), len(augmentor.asked)) == (3, 1), "6.5 is more than twice 2.5"


def test_batch_norm_never_sees_the_augmentors_own_step():
    norm = nn.Sequential(nn.Linear(1, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    lesson = HARD(norm, linear([[1.0], [-1.0]]), Add(2.0))
    lesson.train()
    lesson.climb({"x": torch.tensor([[1.0], [2.0]])}, Recorder(), Progress(0, 1))
    assert int(norm[1].num_batches_tracked) == 0
    assert norm.training


def test_a_frozen_augmentor_is_plain_random_augmentation():
    lesson, batch = made()
    lesson.augmentor.requires_grad_(False)
    assert set(lesson.parameter_groups()) == {"student"}
    before = lesson.augmentor.widths.clone()
    fit(lesson, (batch["x"], batch["y"]), steps=3, batch_size=2)
    assert torch.equal(lesson.augmentor.widths, before)
    assert lesson.report()["augmentor_steps"] == 0


def test_the_augmentor_is_faster_and_never_decayed():
    lesson, _ = made(pace=10.0)
    groups = lesson.parameter_groups()["augmentor"]
    assert [(group["lr_scale"], group["weight_decay"]) for group in groups] == [(10.0, 0.0)]


def test_the_hardest_draws_come_first():
    lesson, _ = made()
    harder, gap = lesson.hardest(torch.tensor([[1.0], [3.0], [2.0]]), count=2)
    assert harder.flatten().tolist() == [4.0, 3.0]
    assert gap.tolist() == [16.0, 9.0]


def test_a_teacher_without_gradients_is_refused():
    with pytest.raises(InputError, match="not its cached answers"):
        HARD(linear([[0.0], [0.0]]), lambda batch: batch["x"], NoiseAugmentor(1.0))  # type: ignore[arg-type]

    class Behind(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            with torch.no_grad():
                return torch.cat([x, -x], 1)

    lesson = HARD(linear([[0.0], [0.0]]), Behind(), NoiseAugmentor(1.0))
    with pytest.raises(InputError, match="no gradient passes through the teacher"):
        fit(lesson, (torch.ones(4, 1),), steps=1, batch_size=4)


@pytest.mark.parametrize("wrong", [{"augmented": -1.0}, {"labels": -0.1}, {"pace": 0.0}, {"temperature": 0.0}])
def test_settings_out_of_range_are_refused(wrong: dict[str, float]):
    with pytest.raises(InputError, match="need augmented"):
        made(**wrong)


def test_labels_that_are_missing_are_asked_for():
    lesson, batch = made(labels=0.1)
    with pytest.raises(InputError, match="labels=0"):
        lesson.losses({"x": batch["x"]}, Progress(0, 1))


class Sign(nn.Module):
    """Knows the sign of x."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([-x, x], 1)


def test_the_range_is_the_widest_at_which_the_teacher_holds():
    x = torch.tensor([[-1.0], [1.0]]).repeat(500, 1)
    y = (x[:, 0] > 0).long()

    def make(multiple: float) -> Augmentor:
        return NoiseAugmentor(multiple, start=0.999)

    # noise of half a unit crosses the boundary 2.3 % of the time, of 0.75 units 9.1 %
    assert widest_range(Sign(), make, x, y) == 0.5
    assert widest_range(Sign(), make, x, y, within=0.12) == 0.75
    with pytest.raises(InputError, match="does not know this change"):
        widest_range(Sign(), make, x, y, multiples=(5.0,))


def test_it_finds_the_change_that_the_student_does_not_know():
    """Two pixels; the teacher is blind to the first and reads the second, the student has only seen zeros in the second."""
    teacher = nn.Linear(2, 2, bias=False)
    with torch.no_grad():
        teacher.weight.copy_(torch.tensor([[0.0, 3.0], [0.0, -3.0]]))
    with seeded(0, "init"):
        student = nn.Linear(2, 2)
    known = Alternation(fog=1.0)
    lesson = HARD(student, frozen(teacher), NoiseAugmentor(torch.ones(2), start=0.1), alternation=known)
    x = torch.cat([torch.randn(64, 1, generator=torch.Generator().manual_seed(0)), torch.zeros(64, 1)], 1)
    fit(lesson, (x,), steps=80, batch_size=64, lr=1e-3, seed=0)
    first, second = lesson.augmentor.widths.tolist()
    assert second > 2 * 0.1
    assert second > first


def test_the_studys_shifts_move_pixels_and_lose_none():
    picture = torch.zeros(1, 1, 12, 12)
    picture[..., 2:10, 2:10] = torch.rand(8, 8, generator=torch.Generator().manual_seed(0))
    moved = every_shift(picture, 2)
    assert moved.shape == (25, 1, 12, 12)
    assert torch.equal(moved[12], picture[0]), "the centre is one of them"
    assert torch.equal(moved[0, :, :8, :8], picture[0, :, 2:10, 2:10])
    assert torch.allclose(moved.sum((1, 2, 3)), picture.sum().expand(25))


def test_an_affine_augmentor_works_on_pictures_end_to_end():
    pictures = torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    networks = [nn.Sequential(nn.Flatten(), nn.Linear(64, 3)) for _ in range(2)]
    lesson = HARD(networks[0], networks[1], AffineAugmentor(shift=0.2, rotate=10))
    fit(lesson, (pictures,), steps=2, batch_size=8, lr=1e-2)
    assert lesson.report()["rotate"] != pytest.approx(0.5)
