"""Two memories: who follows whom and when, what each term is by hand, mixed joints, frames, and maps that go empty."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import pytest
import torch
from torch import Tensor, nn

from tests.methods.common import Case, MethodContract
from tutelage.errors import InputError
from tutelage.methods.selftraining.teacher_reviewer_student import (
    EMPTY,
    PATIENCE,
    TeacherReviewerStudent,
    keypoint_mix,
)
from tutelage.objectives.heatmap import gaussian_map
from tutelage.students.pose import HeatmapNet, read_maps
from tutelage.studies import Trial
from tutelage.studies.selftraining.teacher_reviewer_student import FAST, RULES, arm, split
from tutelage.training import Lesson, Progress, fit, seeded


class Echo(nn.Module):
    """Answers with the picture itself, in two stages; one weight, so that it can be trained."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))

    def forward(self, x: Tensor) -> list[Tensor]:
        return [0.5 * self.scale * x, self.scale * x]


def pose_net(points: int = 3, dtype: torch.dtype = torch.float32, seed: int = 0) -> HeatmapNet:
    with seeded(seed, "init"):
        return HeatmapNet(points, stem=4, width=4, dilations=(1, 2)).to(dtype)


def people(n: int = 12, points: int = 3, dtype: torch.dtype = torch.float32) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(n, 1, 16, 16, generator=generator).to(dtype)
    return {"x": x, "y": 15 * torch.rand(n, points, 2, generator=generator), "unlabelled": x.flip(0)}


class TestTeacherReviewerStudent(MethodContract):
    settings = (((1, 16, 16), 3, torch.float32), ((1, 16, 16), 4, torch.float64))
    options: Mapping[str, object] = MappingProxyType({})

    def case(self, shape: tuple[int, ...] = (1, 16, 16), classes: int = 3, dtype: torch.dtype = torch.float32) -> Case:
        return Case(pose_net(classes, dtype), pose_net(classes, dtype, 1), people(12, classes, dtype), classes)

    def lesson(self, case: Case, ramp: float = 1.0) -> Lesson:
        return TeacherReviewerStudent(case.student, every=2, burn_in=1, gate=0.01, patch=3, ramp=ramp)

    def neutral(self, case: Case) -> tuple[Lesson, Lesson]:
        """Nothing of what is unlabelled counts; burn-in that never ends is training on labels alone."""
        return self.lesson(case, ramp=0.0), _Labels(case.student)

    def mismatched(self, case: Case) -> None:
        return None


class _Labels(Lesson):
    """The supervised part alone; the views of unlabelled pictures are drawn as well, so that both see the same ones."""

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.student = student
        self.whole = TeacherReviewerStudent(student, every=2, burn_in=1, gate=0.01, patch=3)

    def losses(self, batch, progress):
        return {"supervised": self.whole.losses(batch, progress)["supervised"]}


def made(**options: object) -> TeacherReviewerStudent:
    settings = {"rotate": (0.0, 0.0), "scale": 0.0, "every": 3, "gate": 0.3, "patch": 3} | options
    return TeacherReviewerStudent(Echo(), **settings)  # type: ignore[arg-type]


def test_the_reviewer_follows_the_teacher_rarely_and_the_teacher_the_student_always():
    lesson = made(decay=0.5, reviewer_decay=0.5, burn_in=2)
    teacher, reviewer = lesson.lesson.teachers["teacher"], lesson.lesson.teachers["reviewer"]
    student = lesson.student
    assert isinstance(student, Echo)
    seen = []
    for step in range(9):
        student.scale.data.fill_(float(step))
        lesson.after_step(Progress(step, 9))
        seen.append((teacher.module.scale.item(), reviewer.module.scale.item(), int(reviewer.updates)))  # type: ignore[union-attr, arg-type, operator]
    assert seen[0] == (1.0, 1.0, 0), "burn-in"
    assert seen[1] == (1.0, 1.0, 1), "its last step copies the student"
    expected = 1.0
    for step in range(2, 5):
        expected = 0.5 * expected + 0.5 * step
    assert seen[4][0] == expected
    assert seen[3][1:] == (1.0, 1)
    assert seen[4][1:] == (0.5 * 1.0 + 0.5 * expected, 2), "every third step after burn-in, towards the teacher"
    assert seen[6][1:] == seen[4][1:]
    assert seen[7][2] == 3


