"""Networks with layers taken out or made narrower: shapes fit, weights are fresh, what cannot be is said."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from tutelage.errors import InputError
from tutelage.students.editing import describe, outputs_of, rebuild, removable


def network() -> nn.Sequential:
    def block(a: int, b: int, **options: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(a, b, 3, padding=1, **options), nn.BatchNorm2d(b), nn.ReLU())

    return nn.Sequential(
        block(1, 4),
        block(4, 6),
        block(6, 8, stride=2),
        block(8, 8),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(8, 3),
    )


EXAMPLE = torch.zeros(1, 1, 8, 8)


def test_descriptions_and_what_may_go():
    table = describe(network())
    assert table.shape == (7, 5)
    assert table[2].tolist() == [0, 3, 2, 1, 1]
    assert removable(network()) == [False, True, False, True, False, False, False]
    assert [outputs_of(item) for item in network()] == [4, 6, 8, 8, None, None, 3]


@settings(max_examples=20, deadline=None)
@given(st.booleans(), st.booleans(), st.integers(1, 9), st.integers(1, 9))
def test_every_child_runs_and_has_the_asked_widths(first: bool, second: bool, a: int, b: int):
    parent = network()
    keep = (True, first, True, second, True, True, True)
    child = rebuild(parent, EXAMPLE, keep=keep, outputs={0: a, 2: b})
    assert child is not None
    assert child(torch.randn(2, 1, 8, 8)).shape == (2, 3)
    kept = [i for i, k in enumerate(keep) if k]
    assert outputs_of(child[0]) == a
    assert outputs_of(child[kept.index(2)]) == b
    assert sum(p.numel() for p in parent.parameters()) == sum(p.numel() for p in network().parameters())


def test_nothing_comes_of_maps_smaller_than_a_kernel_or_of_giant_linear_layers():
    small = nn.Sequential(nn.Conv2d(1, 2, 3), nn.MaxPool2d(2), nn.Conv2d(2, 2, 4), nn.Flatten(), nn.Linear(2, 2))
    assert rebuild(small, torch.zeros(1, 1, 10, 10)) is not None
    assert rebuild(small, torch.zeros(1, 1, 8, 8)) is None
    wide = nn.Sequential(nn.Conv2d(1, 2, 1), nn.Flatten(), nn.Linear(2, 2))
    assert rebuild(wide, torch.zeros(1, 1, 300, 300)) is None


def test_refuses_layers_that_it_cannot_fit_and_flags_of_another_length():
    with pytest.raises(InputError, match="LayerNorm has weights"):
        rebuild(nn.Sequential(nn.LayerNorm(4), nn.Linear(4, 2)), torch.zeros(1, 4))
    with pytest.raises(InputError, match="groups"):
        rebuild(nn.Sequential(nn.Conv2d(2, 2, 1, groups=2)), torch.zeros(1, 2, 4, 4))
    with pytest.raises(InputError, match="one flag an item: 7; got 1"):
        rebuild(network(), EXAMPLE, keep=[True])
