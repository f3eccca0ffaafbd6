"""The small velocity net: its size, what it knows of time, and examples that it refuses."""

from __future__ import annotations

import pytest
import torch

from tutelage.errors import InputError
from tutelage.students.velocity import VelocityMlp
from tutelage.training import seeded


def net(dim: int = 4, frequencies: int = 4) -> VelocityMlp:
    with seeded(0, "init"):
        return VelocityMlp(dim, 8, frequencies=frequencies)


def test_pictures_and_points_of_one_size_are_the_same_to_it():
    x, t = torch.randn(3, 1, 2, 2), torch.rand(3)
    assert torch.equal(net()(x, t).flatten(1), net()(x.flatten(1), t))
    assert net()(x, t).shape == x.shape


def test_time_features_tell_all_times_apart_and_a_net_of_one_example_sees_only_its_own():
    t = torch.linspace(0, 1, 33)
    said = net()(torch.zeros(33, 4), t)
    assert torch.pdist(said).min() > 1e-4
    assert torch.allclose(net()(torch.zeros(1, 4), t[5:6]), said[5:6], atol=1e-6)


def test_the_lowest_frequency_is_a_quarter_turn_over_the_run():
    assert net(frequencies=3).omega.tolist() == pytest.approx([torch.pi / 2, torch.pi, 2 * torch.pi])


@pytest.mark.parametrize("options", [(4,), (0, 8), (4, 0)])
def test_refuses_nets_without_size(options):
    with pytest.raises(InputError, match="positive sizes"):
        VelocityMlp(*options)


def test_refuses_examples_of_another_size():
    with pytest.raises(InputError, match="moves 4 elements"):
        net()(torch.zeros(2, 5), torch.zeros(2))


def test_a_hidden_layer_narrower_than_the_example_takes_all_of_the_noise_away():
    """v(x, 0) = −x needs rank 8; one hidden unit alone could remove one direction of eight."""
    with seeded(0, "init"):
        narrow = VelocityMlp(8, 1)
    noise = torch.randn(64, 8, generator=torch.Generator().manual_seed(0))
    optimizer = torch.optim.Adam(narrow.parameters(), 0.05)
    for _ in range(150):
        optimizer.zero_grad()
        (noise + narrow(noise, torch.zeros(64))).square().mean().backward()
        optimizer.step()
    assert (noise + narrow(noise, torch.zeros(64))).square().mean().item() < 0.01