def test_a_second_teacher_can_follow_the_student_instead():
    lesson = made(reviewer_of="student", reviewer_decay=0.0)
    lesson.student.scale.data.fill_(7.0)  # type: ignore[union-attr, operator]
    for step in range(2):
        lesson.after_step(Progress(step, 9))
    assert lesson.lesson.teachers["reviewer"].module.scale.item() == 7.0  # type: ignore[union-attr, operator]


def test_the_terms_by_hand():
    """Nothing moves and nothing is hidden (no joint is sure enough of being touched): maps are compared cell by cell."""
    lesson = made(levels=0.5, stage=0.4, review=0.25, gate=0.9, mix=0.0)
    x = torch.zeros(1, 2, 6, 6)
    x[0, 0, 2, 2], x[0, 1, 3, 3] = 0.8, 0.5
    teacher, reviewer = (lesson.lesson.teachers[name] for name in ("teacher", "reviewer"))
    teacher.module.scale.data.fill_(1.25)  # type: ignore[union-attr, operator]
    reviewer.module.scale.data.fill_(1.5)  # type: ignore[union-attr, operator]
    reviewer.updates.fill_(2)  # type: ignore[union-attr, operator]
    batch = {"x": x, "y": torch.tensor([[[2.0, 2.0], [float("nan"), 1.0]]]), "unlabelled": x}
    lesson.lesson.strong = lambda x, generator, said, batch: (x, lambda answer: answer)
    parts = lesson.losses(batch, Progress(0, 1))
    joint = 0.8
    final = (joint * 1.25 - joint) ** 2
    early = (joint * 1.25 - 0.5 * joint) ** 2
    assert parts["teacher"].item() == pytest.approx(final + 0.5 * 0.4 * early), "the second joint is below the gate"
    assert parts["reviewer"].item() == pytest.approx(0.25 * (joint * 1.5 - joint) ** 2), (
        "of 0.8 · 1.5 and 0.5 · 1.5 one is sure"
    )
    hill = gaussian_map(torch.tensor([[2.0, 2.0]]), (6, 6), 1.2)[0]
    expected = (x[0, 0] - hill).square().sum() + 0.4 * (0.5 * x[0, 0] - hill).square().sum()
    assert parts["supervised"].item() == pytest.approx(expected.item(), rel=1e-5), "an unknown joint costs nothing"


def test_the_reviewer_is_silent_before_it_has_moved():
    lesson = made()
    batch = {"x": torch.rand(2, 3, 6, 6), "y": torch.rand(2, 3, 2), "unlabelled": torch.rand(2, 3, 6, 6)}
    assert lesson.losses(batch, Progress(0, 1))["reviewer"].item() == 0.0
    assert "reviewer" not in made(review=0.0).losses(batch, Progress(0, 1))


