"""Streams of corrupted digits: what comes when, who is never shown, and what each corruption does to a picture."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.data.photometric import gaussian_blur
from tutelage.errors import InputError
from tutelage.worlds.corruptions import CORRUPTIONS
from tutelage.worlds.digit_stream import CorruptedDigitStream, Moment

NAMES = list(CORRUPTIONS)


def made(seed: int = 0, **options: object) -> list[Moment]:
    world = CorruptedDigitStream(**{"cycles": 2, "batches": 2, "size": 20} | options)  # type: ignore[arg-type]
    return list(world.stream(torch.Generator().manual_seed(seed)))


def test_corruptions_come_in_their_order_cycle_after_cycle():
    moments = made()
    assert [m["domain"] for m in moments] == [name for _ in range(2) for name in NAMES for _ in range(2)]
    assert [m["cycle"] for m in moments] == [0] * 22 + [1] * 22
    assert all(m["x"].shape == (20, 1, 16, 16) and m["y"].shape == (20,) for m in moments)
    shuffled = [m["domain"] for m in made(order="shuffled")][::2]
    assert sorted(shuffled[:11]) == sorted(shuffled[11:]) == sorted(NAMES)
    assert shuffled[:11] != shuffled[11:]


def test_the_generator_decides_everything_and_the_split_keeps_the_clean_pictures_out():
    first, again, other = made(), made(), made(seed=1)
    assert all(torch.equal(a["x"], b["x"]) and torch.equal(a["y"], b["y"]) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[0]["x"], other[0]["x"])
    clean = CorruptedDigitStream().clean()
    assert clean.x.shape == (900, 1, 16, 16)
    contrast = torch.cat([m["x"] for m in first if m["domain"] == "contrast"])
    restored = (contrast - 0.5) / 0.2 + 0.5
    assert torch.cdist(restored.flatten(1), clean.x.flatten(1)).min().item() > 0.1
    assert torch.cdist(restored.flatten(1), CorruptedDigitStream(source=1).clean().x.flatten(1)).shape == (80, 1)


def test_the_hard_mode_shows_few_classes_a_batch_and_the_same_ones_over_a_corruption():
    easy, hard = ([len(m["y"].unique()) for m in made(temporal=t, batches=6, size=50)] for t in (False, True))
    assert sum(easy) / len(easy) > 9
    assert max(hard) <= 4
    moments = made(temporal=True, batches=6, size=50)[:6]
    assert torch.cat([m["y"] for m in moments]).diff().ge(0).all()


def test_a_batch_tells_the_corruption_under_truth():
    batch = CorruptedDigitStream().batch(23, torch.Generator().manual_seed(0))
    assert batch["x"].shape == (23, 1, 16, 16)
    assert batch["truth"].tolist() == [*range(11), *range(11), 0]
    flat = batch["x"][batch["truth"] == NAMES.index("contrast")]
    assert 0.4 <= flat.min().item() <= flat.max().item() <= 0.6 + 1e-6


def corrupted(name: str, x: torch.Tensor) -> torch.Tensor:
    return CORRUPTIONS[name](x, torch.Generator().manual_seed(0))


def test_what_each_corruption_does_by_hand():
    x = CorruptedDigitStream().clean().x
    change = corrupted("noise", x) - x
    assert change.std().item() == pytest.approx(0.45, rel=0.02)
    grey = torch.full((400, 1, 16, 16), 0.5)
    hit = corrupted("impulse", grey)
    assert (hit == 0).float().mean().item() == pytest.approx(0.14, abs=0.01)
    assert (hit == 1).float().mean().item() == pytest.approx(0.14, abs=0.01)
    point = torch.zeros(1, 1, 16, 16)
    point[0, 0, 8, 8] = 7.0
    assert corrupted("motion", point)[0, 0, 8].tolist() == pytest.approx([0.0] * 5 + [1.0] * 7 + [0.0] * 4)
    assert corrupted("blur", point).sum().item() == pytest.approx(7.0, abs=0.05)
    assert corrupted("bright", torch.tensor([0.0, 1.0, 2.0])).tolist() == pytest.approx([0.55, 1.15, 1.2])
    field = corrupted("fog", torch.zeros(300, 1, 16, 16))
    assert field.std((1, 2, 3)).tolist() == pytest.approx([0.35] * 300)
    assert field.mean().item() == pytest.approx(0.3, abs=0.05)
    assert (field[..., 1:] - field[..., :-1]).abs().mean() < 0.1, "fog is smooth"
    blocks = corrupted("pixelate", x)[..., :4, :4]
    assert torch.equal(blocks, blocks[..., :1, :1].expand_as(blocks))
    assert blocks[0, 0, 0, 0].item() == pytest.approx(x[0, 0, :4, :4].mean().item())
    added = corrupted("stripe", x) - x
    assert {round(value, 3) for value in added.unique().tolist()} == {0.0, 0.6}
    assert torch.equal(added, added[..., :1, :].expand_as(added)), "stripes stand upright"
    assert (added[..., 1:] != added[..., :-1]).float().mean().item() == pytest.approx(0.5, abs=0.05)


def test_rotation_turns_about_the_centre_and_elastic_keeps_the_values():
    point = torch.zeros(1, 1, 16, 16)
    point[0, 0, 7:9, 13:15] = 1.0
    turned = corrupted("rotate", point)[0, 0]
    y, x = torch.meshgrid(torch.arange(16) - 7.5, torch.arange(16) - 7.5, indexing="ij")
    middle = torch.stack([(turned * x).sum(), (turned * y).sum()]) / turned.sum()
    angle = torch.rad2deg(torch.atan2(middle[1], middle[0])).abs().item()
    assert angle == pytest.approx(25, abs=1)
    assert middle.norm().item() == pytest.approx(6, abs=0.1)
    x = CorruptedDigitStream().clean().x[:50]
    bent = corrupted("elastic", x)
    assert bent.min() >= 0
    assert bent.max() <= 1
    assert not torch.allclose(bent, x, atol=0.1)
    assert torch.allclose(corrupted("elastic", torch.full((3, 1, 16, 16), 0.4)), torch.tensor(0.4))


@pytest.mark.parametrize("name", NAMES)
@given(n=st.integers(1, 3), seed=st.integers(0, 5))
@settings(max_examples=5, deadline=None)
def test_a_corruption_keeps_shape_and_source_and_depends_on_the_generator_alone(name: str, n: int, seed: int):
    x = torch.rand(n, 1, 16, 16, generator=torch.Generator().manual_seed(seed))
    before = x.clone()
    found = [CORRUPTIONS[name](x, torch.Generator().manual_seed(seed)) for _ in range(2)]
    assert torch.equal(*found)
    assert found[0].shape == x.shape
    assert torch.isfinite(found[0]).all()
    assert torch.equal(x, before)


def test_a_blur_keeps_a_flat_picture_and_a_wide_one_reaches_further():
    flat = torch.full((2, 1, 6, 6), 0.3)
    assert torch.allclose(gaussian_blur(flat, 2.0), flat)
    point = torch.zeros(1, 1, 9, 9)
    point[0, 0, 4, 4] = 1.0
    assert gaussian_blur(point, 0.5)[0, 0, 4, 4] > gaussian_blur(point, 1.5)[0, 0, 4, 4]
    with pytest.raises(InputError, match="positive sigma"):
        gaussian_blur(flat, 0.0)


@pytest.mark.parametrize("options", [{"cycles": 0}, {"batches": 20, "size": 50}, {"source": 1797}, {"order": "random"}])
def test_refuses_streams_that_cannot_be(options: dict[str, object]):
    with pytest.raises(InputError):
        CorruptedDigitStream(**options)  # type: ignore[arg-type]
    assert "11 corruptions" in CorruptedDigitStream().card()
