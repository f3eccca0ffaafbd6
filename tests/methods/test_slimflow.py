"""SlimFlow: the annealed ends and the guided jump by hand, where gradients go, the order of the stages, and what is refused."""

from __future__ import annotations

import copy
from itertools import pairwise

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.methods.common import Case, MethodContract
from tutelage.errors import InputError
from tutelage.methods.generation.slimflow import (
    AnnealedReflow,
    FlowGuidedDistillation,
    SlimFlow,
    annealed_noise,
    annealing,
    guided_jump,
)
from tutelage.objectives.flow import rectified_flow_loss
from tutelage.students.velocity import VelocityMlp
from tutelage.teachers.frozen import frozen
from tutelage.teachers.pairs import draw_pairs
from tutelage.training import Lesson, Progress, fit, seeded

PROGRESS = Progress(0, 1)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def net(dim: int = 4, seed: int = 0, width: int = 6) -> VelocityMlp:
    with seeded(seed, "init"):
        return VelocityMlp(dim, width)


def pairs_case(shape: tuple[int, ...], dtype: torch.dtype) -> Case:
    x0, x1 = torch.randn(2, 12, *shape, generator=generator()).to(dtype)
    dim = x0[0].numel()
    return Case(net(dim).to(dtype), frozen(net(dim, 1).to(dtype)), {"x": x0, "y": x1}, dim)


class PlainReflow(Lesson):
    """Rectified flow on pairs as they are."""

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.student = student

    def losses(self, batch, progress):
        t = 1e-3 + (1 - 1e-3) * torch.rand(len(batch["x"]), generator=progress.generator, dtype=batch["x"].dtype)
        return {"flow": rectified_flow_loss(self.student, batch["x"], batch["y"], t).mean()}


class Jump(Lesson):
    """Regression of the pairs' ends in one step."""

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.student = student

    def losses(self, batch, progress):
        made = batch["x"] + self.student(batch["x"], batch["x"].new_zeros(len(batch["x"])))
        return {"direct": (made - batch["y"]).square().mean()}


class TestAnnealedReflow(MethodContract):
    settings = (((4,), 0, torch.float32), ((1, 2, 2), 0, torch.float64))

    def case(self, shape: tuple[int, ...] = (4,), classes: int = 0, dtype: torch.dtype = torch.float32) -> Case:
        return pairs_case(shape, dtype)

    def lesson(self, case: Case) -> Lesson:
        return AnnealedReflow(case.student)

    def neutral(self, case: Case) -> tuple[Lesson, Lesson]:
        return AnnealedReflow(case.student, 0.0), PlainReflow(case.student)

    def mismatched(self, case: Case) -> None:
        return None


class TestFlowGuidedDistillation(MethodContract):
    settings = (((4,), 0, torch.float32), ((1, 2, 2), 0, torch.float64))

    def case(self, shape: tuple[int, ...] = (4,), classes: int = 0, dtype: torch.dtype = torch.float32) -> Case:
        return pairs_case(shape, dtype)

    def lesson(self, case: Case) -> Lesson:
        return FlowGuidedDistillation(case.student, case.teacher)

    def neutral(self, case: Case) -> tuple[Lesson, Lesson]:
        return FlowGuidedDistillation(case.student, case.teacher, guidance=0.0), Jump(case.student)

    def mismatched(self, case: Case) -> Lesson:
        return FlowGuidedDistillation(case.student, frozen(net(5)))


@given(st.floats(0, 1))
def test_annealed_noise_keeps_its_variance(beta: float):
    x0, xi = torch.randn(2, 4000, generator=generator(), dtype=torch.float64)
    mixed = annealed_noise(x0, xi, beta)
    assert mixed.var().item() == pytest.approx(1, abs=0.08)
    assert (mixed * x0).mean().item() == pytest.approx((1 - beta**2) ** 0.5, abs=0.08)


def test_annealed_noise_is_the_pairs_own_at_the_end_and_somebody_elses_at_the_start():
    x0, xi = torch.randn(2, 5, generator=generator())
    assert torch.equal(annealed_noise(x0, xi, 0.0), x0)
    assert torch.equal(annealed_noise(x0, xi, 1.0), xi)
    rows = annealed_noise(x0.expand(2, 5), xi.expand(2, 5), torch.tensor([[0.0], [1.0]]))
    assert torch.equal(rows, torch.stack([x0, xi]))


@pytest.mark.parametrize("kind", ["linear", "exp", "cosine"])
def test_annealing_begins_at_one_and_never_rises(kind):
    values = [annealing(0.3, kind)(k / 50) for k in range(51)]
    assert values[0] == 1.0
    assert all(a >= b for a, b in pairwise(values))
    assert values[-1] == pytest.approx(0.0, abs=0.04)
    assert kind == "exp" or all(value == pytest.approx(0) for value in values[15:])


@pytest.mark.parametrize("warmup", [0.0, 1.2, -0.1])
def test_an_annealing_longer_than_the_run_is_refused(warmup: float):
    with pytest.raises(InputError, match="share of the run"):
        annealing(warmup)
    with pytest.raises(InputError, match="'linear', 'exp' or 'cosine'"):
        annealing(0.4, "step")  # type: ignore[arg-type]


def test_the_guided_jump_asks_in_the_middle_of_the_students_own():
    z, jump, t = torch.tensor([[1.0, 0.0]]), torch.tensor([[4.0, 2.0]]), torch.tensor([0.5])

    def guide(y: Tensor, at: Tensor) -> Tensor:
        assert y.tolist() == [[3.0, 1.0]]
        assert at.tolist() == [0.5]
        return torch.tensor([[0.0, 6.0]])

    assert guided_jump(guide, z, jump, t).tolist() == [[2.0, 4.0]], "half its own jump, half the guide's"


