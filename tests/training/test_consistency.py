"""Self-training from parts: burn-in, frames, gates, who follows whom, and batches of two kinds."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tutelage.data.views import GeometricView
from tutelage.errors import InputError
from tutelage.objectives.consistency import pseudo_label_ce
from tutelage.objectives.reduce import weighted_mean
from tutelage.teachers.momentum import MomentumTeacher
from tutelage.training import Callback, Lesson, Progress, fit, seeded
from tutelage.training.consistency import ConsistencyLesson, SemiSupervisedBatches, TeacherTerm, photometric

SAME = photometric(lambda x, generator: x)
BATCH = {
    "x": torch.eye(3),
    "y": torch.tensor([0, 1, 1]),
    "unlabelled": torch.tensor([[9.0, 0.0, 0.0], [0.0, 0.2, 0.1]]),
}

BATCHES = SemiSupervisedBatches((BATCH["x"], BATCH["y"]), BATCH["unlabelled"], sizes=(3, 2))


def student() -> nn.Linear:
    with seeded(0, "init"):
        return nn.Linear(3, 2)


def lesson(net: nn.Module, **options: object) -> ConsistencyLesson:
    terms = {"pseudo": TeacherTerm(MomentumTeacher(net, 0.5), pseudo_label_ce)}
    settings = {"weak": SAME, "strong": SAME, "gate": lambda p: torch.ones(len(p))} | options
    return ConsistencyLesson(net, terms, **settings)  # type: ignore[arg-type]


def test_the_teacher_is_silent_during_burn_in_and_a_copy_at_its_end():
    net = student()
    made = lesson(net, burn_in=2)
    begun = made.teachers["pseudo"].module.weight.clone()
    seen = []

    class Watched(Lesson):
        def __init__(self) -> None:
            super().__init__()
            self.inner = made

        def losses(self, batch, progress):
            return made.losses(batch, progress)

        def after_step(self, progress):
            made.after_step(progress)
            weight = made.teachers["pseudo"].module.weight
            seen.append((torch.equal(weight, begun), torch.equal(weight, net.weight)))

    history = fit(Watched(), BATCHES, epochs=4, lr=0.1)
    assert seen == [(True, False), (False, True), (False, False), (False, False)]
    assert history["pseudo"][:2] == [None, None]
    assert None not in history["pseudo"][2:]


def test_the_loss_is_the_sum_of_its_parts_by_hand():
    net = student()
    made = lesson(net, gate=lambda p: (p.max(-1).values > 0.8).float(), ramp=lambda u: 2 * u)
    made.terms["pseudo"].teacher.module.weight.data = torch.tensor([[1.0, 0.0, 0.0], [0.0, 0.0, 0.0]])  # type: ignore[attr-defined]
    made.terms["pseudo"].teacher.module.bias.data.zero_()  # type: ignore[attr-defined]
    parts = made.losses(BATCH, Progress(1, 4))
    sure = nn.functional.cross_entropy(net(BATCH["unlabelled"][:1]), torch.tensor([0]))
    assert parts["pseudo"].item() == pytest.approx(2 * 0.25 * sure.item() / 2), "half of the pool is sure; u is 1/4"
    assert parts["supervised"].item() == pytest.approx(nn.functional.cross_entropy(net(BATCH["x"]), BATCH["y"]).item())
    assert made.kept.item() == 0.5


def test_answers_are_carried_from_the_teachers_frame_into_the_students():
    """A net that answers with its input agrees with itself whatever the two views are."""
    generator = torch.Generator().manual_seed(0)
    pictures = torch.zeros(2, 1, 8, 8)
    pictures[:, :, 2:4, 3:6] = 1.0
    flips = [GeometricView.draw(2, (8, 8), generator, flip=p) for p in (1.0, 1.0)]
    turned = GeometricView(torch.tensor([[[0.0, -1.0, 0.0], [1.0, 0.0, 0.0]]] * 2), (8, 8), torch.zeros(2).bool())

    def weak(x: Tensor, generator: torch.Generator):
        return flips[0].apply_image(x), flips[0].inverse().apply_map

    def strong(x: Tensor, generator: torch.Generator, said: Tensor, batch: object):
        assert torch.allclose(said, x, atol=1e-5), "what the teacher said is back in the frame of the picture"
        return turned.apply_image(x), turned.apply_map

    class Echo(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, x: Tensor) -> Tensor:
            return self.scale * x

    def gap(output: Tensor, target: Tensor, weight: Tensor) -> Tensor:
        return weighted_mean((output - target).square().mean((1, 2, 3)), weight)

    echo = Echo()
    made = ConsistencyLesson(
        echo, {"maps": TeacherTerm(MomentumTeacher(echo), gap)}, weak=weak, strong=strong,
        gate=lambda answer: answer.flatten(1).amax(1), read=lambda output: output,
        supervised=lambda net, batch, generator: net(batch["x"]).mean(),
    )  # fmt: skip
    parts = made.losses({"x": pictures, "unlabelled": pictures}, Progress(0, 1))
    assert parts["maps"].item() == pytest.approx(0.0, abs=1e-10)


def test_the_teachers_answer_has_no_graph_and_an_all_zero_gate_costs_nothing():
    net = student()
    made = lesson(net, gate=lambda p: torch.zeros(len(p)))
    parts = made.losses(BATCH, Progress(0, 1))
    parts["pseudo"].backward()
    assert parts["pseudo"].item() == 0.0
    assert not net.weight.grad.any()
    assert all(p.grad is None and not p.requires_grad for p in made.teachers.parameters())


def test_a_label_a_pixel_is_read():
    net = nn.Linear(3, 2)
    made = lesson(net)
    pictures = torch.randn(2, 4, 4, 3)
    batch = {"x": pictures, "y": torch.ones(2, 4, 4).long(), "unlabelled": pictures}
    expected = nn.functional.cross_entropy(net(pictures).flatten(0, 2), torch.ones(32).long())
    assert made.losses(batch, Progress(0, 2))["supervised"].item() == pytest.approx(expected.item())


def test_refuses_what_cannot_teach_itself():
    net = student()
    with pytest.raises(InputError, match="at least one teacher"):
        ConsistencyLesson(net, {}, weak=SAME, strong=SAME, gate=lambda p: p)
    with pytest.raises(InputError, match="burn_in >= 0"):
        lesson(net, burn_in=-1)
    shared = MomentumTeacher(net)
    shared.module = net
    with pytest.raises(InputError, match="shares weights"):
        ConsistencyLesson(net, {"self": TeacherTerm(shared, pseudo_label_ce)}, weak=SAME, strong=SAME, gate=lambda p: p)
    with pytest.raises(InputError, match="SemiSupervisedBatches"):
        lesson(net).losses({"x": BATCH["x"], "y": BATCH["y"]}, Progress(0, 1))


def test_an_epoch_is_one_pass_over_the_pool_and_labels_go_round_evenly():
    batches = SemiSupervisedBatches((torch.arange(5), torch.arange(5)), torch.arange(24), sizes=(3, 4), seed=1)
    given = list(batches)
    assert sorted(torch.cat([batch["unlabelled"] for batch in given]).tolist()) == list(range(24))
    counts = torch.bincount(torch.cat([batch["y"] for batch in given]))
    assert counts.tolist().count(4) + counts.tolist().count(3) == 5, "18 labelled places among 5 examples"
    assert all(torch.equal(batch["x"], batch["y"]) for batch in given)
    again = SemiSupervisedBatches((torch.arange(5), torch.arange(5)), torch.arange(24), sizes=(3, 4), seed=1)
    again.set_epoch(1)
    batches.set_epoch(1)
    for one, other, before in zip(again, batches, given, strict=True):
        assert torch.equal(one["unlabelled"], other["unlabelled"])
        assert not torch.equal(one["unlabelled"], before["unlabelled"])


def test_a_run_on_them_goes_on_from_a_checkpoint_to_the_same_bits(tmp_path):
    def run(steps_until: int | None, path):
        net = student()
        data = SemiSupervisedBatches(
            (BATCH["x"], BATCH["y"]), torch.randn(12, 3, generator=torch.Generator().manual_seed(0)), sizes=(2, 4)
        )
        options = {"epochs": 3, "lr": 0.1, "checkpoint": path, "checkpoint_every": 2}
        made = lesson(net, weak=photometric(noisy))
        if steps_until is not None:
            with pytest.raises(KeyboardInterrupt):
                fit(made, data, callbacks=[_Stop(steps_until)], **options)
        else:
            fit(made, data, callbacks=[_Stop(10**6)], **options)
        return net.weight.detach()

    def noisy(x: Tensor, generator: torch.Generator) -> Tensor:
        return x + torch.randn(x.shape, generator=generator)

    whole = run(None, tmp_path / "whole")
    run(5, tmp_path / "cut")
    assert torch.equal(run(None, tmp_path / "cut"), whole)


class _Stop(Callback):
    """Pulls the plug."""

    def __init__(self, step: int) -> None:
        self.step = step

    def after_step(self, run) -> None:
        if run.progress.step == self.step:
            raise KeyboardInterrupt


@pytest.mark.parametrize("sizes", [(0, 4), (2, 0), (2, 99)])
def test_refuses_sizes_that_give_no_batch(sizes: tuple[int, int]):
    with pytest.raises(InputError):
        SemiSupervisedBatches((BATCH["x"], BATCH["y"]), torch.zeros(8, 3), sizes=sizes)
