"""The rows of the study are the method's lessons, arms of a seed begin alike, and the judge knows digits from noise."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch
from torch import nn

from tutelage.data.digits import digits
from tutelage.methods.generation.slimflow import AnnealedReflow, FlowGuidedDistillation, annealing
from tutelage.students.velocity import VelocityMlp
from tutelage.studies.generation._flows import Learning, Row, stage
from tutelage.studies.generation.slimflow import Sizes, judged, network
from tutelage.teachers.frozen import frozen
from tutelage.training import Lesson, cosine, fit, seeded


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def net(seed: int = 0) -> VelocityMlp:
    with seeded(seed, "init"):
        return VelocityMlp(4, 6)


SHORT = Learning(batch=4, end=0.5, decay=0.9)
KEY = ("arm", 3)


def alike(ours: nn.Module, theirs: nn.Module) -> bool:
    pairs = zip(ours.parameters(), theirs.parameters(), strict=True)
    return all(torch.allclose(a, b, atol=1e-5) for a, b in pairs)


def alone(lesson: Lesson, row: Row, steps: int) -> Lesson:
    options = {
        "batch_size": 4,
        "drop_last": True,
        "lr": SHORT.lr,
        "clip": 1.0,
        "schedule": cosine(1.0, SHORT.end),
        "weight_decay": 0.0,
        "seed": KEY[1],
    }
    fit(lesson, (row.x0, row.x1), steps=steps, optimizer="adam", **options)  # type: ignore[arg-type]
    return lesson


def test_a_row_of_the_study_is_the_lesson_beside_any_other_row():
    x0, x1 = torch.randn(2, 9, 4, generator=generator())
    row = Row(x0, x1, annealing(1.0))
    other = {("other", 3): Row(x0[:5], x1[:5], jump=True), ("arm", 4): Row(x1, x0)}
    last, average = stage({key: net() for key in (KEY, *other)}, {KEY: row} | other, 6, SHORT)
    lesson = alone(AnnealedReflow(net(), annealing(1.0), decay=0.9), row, 6)
    assert alike(last[KEY], lesson.student)  # type: ignore[arg-type]
    assert alike(average[KEY], lesson.average.module)  # type: ignore[arg-type, union-attr]
    assert not alike(last[KEY], average[KEY])


@pytest.mark.parametrize("guided", [False, True])
def test_a_jumping_row_of_the_study_is_the_distillation(guided: bool):
    x0, x1 = torch.randn(2, 9, 4, generator=generator())
    row, guide = Row(x0, x1, jump=True), net(seed=7)
    last, _ = stage({KEY: net()}, {KEY: row}, 6, SHORT, {KEY: guide} if guided else None)
    lesson = FlowGuidedDistillation(net(), frozen(copy.deepcopy(guide)), guidance=float(guided), decay=0.9)
    assert alike(last[KEY], alone(lesson, row, 6).student)  # type: ignore[arg-type]


def test_the_nets_that_a_stage_begins_with_are_left_alone():
    x0, x1 = torch.randn(2, 9, 4, generator=generator())
    begun = net()
    stage({KEY: begun}, {KEY: Row(x0, x1)}, 2, SHORT)
    assert alike(begun, net())


def test_arms_of_a_seed_begin_alike_and_the_student_is_a_fourteenth_of_the_teacher():
    s = Sizes()
    assert alike(network(3, s), network(3, s))
    assert not alike(network(3, s), network(4, s))
    sizes = [sum(p.numel() for p in VelocityMlp(64, *widths).parameters()) for widths in (s.student, s.teacher)]
    assert sizes[0] / sizes[1] == pytest.approx(0.068, abs=0.001)


def test_real_digits_are_nearer_to_themselves_than_noise_is():
    s = replace(Sizes(), digits=300, reading=30)
    real = 2 * digits(0, 300)[0].x - 1
    itself = judged(lambda x, t: real[torch.arange(300).flip(0)] - x, real, s)
    noise = judged(lambda x, t: torch.zeros_like(x), real, s)
    assert max(itself) < 1e-5
    assert noise[0] > 1
    assert noise[1] > 0.3
