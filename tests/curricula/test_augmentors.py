"""Augmentors: the changes by hand, the bound, the gradient that reaches the widths, and one seed for every draw."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn

from tutelage.curricula.augmentors import (
    AffineAugmentor,
    Augmentor,
    LatentAugmentor,
    MixAugmentor,
    NoiseAugmentor,
    affine_matrices,
)
from tutelage.errors import InputError


def seed(number: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(number)


def amounts(**named: float) -> Tensor:
    names = ("shift_x", "shift_y", "rotate", "scale_x", "scale_y", "shear")
    return torch.tensor([named.get(name, 0.0) for name in names])


def test_single_changes_are_the_textbook_matrices():
    angle = 0.3
    cos, sin = math.cos(angle), math.sin(angle)
    expected = {
        "rotate": [[cos, -sin, 0.0], [sin, cos, 0.0]],
        "shift_x": [[1.0, 0.0, angle], [0.0, 1.0, 0.0]],
        "scale_y": [[1.0, 0.0, 0.0], [0.0, math.exp(angle), 0.0]],
        "shear": [[math.cosh(angle), math.sinh(angle), 0.0], [math.sinh(angle), math.cosh(angle), 0.0]],
    }
    for name, matrix in expected.items():
        assert torch.allclose(affine_matrices(amounts(**{name: angle})), torch.tensor(matrix), atol=1e-6), name


def test_an_amount_and_its_negative_undo_one_another():
    amount = 0.3 * torch.randn(5, 6, generator=seed())
    last = torch.tensor([0.0, 0.0, 1.0]).expand(5, 1, 3)
    there, back = (torch.cat([affine_matrices(sign * amount), last], 1) for sign in (1, -1))
    assert torch.allclose(there @ back, torch.eye(3).expand(5, 3, 3), atol=1e-5)


def test_a_shift_moves_a_picture_by_its_share_of_the_side():
    picture = torch.zeros(1, 1, 8, 8)
    picture[..., 3, 3] = 1.0
    augmentor = AffineAugmentor(shift=0.25, start=0.999)
    augmentor.bound[1] = 0.0
    moved = augmentor(picture.expand(200, 1, 8, 8), seed())
    columns = moved.sum((1, 2)) @ torch.arange(8.0) / moved.sum((1, 2, 3))
    assert (columns.min() - 1.0).abs() < 0.1, "two pixels of eight at most"
    assert (columns.max() - 5.0).abs() < 0.1
    assert torch.allclose(moved.sum((1, 3))[:, 3], moved.sum((1, 2, 3))), "rows stay"


def test_signals_are_shifted_along_their_only_axis():
    signal = torch.zeros(64, 2, 16)
    signal[..., 8] = 1.0
    moved = AffineAugmentor(shift=0.2, rotate=30, start=0.999)(signal, seed())
    assert moved.shape == signal.shape
    assert torch.allclose(moved[:, 0], moved[:, 1])
    assert (moved.argmax(-1)[:, 0] - 8).abs().max() <= 4
    assert torch.allclose(moved.sum(-1), torch.ones(64, 2), atol=1e-4), "nothing is lost inside the signal"


KINDS: list[tuple[Augmentor, Tensor]] = [
    (AffineAugmentor(shift=0.2, rotate=15, scale=0.1, shear=0.1), torch.rand(6, 1, 8, 8, generator=seed(1))),
    (AffineAugmentor(shift=0.2, scale=0.1), torch.rand(6, 2, 12, generator=seed(1))),
    (NoiseAugmentor(torch.ones(5)), torch.randn(6, 5, generator=seed(1))),
    (MixAugmentor(0.5), torch.randn(6, 5, generator=seed(1))),
    (MixAugmentor(torch.full((2, 5), 0.5)), torch.randn(6, 2, 5, generator=seed(1))),
    (
        LatentAugmentor(nn.Linear(5, 3).requires_grad_(False), nn.Linear(3, 5).requires_grad_(False)),
        torch.randn(6, 5, generator=seed(1)),
    ),
]


@pytest.mark.parametrize(("augmentor", "x"), KINDS, ids=lambda value: type(value).__name__)
def test_the_gradient_reaches_the_widths_and_a_seed_decides_the_draw(augmentor: Augmentor, x: Tensor):
    first, second, other = augmentor(x, seed(3)), augmentor(x, seed(3)), augmentor(x, seed(4))
    assert first.shape == x.shape
    assert torch.equal(first, second)
    assert not torch.equal(first, other)
    augmentor.zero_grad()
    (first - x).square().sum().backward()
    assert augmentor.phi.grad is not None
    assert torch.isfinite(augmentor.phi.grad).all()
    assert augmentor.phi.grad.abs().sum() > 0
    assert all(isinstance(value, float) for value in augmentor.describe().values())


@pytest.mark.parametrize(
    "made", [lambda s: AffineAugmentor(shift=0.2, start=s), lambda s: NoiseAugmentor(1.0, start=s)]
)
def test_widths_begin_at_their_share_of_the_bound_and_never_pass_it(made):
    augmentor = made(0.25)
    assert torch.allclose(augmentor.widths, 0.25 * augmentor.bound)
    with torch.no_grad():
        augmentor.phi += 100
    assert (augmentor.widths <= augmentor.bound).all()


def test_a_bound_of_nothing_changes_nothing():
    x = torch.rand(4, 1, 6, 6, generator=seed())
    assert torch.allclose(AffineAugmentor(shift=0.0)(x, seed()), x, atol=1e-5)
    assert torch.equal(NoiseAugmentor(0.0)(x, seed()), x)
    assert torch.equal(MixAugmentor(0.0)(x, seed()), x)


def test_a_mixture_lies_between_two_examples():
    x = torch.tensor([[0.0], [1.0]])
    mixed = torch.cat([MixAugmentor(0.5, start=0.999)(x, seed(i)) for i in range(50)])
    assert mixed.min() >= 0
    assert mixed.max() <= 1
    assert mixed[1::2].min() >= 0.5, "the example itself has the larger share"


def test_double_precision_stays_double():
    x = torch.rand(3, 1, 6, 6, generator=seed()).double()
    assert AffineAugmentor(shift=0.1)(x, seed()).dtype == torch.float64
    assert NoiseAugmentor(1.0)(x, seed()).dtype == torch.float64


@pytest.mark.parametrize("wrong", [0.0, 1.0, -0.5])
def test_a_start_that_cannot_be_left_is_refused(wrong: float):
    with pytest.raises(InputError, match="start in"):
        NoiseAugmentor(1.0, start=wrong)


def test_what_does_not_fit_is_refused():
    with pytest.raises(InputError, match="bounds >= 0"):
        NoiseAugmentor(-1.0)
    with pytest.raises(InputError, match="signals"):
        AffineAugmentor(shift=0.1)(torch.zeros(2, 5), seed())
    with pytest.raises(InputError, match="frozen"):
        LatentAugmentor(nn.Linear(2, 2), nn.Linear(2, 2))
    with pytest.raises(NotImplementedError, match="write forward"):
        Augmentor(1.0)(torch.zeros(1), seed())
