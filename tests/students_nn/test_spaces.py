"""Spaces of students, and residual networks by stage."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tutelage.errors import InputError
from tutelage.students.resnet import BasicBlock, ResNet
from tutelage.students.space import Space


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.integers(0, 10**6))
def test_samples_and_mutations_stay_inside(sizes: list[int], seed: int):
    space, rng = Space({str(i): range(n) for i, n in enumerate(sizes)}), np.random.default_rng(seed)
    assert len(set(space.enumerate())) == space.size
    drawn = space.sample(rng)
    assert drawn in set(space.enumerate())
    assert space.encode(drawn).tolist() == list(drawn)
    if space.size > 1:
        changed = space.mutate(drawn, rng)
        assert sum(a != b for a, b in zip(drawn, changed, strict=True)) == 1
        assert changed in set(space.enumerate())


def test_refuses_what_is_not_of_the_space():
    space = Space({"depth": (1, 3)})
    for act, message in (
        (lambda: space.encode((2,)), r"depth is one of \(1, 3\); got 2"),
        (lambda: space.encode((1, 3)), "1 entries"),
        (lambda: space.build((1,)), "give it `make`"),
        (lambda: Space({"depth": ()}), "options that differ"),
        (lambda: Space({"depth": (1, 1)}), "options that differ"),
        (lambda: Space({"depth": (1,)}).mutate((1,), np.random.default_rng(0)), "no mutations"),
    ):
        with pytest.raises(InputError, match=message):
            act()


def test_resnet_56_has_its_size_and_halves_its_map_twice():
    net = ResNet((9, 9, 9), classes=100)
    assert sum(p.numel() for p in net.parameters()) == 861_620  # 858,868 of the original and two 1 × 1 shortcuts
    assert net.map(torch.zeros(2, 3, 32, 32)).shape == (2, 64, 8, 8)
    with pytest.raises(InputError, match="for every stage"):
        ResNet((1, 1), classes=3)


def test_a_block_without_weights_is_its_shortcut():
    block = BasicBlock(3, 3, 1).eval()
    torch.nn.init.zeros_(block.conv2.weight)
    x = torch.randn(2, 3, 4, 4)
    assert torch.allclose(block(x), x.relu())
