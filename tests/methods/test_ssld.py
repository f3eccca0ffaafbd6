"""Distilling without labels: what is selected, what the loss reads, which data each stage sees."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.utils.data import TensorDataset

from tests.methods.common import Case, MethodContract
from tutelage.errors import InputError
from tutelage.methods.distillation.ssld import (
    BackboneTuning,
    LabelFreeDistillation,
    select_pool,
    two_stages,
    without_labels,
)
from tutelage.students.mlp import mlp
from tutelage.studies import Trial
from tutelage.studies.distillation.ssld import RULES, Digits, columns, split, stacked, teachers
from tutelage.teachers.frozen import frozen
from tutelage.training import Distillation, Lesson, Progress, Supervised, fit, one_cycle, predict_all, seeded

FIRST = Progress(0, 1)


class TestLabelFreeDistillation(MethodContract):
    def lesson(self, case: Case) -> Lesson:
        return LabelFreeDistillation(case.student, case.teacher)

    def neutral(self, case: Case) -> tuple[Lesson, Lesson]:
        """With KL it is distillation without its hard part."""
        ours = LabelFreeDistillation(case.student, case.teacher, direction="forward", temperature=4.0)
        return ours, Distillation(case.student, case.teacher, hard=0.0, soft=1.0)


class TestBackboneTuning(MethodContract):
    def lesson(self, case: Case) -> Lesson:
        return BackboneTuning(case.student, {"1": 0.1})

    def neutral(self, case: Case) -> tuple[Lesson, Lesson]:
        return BackboneTuning(case.student, {}), Supervised(case.student)

    def mismatched(self, case: Case) -> None:
        return None


def test_the_loss_is_jensen_shannon_and_reads_no_label():
    student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[math.log(3.0), 0.0]])
    lesson = LabelFreeDistillation(nn.Identity(), lambda batch: teacher)
    p, q, m = (0.5, 0.5), (0.75, 0.25), (0.625, 0.375)
    expected = sum(0.5 * a * math.log(a / c) + 0.5 * b * math.log(b / c) for a, b, c in zip(p, q, m, strict=True))
    assert lesson.losses({"x": student}, FIRST)["js"].item() == pytest.approx(expected, rel=1e-5)
    assert lesson.losses({"x": student, "y": torch.tensor([7])}, FIRST)["js"].item() == pytest.approx(
        expected, rel=1e-5
    )


def test_js_is_bounded_and_finite_where_student_and_teacher_exclude_each_other():
    student = torch.tensor([[200.0, -200.0]], requires_grad=True)
    lesson = LabelFreeDistillation(nn.Identity(), lambda batch: -batch["x"].detach())
    loss = lesson.losses({"x": student}, FIRST)["js"]
    loss.backward()
    assert loss.item() == pytest.approx(math.log(2), rel=1e-5)
    assert torch.isfinite(student.grad).all()


POOL = torch.tensor([[4.0, 0.0], [3.0, 0.2], [2.0, 0.4], [0.0, 5.0], [0.1, 0.9], [1.0, 1.1], [9.0, 0.0]])
TEST = (torch.tensor([[0.0, 1.0]]), torch.tensor([1]))


def test_the_surest_of_each_class_are_kept_and_held_out_ones_dropped():
    pool = select_pool(nn.Identity(), (POOL,), per_class=2, held_out=TEST, near=0.999)
    assert pool.index.tolist() == [0, 1, 4, 5], "3 repeats a test row, 6 repeats row 0, 2 is third of its class"
    assert (dict(pool.counts), pool.repeated) == ({0: 2, 1: 2}, 2)
    assert pool.lowest[1] == pytest.approx(1 / (1 + math.exp(-0.1)), abs=1e-5)


def test_junk_stays_out_where_the_teacher_must_be_sure():
    pool = select_pool(nn.Identity(), (POOL,), per_class=5, held_out=TEST, near=0.999, min_confidence=0.6)
    assert 5 not in pool.index.tolist()
    with pytest.raises(InputError, match="nowhere as sure"):
        select_pool(nn.Identity(), (POOL * 0.01,), per_class=5, held_out=TEST, near=0.999, min_confidence=0.9)


def test_a_pool_that_holds_the_test_set_is_refused_where_nothing_filters_it():
    held_out = (POOL[2:3], torch.tensor([0]))
    with pytest.raises(InputError, match="1 pictures of the pool are held out"):
        select_pool(nn.Identity(), (POOL,), per_class=2, held_out=held_out, near=None)
    with pytest.raises(InputError, match="every picture"):
        select_pool(nn.Identity(), (POOL[2:3],), per_class=2, held_out=held_out)


def test_tensors_and_data_sets_are_joined_without_labels():
    target, index = (POOL[:2], torch.tensor([0, 0])), torch.tensor([3, 5])
    joined = without_labels(target, (POOL,), index)
    assert isinstance(joined, tuple)
    as_sets = without_labels(TensorDataset(*target), TensorDataset(POOL), index)
    assert torch.equal(predict_all(nn.Identity(), as_sets), joined[0])
    assert torch.equal(joined[0], POOL[[0, 1, 3, 5]])
    assert sorted(as_sets[0]) == ["x"]  # type: ignore[index]


def test_the_second_stage_sees_the_target_set_at_a_hundredth_of_the_rate():
    with seeded(0, "init"):
        lesson = LabelFreeDistillation(nn.Linear(2, 2), frozen(nn.Linear(2, 2)))
    options = {"batch_size": 2, "schedule": 1.0, "seed": 0}
    stages = two_stages(lesson, (POOL[:2], torch.tensor([0, 0])), (POOL,), epochs=(2, 1), lr=0.1, options=options)
    history = stages.run()
    assert history["stage"] == ["distil", "distil", "restore"]
    assert history["step"] == [5, 10, 1], "nine pictures, then two"
    assert history["lr"] == pytest.approx([0.1, 0.1, 0.001])


def test_early_layers_of_a_backbone_learn_slowly_and_nothing_twice():
    net = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2)), nn.Linear(2, 2))
    groups = BackboneTuning(net, {"0": 0.1, "0.0": 0.5}).parameter_groups()["student"]
    scales = [group["lr_scale"] for group in groups for _ in group["params"]]  # type: ignore[attr-defined]
    assert scales == [0.5, 0.5, 0.1, 0.1, 1.0, 1.0]
    assert len({id(p) for group in groups for p in group["params"]}) == 6  # type: ignore[attr-defined]
    with pytest.raises(InputError, match="no part 'stage1'"):
        BackboneTuning(net, {"stage1": 0.1})


@pytest.mark.parametrize("options", [{"temperature": 0.0}, {"direction": "sideways"}])
def test_refuses_settings_that_make_no_sense(options: dict[str, object]):
    with pytest.raises(InputError):
        LabelFreeDistillation(nn.Identity(), nn.Identity(), **options)  # type: ignore[arg-type]


SMALL = Digits(
    teacher=60, target=20, pool=30, junk=10, test=40, per_class=3, teacher_steps=10, steps=8, restore=4, batch=10
)


def test_the_stacked_arm_of_the_study_is_the_recipe(tmp_path):
    trial = Trial(3, SMALL, tmp_path, arm="ssld", choice={"lr": 0.01})
    data = split(trial)
    (figures,) = stacked([data], [trial])
    (teacher,) = teachers([data], [3], SMALL)
    pool = select_pool(teacher, (data.pool,), per_class=3, held_out=data.test)
    with seeded(3, "init"):
        lesson = LabelFreeDistillation(mlp(64, 16, 10), frozen(teacher))
    options = {"batch_size": 10, "drop_last": True, "schedule": one_cycle(), "weight_decay": 0.01, "seed": 3}
    fit(lesson, without_labels((data.x[:20],), (data.pool,), pool.index), steps=4, lr=0.01, **options)
    fit(lesson, (data.x[:20],), steps=4, lr=0.0001, **options)
    x, y = data.test
    assert figures["NLL"] == pytest.approx(nn.functional.cross_entropy(lesson.student(x), y).item(), abs=1e-4)


def test_only_labelled_pictures_carry_labels_in_the_study(tmp_path):
    data = split(Trial(0, SMALL, tmp_path))
    (teacher,) = teachers([data], [0], SMALL)
    everything, junk = columns(data, teacher, RULES["ssld, no selection"], SMALL)
    assert junk == 10
    assert not everything["targets"][20:].any()
    assert len(everything["x"]) == 20 + 40
