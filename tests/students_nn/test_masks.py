"""Masks by hand, how many weights are left, and that what is masked is really gone."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tutelage.errors import InputError
from tutelage.students.masks import (
    apply_mask,
    bake_mask,
    density,
    largest,
    magnitude_mask,
    random_mask,
    shuffled,
)
from tutelage.students.mlp import mlp

STATE = {
    "a": torch.tensor([[0.5, -4.0], [1.0, 0.0]]),
    "b": torch.tensor([[-3.0, 2.0]]),
    "bias": torch.tensor([9.0, 9.0]),
}


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def lists(mask: dict[str, torch.Tensor]) -> dict[str, list]:
    return {name: value.long().tolist() for name, value in mask.items()}


def test_the_largest_magnitudes_stay_and_vectors_are_left_alone():
    assert lists(magnitude_mask(STATE, 0.5)) == {"a": [[0, 1], [0, 0]], "b": [[1, 1]]}
    assert lists(magnitude_mask(STATE, 0.5, "layer")) == {"a": [[0, 1], [1, 0]], "b": [[1, 0]]}
    assert lists(magnitude_mask(STATE, 1.0)) == {"a": [[1, 1], [1, 1]], "b": [[1, 1]]}


def test_ties_go_to_the_earlier_place_so_that_the_count_is_exact():
    """A threshold would keep none or all of a layer of zeros."""
    assert lists(largest({"w": torch.zeros(1, 4)}, 0.5)) == {"w": [[1, 1, 0, 0]]}


def test_at_least_one_weight_stays():
    assert density(largest({"w": torch.ones(2, 5)}, 0.01)) == 0.1


@given(st.floats(0.01, 1.0), st.integers(0, 5))
def test_the_density_is_what_was_asked_for_whoever_chose(keep: float, seed: int):
    state = {"a": torch.randn(7, 9, generator=generator(seed)), "b": torch.randn(4, 5, generator=generator(seed + 1))}
    expected = max(int(keep * 83 + 0.5), 1) / 83
    for mask in (magnitude_mask(state, keep), random_mask(state, keep, generator(seed))):
        assert density(mask) == pytest.approx(expected)
        assert density(shuffled(mask, generator(seed))) == pytest.approx(expected)


def test_more_weights_contain_fewer():
    state = {"a": torch.randn(6, 6, generator=generator())}
    few, many = magnitude_mask(state, 0.2)["a"], magnitude_mask(state, 0.6)["a"]
    assert bool((few <= many).all())


def test_a_shuffle_moves_weights_inside_their_layer():
    mask = {"a": torch.arange(200).view(10, 20) < 40, "b": torch.ones(3, 3, dtype=torch.bool)}
    moved = shuffled(mask, generator())
    assert {name: int(value.sum()) for name, value in moved.items()} == {"a": 40, "b": 9}
    assert not torch.equal(moved["a"], mask["a"])
    assert torch.equal(mask["a"], torch.arange(200).view(10, 20) < 40), "the given mask is left as it is"


def test_random_weights_are_anywhere():
    state = {"a": torch.zeros(50, 50), "b": torch.zeros(50, 50)}
    shares = [float(value.float().mean()) for value in random_mask(state, 0.3, generator()).values()]
    assert shares == pytest.approx([0.3, 0.3], abs=0.03)


def masked(keep: float = 0.4) -> tuple[nn.Module, nn.Module, dict[str, torch.Tensor]]:
    torch.manual_seed(0)
    plain = mlp(4, 6, 3)
    mask = magnitude_mask(plain.state_dict(), keep)
    return plain, apply_mask(copy.deepcopy(plain), mask), mask


def test_a_masked_module_is_the_module_with_zeros():
    plain, ticket, mask = masked()
    x = torch.randn(5, 4)
    with torch.no_grad():
        for name, value in mask.items():
            plain.get_parameter(name).mul_(value)
    assert torch.equal(plain(x), ticket(x))
    assert sorted(mask) == ["body.0.weight", "head.weight"]


def test_training_never_brings_a_masked_weight_back():
    _, ticket, mask = masked()
    optimizer = torch.optim.AdamW(ticket.parameters(), lr=0.1, weight_decay=0.5)
    for _ in range(5):
        ticket(torch.randn(8, 4)).square().sum().backward()
        optimizer.step()
    bake_mask(ticket)
    state = ticket.state_dict()
    assert all(not state[name][~value].any() for name, value in mask.items())
    assert all(bool((state[name][value] != 0).all()) for name, value in mask.items())


def test_baking_leaves_a_plain_module_of_the_same_outputs():
    plain, ticket, _ = masked()
    x = torch.randn(5, 4)
    before = ticket(x)
    assert sorted(bake_mask(ticket).state_dict()) == sorted(plain.state_dict())
    assert torch.equal(ticket(x), before)
    assert all(parameter.requires_grad for parameter in ticket.parameters())


def test_a_full_mask_changes_nothing():
    plain, ticket, _ = masked(1.0)
    x = torch.randn(5, 4)
    assert torch.equal(plain(x), ticket(x))


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ({"head.weight": torch.ones(2, 2)}, r"'head.weight' \(2, 2\) does not fit the module: \(3, 6\)"),
        ({"neck.weight": torch.ones(2, 2)}, "no such parameter"),
    ],
)
def test_refuses_masks_that_do_not_fit_and_leaves_the_module_alone(mask: dict[str, torch.Tensor], message: str):
    model = mlp(4, 6, 3)
    with pytest.raises(InputError, match=message):
        apply_mask(model, {"body.0.weight": torch.ones(6, 4, dtype=torch.bool), **mask})
    assert "body.0.weight" in model.state_dict()


def test_refuses_to_mask_twice():
    _, ticket, mask = masked()
    with pytest.raises(InputError, match="masked already"):
        apply_mask(ticket, mask)


@pytest.mark.parametrize("keep", [0.0, -0.1, 1.1, float("nan")])
def test_refuses_shares_that_are_none(keep: float):
    with pytest.raises(InputError, match=r"in \(0, 1\]"):
        magnitude_mask(STATE, keep)


def test_refuses_weights_that_are_not_finite_unknown_scopes_and_nothing():
    with pytest.raises(InputError, match="those of 'a' are not"):
        magnitude_mask({"a": torch.full((2, 2), float("nan"))}, 0.5)
    with pytest.raises(InputError, match="'global' or 'layer'"):
        magnitude_mask(STATE, 0.5, "rows")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no weights to mask"):
        magnitude_mask({"bias": torch.ones(3)}, 0.5)