def test_a_jump_with_which_the_guide_agrees_is_right():
    z, jump = torch.randn(2, 6, 3, generator=generator())
    agreed = guided_jump(lambda y, t: jump, z, jump, torch.rand(6, generator=generator()))
    assert torch.allclose(agreed, jump, atol=1e-6)


def test_the_losses_by_hand():
    """A student that never moves: x1 − x0 is what it misses, and the guide's jump is where it should have gone."""

    class Still(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.move = nn.Parameter(torch.zeros(()))

        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            return self.move.expand_as(x)

    guide = Still()
    guide.move.data.fill_(2.0)
    student = Still()
    x0, x1 = torch.zeros(3, 2), torch.tensor([[1.0, 3.0]] * 3)
    parts = FlowGuidedDistillation(student, frozen(guide), guidance=0.5).losses({"x": x0, "y": x1}, Progress(0, 1))
    t = 0.2 + 0.6 * torch.rand(3, generator=torch.Generator())
    assert parts["direct"].item() == pytest.approx((1 + 9) / 2)
    assert parts["guided"].item() == pytest.approx(0.5 * (2 * (1 - t)).square().mean().item())
    parts["guided"].backward()
    slope = 0.5 * 2 * (0 - 2 * (1 - t)).mean().item()
    assert student.move.grad is not None
    assert student.move.grad.item() == pytest.approx(slope), "only the jump carries a gradient, not y nor the target"


def test_annealing_shows_the_student_other_noise_first_and_the_pairs_own_last():
    x0, x1 = torch.randn(2, 40, 4, generator=generator())
    seen: list[Tensor] = []

    class Watching(nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            seen.append((x - t.unsqueeze(1) * x1) / (1 - t.unsqueeze(1)))
            return x

    lesson = AnnealedReflow(Watching(), annealing(0.5))
    for step in (0, 5, 8):
        lesson.losses({"x": x0, "y": x1}, Progress(step, 10))
    alike = [torch.corrcoef(torch.stack([start.flatten(), x0.flatten()]))[0, 1].item() for start in seen]
    assert abs(alike[0]) < 0.3
    assert alike[1] == pytest.approx(1, abs=1e-4)
    assert alike[2] == pytest.approx(1, abs=1e-4)


def test_mirroring_takes_both_ends():
    x0 = torch.randn(50, 1, 2, 2, generator=generator())
    lesson = FlowGuidedDistillation(net(4), guidance=0.0, flip=True, distance=lambda made, wanted: wanted.sum())
    mirrored = lesson.losses({"x": x0, "y": x0 + torch.tensor([0.0, 1.0])}, PROGRESS)["direct"]
    assert mirrored.item() == pytest.approx((x0.sum() + 100).item(), rel=1e-4)
    told: list[Tensor] = []
    still = FlowGuidedDistillation(
        net(4), guidance=0.0, flip=True, distance=lambda made, wanted: told.append(wanted) or made.sum()
    )
    still.losses({"x": x0, "y": x0}, PROGRESS)
    assert 10 < int((told[0] == x0).flatten(1).all(1).sum()) < 40


def test_both_averages_follow_their_students():
    for lesson in (AnnealedReflow(net(), decay=0.5), FlowGuidedDistillation(net(), guidance=0.0, decay=0.5)):
        before = copy.deepcopy(lesson.student.net.head.bias)  # type: ignore[union-attr]
        lesson.after_step(PROGRESS)
        with torch.no_grad():
            lesson.student.net.head.bias.add_(2.0)  # type: ignore[union-attr]
        lesson.after_step(PROGRESS)
        assert torch.allclose(lesson.average.module.net.head.bias, before + 1.0)  # type: ignore[union-attr]


def test_the_two_stages_in_their_order():
    slim = SlimFlow(net(2, width=32), draw_pairs(lambda z: 3 + 0.1 * z, 400, (2,)))
    with pytest.raises(InputError, match=r"call reflow\(\) before"):
        slim.distill(1)
    history = slim.reflow(150, {"lr": 5e-3})
    assert history["step"][-1] == 150
    with pytest.raises(InputError, match="nothing to sample"):
        slim.sample(1)
    slim.distill(150, {"lr": 5e-3})
    samples = slim.sample(500, seed=3)
    assert torch.equal(samples, slim.sample(500, seed=3))
    assert not torch.equal(samples, slim.sample(500, seed=4))
    assert (samples.mean(0) - 3).abs().max() < 0.5
    assert samples.std(0).max() < 0.5


def test_refuses_what_cannot_be_taught():
    x0, x1 = torch.randn(2, 500, 2, generator=generator())
    with pytest.raises(InputError, match="ends exchanged"):
        SlimFlow(net(2), (3 + x1, x0))
    with pytest.raises(InputError, match="share of the run"):
        SlimFlow(net(2), (x0, x1), warmup=1.5)
    with pytest.raises(InputError, match="needs a guide"):
        FlowGuidedDistillation(net(2))
    with pytest.raises(InputError, match="guidance is >= 0"):
        FlowGuidedDistillation(net(2), net(2), guidance=-1.0)
    with pytest.raises(InputError, match="moves 2 elements"):
        fit(AnnealedReflow(net(2)), (torch.randn(8, 3), torch.randn(8, 3)), steps=1)
    with pytest.raises(InputError, match="one shape"):
        fit(AnnealedReflow(net(2)), (torch.randn(8, 2), torch.randn(8, 3)), steps=1)


def test_a_warm_up_of_nothing_is_plain_reflow():
    x0, x1 = torch.randn(2, 500, 2, generator=generator())
    assert SlimFlow(net(2), (x0, x1), warmup=0.0).beta == 0.0
