"""Swing distillation: the loss by hand, what a private token is never told, and where degrees come from."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.methods.common import Case, MethodContract
from tutelage.data.privacy import shield_targets
from tutelage.errors import InputError
from tutelage.methods.distillation.swing import (
    SwingDistillation,
    noisy_logits,
    private_tokens,
    surprisal_gap,
    token_temperature,
)
from tutelage.objectives.divergence import token_kl
from tutelage.students.lm import GruLM, char_tokenizer, next_token_loss, word_tokenizer
from tutelage.studies.distillation._messages import NAMES, messages
from tutelage.teachers.frozen import frozen
from tutelage.training import Batch, Lesson, Progress, fit, seeded


def language(vocabulary: int, width: int, seed: int, dtype: torch.dtype = torch.float32) -> nn.Module:
    with seeded(seed, "init"):
        return GruLM(vocabulary, width=width).to(dtype)


class PlainKD(Lesson):
    """What swing must reduce to when nothing is private."""

    def __init__(self, case: Case) -> None:
        super().__init__()
        self.student, self.teacher = case.student, case.teacher

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        s, z = self.student(batch["x"]), self.teacher(batch["x"]).detach()
        kd = token_kl(s[:, :-1], z[:, :-1], temperature=2.0)
        return {"kd": kd, "ce": 0.5 * next_token_loss(s, batch["x"])}


class TestSwingDistillation(MethodContract):
    def case(
        self, shape: tuple[int, ...] = (6,), classes: int = 3, dtype: torch.dtype = torch.float32, private: bool = True
    ) -> Case:
        length, vocabulary = shape[-1] + 1, classes + 4
        generator = torch.Generator().manual_seed(0)
        degree = torch.rand(12, length, generator=generator) if private else torch.zeros(12, length)
        ids = torch.randint(vocabulary, (12, length), generator=generator)
        student, teacher = language(vocabulary, 5, 0, dtype), frozen(language(vocabulary, 7, 1, dtype))
        return Case(student, teacher, {"x": ids, "degree": degree}, vocabulary)

    def lesson(self, case: Case) -> Lesson:
        return SwingDistillation(case.student, case.teacher, tau0=2.0)

    def neutral(self, case: Case) -> tuple[Lesson, Lesson]:
        case.data["degree"] = torch.zeros_like(case.data["degree"])
        return self.lesson(case), PlainKD(case)

    def mismatched(self, case: Case) -> Lesson:
        return SwingDistillation(case.student, frozen(language(case.classes + 1, 7, 1)))


class Says(nn.Module):
    """The same logits at every position, as a parameter."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, ids: Tensor) -> Tensor:
        return self.logits.expand(*ids.shape, -1)


def parts(degree: list[float], **options: object) -> dict[str, float]:
    """One text "0 1 0" with these degrees; the student is uniform over two tokens, the teacher has odds 3 : 1."""
    lesson = SwingDistillation(Says(0.0, 0.0), Says(math.log(3.0), 0.0), noise=0.0, **options)  # type: ignore[arg-type]
    batch = {"x": torch.tensor([[0, 1, 0]]), "degree": torch.tensor([degree])}
    return {name: part.item() for name, part in lesson.losses(batch, Progress(0, 1)).items()}


def kl(odds: float) -> float:
    """KL of (odds, 1) / (odds + 1) from uniform."""
    p = odds / (1 + odds)
    return p * math.log(2 * p) + (1 - p) * math.log(2 * (1 - p))


def test_the_loss_by_hand():
    got = parts([0.0, 0.0, 1.0], tau_max=20.0, labels=0.5)
    assert got["kd"] == pytest.approx((kl(3.0) + kl(3.0 ** (1 / 20))) / 2, rel=1e-4)
    assert got["ce"] == pytest.approx(0.5 * math.log(2) / 2), "a mean over two targets, of which one is private"


def test_the_degree_is_that_of_the_target_not_of_the_input():
    """The first token is nobody's target, so its degree changes nothing."""
    assert parts([1.0, 0.0, 0.0]) == parts([0.0, 0.0, 0.0])
    assert parts([0.0, 1.0, 0.0])["kd"] < parts([0.0, 0.0, 0.0])["kd"]


