"""Costs of next tokens: what counts, and a divergence from a teacher's likeliest tokens."""

from __future__ import annotations

import math
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.errors import InputError
from tutelage.objectives.divergence import token_kl
from tutelage.objectives.tokens import next_token_nll, top_k_kl


def test_costs_by_hand():
    logits = torch.tensor([[[math.log(3.0), 0.0], [0.0, 0.0], [9.0, -9.0]]])
    costs, counted = next_token_nll(logits, torch.tensor([[1, 0, 1]]))
    assert costs[0].tolist() == pytest.approx([math.log(4 / 3), math.log(2)])
    assert counted.all()
    costs, counted = next_token_nll(logits, torch.tensor([[-100, -100, 1]]))
    assert costs[0].tolist() == pytest.approx([0, math.log(2)])
    assert counted.tolist() == [[False, True]]


def test_labels_agree_with_the_convention_of_transformers():
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(vocab_size=7, n_embd=8, n_layer=1, n_head=2, n_positions=6)
    model = transformers.GPT2LMHeadModel(config).eval()
    ids = torch.randint(7, (3, 6), generator=torch.Generator().manual_seed(0))
    labels = ids.masked_fill(torch.arange(6) < 2, -100)
    with torch.no_grad():
        said = model(input_ids=ids, labels=labels)
    costs, counted = next_token_nll(said.logits, labels)
    assert (costs.sum() / counted.sum()).item() == pytest.approx(said.loss.item(), rel=1e-5)


@settings(max_examples=30, deadline=None)
@given(st.integers(2, 6), st.integers(0, 1000))
def test_a_divergence_of_likeliest_tokens_grows_with_k_to_the_whole(vocabulary: int, seed: int):
    generator = torch.Generator().manual_seed(seed)
    s, t = (3 * torch.randn(2, 3, vocabulary, generator=generator) for _ in range(2))
    top = t.log_softmax(-1).topk(vocabulary, dim=-1)
    found = [top_k_kl(s, top.indices[..., :k], top.values[..., :k]).item() for k in range(1, vocabulary + 1)]
    assert all(later >= earlier - 1e-5 for earlier, later in pairwise(found))
    assert found[0] >= -1e-6
    assert found[-1] == pytest.approx(token_kl(s, t).item(), rel=1e-3, abs=1e-4)


def test_a_mask_chooses_tokens_and_a_gradient_points_to_the_teacher():
    s = torch.zeros(1, 2, 3, requires_grad=True)
    ids, log_p = torch.tensor([[[0], [1]]]), torch.tensor([[[0.9], [1.0]]]).log()
    by_hand = 0.9 * math.log(0.9 * 3) + 0.1 * math.log(0.1 / (2 / 3))
    loss = top_k_kl(s, ids, log_p, torch.tensor([[True, False]]))
    assert loss.item() == pytest.approx(by_hand, rel=1e-5)
    loss.backward()
    assert s.grad is not None
    assert s.grad[0, 0].tolist() == pytest.approx([1 / 3 - 0.9, 1 / 3 - 0.05, 1 / 3 - 0.05], abs=1e-6)
    assert (s.grad[0, 1] == 0).all()


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: next_token_nll(torch.zeros(2, 3, 4), torch.zeros(2, 4).long()), "do not fit"),
        (lambda: next_token_nll(torch.zeros(2, 3, 4), torch.full((2, 3), 4)), r"in \[0, 4\) or -100; found 4 in row 0"),
        (lambda: top_k_kl(torch.zeros(1, 2, 4), torch.zeros(1, 3, 1).long(), torch.zeros(1, 3, 1)), "do not fit"),
        (lambda: top_k_kl(torch.zeros(1, 1, 4), torch.tensor([[[0, 1]]]), torch.zeros(1, 1, 2)), "sum to a prob"),
    ],
)
def test_what_does_not_fit_is_refused(call, words: str):
    with pytest.raises(InputError, match=words):
        call()
