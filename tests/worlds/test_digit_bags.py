"""Bags of digits: what is in them, what the generator decides, and that the halves share no picture."""

from __future__ import annotations

import pytest
import torch

from tutelage.data.digits import digits
from tutelage.errors import InputError
from tutelage.worlds.digits import DigitBags


def made(n: int = 200, seed: int = 0, **options: object) -> dict[str, torch.Tensor]:
    return DigitBags(**options).batch(n, torch.Generator().manual_seed(seed))  # type: ignore[arg-type]


def test_a_bag_is_positive_where_it_holds_a_positive_instance():
    bags = made()
    assert torch.equal((bags["truth"] > 0).any(1), bags["y"].bool())
    assert bags["y"].float().mean().item() == 0.5
    sizes = bags["mask"].sum(1)
    assert 40 <= int(sizes.min()) < int(sizes.max()) <= 80
    assert not bags["x"][~bags["mask"]].any()
    share = ((bags["truth"] > 0).sum(1) / sizes)[bags["y"].bool()]
    assert 1 / 80 <= float(share.min()) < float(share.max()) < 0.17


def test_easy_and_hard_take_turns_easy_first_or_all_are_hard():
    bags = made(400)
    easy, hard = ((bags["truth"] == kind).sum(1) for kind in (1, 2))
    assert set((easy - hard)[easy > 0].tolist()) == {0, 1}
    positive = bags["y"].bool()
    assert (easy[positive] == 0).float().mean().item() == pytest.approx(0.2, abs=0.06)
    assert not (made(easy_share=0.0)["truth"] == 1).any()


def test_instances_are_the_pictures_that_truth_says():
    bags = made(20, noise=0.0)
    part = digits(0, 898, 899)[0]
    for kind, allowed in ((0, {1, 2, 3, 4, 5, 6, 7, 9}), (1, {0}), (2, {8})):
        those = bags["x"][(bags["truth"] == kind) & bags["mask"]][:40]
        matches = torch.cdist(those, part.x).min(1)
        assert matches.values.max().item() == pytest.approx(0.0, abs=1e-3)
        assert set(part.y[matches.indices].tolist()) <= allowed


def test_the_halves_share_no_picture_and_the_generator_decides_everything():
    first, second = (made(20, noise=0.0, half=half) for half in (0, 1))
    gaps = torch.cdist(first["x"][first["mask"]], second["x"][second["mask"]])
    assert gaps.min().item() > 0
    assert all(torch.equal(first[name], value) for name, value in made(20, noise=0.0).items())
    assert not torch.equal(first["x"], made(20, seed=1, noise=0.0)["x"])


def test_positive_instances_lie_anywhere_in_a_bag():
    bags = made(400)
    early = (bags["truth"] > 0)[:, :20].sum() / (bags["truth"] > 0).sum()
    assert early.item() == pytest.approx(1 / 3, abs=0.06), "20 of about 60 places"


@pytest.mark.parametrize(
    "options", [{"easy": 8}, {"easy_share": 1.5}, {"half": 2}, {"sizes": (5, 5)}, {"rate": (0.0, 0.1)}]
)
def test_refuses_worlds_that_cannot_be(options: dict[str, object]):
    with pytest.raises(InputError):
        DigitBags(**options)  # type: ignore[arg-type]
    assert "shortcut" in DigitBags().card()
