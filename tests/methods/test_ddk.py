"""DDK: the mixture by hand, its bounds, and distillation of language models of several kinds."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tests.methods.common import Case, MethodContract
from tutelage.errors import InputError
from tutelage.methods.language.ddk import DDK, first_factors, next_factors
from tutelage.students.lm import GruLM, TinyLM, next_token_loss
from tutelage.teachers.frozen import frozen
from tutelage.training import Batch, Callback, Lesson, Progress, seeded
from tutelage.training.causal import CausalDistillation
from tutelage.training.weights import weights_fingerprint

GAPS = st.lists(st.floats(0.01, 1e9), min_size=2, max_size=8)


def language(vocabulary: int, width: int, seed: int, dtype: torch.dtype = torch.float32) -> nn.Module:
    with seeded(seed, "init"):
        return GruLM(vocabulary, width=width).to(dtype)


class NextToken(Lesson):
    """What distillation must reduce to without a teacher."""

    def __init__(self, student: nn.Module) -> None:
        super().__init__()
        self.student = student

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        return {"ce": next_token_loss(self.student(batch["x"]), batch["x"], batch["y"] != -100)}


class TestDistillationOfALanguageModel(MethodContract):
    def case(self, shape: tuple[int, ...] = (6,), classes: int = 3, dtype: torch.dtype = torch.float32) -> Case:
        vocabulary, generator = classes + 4, torch.Generator().manual_seed(0)
        ids = torch.randint(vocabulary, (12, shape[-1] + 1), generator=generator)
        labels = ids.masked_fill(torch.rand(ids.shape, generator=generator) < 0.2, -100)
        student, teacher = language(vocabulary, 5, 0, dtype), frozen(language(vocabulary, 7, 1, dtype))
        return Case(student, teacher, {"x": ids, "y": labels}, vocabulary)

    def lesson(self, case: Case) -> Lesson:
        return CausalDistillation(case.student, case.teacher)

    def neutral(self, case: Case) -> tuple[Lesson, Lesson]:
        return CausalDistillation(case.student, None, gamma=0.0), NextToken(case.student)

    def mismatched(self, case: Case) -> Lesson:
        return CausalDistillation(case.student, language(case.classes + 1, 7, 1))


class Says(nn.Module):
    """The same logits at every position, as a parameter."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self.logits = nn.Parameter(torch.tensor(logits))

    def forward(self, ids: Tensor) -> Tensor:
        return self.logits.expand(*ids.shape, -1)


def test_the_loss_by_hand_and_from_likeliest_tokens():
    batch = {"x": torch.tensor([[0, 1, 0]]), "y": torch.tensor([[0, 1, -100]])}
    student = Says(0.0, 0.0)
    parts = CausalDistillation(student, Says(math.log(3.0), 0.0), gamma=0.5).losses(batch, Progress(0, 1))
    kl = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert {n: p.item() for n, p in parts.items()} == pytest.approx({"ce": math.log(2), "kd": 0.5 * kl})
    batch |= {"top_ids": torch.zeros(1, 3, 1).long(), "top_logp": torch.full((1, 3, 1), math.log(0.75))}
    again = CausalDistillation(student, None, gamma=0.5).losses(batch, Progress(0, 1))
    assert again["kd"].item() == pytest.approx(0.5 * kl, rel=1e-5)


def test_factors_by_hand():
    gap = np.log([2.0, 4.0, 2.0])
    assert first_factors(gap).tolist() == pytest.approx([0.25, 0.5, 0.25])
    before = np.array([0.5, 0.25, 0.25])  # ψ ∝ 1, 1, ½
    assert next_factors(gap, before, alpha=1.0).tolist() == pytest.approx([0.4, 0.4, 0.2])
    assert next_factors(gap, before, alpha=0.5).tolist() == pytest.approx([0.2 + 1 / 6, 0.2 + 1 / 6, 0.1 + 1 / 6])
    capped = next_factors(np.log([8.0, 1.0, 1.0]), np.ones(3) / 3, alpha=1.0, max_weight=0.5)
    assert capped.tolist() == pytest.approx([0.5, 0.25, 0.25])
    assert next_factors(np.log([8.0, 6.0, 1.0]), np.ones(3) / 3, alpha=1.0, max_weight=1 / 3).tolist() == pytest.approx(
        [1 / 3] * 3
    )


