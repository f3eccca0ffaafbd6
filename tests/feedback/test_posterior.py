"""A Gaussian over weights: moments against PyTorch's, as a callback of a run, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from tutelage.errors import InputError
from tutelage.feedback.posterior import DiagonalGaussian, SwagDiagonal
from tutelage.training import Callback, Supervised, fit, load_tree, save_tree


def snapshots(model: nn.Linear, values: torch.Tensor) -> SwagDiagonal:
    swag = SwagDiagonal(model)
    for value in values:
        with torch.no_grad():
            model.weight.copy_(value)
        swag.collect()
    return swag


def test_the_moments_are_those_of_the_snapshots():
    values = torch.randn(20, 3, 4, generator=torch.Generator().manual_seed(0))
    posterior = snapshots(nn.Linear(4, 3, bias=False), values).posterior()
    assert torch.allclose(posterior.mean["weight"], values.mean(0), atol=1e-6)
    assert torch.allclose(posterior.var["weight"], values.var(0, unbiased=False), atol=1e-6)


def test_a_small_variance_beside_a_large_mean_is_not_lost_to_rounding():
    steps = 1e-3 * torch.tensor([-1.0, 1.0] * 10).view(20, 1, 1)
    values = 10.0 + steps
    assert (values.square().mean(0) - values.mean(0).square()).item() != pytest.approx(1e-6, rel=0.5)
    posterior = snapshots(nn.Linear(1, 1, bias=False), values).posterior()
    assert posterior.var["weight"].item() == pytest.approx(1e-6, rel=0.01)


def test_weights_that_stand_still_have_no_variance_and_frozen_ones_no_entry():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    model[0].requires_grad_(False)
    swag = SwagDiagonal(model)
    swag.collect()
    swag.collect()
    posterior = swag.posterior()
    assert set(posterior.mean) == {"1.weight", "1.bias"}
    assert all((value == 0).all() for value in posterior.var.values())
    assert posterior.precision(0.5)["1.bias"].item() == pytest.approx(2.0)


def test_the_mean_becomes_a_model_and_the_model_stays_as_it_was():
    model = nn.Linear(2, 1)
    was = model.weight.detach().clone()
    posterior = DiagonalGaussian({"weight": torch.tensor([[5.0, 6.0]])}, {"weight": torch.ones(1, 2)})
    moved = posterior.at_mean(model)
    assert moved.weight.tolist() == [[5.0, 6.0]]
    assert torch.equal(moved.bias, model.bias)
    assert torch.equal(model.weight, was)
    with pytest.raises(InputError, match="'weight'"):
        posterior.at_mean(nn.Linear(3, 1))
    with pytest.raises(InputError, match="no such weight"):
        posterior.at_mean(nn.ReLU())


class Watch(Callback):
    def __init__(self, model: nn.Linear) -> None:
        self.model, self.seen = model, []

    def after_step(self, run) -> None:
        self.seen.append(self.model.weight.detach().clone())


DATA = torch.randn(8, 2, generator=torch.Generator().manual_seed(0)), torch.arange(8) % 2


def test_as_a_callback_it_takes_every_second_step_after_the_third():
    model = nn.Linear(2, 2)
    swag, watch = SwagDiagonal(model, every=2, after=3), Watch(model)
    fit(Supervised(model), DATA, steps=9, batch_size=4, lr=0.1, callbacks=[swag, watch])
    assert swag.count == 3
    expected = torch.stack([watch.seen[step - 1] for step in (5, 7, 9)])
    assert torch.allclose(swag.posterior().mean["weight"], expected.mean(0), atol=1e-6)


class Cut(Exception):
    pass


class CutAt(Callback):
    def after_step(self, run) -> None:
        if run.progress.step == 5:
            raise Cut


def test_a_run_that_goes_on_from_its_checkpoint_has_the_same_posterior(tmp_path: Path):
    start = nn.Linear(2, 2).state_dict()

    def run(*more: Callback, to: str) -> SwagDiagonal:
        model = nn.Linear(2, 2)
        model.load_state_dict(start)
        swag = SwagDiagonal(model)
        fit(
            Supervised(model), DATA, steps=8, batch_size=4, lr=0.1, callbacks=[swag, *more], checkpoint=tmp_path / to,
            checkpoint_every=3,
        )  # fmt: skip
        return swag

    whole = run(Callback(), to="whole")
    with pytest.raises(Cut):
        run(CutAt(), to="cut")
    resumed = run(Callback(), to="cut")
    assert resumed.count == whole.count == 8
    assert torch.equal(resumed.posterior().var["weight"], whole.posterior().var["weight"])


def test_it_survives_a_file(tmp_path: Path):
    posterior = snapshots(nn.Linear(2, 2, bias=False), torch.randn(4, 2, 2)).posterior()
    save_tree({"mean": posterior.mean, "var": posterior.var}, tmp_path / "swag.safetensors")
    again = DiagonalGaussian(**load_tree(tmp_path / "swag.safetensors"))  # type: ignore[arg-type]
    assert torch.equal(again.mean["weight"], posterior.mean["weight"])
    assert torch.equal(again.var["weight"], posterior.var["weight"])


def test_refuses_what_has_no_variance():
    with pytest.raises(InputError, match="two snapshots"):
        snapshots(nn.Linear(1, 1), torch.ones(1, 1, 1)).posterior()
    with pytest.raises(InputError, match="no weight"):
        SwagDiagonal(nn.ReLU())
    with pytest.raises(InputError, match="every"):
        SwagDiagonal(nn.Linear(1, 1), every=0)
    with pytest.raises(InputError, match="damp"):
        DiagonalGaussian({}, {}).precision(0.0)
