"""What is remembered comes back in place; averages of weights."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from tutelage.errors import InputError
from tutelage.feedback.averaging import mean_weights
from tutelage.feedback.snapshot import Snapshot


def net() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def train(model: nn.Module, optimizer: torch.optim.Optimizer, steps: int) -> None:
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(1))
    for _ in range(steps):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD])
def test_a_restored_model_trains_on_as_if_nothing_had_happened(kind: type[torch.optim.Optimizer]):
    runs = []
    for ahead in (0, 3):
        model = net()
        optimizer = kind(model.parameters(), lr=0.1, **({"momentum": 0.9} if kind is torch.optim.SGD else {}))
        train(model, optimizer, 2)
        snapshot = Snapshot(model, optimizer=optimizer)
        train(model, optimizer, ahead)
        snapshot.restore()
        train(model, optimizer, 2)
        runs.append(copy.deepcopy(model.state_dict()))
    assert all(torch.equal(runs[0][name], runs[1][name]) for name in runs[0])


def test_moments_leak_where_the_optimiser_is_not_recorded():
    model = net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    train(model, optimizer, 1)
    snapshot = Snapshot(model)
    train(model, optimizer, 3)
    snapshot.restore()
    assert {int(state["step"]) for state in optimizer.state.values()} == {4}


def test_an_optimiser_that_had_not_stepped_forgets_that_it_did():
    model = net()
    optimizer = torch.optim.Adam(model.parameters(), lr=0.1)
    snapshot = Snapshot(model, optimizer=optimizer)
    train(model, optimizer, 1)
    snapshot.restore()
    assert not optimizer.state


def test_memory_stays_where_it_is_and_buffers_are_a_choice():
    model = net()
    places = [value.data_ptr() for value in model.state_dict().values()]
    with_buffers, without = Snapshot(model), Snapshot(model, buffers=False)
    train(model, torch.optim.SGD(model.parameters(), lr=0.1), 2)
    mean = model[1].running_mean.clone()
    without.restore()
    assert torch.equal(model[1].running_mean, mean)
    with_buffers.restore()
    assert not model[1].running_mean.any()
    assert int(model[1].num_batches_tracked) == 0
    assert [value.data_ptr() for value in model.state_dict().values()] == places


def test_refuses_another_module():
    model = net()
    snapshot = Snapshot(model)
    model.append(nn.Linear(2, 2))
    with pytest.raises(InputError, match="other parameters"):
        snapshot.restore()


@given(st.lists(st.floats(0.1, 10), min_size=1, max_size=4))
def test_the_mean_lies_between_and_of_equals_is_the_same(weights: list[float]):
    states = [{"w": torch.tensor([float(i), 3.0]), "n": torch.tensor(i)} for i in range(len(weights))]
    mixed = mean_weights(states, weights)
    assert 0 <= mixed["w"][0] <= len(weights) - 1 + 1e-5
    assert mixed["w"][1].item() == pytest.approx(3.0, rel=1e-5)
    assert mixed["n"].item() == 0


def test_refuses_averages_that_make_no_sense():
    one, other = {"w": torch.zeros(2)}, {"w": torch.zeros(3)}
    for states, weights, message in (
        ([], None, "at least one"),
        ([one], [0.0], "not all 0"),
        ([one, other], None, "state 1 has other names or shapes"),
    ):
        with pytest.raises(InputError, match=message):
            mean_weights(states, weights)