@settings(max_examples=60, deadline=None)
@given(GAPS, st.floats(0.01, 1), st.floats(0, 1), st.integers(1, 40))
def test_factors_stay_a_mixture_within_their_bounds(gaps: list[float], alpha: float, spare: float, intervals: int):
    gap, top = np.minimum(gaps, 20.0), (1 + spare * (len(gaps) - 1)) / len(gaps)
    factors = first_factors(gap)
    for _ in range(intervals):
        factors = next_factors(gap, factors, alpha=alpha, max_weight=top)
        assert factors.sum() == pytest.approx(1)
        assert (factors <= top + 1e-9).all()
        assert (factors >= min(top, (1 - alpha) / len(gaps)) - 1e-9).all()


def test_a_student_that_beats_its_teacher_gets_less_of_that_domain():
    before = np.full(3, 1 / 3)
    factors = next_factors(np.array([0.5, 1.0, 1.0]), before)
    assert 1 / 6 < factors[0] < 1 / 3 < factors[1] == factors[2]


def test_without_smoothing_one_domain_takes_everything_and_with_it_none_does():
    gap, kept, lost = np.array([3.0, 1.0, 1.0, 1.0]), np.full(4, 0.25), np.full(4, 0.25)
    for _ in range(600):
        kept, lost = next_factors(gap, kept), next_factors(gap, lost, alpha=1.0)
    assert lost[0] == pytest.approx(1.0)
    assert (kept[1:] >= 0.125).all()


def corpus(size: int = 24) -> dict[str, dict[str, Tensor]]:
    """A domain that repeats one token, one that alternates, and one of noise."""
    noise = torch.randint(6, (size, 8), generator=torch.Generator().manual_seed(0))
    return {
        "repeat": {"x": (torch.arange(size) % 6).view(-1, 1).expand(-1, 8).clone()},
        "alternate": {"x": (torch.arange(2 * size).view(-1, 1) + torch.arange(8)) % 2},
        "noise": {"x": noise},
    }


OPTIONS: dict[str, Any] = {"validation": 6, "steps": 6, "batch_size": 4, "lr": 0.02, "seed": 1}


def test_the_first_interval_is_the_corpus_and_later_ones_follow_the_gap():
    student, teacher = language(6, 8, 0), language(6, 16, 1)
    before = weights_fingerprint(teacher)
    ddk = DDK(student, teacher, interval=2)
    history = ddk.fit(corpus(), **OPTIONS)
    assert history["step"] == [2, 4, 6]
    assert [history[f"share {name}"][0] for name in corpus()] == pytest.approx([18 / 78, 42 / 78, 18 / 78])
    gaps = np.array([[float(row[f"gap {name}"] or 0) for name in corpus()] for row in history])
    shares = np.array([[float(row[f"share {name}"] or 0) for name in corpus()] for row in history])
    assert next_factors(gaps[1], shares[1]).tolist() == pytest.approx(shares[2].tolist(), rel=1e-5)
    assert [*ddk.factors.values()] == pytest.approx(next_factors(gaps[2], shares[2]).tolist(), rel=1e-5)
    assert ddk.target.keys() == corpus().keys()
    assert min(ddk.target.values()) > 1
    assert weights_fingerprint(teacher) == before


@pytest.mark.filterwarnings("ignore:the gap no longer falls")
def test_validation_rows_are_not_trained_on():
    seen: list[Tensor] = []

    class Listening(GruLM):
        def forward(self, ids: Tensor) -> Tensor:
            if self.training:
                seen.append(ids)
            return super().forward(ids)

    rows = {name: {"x": torch.full((9, 4), 10 * k) + torch.arange(9)[:, None]} for k, name in enumerate("ab")}
    DDK(Listening(20, width=4), language(20, 4, 1), interval=3).fit(rows, validation=3, steps=12, batch_size=4)
    assert set(torch.cat(seen)[:, 0].tolist()) == {3, 4, 5, 6, 7, 8, 13, 14, 15, 16, 17, 18}


def test_a_run_that_was_cut_goes_on_to_the_same_bits(tmp_path: Path):
    class Cut(Exception):
        pass

    class CutAt(Callback):
        def after_step(self, run) -> None:
            if run.progress.step == 5:
                raise Cut

    def run(**more: Any) -> tuple[str, dict[str, float]]:
        ddk = DDK(language(6, 8, 0), language(6, 16, 1), interval=3)
        options: dict[str, Any] = {**OPTIONS, "steps": 9, "checkpoint_every": 4, **more}
        ddk.fit(corpus(), **options)
        return weights_fingerprint(ddk.lesson.student), ddk.factors

    whole, path = run(), tmp_path / "run.safetensors"
    with pytest.raises(Cut):
        run(checkpoint=path, callbacks=[CutAt()])
    assert run(checkpoint=path, callbacks=[Callback()]) == whole
    assert run(checkpoint=path, callbacks=[Callback()]) == whole, "nothing is left to do"


