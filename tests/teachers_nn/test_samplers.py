"""Samplers and the pairs that they leave: flows with a known end, orders of accuracy, and the direction of time."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from tutelage.errors import InputError
from tutelage.teachers.pairs import check_pairs, draw_pairs, flip_pairs
from tutelage.teachers.samplers import denoiser_velocity, euler_sample, heun_sample, reversed_time

MEAN, SPREAD = torch.tensor([2.0, -1.0]), 0.5


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def noise(n: int = 4000) -> Tensor:
    return torch.randn(n, 2, generator=generator(), dtype=torch.float64)


def gaussian_velocity(x: Tensor, t: Tensor) -> Tensor:
    """The flow of independent pairs to data N(MEAN, SPREAD² I), in closed form: E[x1 − x0 | x_t]."""
    t = t.unsqueeze(-1)
    variance = (1 - t) ** 2 + (t * SPREAD) ** 2
    return MEAN + (t * SPREAD**2 - (1 - t)) / variance * (x - t * MEAN)


def gaussian_denoiser(y: Tensor, sigma: Tensor) -> Tensor:
    """E[x1 | y] of the same data under noise of level σ."""
    share = SPREAD**2 / (SPREAD**2 + sigma.unsqueeze(-1) ** 2)
    return MEAN + share * (y - MEAN)


def test_from_noise_along_the_velocity_one_reaches_the_data():
    samples = euler_sample(gaussian_velocity, noise(), steps=100)
    assert torch.allclose(samples.mean(0), MEAN.double(), atol=0.05)
    assert torch.allclose(samples.std(0), torch.tensor(SPREAD).double(), atol=0.03)


def test_a_net_whose_time_runs_the_other_way_reaches_the_data_when_turned_round():
    def to_noise(x: Tensor, t: Tensor) -> Tensor:
        return -gaussian_velocity(x, 1 - t)

    turned = euler_sample(reversed_time(to_noise), noise(), steps=100)
    assert torch.allclose(turned, euler_sample(gaussian_velocity, noise(), steps=100))
    wrong = euler_sample(to_noise, noise(), steps=100)
    assert (wrong.mean(0) - MEAN.double()).norm() > 1, "taken as it is, it does not"


def test_a_denoiser_is_a_velocity():
    t = torch.linspace(0.05, 0.95, 10, dtype=torch.float64)
    x = noise(10)
    assert torch.allclose(denoiser_velocity(gaussian_denoiser)(x, t), gaussian_velocity(x, t))
    samples = heun_sample(denoiser_velocity(gaussian_denoiser), noise(), steps=30)
    assert torch.allclose(samples.mean(0), MEAN.double(), atol=0.05)
    assert torch.allclose(samples.std(0), torch.tensor(SPREAD).double(), atol=0.03)


def test_a_denoiser_is_never_asked_beyond_the_levels_it_knows():
    asked: list[Tensor] = []

    def denoiser(y: Tensor, sigma: Tensor) -> Tensor:
        asked.append(sigma)
        return y

    heun_sample(denoiser_velocity(denoiser, sigma_min=0.1, sigma_max=10.0), noise(3), steps=4)
    levels = torch.stack(asked)
    assert levels.min() >= 0.1 - 1e-9
    assert levels.max() <= 10.0 + 1e-9


@pytest.mark.parametrize(("sample", "order"), [(euler_sample, 1), (heun_sample, 2)])
def test_errors_fall_with_the_order_of_the_sampler(sample, order: int):
    """dx/dt = −x from 1 ends in 1/e; twice the steps divide the error by 2^order."""
    start = torch.ones(1, 1, dtype=torch.float64)
    errors = [abs(sample(lambda x, t: -x, start, steps=n).item() - math.exp(-1)) for n in (20, 40)]
    assert errors[0] / errors[1] == pytest.approx(2**order, rel=0.1)


def test_time_is_read_where_the_sampler_stands():
    """dx/dt = 2 t from 0 ends in 1: Heun is exact, Euler falls short by one step."""
    start = torch.zeros(3, 2)
    velocity = lambda x, t: 2 * t.unsqueeze(-1).expand_as(x)
    assert torch.allclose(heun_sample(velocity, start, steps=5), torch.ones(3, 2))
    assert torch.allclose(euler_sample(velocity, start, steps=5), torch.full((3, 2), 0.8))


def test_samplers_leave_no_graph_and_refuse_no_steps():
    weight = torch.ones(2, requires_grad=True)
    assert not euler_sample(lambda x, t: weight * x, torch.ones(1, 2), steps=2).requires_grad
    for sample in (euler_sample, heun_sample):
        with pytest.raises(InputError, match="at least one step"):
            sample(lambda x, t: x, torch.ones(1, 2), steps=0)
    with pytest.raises(InputError, match="sigma_min"):
        denoiser_velocity(gaussian_denoiser, sigma_min=1.0, sigma_max=0.5)


def test_pairs_are_drawn_in_parts_and_belong_to_a_seed():
    x0, x1 = draw_pairs(torch.sin, 25, (3, 2), batch_size=10, seed=4)
    assert torch.equal(x1, x0.sin())
    assert x0.shape == (25, 3, 2)
    again, other = draw_pairs(torch.sin, 25, (3, 2), seed=4)[0], draw_pairs(torch.sin, 25, (3, 2), seed=5)[0]
    assert torch.equal(x0, again)
    assert not torch.equal(x0, other)
    check_pairs(x0, x1)


def test_a_sampler_that_changes_the_shape_and_no_pairs_are_refused():
    with pytest.raises(InputError, match=r"made \(4, 1\) of noise \(4, 2\)"):
        draw_pairs(lambda z: z[:, :1], 4, (2,))
    with pytest.raises(InputError, match="at least one pair"):
        draw_pairs(torch.sin, 0, (2,))


@pytest.mark.parametrize(
    ("noise_end", "message"),
    [
        (2 * noise(), "variance 4"),
        (noise() + 1, r"mean (0\.9|1\.0)"),
        (noise()[:5], "one shape"),
        (noise() * torch.nan, "finite"),
        (0.5 * noise() + MEAN, "exchanged"),
    ],
)
def test_ends_that_are_not_noise_and_data_are_refused(noise_end: Tensor, message: str):
    with pytest.raises(InputError, match=message):
        check_pairs(noise_end, torch.zeros(4000, 2))


def test_both_ends_of_a_pair_are_mirrored_together():
    x0, x1 = torch.randn(2, 200, 1, 4, 4, generator=generator())
    a, b = flip_pairs(x0, x1, generator())
    same, mirrored = (a == x0).flatten(1).all(1), (a == x0.flip(-1)).flatten(1).all(1)
    assert (same ^ mirrored).all()
    assert torch.equal(same, (b == x1).flatten(1).all(1))
    assert 60 < int(mirrored.sum()) < 140
