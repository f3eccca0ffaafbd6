"""Adapters, their host, their bank and what combines them."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from tests.methods.hub import write_checkpoint
from tutelage.errors import InputError
from tutelage.students.adapter_bank import AdapterBank
from tutelage.students.adapters import (
    AdapterHost,
    Adapters,
    BottleneckAdapter,
    attach,
    check_base,
    find_places,
    first_token,
)
from tutelage.students.combiners import Combined, MeanCombiner
from tutelage.training import seeded, weights_fingerprint


def network(seed: int = 0, width: int = 8) -> nn.Sequential:
    with seeded(seed, "init"):
        return nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, width), nn.Dropout(0.5))


def trained(model: nn.Module, seed: int, places: str = "[02]", reduction: int = 4) -> Adapters:
    """Adapters that say something, as training would have left them."""
    with seeded(seed, "init"):
        adapters = Adapters.fresh(model, places, reduction)
        for weight in adapters.parameters():
            nn.init.normal_(weight)
    return adapters


def filled(model: nn.Module, sources: int = 3) -> AdapterBank:
    return AdapterBank({f"task {n}": trained(model, n, reduction=2 + n) for n in range(sources)})


def test_an_adapter_is_its_equation():
    adapter = BottleneckAdapter(2, 1)
    with torch.no_grad():
        adapter.down.weight.copy_(torch.tensor([[1.0, 2.0]]))
        adapter.down.bias.fill_(-1.0)
        adapter.up.weight.copy_(torch.tensor([[3.0], [-1.0]]))
        adapter.up.bias.copy_(torch.tensor([0.5, 0.0]))
    said = adapter(torch.tensor([[1.0, 1.0], [0.0, 0.0]]))
    assert said.tolist() == [[6.5, -2.0], [0.5, 0.0]], "the second hidden unit is below zero"


def test_patterns_stand_for_one_step_of_a_name():
    model = nn.ModuleDict({"layer": nn.ModuleList([nn.ModuleDict({"out": nn.Linear(2, 2)}) for _ in range(2)])})
    model["out"] = nn.Linear(2, 2)
    assert find_places(model, "layer.*.out") == ("layer.0.out", "layer.1.out")
    assert find_places(model, ["out", "layer.1.o*"]) == ("layer.1.out", "out"), "in the model's order"
    with pytest.raises(InputError, match=r"no part of the model fits 'layer\.\*\.dense'; there are layer, layer\.0"):
        find_places(model, ["out", "layer.*.dense"])
    with pytest.raises(InputError, match="at which parts"):
        find_places(model, [])


def test_fresh_adapters_change_nothing_and_the_model_is_the_user_s_again():
    model = network()
    x = torch.randn(3, 4)
    before, plain = weights_fingerprint(model), copy.deepcopy(model).eval()(x)
    adapters = Adapters.fresh(model, "[02]", reduction=2)
    host = AdapterHost(model, adapters.places, adapters).train()
    assert torch.equal(host(x), plain), "in training too: the model's dropout stays off"
    assert weights_fingerprint(model) == before
    assert not any(part._forward_hooks for part in model.modules())


def test_the_update_is_added_once_where_it_belongs():
    model = network().eval()
    x = torch.randn(3, 4)
    with attach(model, ["0", "2"], lambda layer, h: h * 0 + 10.0**layer):
        inside = model(x)
    assert torch.allclose(inside, model[2](torch.tanh(model[0](x) + 1)) + 10)


def test_hooks_are_gone_after_an_error():
    model = network()
    with pytest.raises(ZeroDivisionError), attach(model, ["0"], lambda layer, h: h / (1 // layer)):
        model(torch.ones(1, 4))
    assert not model[0]._forward_hooks


def test_hosts_share_one_model():
    model = network()
    x = torch.randn(3, 4)
    hosts = [AdapterHost(model, ("0", "2"), trained(model, n)) for n in range(2)]
    first = hosts[0](x)
    hosts[1](x)
    assert torch.equal(hosts[0](x), first)


def test_gradients_reach_the_adapters_and_nothing_else():
    model = network()
    adapters = trained(model, 0)
    AdapterHost(model, adapters.places, adapters, head=nn.Linear(8, 2))(torch.randn(3, 4)).sum().backward()
    assert all(weight.grad is not None and weight.grad.abs().sum() > 0 for weight in adapters.parameters())
    assert all(weight.grad is None for weight in model.parameters())


def test_a_place_may_return_a_tuple():
    class Pair(nn.Linear):
        def forward(self, input: torch.Tensor) -> tuple[torch.Tensor, str]:  # type: ignore[override]
            return super().forward(input), "kept"

    model = Pair(2, 2)
    holder = nn.ModuleDict({"pair": model})
    with attach(holder, ["pair"], lambda layer, h: torch.ones_like(h)):
        said, kept = model(torch.zeros(1, 2))
    assert torch.equal(said, model.bias.view(1, 2) + 1)
    assert kept == "kept"


def test_adapters_sit_in_a_hugging_face_encoder(tmp_path: Path):
    from transformers import AutoModel

    write_checkpoint(tmp_path, ["one two three"], layers=2, width=8)
    model = AutoModel.from_pretrained(tmp_path)
    adapters = trained(model, 0, "encoder.layer.*.output.dense")
    assert adapters.places == ("encoder.layer.0.output.dense", "encoder.layer.1.output.dense")
    tokens = {"input_ids": torch.tensor([[2, 5, 3, 0]]), "attention_mask": torch.tensor([[1, 1, 1, 0]])}
    host = AdapterHost(model, adapters.places, adapters, head=nn.Linear(8, 3))
    plain = model(**tokens).last_hidden_state[:, 0]
    assert host(**tokens).shape == (1, 3)
    host.head = nn.Identity()
    assert not torch.allclose(host(**tokens), plain), "the adapters speak"
    host.update = Adapters.fresh(model, adapters.places)
    assert torch.allclose(host(**tokens), plain)


def test_only_vectors_stand_for_examples():
    with pytest.raises(InputError, match="returned dict; say with `select`"):
        first_token({})
    model = nn.Sequential(_Dictionary())
    with pytest.raises(InputError, match="place returned dict"), attach(model, ["0"], lambda layer, h: h):
        model(torch.zeros(1))


class _Dictionary(nn.Module):
    def forward(self, x: torch.Tensor) -> dict[str, int]:
        return {}


def test_a_file_gives_the_same_adapters_back(tmp_path: Path):
    model = network()
    adapters = trained(model, 0)
    adapters.save(tmp_path / "new" / "topic.safetensors")
    again = Adapters.load(tmp_path / "new" / "topic.safetensors")
    assert (again.places, again.widths, again.hidden, again.base) == (("0", "2"), (8, 8), (2, 2), adapters.base)
    assert weights_fingerprint(again) == weights_fingerprint(adapters)
    check_base(again.base, model)
    with pytest.raises(InputError, match="another model"):
        check_base(again.base, network(seed=1))


def test_files_of_something_else_are_refused_in_one_line(tmp_path: Path):
    save_file({"weight": torch.zeros(2)}, tmp_path / "other.safetensors")
    (tmp_path / "text.safetensors").write_text("no adapters")
    for name in ("other", "text", "none"):
        with pytest.raises(InputError, match="cannot read adapters from") as error:
            Adapters.load(tmp_path / f"{name}.safetensors")
        assert "\n" not in str(error.value)


@settings(max_examples=20, deadline=None)
@given(sources=st.integers(1, 4), rows=st.lists(st.integers(1, 3), max_size=2), seed=st.integers(0, 99))
def test_a_bank_says_what_its_adapters_say_one_by_one(sources: int, rows: list[int], seed: int):
    model = network()
    alone = {f"task {n}": trained(model, seed + n, reduction=2 + n) for n in range(sources)}
    bank = AdapterBank(alone)
    h = torch.randn(*rows, 8, generator=torch.Generator().manual_seed(seed))
    for layer in range(2):
        expected = torch.stack([adapters(layer, h) for adapters in alone.values()])
        assert torch.allclose(bank.outputs(layer, h), expected, atol=1e-4, rtol=1e-4)


def test_a_bank_survives_its_files(tmp_path: Path):
    model = network()
    bank = filled(model)
    paths = bank.save(tmp_path)
    assert [path.name for path in paths] == ["task 0.safetensors", "task 1.safetensors", "task 2.safetensors"]
    again = AdapterBank.load(paths, model)
    assert again.names == bank.names
    assert weights_fingerprint(again) == weights_fingerprint(bank)
    assert again.source("task 2").hidden == (2, 2), "not filled up to the largest"


def test_a_bank_is_frozen():
    bank = filled(network())
    assert not any(weight.requires_grad for weight in bank.parameters())


def test_what_a_bank_refuses(tmp_path: Path):
    model, other = network(), network(seed=1)
    topic = trained(model, 0)
    with pytest.raises(InputError, match="at least one task"):
        AdapterBank({})
    with pytest.raises(InputError, match="'tone' and 'topic' were trained in different models"):
        AdapterBank({"topic": topic, "tone": trained(other, 0)})
    with pytest.raises(InputError, match=r"'tone' sit at \('0',\) with widths \(8,\)"):
        AdapterBank({"topic": topic, "tone": trained(model, 0, places="0")})
    with pytest.raises(InputError, match="no adapters 'tone'"):
        AdapterBank({"topic": topic}).source("tone")
    with pytest.raises(InputError, match="cannot be the name of a file"):
        AdapterBank({"../topic": topic}).save(tmp_path)
    topic.save(tmp_path / "a" / "topic.safetensors")
    topic.save(tmp_path / "b" / "topic.safetensors")
    with pytest.raises(InputError, match="two adapters are called 'topic'"):
        AdapterBank.load([tmp_path / "a" / "topic.safetensors", tmp_path / "b" / "topic.safetensors"], model)
    with pytest.raises(InputError, match=r"topic\.safetensors: these adapters were trained in another model"):
        AdapterBank.load([tmp_path / "a" / "topic.safetensors"], other)


def test_what_adapters_refuse():
    model = network()
    with pytest.raises(InputError, match="width of '1' cannot be seen"):
        Adapters.fresh(model, "1")
    with pytest.raises(InputError, match="reduction is at least 1"):
        Adapters.fresh(model, "0", reduction=0)
    with pytest.raises(InputError, match="has no part '7'"):
        AdapterHost(model, ["7"], nn.Identity())
    with pytest.raises(InputError, match="a hidden size a place"):
        Adapters(["0"], [8, 8], [2, 2], "")


def test_a_combined_bank_is_an_update():
    model = network()
    bank = filled(model)
    combined, x = Combined(bank, MeanCombiner()), torch.randn(3, 4)
    said = AdapterHost(model, bank.places, combined)(x)
    h = model[0](x)
    h = torch.tanh(h + bank.outputs(0, h).mean(0))
    h = model[2](h)
    assert torch.allclose(said, h + bank.outputs(1, h).mean(0), atol=1e-5)
