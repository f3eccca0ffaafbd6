"""Stick figures: anatomy, brightness of the sides, what is hidden, and what the generator decides."""

from __future__ import annotations

import pytest
import torch

from tutelage.errors import InputError
from tutelage.worlds.stick_figures import PAIRS, POINTS, StickFigures, paint


def people(n: int = 300, seed: int = 0, **options: object) -> dict[str, torch.Tensor]:
    return StickFigures(**options).batch(n, torch.Generator().manual_seed(seed))  # type: ignore[arg-type]


def test_limbs_have_the_lengths_of_one_body():
    joints = dict(zip(POINTS, people()["joints"].unbind(1), strict=True))

    def length(a: str, b: str) -> torch.Tensor:
        return (joints[a] - joints[b]).norm(dim=-1)

    size = length("pelvis", "neck") / 11
    assert 0.75 <= float(size.min()) < float(size.max()) <= 1.2
    for a, b, expected in (
        ("neck", "head", 4.5), ("neck", "left elbow", 6), ("left elbow", "left hand", 6), ("neck", "right elbow", 6),
        ("right elbow", "right hand", 6), ("pelvis", "left foot", 12), ("pelvis", "right foot", 12),
    ):  # fmt: skip
        assert torch.allclose(length(a, b), expected * size, atol=1e-4), (a, b)
    assert (joints["head"][:, 1] < joints["pelvis"][:, 1]).float().mean() > 0.99, "people stand"


def test_left_limbs_are_bright_and_right_ones_dim():
    world = people(200, distractors=0, occlusion=0.0, noise=0.0)
    bright = {}
    for side in ("left", "right"):
        elbow, hand = (world["joints"][:, POINTS.index(f"{side} {joint}")] for joint in ("elbow", "hand"))
        middle = ((elbow + hand) / 2).round().long().clamp(0, 47)
        bright[side] = world["x"][torch.arange(200), 0, middle[:, 1], middle[:, 0]].median().item()
    assert bright == pytest.approx({"left": 0.95, "right": 0.60}, abs=0.02)
    assert all(POINTS[a].replace("left", "right") == POINTS[b] for a, b in PAIRS)


def test_joints_under_a_rectangle_are_hidden():
    world = people()
    share = world["truth"].any(1).float().mean().item()
    assert 0.1 < share < 0.25
    assert not people(occlusion=0.0)["truth"].any()
    x = world["x"]
    assert x.shape == (300, 1, 48, 48)
    assert 0 <= float(x.min()) < float(x.max()) <= 1


def test_a_stroke_is_soft_and_covers_what_is_below():
    below = torch.full((1, 5, 5), 0.5)
    start, end = torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 2.0]])
    painted = paint(below, start, end, 1.0, 1.0)[0]
    assert painted[2].tolist() == pytest.approx([0.75, 1.0, 1.0, 1.0, 0.75]), "half covered one pixel beyond its ends"
    assert painted[1].tolist()[1:4] == pytest.approx([0.75] * 3)
    assert painted[0].tolist()[1:4] == pytest.approx([0.5] * 3)


def test_the_generator_decides_everything():
    first, second, other = people(5), people(5), people(5, seed=1)
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["x"], other["x"])


@pytest.mark.parametrize("options", [{"distractors": -1}, {"occlusion": 1.5}, {"noise": -0.1}])
def test_refuses_worlds_that_cannot_be(options: dict[str, float]):
    with pytest.raises(InputError):
        StickFigures(**options)  # type: ignore[arg-type]
    assert "wrong side" in StickFigures().card()
