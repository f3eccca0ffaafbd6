"""Padded bags; the surroundings of points; a view of maps of another size."""

from __future__ import annotations

import pytest
import torch

from tutelage.data.collate import pad_collate
from tutelage.data.patches import inside, joint_cutout, read_places, surroundings, two_of, write_places
from tutelage.data.views import GeometricView
from tutelage.errors import InputError


def test_bags_come_back_out_of_the_padding():
    bags = [torch.randn(n, 3) for n in (4, 1, 2)]
    x, mask = pad_collate(bags)
    assert x.shape == (3, 4, 3)
    assert all(torch.equal(x[i][mask[i]], bag) for i, bag in enumerate(bags))
    assert not x[~mask].any()


@pytest.mark.parametrize(
    ("bags", "message"),
    [([], "no bag"), ([torch.zeros(2, 3), torch.zeros(2, 4)], "bag 1 has shape"), ([torch.zeros(0, 3)], "bag 0 has no instance"),
     ([torch.zeros(3)], "bag 0 has shape")],
)  # fmt: skip
def test_refuses_bags_that_cannot_be_padded(bags: list[torch.Tensor], message: str):
    with pytest.raises(InputError, match=message):
        pad_collate(bags)
    assert pad_collate([torch.zeros(0, 3), torch.ones(1, 3)], empty=True)[1].tolist() == [[False], [True]]


def test_what_is_written_is_read_and_nothing_else_changes():
    x = torch.rand(2, 3, 5, 6)
    points = torch.tensor([[[2.0, 2.0]], [[0.2, 3.9]]])
    places = surroundings(points, torch.zeros(2).long(), 3)
    assert places[1].amin(0).tolist() == [-1, 3], "around (0, 4)"
    values = torch.full((2, 3, 9), 7.0)
    written = write_places(x, places, values, torch.ones(2, 9).bool())
    assert read_places(written, places)[0].eq(7).all()
    assert int((written[1] == 7).sum()) == 3 * 4, "two columns and two rows are inside"
    assert torch.equal(written[written != 7], x[written != 7])
    assert torch.equal(write_places(x, places, values, torch.zeros(2, 9).bool()), x)


def test_two_different_points_usable_ones_first():
    usable = torch.tensor([[True, False, True]])
    seen = {tuple(int(t) for t in two_of(usable, torch.Generator().manual_seed(seed))) for seed in range(20)}
    assert seen == {(0, 2), (2, 0)}


def test_joints_that_are_not_sure_are_not_hidden():
    x = torch.rand(2, 1, 8, 8)
    joints = torch.tensor([[[2.0, 2.0], [6.0, 6.0]]]).expand(2, 2, 2)
    sure = torch.tensor([[True, False], [False, False]])
    hidden = joint_cutout(x, joints, sure, patch=3, count=3, generator=torch.Generator().manual_seed(0))
    assert torch.allclose(hidden[0, 0, 1:4, 1:4], x[0].mean())
    assert torch.equal(hidden[0, 0, 5:, 5:], x[0, 0, 5:, 5:])
    assert torch.equal(hidden[1], x[1])


def test_unknown_points_are_not_inside():
    points = torch.tensor([[[float("nan"), 1.0], [1.0, 1.0], [-0.1, 1.0]]])
    assert inside(points, torch.zeros(1, 1, 3, 3)).tolist() == [[False, True, False]]


def test_a_view_of_smaller_maps_moves_the_same_places():
    generator = torch.Generator().manual_seed(0)
    view = GeometricView.draw(3, (32, 48), generator, rotate=40.0, shift=0.2, scale=0.2, flip=0.5)
    points = 30 * torch.rand(3, 4, 2, generator=generator)
    half = view.at((16, 24))
    small = half.apply_points((points + 0.5) / 2 - 0.5)
    assert torch.allclose((small + 0.5) * 2 - 0.5, view.apply_points(points), atol=1e-4)