def test_a_private_token_is_not_amplified():
    """τ₀² and not τ²: what is softer pays less, never more."""
    losses = [parts([0.0, r, r], tau0=2.0)["kd"] for r in (0.0, 0.25, 0.5, 1.0)]
    assert losses == sorted(losses, reverse=True)
    assert losses[0] == pytest.approx(4 * kl(math.sqrt(3.0)), rel=1e-5)


def test_labels_fade_with_the_degree_and_stop_at_half():
    assert [round(parts([0.0, r, r], labels=1.0)["ce"] / math.log(2), 4) for r in (0.0, 0.3, 0.5, 0.9)] == [
        1,
        0.7,
        0,
        0,
    ]


def test_padding_is_nobodys_target():
    lesson = SwingDistillation(Says(0.0, 0.0), Says(math.log(3.0), 0.0), noise=0.0)
    batch = {"x": torch.tensor([[0, 1, 0, 0]]), "degree": torch.zeros(1, 4)}
    padded = lesson.losses({**batch, "mask": torch.tensor([[True, True, True, False]])}, Progress(0, 1))
    short = lesson.losses({"x": batch["x"][:, :3], "degree": batch["degree"][:, :3]}, Progress(0, 1))
    assert {name: part.item() for name, part in padded.items()} == {name: part.item() for name, part in short.items()}


def test_a_gradient_on_a_private_token_points_to_uniform():
    """With τ_max → ∞ the target of a private token is uniform, whatever the teacher has memorised."""
    student = Says(2.0, 0.0)
    lesson = SwingDistillation(student, Says(50.0, 0.0), tau_max=1e9, noise=0.0, labels=0.5)
    batch = {"x": torch.tensor([[0, 0]]), "degree": torch.tensor([[0.0, 1.0]])}
    sum(lesson.losses(batch, Progress(0, 1)).values()).backward()  # type: ignore[union-attr]
    assert student.logits.grad is not None
    assert torch.allclose(student.logits.grad, torch.tensor([2.0, 0.0]).softmax(0) - 0.5, atol=1e-6)


def test_noise_has_the_laplace_scale_of_the_degree_and_spares_public_tokens():
    degree = torch.tensor([[0.0, 0.5, 1.0]])
    noise = noisy_logits(torch.zeros(1, 3, 40_000), degree, 2.0, torch.Generator().manual_seed(0))[0]
    assert (noise[0] == 0).all()
    assert noise[1].abs().mean().item() == pytest.approx(1.0, rel=0.03), "E|n| = scale"
    assert noise[2].abs().mean().item() == pytest.approx(2.0, rel=0.03)
    assert noise[2].mean().abs() < 0.06
    logits = torch.zeros(1, 3, 2)
    assert noisy_logits(logits, torch.zeros(1, 3), 1.0, torch.Generator()) is logits


def test_temperature_is_linear_in_the_degree():
    assert token_temperature(torch.tensor([0.0, 0.25, 1.0]), 2.0, 10.0).tolist() == [2.0, 4.0, 10.0]


def test_the_surprise_of_a_public_model_raises_the_degree():
    ids = torch.tensor([[0, 1, 0]])
    private = torch.tensor([[[0.0, 30.0], [0.0, 0.0], [0.0, 0.0]]])
    public = torch.tensor([[[5.0, 0.0], [0.0, 0.0], [0.0, 0.0]]])
    found = surprisal_gap(private, public, ids)
    known = 0.0 - math.log(1 / (1 + math.exp(5)))  # the private model is sure, the public one is surprised by 5 nats
    assert found[0, 1].item() == pytest.approx(1 / (1 + math.exp(-2 * (known - 3))), rel=1e-3)
    assert found[0, 0] == 0, "nobody predicts the first token"
    assert found[0, 2].item() == pytest.approx(1 / (1 + math.exp(6)), rel=1e-3), "no gap"


