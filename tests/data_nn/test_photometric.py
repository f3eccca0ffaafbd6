"""Photometric views: what is left alone, what is one draw for a batch, and colour by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.data.photometric import gentle_view, photometric
from tutelage.errors import InputError

STILL = {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0, "gamma": 0.0}


def pictures(n: int = 3, channels: int = 3, side: int = 8) -> torch.Tensor:
    return torch.rand(n, channels, side, side, generator=torch.Generator().manual_seed(0))


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_no_amount_changes_nothing_but_values_outside_the_range(channels: int):
    x = pictures(channels=channels)
    assert torch.allclose(photometric(x, generator(), **STILL), x, atol=1e-5)
    assert torch.allclose(photometric(3 * x - 1, generator(), **STILL), (3 * x - 1).clamp(0, 1), atol=1e-5)


def test_light_is_one_draw_for_the_whole_batch():
    x = 0.5 * pictures()
    ratio = photometric(x, generator(), **STILL | {"brightness": 0.4}) / x
    assert torch.allclose(ratio, ratio[0, 0, 0, 0].expand_as(ratio), atol=1e-4)
    assert 0.6 <= ratio[0, 0, 0, 0].item() <= 1.4
    assert ratio[0, 0, 0, 0].item() != pytest.approx(1.0)


def test_contrast_keeps_the_mean_and_gamma_keeps_black_and_white():
    x = 0.3 + 0.4 * pictures()
    changed = photometric(x, generator(), **STILL | {"contrast": 0.3})
    assert torch.allclose(changed.mean((1, 2, 3)), x.mean((1, 2, 3)), atol=1e-5)
    assert not torch.allclose(changed, x, atol=0.01)
    ends = torch.tensor([0.0, 1.0, 0.5]).view(1, 1, 1, 3)
    curved = photometric(ends, generator(), **STILL | {"gamma": 0.3}).flatten()
    assert curved[:2].tolist() == [0.0, 1.0]
    assert curved[2].item() != pytest.approx(0.5, abs=1e-3)


def test_saturation_and_hue_leave_brightness_and_grey_alone():
    x = 0.4 + 0.1 * pictures()
    weights = torch.tensor([0.299, 0.587, 0.114]).view(1, 3, 1, 1)
    changed = photometric(x, generator(), **STILL | {"saturation": 0.5, "hue": 0.06})
    assert torch.allclose((changed * weights).sum(1), (x * weights).sum(1), atol=1e-4)
    assert not torch.allclose(changed, x, atol=1e-3)
    grey = x[:, :1].expand(-1, 3, -1, -1)
    assert torch.allclose(photometric(grey, generator(), **STILL | {"saturation": 0.5, "hue": 0.5}), grey, atol=1e-3)


@given(n=st.integers(1, 3), height=st.integers(4, 9), width=st.integers(4, 9), seed=st.integers(0, 9))
@settings(max_examples=20, deadline=None)
def test_a_view_keeps_shape_and_range_and_repeats_with_its_generator(n: int, height: int, width: int, seed: int):
    x = torch.rand(n, 1, height, width, generator=generator(seed))
    view = gentle_view(x, generator(seed))
    assert view.shape == x.shape
    assert 0 <= view.min() <= view.max() <= 1
    assert torch.equal(view, gentle_view(x, generator(seed)))


def test_a_view_is_of_pictures():
    for shape in ((4, 3), (4, 3, 8), (8, 8)):
        with pytest.raises(InputError, match=r"for pictures \[B, C, H, W\].*other inputs: got \["):
            gentle_view(torch.rand(shape), generator())


def test_a_view_without_amounts_is_the_light_alone_and_a_flip_is_a_mirror():
    x = pictures()
    still = {"rotate": 0.0, "shift": 0.0, "scale": 0.0, "flip": 0.0, "blur": 0.0, "noise": 0.0}
    lit = photometric(x, generator())
    assert torch.allclose(gentle_view(x, generator(), **still), lit, atol=1e-5)
    assert torch.allclose(gentle_view(x, generator(), **still | {"flip": 1.0}), lit.flip(-1), atol=1e-5)


def test_a_movement_is_one_draw_and_repeats_the_edges():
    x = pictures(1).expand(3, -1, -1, -1)
    view = gentle_view(x, generator(), noise=0.0)
    assert torch.allclose(view, view[:1].expand_as(view), atol=1e-6)
    white = torch.ones(2, 1, 8, 8)
    moved = gentle_view(white, generator(2), noise=0.0)
    assert moved.std().item() == pytest.approx(0.0, abs=1e-5), "no black corners come in"
