"""Cost: arithmetic by hand, counts of known networks, a clock that runs."""

from __future__ import annotations

import pytest

from tutelage.evaluation import cost


def test_money_and_core_hours() -> None:
    assert cost.cost_per_million(39.34, 5_000) == pytest.approx(7_868)
    assert cost.cost_per_million(1.0, 0) is None
    assert cost.core_hours_per_million(1e6 / 3600) == pytest.approx(1)
    assert cost.core_hours_per_million(1e6 / 3600, cores=2) == pytest.approx(2)


def test_seconds_are_there_after_an_error() -> None:
    with pytest.raises(KeyError), cost.seconds() as spent:
        raise KeyError
    assert spent.wall > 0


def test_throughput_warms_up_first_and_repeats_what_is_too_fast_to_measure() -> None:
    calls = []
    rate = cost.texts_per_second(lambda texts: calls.append(len(texts)), ["a"] * 7, repeats=2, least=0.001)
    assert set(calls) == {7}
    assert len(calls) >= 3
    assert rate > 0
    with pytest.raises(ValueError, match="at least one text"):
        cost.texts_per_second(len, [])


def test_counts_of_a_known_network() -> None:
    torch = pytest.importorskip("torch")
    net = torch.nn.Sequential(torch.nn.Linear(10, 20), torch.nn.ReLU(), torch.nn.Linear(20, 3))
    assert cost.parameters(net) == 10 * 20 + 20 + 20 * 3 + 3
    assert cost.parameters(net, exclude=["2"]) == 220
    net[0].weight.requires_grad_(False)
    assert cost.parameters(net, trainable=True) == 283 - 200
    with torch.no_grad():
        net[2].weight[:, :10] = 0
        net[2].bias.fill_(1)
        net[0].bias.fill_(1)
    assert cost.nonzero(net) == 283 - 30
    assert cost.macs(net, torch.zeros(4, 10)) == 4 * (200 + 60)
    assert net.training


def test_a_shared_weight_counts_once() -> None:
    torch = pytest.importorskip("torch")
    net = torch.nn.ModuleDict({"a": torch.nn.Linear(3, 3, bias=False), "b": torch.nn.Linear(3, 3, bias=False)})
    net["b"].weight = net["a"].weight
    assert cost.parameters(net) == 9


def test_a_convolution_has_its_textbook_macs() -> None:
    torch = pytest.importorskip("torch")
    net = torch.nn.Conv2d(3, 8, kernel_size=3, padding=1, bias=False)
    assert cost.macs(net, torch.zeros(1, 3, 10, 10)) == 10 * 10 * 8 * 3 * 9
