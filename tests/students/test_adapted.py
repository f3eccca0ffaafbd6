"""Features under other weights: rows answer each for itself, and the head stays."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from tutelage.errors import InputError
from tutelage.students.adapted import Features, same_width
from tutelage.students.aggregator import AttentionAggregator, Mixture
from tutelage.students.cnn import SmallCnn
from tutelage.students.mlp import mlp


def test_rows_are_the_models_whose_weights_they_are():
    torch.manual_seed(0)
    models, x = [SmallCnn((1, 4, 3), 5, norm="group") for _ in range(3)], torch.randn(3, 6, 1, 8, 8)
    features = [Features(model) for model in models]
    rows = {name: torch.stack([one.weights()[name] for one in features]) for name in features[0].weights()}
    said = features[0].rows(rows, x)
    for row, model in enumerate(models):
        assert torch.allclose(said[row], model.features(x[row]), atol=1e-6)
    assert not any(name.startswith("model.head.") for name in rows)


def test_weights_in_their_place_leave_the_head_and_the_original_alone():
    torch.manual_seed(0)
    model, other = mlp(4, 3, 2), mlp(4, 3, 2)
    before = copy.deepcopy(model.state_dict())
    placed = copy.deepcopy(Features(model)).with_weights({n: w.detach() for n, w in Features(other).weights().items()})
    assert torch.equal(placed.get_parameter("body.0.weight"), other.body[0].weight)  # type: ignore[arg-type]
    assert torch.equal(placed.get_parameter("head.weight"), model.head.weight)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_frozen_layers_are_no_weights_and_answer_all_the_same():
    torch.manual_seed(0)
    model, x = mlp(4, 5, 3, 2), torch.randn(2, 7, 4)
    model.body[0].requires_grad_(False)
    features = Features(model)
    rows = {name: value.expand(2, *value.shape) for name, value in features.weights().items()}
    assert sorted(rows) == ["model.body.2.bias", "model.body.2.weight"]
    for said, inputs in zip(features.rows(rows, x), x, strict=True):
        assert torch.allclose(said, model.features(inputs), atol=1e-6)


def test_asking_for_widths_leaves_models_and_luck_alone():
    models = [SmallCnn((1, 4), 2, norm="batch"), nn.Sequential(nn.Dropout(0.5), SmallCnn((1, 4), 2)).train()]
    models[1].features, models[1].head = models[1][1].features, models[1][1].head  # type: ignore[index]
    before = [copy.deepcopy(model.state_dict()) for model in models]
    luck = torch.get_rng_state()
    assert same_width(models, torch.randn(3, 1, 8, 8, generator=torch.Generator())) == 4
    assert torch.equal(luck, torch.get_rng_state())
    for model, state in zip(models, before, strict=True):
        assert all(part.training for part in model.modules())
        assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    with pytest.raises(InputError, match=r"features of one width .*; got \[3, 4\]"):
        same_width([mlp(2, 4, 2), mlp(2, 3, 2)], torch.zeros(1, 2))


def test_a_mixture_trains_its_aggregator_and_not_the_head_that_it_copied():
    head = nn.Linear(4, 2)
    mixture = Mixture(AttentionAggregator(4, 3, heads=2), head)
    mixture(torch.randn(5, 3, 4)).sum().backward()
    assert all(p.grad is not None for p in mixture.aggregator.parameters())
    assert mixture.head.weight.grad is None
    assert head.weight.requires_grad, "the student's own goes on learning"


@pytest.mark.parametrize("model", [nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2))])
def test_refuses_models_without_features_and_head(model: nn.Module):
    with pytest.raises(InputError, match=r"needs features\(x\) and a head"):
        Features(model)
