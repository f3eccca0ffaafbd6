"""A stacked row is the same run alone, and rows never touch."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tutelage.errors import InputError
from tutelage.objectives import distillation_kl
from tutelage.training import Stack, StackedFit, Supervised, fit, one_cycle, seeded, stacked_order

X = torch.randn(40, 6, generator=torch.Generator().manual_seed(0))
Y = (X[:, 0] > 0).long() + (X[:, 1] > 0).long()


def mlp(seed: int) -> nn.Module:
    with seeded(seed, "init"):
        return nn.Sequential(nn.Linear(6, 9), nn.LayerNorm(9), nn.ReLU(), nn.Linear(9, 3))


def conv(seed: int) -> nn.Module:
    with seeded(seed, "init"):
        return nn.Sequential(
            nn.Unflatten(1, (1, 6)), nn.Conv1d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(24, 3)
        )


def ce(outputs: Tensor, batch, progress):
    return {"ce": torch.vmap(F.cross_entropy)(outputs, batch["y"])}


@pytest.mark.parametrize("make", [mlp, conv])
@pytest.mark.parametrize(
    ("optimizer", "lr", "decay", "clip"),
    [("adamw", [0.03, 0.01, 0.05], [0.1, 0.0, 0.5], None), ("sgd", [0.1, 0.03, 0.05], 0.01, [0.5, 0.1, 9.0])],
)
def test_a_row_equals_the_same_run_alone(make, optimizer: str, lr: list[float], decay, clip) -> None:
    seeds = [4, 5, 6]
    modules = [make(seed) for seed in seeds]
    alone = copy.deepcopy(modules)
    runs = StackedFit(modules, ce, lr=lr, weight_decay=decay, clip=clip, schedule=one_cycle(), optimizer=optimizer)
    result = runs.fit({"x": X, "y": Y}, stacked_order(40, 8, 30, seeds))
    assert not result.diverged
    for row, (module, seed) in enumerate(zip(alone, seeds, strict=True)):
        history = fit(
            Supervised(module), (X, Y), steps=30, batch_size=8, lr=lr[row], schedule=one_cycle(), optimizer=optimizer,
            weight_decay=decay[row] if isinstance(decay, list) else decay,
            clip=clip[row] if clip else None, seed=seed,
        )  # fmt: skip
        assert torch.allclose(runs.predict(X)[row], module(X), atol=1e-5)
        assert torch.allclose(runs.module(row)(X), module(X), atol=1e-5)
        last = result.curves["ce"][-5:, row].mean().item()
        assert last == pytest.approx(history["ce"][-1], abs=1e-4)


def test_a_row_that_diverges_is_frozen_and_the_others_go_on() -> None:
    modules = [mlp(0), mlp(0), mlp(0)]
    lone = StackedFit(modules[:1], ce, lr=0.02).fit({"x": X, "y": Y}, stacked_order(40, 8, 20, [0]))

    def blown_up(outputs, batch, progress):
        each = ce(outputs, batch, progress)["ce"]
        factor = torch.tensor([1.0, float("nan") if progress.step == 7 else 1.0, 1.0])
        return {"ce": each * factor}

    runs = StackedFit(modules, blown_up, lr=0.02)
    result = runs.fit({"x": X, "y": Y}, stacked_order(40, 8, 20, [0, 0, 0]))
    assert result.diverged == {1: 7}
    assert torch.isfinite(runs.predict(X)).all()
    assert torch.allclose(result.curves["ce"][:, 0], lone.curves["ce"][:, 0], atol=1e-5)
    assert torch.allclose(result.curves["ce"][:, 0], result.curves["ce"][:, 2], atol=1e-6)
    short = StackedFit([mlp(0)], ce, lr=0.02)
    short.fit({"x": X, "y": Y}, stacked_order(40, 8, 7, [0]))
    assert torch.allclose(runs.predict(X)[1], short.predict(X)[0], atol=1e-5)


def test_rows_have_their_own_targets_and_stores() -> None:
    own = torch.stack([F.one_hot(Y, 3).float(), torch.full((40, 3), 1 / 3)]).log().clamp(min=-9)
    seen = torch.zeros(2, 40, dtype=torch.bool)

    def losses(outputs, batch, progress):
        return {"kl": torch.vmap(distillation_kl)(outputs, batch["teacher"])}

    def remember(outputs, batch, progress):
        assert not outputs.requires_grad
        assert (progress.epoch, progress.epochs) == (progress.step // 5, 12)
        seen.scatter_(1, batch["index"], True)

    runs = StackedFit([mlp(0), mlp(0)], losses, lr=0.05)
    runs.fit({"x": X}, stacked_order(40, 8, 60, [1, 2]), own={"teacher": own}, epoch_steps=5, after_step=remember)
    assert seen.all()
    sure = runs.predict(X).softmax(-1).amax(-1).mean(1)
    assert sure[0] > 0.8
    assert sure[1] < 0.45


def test_stacks_refuse_what_they_cannot_hold() -> None:
    with pytest.raises(InputError, match="one architecture"):
        Stack([mlp(0), nn.Linear(6, 3)])
    with pytest.raises(InputError, match="'1' keeps running statistics"):
        Stack([nn.Sequential(nn.Linear(6, 3), nn.BatchNorm1d(3))])
    with pytest.raises(InputError, match="lr has 2 values for 1 rows"):
        StackedFit([mlp(0)], ce, lr=[0.1, 0.2])
    with pytest.raises(InputError, match="column 'x'"):
        StackedFit([mlp(0)], ce).fit({"y": Y}, stacked_order(40, 8, 1, [0]))
    with pytest.raises(InputError, match="one value a row"):
        StackedFit([mlp(0)], lambda o, b, p: {"l": o.sum()}).fit({"x": X}, stacked_order(40, 8, 1, [0]))
    with pytest.raises(InputError, match="larger than"):
        stacked_order(40, 41, 1, [0])


def test_frozen_parts_of_a_row_stay() -> None:
    module = mlp(0)
    module[0].requires_grad_(False)
    runs = StackedFit([module, module], ce, lr=0.1)
    runs.fit({"x": X, "y": Y}, stacked_order(40, 8, 10, [0, 1]))
    after = runs.module(1)
    assert torch.equal(after[0].weight, module[0].weight)
    assert not torch.equal(after[3].weight, module[3].weight)
