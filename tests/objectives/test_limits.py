"""What the objectives promise at their limits, and by their equations."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from tutelage.errors import InputError
from tutelage.objectives import (
    Projector,
    attention_transfer,
    decoupled_kd,
    distance_relation,
    distillation_kl,
    feature_loss,
    info_nce,
    js_divergence,
    list_margin_mse,
    logit_mse,
    margin_mse,
    prediction_entropy,
    pseudo_label_ce,
    relation_loss,
    sharpened_ce,
    soft_bce,
    soft_cross_entropy,
    token_kl,
    weighted_mean,
)

G = torch.Generator().manual_seed(0)
S, T = torch.randn(2, 6, 5, dtype=torch.float64, generator=G)
Y = torch.tensor([0, 1, 2, 3, 4, 0])


def test_high_temperature_is_logit_mse() -> None:
    """T² KL → 1 / (2K) Σ (s − t)² after centring, which is half of the centred mean square."""
    assert distillation_kl(S, T, 1e4).item() == pytest.approx(0.5 * logit_mse(S, T, center=True).item(), rel=1e-3)


def test_the_gradient_does_not_shrink_with_the_temperature() -> None:
    sizes = []
    for temperature in (4.0, 64.0):
        s = S.clone().requires_grad_()
        distillation_kl(s, T, temperature).backward()
        sizes.append(s.grad.norm().item())
    assert sizes[1] == pytest.approx(sizes[0], rel=0.5)


def test_soft_cross_entropy_is_kl_plus_the_targets_entropy() -> None:
    entropy = prediction_entropy(T).mean()
    assert soft_cross_entropy(S, T.softmax(-1)).item() == pytest.approx((distillation_kl(S, T) + entropy).item())


def test_one_hot_targets_are_plain_cross_entropy() -> None:
    assert soft_cross_entropy(S, F.one_hot(Y, 5).double()).item() == pytest.approx(F.cross_entropy(S, Y).item())


@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_decoupled_kd_with_the_silencing_factor_is_plain_kl(temperature: float) -> None:
    """KL = TCKD + (1 − p_y) NCKD, example by example."""
    for i in range(len(S)):
        s, t, y = S[i : i + 1], T[i : i + 1], Y[i : i + 1]
        p_y = (t / temperature).softmax(-1)[0, y].item()
        split = decoupled_kd(s, t, y, alpha=1.0, beta=1 - p_y, temperature=temperature)
        assert split.item() == pytest.approx(distillation_kl(s, t, temperature).item())


def test_a_saturated_teacher_leaves_decoupled_kd_finite() -> None:
    t = torch.tensor([[200.0, 0.0, 0.0]])
    s = torch.zeros(1, 3, requires_grad=True)
    loss = decoupled_kd(s, t, torch.tensor([0]))
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(s.grad).all()


def test_js_is_symmetric_and_bounded() -> None:
    assert js_divergence(S, T).item() == pytest.approx(js_divergence(T, S).item())
    assert js_divergence(100 * S, 100 * T).item() <= math.log(2)


def test_token_kl_with_one_temperature_is_the_flat_form() -> None:
    s, t = S.view(2, 3, 5), T.view(2, 3, 5)
    flat = distillation_kl(S, T, 2.0)
    assert token_kl(s, t, temperature=2.0).item() == pytest.approx(flat.item())
    same = token_kl(s, t, temperature=2.0, token_temperature=torch.full((2, 3), 2.0))
    assert same.item() == pytest.approx(flat.item())


def test_masked_tokens_do_not_count_even_when_they_are_not_finite() -> None:
    s, t = S.view(2, 3, 5).clone(), T.view(2, 3, 5)
    mask = torch.tensor([[True, True, False], [True, False, False]])
    expected = token_kl(s[mask].unsqueeze(0), t[mask].unsqueeze(0))
    s[~mask] = torch.nan
    assert token_kl(s, t, mask).item() == pytest.approx(expected.item())


@given(st.integers(1, 8), st.integers(0, 1000))
def test_an_all_zero_weight_is_zero_with_a_graph(batch: int, seed: int) -> None:
    s = torch.randn(batch, 3, generator=torch.Generator().manual_seed(seed), requires_grad=True)
    for over in ("mask", "weight"):
        loss = weighted_mean(s.square().sum(-1), torch.zeros(batch), over=over)
        loss.backward()
        assert loss.item() == 0
        assert torch.equal(s.grad, torch.zeros_like(s))


@given(st.lists(st.tuples(st.floats(-5, 5), st.floats(-5, 5)), min_size=2, max_size=9))
def test_list_margin_mse_is_the_mean_over_all_pairs(rows: list[tuple[float, float]]) -> None:
    s, t = torch.tensor(rows, dtype=torch.float64).T
    gaps = (s.unsqueeze(1) - s) - (t.unsqueeze(1) - t)
    assert list_margin_mse(s[None], t[None]).item() == pytest.approx(gaps.square().mean().item(), abs=1e-9)


def test_margins_ignore_an_offset_of_the_teacher() -> None:
    s, t = S[:, :2].T, T[:, :2].T
    shifted = t + torch.randn(6, dtype=torch.float64, generator=G)
    assert margin_mse(*s, *t).item() == pytest.approx(margin_mse(*s, *shifted).item())


def test_list_masks_are_shorter_lists() -> None:
    mask = torch.tensor([[True, True, True, False, False]])
    assert list_margin_mse(S[:1], T[:1], mask).item() == pytest.approx(list_margin_mse(S[:1, :3], T[:1, :3]).item())
    assert list_margin_mse(S[:1], T[:1], torch.zeros(1, 5, dtype=torch.bool)).item() == 0


def test_relations_ignore_rotation_and_scale() -> None:
    rotation = torch.linalg.qr(torch.randn(5, 5, dtype=torch.float64, generator=G)).Q
    assert relation_loss(S @ rotation, 3 * S).item() == pytest.approx(0, abs=1e-12)
    assert distance_relation(S @ rotation, 3 * S).item() == pytest.approx(0, abs=1e-12)


def test_equal_features_far_apart_in_scale_agree_after_normalisation() -> None:
    assert feature_loss(S, 7 * S, norm="channel").item() == pytest.approx(0, abs=1e-12)
    assert feature_loss(S, 7 * S + 3, norm="layer").item() == pytest.approx(0, abs=1e-4)
    assert feature_loss(S, T, sum_per_sample=True).item() == pytest.approx(5 * feature_loss(S, T).item())


def test_padding_has_no_say_in_feature_loss() -> None:
    s, t = S.view(2, 3, 5), T.view(2, 3, 5)
    kept = torch.tensor([[1.0, 1.0, 0.0], [1.0, 1.0, 0.0]], dtype=torch.float64)
    assert feature_loss(s, t, weight_map=kept).item() == pytest.approx(feature_loss(s[:, :2], t[:, :2]).item())


def test_attention_transfer_compares_any_widths_and_grids() -> None:
    x = torch.rand(2, 3, 4, 4, generator=G)
    assert attention_transfer(x, 5 * x).item() == pytest.approx(0, abs=1e-9)
    assert attention_transfer(x, torch.rand(2, 7, 2, 2, generator=G)).item() > 0
    assert torch.isfinite(attention_transfer(torch.zeros(1, 2, 3, 3), torch.ones(1, 2, 3, 3)))


def test_info_nce_rows_without_company_cost_nothing() -> None:
    none = torch.zeros(6, 6, dtype=torch.bool)
    assert info_nce(S, T, positives=none).item() == 0
    assert info_nce(S, T, negatives=none).item() == 0
    assert info_nce(S[:1], T[:1]).item() == 0


def test_info_nce_is_cross_entropy_over_the_batch() -> None:
    scores = F.normalize(S) @ F.normalize(T).T / 0.2
    assert info_nce(S, T, 0.2).item() == pytest.approx(F.cross_entropy(scores, torch.arange(6)).item())


def test_sharp_consistency_is_the_pseudo_label() -> None:
    assert sharpened_ce(S, T, 1e-3).item() == pytest.approx(pseudo_label_ce(S, T).item())


def test_sparse_and_dense_binary_targets_agree() -> None:
    ids, values = torch.tensor([[0, 3]] * 6), torch.rand(6, 2, dtype=torch.float64, generator=G)
    dense = torch.zeros(6, 5, dtype=torch.float64).scatter(1, ids, values)
    assert soft_bce(S, (ids, values)).item() == pytest.approx(soft_bce(S, dense).item())


def test_half_precision_is_computed_in_float32() -> None:
    s, t = S.half(), T.half()
    assert distillation_kl(s, t).dtype == torch.float32
    assert distillation_kl(s, t).item() == pytest.approx(distillation_kl(S, T).item(), rel=1e-2)


def test_projectors_fit_what_they_are_shown() -> None:
    tokens = Projector.between(torch.zeros(2, 4, 8), torch.zeros(2, 4, 6))
    assert tokens(torch.zeros(3, 5, 8)).shape == (3, 5, 6)
    up = Projector.between(torch.zeros(1, 4, 2, 2), torch.zeros(1, 4, 6, 6))
    assert up(torch.zeros(3, 4, 2, 2)).shape == (3, 4, 6, 6)
    assert sum(p.numel() for p in Projector(4, 4, "identity").parameters()) == 0
    assert Projector(3, 5, "mlp")(torch.zeros(2, 3)).shape == (2, 5)


@pytest.mark.parametrize(
    "call",
    [
        lambda: distillation_kl(S, T[:, :4]),
        lambda: distillation_kl(S, T, 0.0),
        lambda: distillation_kl(S, T, direction="sideways"),
        lambda: token_kl(S.view(2, 3, 5), T.view(2, 3, 5), torch.ones(2, 4)),
        lambda: soft_cross_entropy(S, T[:3]),
        lambda: weighted_mean(S, weight=torch.ones(5)),
        lambda: feature_loss(S, T, kind="l3"),
        lambda: relation_loss(S, T[:3]),
        lambda: info_nce(S, T[:3]),
        lambda: margin_mse(S[0], S[1], T[0], T[1, :2]),
        lambda: Projector(3, 4, "identity"),
        lambda: sharpened_ce(S, T, -1.0),
    ],
)
def test_what_does_not_fit_is_refused(call) -> None:
    with pytest.raises(InputError):
        call()


def test_classes_that_both_sides_rule_out_cost_nothing() -> None:
    s, t = S.clone(), T.clone()
    s[:, 0], t[:, 0] = -torch.inf, -torch.inf
    for direction in ("forward", "reverse", "js"):
        expected = distillation_kl(S[:, 1:], T[:, 1:], 2.0, direction=direction)
        assert distillation_kl(s, t, 2.0, direction=direction).item() == pytest.approx(expected.item())
