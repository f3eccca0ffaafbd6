"""Digits from many places: what a view does, who sees what, and that roles share no picture."""

from __future__ import annotations

import pytest
import torch

from tutelage.data.digits import digits
from tutelage.errors import InputError
from tutelage.worlds.digit_views import DigitViews, camera_digits, rotated_digits


def test_a_quarter_turn_moves_pixels_counter_clockwise():
    x = torch.zeros(1, 8, 8)
    x[0, 0, 7] = 1.0
    turned = DigitViews(rotate=90.0).view(x.flatten(1)).view(8, 8)
    assert turned[0, 0].item() == pytest.approx(1.0, abs=1e-5)
    assert turned.sum().item() == pytest.approx(1.0, abs=1e-5)


def test_a_camera_is_background_gain_and_light():
    x = digits(0, 20)[0].x
    for camera in (2, 3):
        seen = DigitViews(camera=camera).view(x)
        ratio = (seen[1:] - seen[0]) / (x[1:] - x[0])
        gain = ratio[(x[1:] - x[0]).abs() > 0.1]
        assert gain.std().item() == pytest.approx(0.0, abs=1e-4)
        assert (gain.mean() < 0) == bool(camera % 2)
        assert torch.equal(seen, DigitViews(camera=camera).view(x))


def test_a_batch_follows_the_camera_s_habits():
    world = DigitViews(camera=5)
    batch = world.batch(4000, torch.Generator().manual_seed(0))
    share = torch.bincount(batch["y"], minlength=10) / 4000
    assert torch.allclose(share, world.prior(), atol=0.03)
    every = digits(0, 1797)[0]
    assert torch.equal(every.y[batch["truth"]], batch["y"])
    assert DigitViews().prior().tolist() == pytest.approx([0.1] * 10)


def test_rotated_domains_lie_between_one_another_and_share_no_picture():
    places = rotated_digits(3, sizes=(48, 10, 12), domains=4)
    names = [[d.name for d in held] for held in (places.source, places.val, places.target)]
    assert names == [
        ["0.0°", "90.0°", "180.0°", "270.0°"],
        ["21.0°", "111.0°", "201.0°", "291.0°"],
        ["45.0°", "135.0°", "225.0°", "315.0°"],
    ]
    parts = digits(3, 48, 10, 12)
    assert torch.equal(places.source[0].x, DigitViews().view(parts[0].x[:12]))
    assert torch.equal(places.source[1].x, DigitViews(rotate=90.0).view(parts[0].x[12:24]))
    assert torch.equal(places.target[2].x, DigitViews(rotate=225.0).view(parts[2].x))
    everywhere = rotated_digits(3, sizes=(48, 10, 12), domains=4, shared=True)
    assert torch.equal(everywhere.source[1].x, DigitViews(rotate=90.0).view(parts[0].x))


def test_every_role_has_cameras_of_its_own():
    places = camera_digits(1, sizes=(60, 20, 20), domains=3, shown=30)
    assert len({domain.name for domain in places}) == 9
    assert [len(domain) for domain in places] == [30] * 9
    again = camera_digits(1, sizes=(60, 20, 20), domains=3, shown=30)
    assert all(torch.equal(a.x, b.x) for a, b in zip(places, again, strict=True))


def test_refuses_cameras_that_there_are_not():
    with pytest.raises(InputError, match="numbered from 0"):
        DigitViews(camera=-1)
    assert "contradict" in DigitViews().card()