def test_a_public_model_protects_what_rules_do_not_know():
    batch = {"x": torch.tensor([[0, 0]]), "degree": torch.zeros(1, 2)}
    plain, guarded = (
        SwingDistillation(Says(0.0, 0.0), Says(40.0, 0.0), noise=0.0, public=public)
        for public in (None, Says(0.0, 40.0))
    )
    assert guarded.losses(batch, Progress(0, 1))["kd"] < 0.5 * plain.losses(batch, Progress(0, 1))["kd"]
    assert guarded.losses(batch, Progress(0, 1))["ce"] == 0


def test_every_piece_of_a_private_span_gets_its_degree():
    text = "code 4815 now"
    data = private_tokens([text, "now"], char_tokenizer([text]).encode)
    assert data["degree"][0].tolist() == pytest.approx([0.0] * 5 + [0.9] * 4 + [0.0] * 4)
    assert data["mask"].sum(1).tolist() == [13, 3]
    assert data["x"].shape == data["degree"].shape == data["mask"].shape
    with pytest.raises(InputError, match="no texts"):
        private_tokens([], char_tokenizer([text]).encode)


def test_the_shield_of_classifiers_is_the_same_equation():
    logits, degree = (
        torch.randn(5, 4, generator=torch.Generator().manual_seed(0)),
        torch.tensor([0.0, 0.2, 0.5, 0.9, 1.0]),
    )
    ours = (logits / token_temperature(degree, 1.0, 20.0).unsqueeze(-1)).softmax(-1)
    theirs = shield_targets(logits.softmax(-1).numpy(), degree.numpy(), noise=0.0)
    assert np.allclose(ours.numpy(), theirs, atol=1e-6)


@pytest.mark.parametrize(
    "wrong", [{"tau0": 0.0}, {"tau0": 5.0, "tau_max": 2.0}, {"noise": -1.0}, {"soft": 0.0, "labels": 0.0}]
)
def test_settings_out_of_range_are_refused(wrong: dict[str, float]):
    with pytest.raises(InputError, match="tau0 <= tau_max"):
        SwingDistillation(Says(0.0), Says(0.0), **wrong)  # type: ignore[arg-type]


def test_a_batch_must_say_how_private_it_is():
    lesson = SwingDistillation(Says(0.0, 0.0), Says(0.0, 0.0))
    ids = torch.zeros(1, 3, dtype=torch.long)
    with pytest.raises(InputError, match="private_tokens"):
        lesson.losses({"x": ids}, Progress(0, 1))
    for wrong in (torch.tensor([[0.0, 1.5, 0.0]]), torch.tensor([[0.0, -0.1, 0.0]]), torch.zeros(1, 2)):
        with pytest.raises(InputError, match="one a token"):
            lesson.losses({"x": ids, "degree": wrong}, Progress(0, 1))


def test_what_the_teacher_has_memorised_does_not_reach_the_student():
    """A teacher that knows one code by heart, one student told plainly and one at the swing temperature."""
    texts = ["the code is 4 8 1 5", "the train is late today"] * 8
    tokenizer = word_tokenizer([*texts, "0 1 2 3 4 5 6 7 8 9"])
    data = private_tokens(texts, tokenizer.encode)
    size = tokenizer.get_vocab_size()
    known = torch.zeros(16, data["x"].shape[1], size)
    known.scatter_(2, data["x"].roll(-1, 1).unsqueeze(-1), 20.0)
    first, code = tokenizer.encode("the code is"), tokenizer.token_to_id("4")
    said = []
    for degree in (torch.zeros_like(data["degree"]), data["degree"]):
        student = language(size, 16, 0)
        lesson = SwingDistillation(student, lambda batch: known[batch["index"]])
        fit(lesson, {**data, "degree": degree}, steps=60, batch_size=16, lr=2e-2)
        with torch.no_grad():
            said.append(student(torch.tensor([first.ids]))[0, -1].softmax(-1)[code].item())
    assert said[0] > 0.6, "told plainly it repeats the code"
    assert said[1] < 0.15


def test_the_simulated_messages_keep_canary_names_for_canaries():
    lines = messages(300, seed=1)
    assert lines == messages(300, seed=1) != messages(300, seed=2)
    spoken = {word for line in lines for word in line.split()}
    assert spoken & set(NAMES[:-20])
    assert not spoken & set(NAMES[-20:])
    assert len(set(NAMES)) == len(NAMES)