@pytest.mark.parametrize("stride", [1, 2])
def test_maps_go_from_frame_to_frame_as_joints_do_also_when_mirrored(stride: int):
    lesson = made(rotate=(30.0, 60.0), scale=0.1, flip=0.5, swap_pairs=((0, 1),), patch=1)
    x = torch.zeros(6, 1, 32, 32)
    joints = torch.tensor([[12.0, 14.0], [20.0, 15.0], [16.0, 21.0]]).expand(6, 3, 2)

    def hills(points: Tensor) -> Tensor:
        return gaussian_map((points + 0.5) / stride - 0.5, (32 // stride, 32 // stride), 3.0 / stride)

    def places(maps: Tensor) -> Tensor:
        return read_maps(maps, stride=stride)[0]

    easy, hard = (lesson._view(x, torch.Generator().manual_seed(1), degrees) for degrees in (30.0, 60.0))
    assert easy.flipped.any()
    assert not easy.flipped.all()
    _, back = lesson._easy(x, torch.Generator().manual_seed(1))
    assert (places(back(hills(easy.apply_points(joints)))) - joints).norm(dim=-1).max() < 1.5 * stride
    _, carry = lesson._hard(x, torch.Generator().manual_seed(1), hills(joints), {})
    assert (places(carry(hills(joints))) - hard.apply_points(joints)).norm(dim=-1).max() < 1.5 * stride


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_mixing_by_hand(share: float):
    x = torch.arange(36.0).view(1, 1, 6, 6)
    joints, sure = torch.tensor([[[1.0, 1.0], [4.0, 4.0]]]), torch.ones(1, 2).bool()
    mixed = keypoint_mix(
        x, joints, sure, patch=1, share=torch.tensor([share]), count=12, generator=torch.Generator().manual_seed(1)
    )
    first, second = x[0, 0, 1, 1].item(), x[0, 0, 4, 4].item()
    assert mixed[0, 0, 1, 1].item() == pytest.approx(share * first + (1 - share) * second)
    assert mixed[0, 0, 4, 4].item() == pytest.approx(share * second + (1 - share) * first)
    untouched = torch.ones(6, 6).bool()
    untouched[1, 1] = untouched[4, 4] = False
    assert torch.equal(mixed[0, 0][untouched], x[0, 0][untouched])


def test_mixing_leaves_borders_and_unsure_pictures_alone():
    x = torch.rand(2, 1, 6, 6, generator=torch.Generator().manual_seed(0))
    joints = torch.tensor([[[0.0, 0.0], [4.0, 4.0]], [[1.0, 1.0], [4.0, 4.0]]])
    sure = torch.tensor([[True, True], [True, False]])
    mixed = keypoint_mix(x, joints, sure, patch=3, share=torch.zeros(2), count=9, generator=torch.Generator())
    assert torch.equal(mixed[1], x[1]), "one sure joint is not enough"
    assert torch.equal(mixed[0, 0, 0:2, 0:2], x[0, 0, 4:6, 4:6]), "what both patches have inside is swapped"
    assert torch.equal(mixed[0, 0, 3, 3:6], x[0, 0, 3, 3:6]), "what one of them has outside stays"


def test_points_are_read_where_the_maps_were_drawn():
    lesson = made()
    joints = torch.tensor([[[7.0, 4.0], [2.0, 9.0]]])
    found, sure = lesson.predict(gaussian_map(joints, (12, 12), 1.2))
    assert torch.allclose(found, joints)
    assert torch.allclose(sure, torch.ones(1, 2))


def test_empty_maps_end_the_run():
    lesson = made(burn_in=1)
    lesson.peak.fill_(EMPTY / 2)
    for step in range(PATIENCE):
        lesson.after_step(Progress(step, 99))
    lesson.peak.fill_(EMPTY * 2)
    lesson.after_step(Progress(PATIENCE, 99))
    assert int(lesson.empty) == 0, "one good step is enough"
    lesson.peak.fill_(EMPTY / 2)
    for step in range(PATIENCE - 1):
        lesson.after_step(Progress(PATIENCE + 1 + step, 999))
    with pytest.raises(RuntimeError, match="burn in longer"):
        lesson.after_step(Progress(2 * PATIENCE, 999))


@pytest.mark.parametrize(
    "options",
    [{"mix": 1.5}, {"every": 0}, {"review": -0.1}, {"gate": 1.0}, {"sigma": 0.0}, {"reviewer_of": "nobody"}],
)
def test_refuses_settings_that_make_no_sense(options: dict[str, object]):
    with pytest.raises(InputError):
        made(**options)


def test_refuses_labels_that_are_not_joints():
    batch = people(2) | {"y": torch.zeros(2).long()}
    with pytest.raises(InputError, match=r"\[B, K, 2\]"):
        made().losses(batch, Progress(0, 1))


def test_arms_of_the_study_begin_with_one_network_and_leave_it_alone(tmp_path):
    trial = Trial(3, FAST, tmp_path, arm="trs")
    one = split(trial)
    before = {name: value.clone() for name, value in one.begun.state_dict().items()}
    figures = [arm(one, Trial(3, FAST, tmp_path, arm=name)) for name in RULES]
    assert all(torch.equal(before[name], value) for name, value in one.begun.state_dict().items())
    assert all(0 <= found["PCK"] <= 1 for found in figures)
    assert arm(one, trial)["PCK"] == figures[list(RULES).index("trs")]["PCK"]


def test_training_finds_joints_better_than_chance():
    """A bright dot a picture: the joint is on it."""
    generator = torch.Generator().manual_seed(0)
    joints = torch.randint(2, 14, (40, 1, 2), generator=generator).float()
    pictures = gaussian_map(joints, (16, 16), 1.0)
    lesson = TeacherReviewerStudent(
        pose_net(1), every=10, burn_in=20, patch=3, rotate=(0.0, 20.0), scale=0.0, sigma=1.0
    )
    fit(
        lesson, {"x": pictures, "y": joints, "unlabelled": pictures}, steps=60, batch_size=20, lr=2e-2, optimizer="adam"
    )
    found, _ = lesson.predict(pictures)
    assert ((found - joints).norm(dim=-1) < 2).float().mean() > 0.8