def test_causal_models_of_hugging_face():
    transformers = pytest.importorskip("transformers")

    def llama(width: int, layers: int):
        config = transformers.LlamaConfig(
            vocab_size=6, hidden_size=width, intermediate_size=2 * width, num_hidden_layers=layers, num_attention_heads=2,
            max_position_embeddings=8, pad_token_id=5,
        )  # fmt: skip
        with seeded(layers, "init"):
            return transformers.LlamaForCausalLM(config)

    def inputs(rows: dict[str, Tensor]) -> list[dict[str, Tensor]]:
        return [
            {"input_ids": ids, "attention_mask": torch.ones_like(ids), "labels": ids.masked_fill(ids == 5, -100)}
            for ids in rows["x"]
        ]

    domains = {name: inputs(rows) for name, rows in corpus().items()}
    ddk = DDK(llama(8, 1), llama(16, 2), interval=3)
    history = ddk.fit(domains, **OPTIONS)  # type: ignore[arg-type]
    assert sum(ddk.factors.values()) == pytest.approx(1)
    assert float(history["loss"][-1] or 9) < float(history["loss"][0] or 0)
    tiny = DDK(TinyLM(6, width=8, depth=1, heads=2, context=8), llama(16, 2), interval=3)
    assert len(tiny.fit(corpus(), **OPTIONS)) == 2


def test_teachers_that_cannot_be_asked():
    ddk = DDK(language(6, 8, 0), None, gamma=0.0, interval=3)
    with pytest.warns(UserWarning, match="counts as perfect"):
        ddk.fit(corpus(), **OPTIONS)
    assert set(ddk.target.values()) == {1.0}
    given = {"repeat": 1.0, "alternate": 1.0, "noise": 1e9}
    history = ddk.fit(corpus(), **OPTIONS, target=given)
    assert ddk.target == given
    assert float(history["gap noise"][-1] or 1) < 1e-6
    assert ddk.factors["noise"] == min(ddk.factors.values())


def test_a_domain_that_cannot_be_learned_is_named():
    noise = corpus(300)["noise"]
    domains = {"noise": noise, "repeat": corpus()["repeat"]}
    ddk = DDK(language(6, 8, 0), None, gamma=0.0, interval=4, alpha=0.1)
    with pytest.warns(UserWarning, match="no longer falls in noise: is"):
        ddk.fit(domains, **OPTIONS | {"steps": 80, "lr": 0.03}, target={"noise": 1.0, "repeat": 1.0})


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda d: d.fit({"law": corpus()["noise"]}, steps=2), "two domains"),
        (lambda d: d.fit(corpus()), "number of steps"),
        (lambda d: d.fit(corpus(), steps=2, validation=24), "cannot hold out 24 of the 24 rows of 'repeat'"),
        (lambda d: d.fit(corpus(), steps=2, validation={"noise": corpus()["noise"]}), "no validation rows"),
        (lambda d: d.fit(corpus(), steps=2, validation=3, target={"noise": 2.0}), "target, of repeat, alternate"),
        (
            lambda d: d.fit({**corpus(), "empty": {"x": torch.zeros(0, 8)}}, steps=2, validation=2),
            "'empty': the data set is empty",
        ),
        (lambda d: DDK(d.lesson.student, None).fit(corpus(), **OPTIONS, target=dict.fromkeys(corpus(), 1.0)), "gamma"),
        (lambda d: DDK(d.lesson.student, None, max_weight=0.2).fit(corpus(), **OPTIONS), "max_weight >= 1/N"),
        (lambda d: DDK(d.lesson.student, None, alpha=0.0), r"alpha and max_weight in \(0, 1\]"),
        (lambda d: DDK(d.lesson.student, None, alpha=1.1), r"alpha and max_weight in \(0, 1\]"),
        (lambda d: DDK(d.lesson.student, None, interval=0), "interval >= 1"),
        (lambda d: DDK(d.lesson.student, None, gamma=-1.0), "gamma >= 0"),
        (lambda d: DDK(d.lesson.student, language(7, 4, 1)).fit(corpus(), **OPTIONS), "both need one vocabulary"),
    ],
)
def test_what_does_not_fit_is_refused(call, words: str):
    with pytest.raises(InputError, match=words):
        call(DDK(language(6, 8, 0), language(6, 16, 1)))
