"""Gradients agree with finite differences, reach the student and nobody else, and map over a leading axis."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from tutelage import objectives as o

LABELS = torch.tensor([0, 2, 1, 2])
MASK = torch.tensor([[True, True, False], [True, True, True], [True, False, False], [True, True, True]])
SOFT = torch.softmax(torch.randn(4, 3, generator=torch.Generator().manual_seed(9)), -1).double()

LOGITS: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "kl": lambda s, t: o.distillation_kl(s, t, 3.0),
    "kl reverse": lambda s, t: o.distillation_kl(s, t, 3.0, direction="reverse"),
    "kl js": lambda s, t: o.distillation_kl(s, t, 3.0, direction="js"),
    "js": o.js_divergence,
    "kl weighted": lambda s, t: o.distillation_kl(s, t, weight=torch.tensor([1.0, 0.0, 2.0, 0.5]).double()),
    "soft ce": lambda s, t: o.soft_cross_entropy(s, t.softmax(-1)),
    "mse": o.logit_mse,
    "mse centred": lambda s, t: o.logit_mse(s, t, center=True),
    "bce": lambda s, t: o.soft_bce(s, t.sigmoid()),
    "brier": lambda s, t: o.brier(s, t.softmax(-1)),
    "probability mse": o.probability_mse,
    "pseudo label": o.pseudo_label_ce,
    "sharpened": o.sharpened_ce,
    "feature": o.feature_loss,
    "feature channel": lambda s, t: o.feature_loss(s, t, norm="channel"),
    "feature layer": lambda s, t: o.feature_loss(s, t, norm="layer"),
    "feature cosine": lambda s, t: o.feature_loss(s, t, kind="cosine"),
    "feature smooth": lambda s, t: o.feature_loss(s, t, kind="smooth_l1"),
    "gram": o.relation_loss,
    "similarity": o.similarity_preserving,
    "distance": o.distance_relation,
    "angle": o.angle_relation,
    "list margin": o.list_margin_mse,
    "list margin masked": lambda s, t: o.list_margin_mse(s, t, MASK),
    "pairwise": lambda s, t: o.pairwise_logistic(s, t.detach()),
}
DATA_DEPENDENT = {"similarity", "angle", "distance"}


@pytest.fixture
def pair() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    student, teacher = torch.randn(2, 4, 3, dtype=torch.float64, generator=generator)
    return student.requires_grad_(), teacher.requires_grad_()


@pytest.mark.parametrize("name", LOGITS)
def test_gradient_agrees_with_finite_differences(name: str, pair: tuple[Tensor, Tensor]) -> None:
    student, teacher = pair
    assert torch.autograd.gradcheck(lambda s: LOGITS[name](s, teacher.detach()), (student,))


@pytest.mark.parametrize("name", LOGITS)
def test_the_teacher_gets_no_gradient(name: str, pair: tuple[Tensor, Tensor]) -> None:
    student, teacher = pair
    LOGITS[name](student, teacher).backward()
    assert teacher.grad is None
    assert student.grad is not None


@pytest.mark.parametrize("name", sorted(set(LOGITS) - DATA_DEPENDENT))
def test_mapping_over_a_leading_axis_is_the_same_as_a_loop(name: str) -> None:
    s, t = torch.randn(2, 5, 4, 3, generator=torch.Generator().manual_seed(1))
    mapped = torch.vmap(LOGITS[name])(s.double(), t.double())
    assert torch.allclose(
        mapped, torch.stack([LOGITS[name](a, b) for a, b in zip(s.double(), t.double(), strict=True)])
    )


def check(function: Callable[[Tensor], Tensor], *shape: int) -> None:
    x = torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(2), requires_grad=True)
    assert torch.autograd.gradcheck(function, (x,))


def test_gradients_of_the_other_shapes() -> None:
    generator = torch.Generator().manual_seed(3)
    rand = lambda *shape: torch.randn(*shape, dtype=torch.float64, generator=generator)
    t = rand(4, 3)
    check(lambda s: o.decoupled_kd(s, t, LABELS), 4, 3)
    check(lambda s: o.brier(s, LABELS), 4, 3)
    check(lambda s: o.prediction_entropy(s).sum(), 4, 3)
    check(lambda s: o.info_nce(s, t, symmetric=True), 4, 3)
    check(lambda s: o.soft_bce(s, SOFT, mask=MASK), 4, 3)
    margins = rand(2, 4)
    check(lambda s: o.margin_mse(s[0], s[1], margins[0], margins[1]), 2, 4)
    tokens, taus = rand(2, 3, 5), 1 + rand(2, 3).abs()
    mask = torch.tensor([[True, True, False], [True, True, True]])
    check(lambda s: o.token_kl(s, tokens, mask, temperature=2.0, token_temperature=taus), 2, 3, 5)
    maps = rand(2, 3, 2, 2)
    check(lambda s: o.attention_transfer(s, maps), 2, 5, 4, 4)
    check(lambda s: o.attention_relation(s, rand(2, 3, 8).detach() * 0 + 1, heads=2, mask=mask), 2, 3, 4)
    scores = rand(2, 4, 3, 3)
    check(lambda s: o.attention_scores_loss(s, scores, mask), 2, 2, 3, 3)
