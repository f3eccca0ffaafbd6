"""PETAL: one step by hand, its limits (mean teacher, source model), who stays as they were, and a stream that goes on."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tutelage.errors import InputError
from tutelage.feedback.posterior import DiagonalGaussian
from tutelage.feedback.restoration import FisherRestore, StochasticRestore
from tutelage.methods.adaptation.petal import Petal, averaged_views, confidence
from tutelage.studies import Trial
from tutelage.studies.adaptation.petal import RESTORED, STRONG, arm, deployed
from tutelage.training import child_seed, load_tree, save_tree, seeded
from tutelage.training.at_test_time import with_batch_statistics
from tutelage.training.weights import check_frozen, weights_fingerprint

X = torch.randn(6, 3, generator=torch.Generator().manual_seed(1))
LAMBDA, DAMP, LR, DECAY = 0.3, 0.5, 0.01, 0.9


def model() -> nn.Sequential:
    with seeded(0, "init"):
        return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 4))


def posterior_of(net: nn.Module) -> DiagonalGaussian:
    """Mean beside the weights as they are, variances from 0 upwards."""
    generator = torch.Generator().manual_seed(2)
    held = {name: p.detach() for name, p in net.named_parameters()}
    mean = {name: p + 0.1 * torch.randn(p.shape, generator=generator) for name, p in held.items()}
    return DiagonalGaussian(mean, {name: torch.rand(p.shape, generator=generator) for name, p in held.items()})


def double(x: Tensor, generator: torch.Generator) -> Tensor:
    return 2 * x + torch.rand((), generator=generator)


def petal(**options: Any) -> Petal:
    settings = {"weight": LAMBDA, "damp": DAMP, "lr": LR, "decay": DECAY, "view": double, "n_views": 2, "tau": 0.0}
    net = model()
    return Petal(net, posterior_of(net), **settings | options)


def weights(net: nn.Module) -> dict[str, Tensor]:
    return {name: p.detach().clone() for name, p in net.named_parameters()}


def close(a: Mapping[str, Tensor], b: Mapping[str, Tensor], atol: float = 1e-6) -> bool:
    return all(torch.allclose(a[name], b[name], atol=atol) for name in a)


def test_all_three_begin_at_the_posteriors_mean():
    one = petal()
    mean = posterior_of(model()).mean
    for net in (one.student, one.teacher.module, one.anchor):
        assert close(mean, weights(net))
    alone = Petal(model(), weight=0.0)
    assert close(weights(alone.student), weights(model()))


def test_a_step_by_hand():
    one = petal(restore=FisherRestore(0.25))
    first = one.step(X)
    one.step(X)  # the student has left the mean: now the prior pulls too
    net, teacher = copy.deepcopy(one.student), copy.deepcopy(one.teacher.module)
    optimizer = torch.optim.Adam(net.parameters(), lr=LR)
    optimizer.load_state_dict(copy.deepcopy(one.optimizer.state_dict()))
    said = one.step(X)

    assert torch.allclose(said, teacher(X))
    posterior = posterior_of(model())
    loss = -(said.softmax(1) * net(X).log_softmax(1)).sum(1).mean()
    for name, p in net.named_parameters():
        loss = loss + LAMBDA * 0.5 * ((p - posterior.mean[name]).square() / (posterior.var[name] + DAMP)).sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    followed = {
        n: DECAY * t + (1 - DECAY) * s for (n, t), s in zip(weights(teacher).items(), net.parameters(), strict=True)
    }
    fisher = torch.cat([p.grad.flatten() for p in net.parameters()]).square()  # type: ignore[union-attr]
    back = (fisher < fisher.quantile(0.25)).split([p.numel() for p in net.parameters()])
    assert sum(int(mask.sum()) for mask in back) == round(0.25 * (len(fisher) - 1) + 0.5)
    expected = {
        name: torch.where(mask.view_as(p), posterior.mean[name], p.detach())
        for (name, p), mask in zip(net.named_parameters(), back, strict=True)
    }
    assert close(expected, weights(one.student), atol=1e-5)
    assert close(followed, weights(one.teacher.module), atol=1e-5), "the teacher follows before anything is put back"
    assert one.steps == 3
    assert first.shape == (6, 4)


def test_the_answer_is_the_teachers_before_the_update():
    one = petal()
    begun = with_batch_statistics(posterior_of(model()).at_mean(model()))
    assert torch.allclose(one.step(X), begun(X))
    teacher = copy.deepcopy(one.teacher.module)
    assert torch.equal(one.step(X + 1), teacher(X + 1))


def test_views_are_asked_only_where_the_anchor_is_unsure():
    one = petal()
    sure = confidence(one.anchor(X)).item()
    for tau, averaged in ((sure - 1e-4, 0), (sure + 1e-4, 1)):
        one = petal(tau=tau, seed=5)
        teacher, generator = copy.deepcopy(one.teacher.module), torch.Generator().manual_seed(child_seed(5, "view"))
        said = one.step(X)
        assert one.averaged == averaged
        views = [teacher(double(X, generator)) for _ in range(2)]
        assert torch.allclose(said, (views[0] + views[1]) / 2 if averaged else teacher(X), atol=1e-6)


def test_logits_of_views_are_averaged_not_probabilities():
    answers = iter([torch.tensor([[4.0, 0.0]]), torch.tensor([[0.0, 0.0]])])
    said = averaged_views(nn.Identity(), X, lambda x, g: next(answers), 2, torch.Generator())
    assert said.tolist() == [[2.0, 0.0]]


def test_without_prior_and_restoration_it_is_a_mean_teacher():
    one = petal(weight=0.0, restore=None)
    net, teacher = copy.deepcopy(one.student), copy.deepcopy(one.teacher.module)
    optimizer = torch.optim.Adam(net.parameters(), lr=LR)
    for shift in (0.0, 1.0, 2.0):
        said = one.step(X + shift)
        assert torch.allclose(said, teacher(X + shift), atol=1e-5)
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(X + shift), said.softmax(1)).backward()
        optimizer.step()
        with torch.no_grad():
            for t, s in zip(teacher.parameters(), net.parameters(), strict=True):
                t.lerp_(s, 1 - DECAY)
    assert close(weights(net), weights(one.student), atol=1e-5)


def test_a_prior_without_end_or_a_restoration_of_all_keeps_the_source_model():
    for options in ({"restore": StochasticRestore(1.0)}, {"weight": 1e9, "restore": None, "lr": 1e-6}):
        one = petal(**options)
        for shift in (0.0, 1.0, 2.0):
            one.step(X + shift)
        assert close(posterior_of(model()).mean, weights(one.student), atol=1e-5)


def test_model_and_anchor_stay_as_they_were_and_the_anchor_learns_nothing():
    net = model()
    before = weights_fingerprint(net)
    one = Petal(net, posterior_of(net), view=double, n_views=2)
    for shift in (0.0, 1.0):
        one.step(X + shift)
    assert weights_fingerprint(net) == before
    check_frozen(one.anchor)
    assert all(p.grad is None and not p.requires_grad for p in [*one.anchor.parameters(), *one.teacher.parameters()])
    assert not close(weights(one.student), posterior_of(net).mean)


def test_weights_that_do_not_learn_stay_and_have_no_prior():
    net = model()
    net[0].requires_grad_(False)
    full = posterior_of(net)
    with pytest.raises(InputError, match=r"other weights than those that learn: '0\.bias'"):
        Petal(net, full)
    learnt = {name for name, p in net.named_parameters() if p.requires_grad}
    part = DiagonalGaussian({n: full.mean[n] for n in learnt}, {n: full.var[n] for n in learnt})
    one = Petal(net, part, view=double, n_views=1)
    one.step(X)
    assert torch.equal(one.student[0].weight, net[0].weight)  # type: ignore[index]


def test_a_weight_that_the_batch_does_not_use_counts_as_unimportant():
    class Spare(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.used, self.spare = nn.Linear(3, 4), nn.Parameter(torch.ones(4))

        def forward(self, x: Tensor) -> Tensor:
            return self.used(x)

    one = Petal(Spare(), weight=0.0, view=double, n_views=1, restore=FisherRestore(3 / 19))
    nn.init.zeros_(one.student.spare)  # type: ignore[arg-type]
    one.step(X)
    assert one.student.spare.tolist() == [1.0, 1.0, 1.0, 0.0], "⌈3/19 · 19⌉ = 3 of its 4 entries, the smallest of 20"


def test_a_seed_decides_everything():
    def run(seed: int) -> Tensor:
        one = petal(tau=1.0, restore=StochasticRestore(0.3), seed=seed)
        return torch.stack([one.step(X + shift) for shift in (0.0, 1.0, 2.0)])

    assert torch.equal(run(1), run(1))
    assert not torch.equal(run(1), run(2))


def test_rules_of_restoration_see_the_same_views():
    seen: dict[str, list[Tensor]] = {"random": [], "fisher": []}
    for name, rule in (("random", StochasticRestore(0.3)), ("fisher", FisherRestore())):

        def view(x: Tensor, generator: torch.Generator, name: str = name) -> Tensor:
            seen[name].append(torch.rand(3, generator=generator))
            return x

        one = petal(tau=1.0, restore=rule, view=view)
        for shift in (0.0, 1.0):
            one.step(X + shift)
    assert len(seen["random"]) == 4
    assert torch.equal(torch.stack(seen["random"]), torch.stack(seen["fisher"]))


def test_reset_forgets_the_stream():
    one = petal(tau=1.0, restore=StochasticRestore(0.3))
    first = [one.step(X + shift) for shift in (0.0, 1.0, 2.0)]
    one.reset()
    assert (one.steps, one.averaged) == (0, 0)
    assert all(torch.equal(one.step(X + shift), said) for shift, said in zip((0.0, 1.0, 2.0), first, strict=True))


def test_a_stream_goes_on_from_a_file_to_the_same_bits(tmp_path: Path):
    options = {"tau": 1.0, "restore": StochasticRestore(0.3)}
    one, again = petal(**options), petal(**options)
    for shift in (0.0, 1.0):
        one.step(X + shift)
    save_tree(one.state(), tmp_path / "petal.safetensors")
    again.load_state(load_tree(tmp_path / "petal.safetensors"))
    twin = petal(**options)
    twin.load_state(one.state())
    assert again.steps == 2
    for shift in (2.0, 3.0):
        said = one.step(X + shift)
        assert torch.equal(said, again.step(X + shift))
        assert torch.equal(said, twin.step(X + shift)), "nothing is shared with the one whose state it was"


def test_single_examples_need_the_statistics_of_the_source():
    with pytest.raises(InputError, match="batch of 1"):
        petal().step(X[:1])
    one = petal(statistics="source")
    assert one.step(X[:1]).shape == (1, 4)
    assert torch.equal(one.student[1].running_mean, model()[1].running_mean)  # type: ignore[index]


def test_a_model_without_batch_norm_adapts_too():
    net = nn.Sequential(nn.Linear(3, 8), nn.LayerNorm(8), nn.Linear(8, 4))
    one = Petal(net, weight=0.0, view=double, n_views=2)
    assert one.step(X[:1]).shape == (1, 4)
    assert not close(weights(net), weights(one.student))


def test_the_default_view_refuses_what_is_no_picture_at_the_first_batch():
    net = model()
    sure = Petal(net, weight=0.0, tau=0.01)
    before = weights_fingerprint(sure.student)
    with pytest.raises(InputError, match=r"pictures \[B, C, H, W\]; give `view`.*got \[6, 3\]"):
        sure.step(X)
    assert weights_fingerprint(sure.student) == before
    assert Petal(net, weight=0.0, tau=0.0).step(X).shape == (6, 4), "no view is ever asked for"
    assert Petal(net, weight=0.0, tau=1.0, view=double).step(X).shape == (6, 4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weight": -1.0}, "weight >= 0"), ({"lr": 0.0}, "lr > 0"), ({"n_views": 0}, "n_views >= 1"), ({"tau": 1.1}, "tau"),
        ({"statistics": "running"}, "statistics"), ({"damp": 0.0}, "damp"), ({"decay": 2.0}, "decay"),
    ],
)  # fmt: skip
def test_refuses_settings_out_of_range(options: dict[str, Any], message: str):
    with pytest.raises(InputError, match=message):
        petal(**options)


def test_refuses_a_prior_without_a_fitting_posterior_and_a_loss_that_is_not_finite():
    with pytest.raises(InputError, match="needs a posterior"):
        Petal(model())
    with pytest.raises(InputError, match="does not fit the model"):
        Petal(model(), DiagonalGaussian({"0.weight": torch.zeros(2)}, {"0.weight": torch.zeros(2)}))
    with pytest.raises(InputError, match="nothing to adapt"):
        Petal(model().requires_grad_(False), weight=0.0)
    with pytest.raises(FloatingPointError, match="consistency"):
        petal().step(X * torch.inf)


def test_every_arm_of_the_study_meets_the_same_stream_and_budget(tmp_path: Path):
    trials = [Trial(3, STRONG.fast, tmp_path, arm=a.name, choice=a.grid[0]) for a in STRONG.arms]
    one = deployed(trials[0])
    assert [m["domain"] for m in one.stream][:2] == ["noise", "impulse"]
    begun = weights_fingerprint(one.model)
    for trial in trials:
        figures = arm(one, trial)
        assert 0 <= figures["error"] <= 1
        assert 0 <= figures["Brier"] <= 2
    assert weights_fingerprint(one.model) == begun
    assert {(t.budget.steps, t.budget.examples) for t in trials} == {(22, 22 * STRONG.fast.size)}
    assert {"cotta", "petal"} <= RESTORED.keys()
