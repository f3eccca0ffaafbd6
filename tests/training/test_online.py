"""Streams and what adapts to them: what an adapter sees, what is scored, and the entropy that falls."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tutelage.errors import InputError
from tutelage.objectives.entropy import prediction_entropy
from tutelage.training.at_test_time import Fixed, Tent, batch_norms, with_batch_statistics
from tutelage.training.online import StreamRecord, run_stream
from tutelage.training.weights import weights_fingerprint


def model() -> nn.Sequential:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.ReLU(), nn.Dropout(0.5), nn.Linear(5, 2)).eval()


X = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))


class Counting:
    """Says class 1 from its third batch on; keeps what it saw."""

    def __init__(self) -> None:
        self.seen: list[Tensor] = []

    def step(self, x: Tensor) -> Tensor:
        self.seen.append(x)
        return torch.tensor([[1.0, 0.0]] if len(self.seen) < 3 else [[0.0, 1.0]]).expand(len(x), 2)


def batch(n: int, y: int, **more: Any) -> dict[str, Any]:
    return {"x": torch.zeros(n, 1), "y": torch.full((n,), y)} | more


def test_a_record_holds_every_answer_in_order_with_its_place():
    stream = [
        batch(2, 0, domain="fog", cycle=0), batch(1, 1, domain="rain", cycle=0),
        batch(2, 1, domain="fog", cycle=1), batch(3, 1, domain="rain", cycle=1),
    ]  # fmt: skip
    adapter = Counting()
    record = run_stream(adapter, stream)
    assert [len(x) for x in adapter.seen] == [2, 1, 2, 3]
    assert record.wrong.tolist() == [False, False, True, False, False, False, False, False]
    assert record.error == pytest.approx(1 / 8)
    assert record.by("domain") == {"fog": 0.0, "rain": 0.25}
    assert record.by("cycle") == {0: pytest.approx(1 / 3), 1: 0.0}
    assert record.drift == pytest.approx(-1 / 3)


def test_scores_by_hand():
    record = StreamRecord(
        np.log([[0.8, 0.2], [0.4, 0.6]]), np.array([0, 0]), np.array(["", ""]), np.array([0, 0])
    )  # fmt: skip
    scores = record.scores()
    assert scores["error"] == 0.5
    assert scores["Brier"] == pytest.approx((2 * 0.2**2 + 2 * 0.6**2) / 2)
    assert scores["NLL"] == pytest.approx(-(np.log(0.8) + np.log(0.4)) / 2)
    assert scores["ECE"] == pytest.approx((0.2 + 0.6) / 2)
    assert record.drift == 0.0


def test_large_logits_do_not_overflow():
    record = StreamRecord(np.array([[1e4, 0.0]]), np.array([0]), np.array([""]), np.array([0]))
    assert record.probs.tolist() == [[1.0, 0.0]]


def test_refuses_empty_streams_and_answers_of_another_shape():
    with pytest.raises(InputError, match="empty"):
        run_stream(Fixed(nn.Identity()), [])
    with pytest.raises(InputError, match=r"batch 0: got \(2, 1, 1\)"):
        run_stream(Fixed(nn.Unflatten(1, (1, 1))), [batch(2, 0)])


def test_batch_statistics_are_those_of_the_batch_and_the_model_stays_as_it_was():
    source = model()
    before = weights_fingerprint(source)
    live = with_batch_statistics(source)
    hidden = source[0](X)
    normed = (hidden - hidden.mean(0)) / (hidden.var(0, unbiased=False) + 1e-5).sqrt()
    assert torch.allclose(live(X), source[4](normed.relu()), atol=1e-5)
    assert torch.equal(live(X), live(X)), "dropout is off and nothing is remembered"
    assert not any(part.training for part in live.modules())
    assert weights_fingerprint(source) == before
    assert len(batch_norms(live)) == 1
    with pytest.raises(InputError, match="no batch norm"):
        with_batch_statistics(nn.Linear(2, 2))


def test_a_single_example_has_no_statistics_of_its_own():
    with pytest.raises(InputError, match="batch of 1"):
        Fixed(with_batch_statistics(model())).step(X[:1])
    assert Fixed(model()).step(X[:1]).shape == (1, 2)
    with pytest.raises(InputError, match="batch of 0"):
        Fixed(model()).step(X[:0])


def test_a_fixed_model_never_changes_its_answer():
    source = model()
    fixed = Fixed(source)
    first = fixed.step(X)
    nn.init.zeros_(source[4].weight)
    assert torch.equal(fixed.step(X), first)
    assert not first.requires_grad


def test_tent_answers_before_it_learns_and_moves_scale_and_shift_only():
    source = model()
    tent = Tent(source, lr=0.05)
    answers = [tent.step(X) for _ in range(10)]
    assert torch.allclose(answers[0], with_batch_statistics(source)(X))
    entropies = [prediction_entropy(said).mean().item() for said in answers]
    assert entropies[-1] < entropies[0]
    assert torch.equal(tent.model[0].weight, source[0].weight)
    assert torch.equal(tent.model[4].weight, source[4].weight)
    assert not torch.equal(tent.model[1].weight, source[1].weight)
    assert not torch.equal(tent.model[1].bias, source[1].bias)


def test_the_first_step_of_tent_goes_against_the_gradient_of_the_entropy():
    live = with_batch_statistics(model())
    prediction_entropy(live(X)).mean().backward()
    expected = live[1].bias.detach() - 0.05 * live[1].bias.grad.sign()  # type: ignore[union-attr]
    tent = Tent(model(), lr=0.05)
    tent.step(X)
    assert torch.allclose(tent.model[1].bias, expected, atol=1e-4), "Adam's first step is the rate times the sign"


def test_tent_refuses_a_model_without_scale_and_shift():
    with pytest.raises(InputError, match="nothing to learn"):
        Tent(nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2, affine=False)))
