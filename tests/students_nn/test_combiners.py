"""Combiners: scales, attention, the mean."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tutelage.errors import InputError
from tutelage.students.combiners import FusionCombiner, MeanCombiner, ScaleCombiner

UPDATES = torch.tensor([[[1.0, 2.0]], [[10.0, 20.0]]])
"""Two sources, one example, two features."""


def test_scales_may_amplify_and_subtract():
    combiner = ScaleCombiner(2, [2], dropout=0.0)
    with torch.no_grad():
        combiner.omega[0].copy_(torch.tensor([[3.0, 1.0], [-1.0, 0.5]]))
    assert combiner(0, UPDATES[0], UPDATES).tolist() == [[-7.0, 12.0]]


@pytest.mark.parametrize(("normalise", "expected"), [("mean", [[7.0, 14.0]]), ("softmax", [[7.0, 14.0]])])
def test_the_ablations_make_shares_of_the_scales(normalise, expected):
    combiner = ScaleCombiner(2, [2], per_feature=False, dropout=0.0, normalise=normalise)
    with torch.no_grad():
        scales = torch.tensor([[1.0], [2.0]])
        combiner.omega[0].copy_(scales if normalise == "mean" else scales.log())
    assert torch.allclose(combiner(0, UPDATES[0], UPDATES), torch.tensor(expected))


@pytest.mark.parametrize(
    ("per_feature", "shared", "shapes"),
    [(True, False, [(3, 4), (3, 6)]), (False, False, [(3, 1), (3, 1)]), (False, True, [(3, 1)])],
)
def test_the_shapes_of_the_variants(per_feature: bool, shared: bool, shapes: list[tuple[int, int]]):
    combiner = ScaleCombiner(3, [4, 6], per_feature=per_feature, shared=shared)
    assert [tuple(omega.shape) for omega in combiner.omega] == shapes
    assert all(abs(omega.mean().item() - 2 / 3) < 0.01 for omega in combiner.omega)


def test_dropout_leaves_out_scales_in_training_only():
    combiner = ScaleCombiner(4, [100], dropout=0.25)
    scales = combiner.scales(0)
    assert 0.1 < (scales == 0).float().mean() < 0.4
    assert torch.allclose(scales[scales != 0], torch.tensor(0.5 / 0.75), atol=0.01), "the rest is made larger"
    assert torch.equal(combiner.eval().scales(0), combiner.omega[0])


def test_scales_refuse_what_cannot_be():
    with pytest.raises(InputError, match="cannot share scales of single features"):
        ScaleCombiner(2, [4, 6], shared=True)
    for options in ({"dropout": 1.0}, {"normalise": "max"}):
        with pytest.raises(InputError, match="dropout in"):
            ScaleCombiner(2, [4], **options)


def test_the_mean_is_scales_of_one_over_t():
    scales = ScaleCombiner(3, [8], init=1.0).eval()
    nn.init.constant_(scales.omega[0], 1 / 3)
    updates = torch.randn(3, 5, 8)
    assert torch.allclose(MeanCombiner()(0, updates[0], updates), scales(0, updates[0], updates), atol=1e-6)


def test_fusion_is_the_attention_that_it_re_orders():
    combiner = FusionCombiner([8])
    with torch.no_grad():
        for weight in combiner.parameters():
            nn.init.normal_(weight)
    h, updates = torch.randn(5, 8), torch.randn(3, 5, 8)
    query = combiner.query[0](h)
    keys, values = updates @ combiner.key[0].mT, updates @ combiner.value[0].mT
    shares = torch.einsum("bd,tbd->tb", query, keys).softmax(0)
    assert torch.allclose(combiner(0, h, updates), torch.einsum("tb,tbd->bd", shares, values), atol=1e-4)


def test_fusion_begins_near_the_mean():
    h, updates = torch.randn(5, 8), torch.randn(3, 5, 8)
    assert torch.allclose(FusionCombiner([8])(0, h, updates), updates.mean(0), atol=0.1)
