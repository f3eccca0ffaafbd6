"""Small students: shapes, sizes, refusals."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tutelage.errors import InputError
from tutelage.students.cnn import SmallCnn
from tutelage.students.functional import call_with
from tutelage.students.heads import MultiHead, swap_head
from tutelage.students.lm import GruLM, TinyLM, char_tokenizer, next_token_loss, word_tokenizer
from tutelage.students.mlp import mlp
from tutelage.students.transformer import Patches, TransformerClassifier, TransformerEncoder
from tutelage.students.two_tower import TwoTower


def count(module: nn.Module) -> int:
    return sum(p.numel() for p in module.parameters())


def test_sizes_of_the_benchmark_networks() -> None:
    assert [count(mlp(*w)) for w in ((64, 128, 128, 10), (64, 16, 10), (64, 32, 10))] == [26_122, 1_210, 2_410]
    signals = {"dims": 1, "kernels": (5, 3, 3), "strides": 2, "padding": 1, "pool": "flatten", "size": 40}
    sizes = [count(SmallCnn((1, w, w, w), 10, **signals)) for w in (48, 15, 12)]
    assert sizes == [16_618, 2_230, 1_570]


@pytest.mark.parametrize("norm", [None, "layer", "batch"])
def test_perceptrons(norm) -> None:
    net = mlp(6, 5, 4, 3, norm=norm, dropout=0.1, activation=nn.Tanh)
    assert net(torch.zeros(2, 2, 3)).shape == (2, 3)
    assert torch.equal(net.eval().head(net.features(torch.ones(2, 6))), net(torch.ones(2, 6)))
    assert mlp(3, 2)(torch.zeros(1, 3)).shape == (1, 2)


@pytest.mark.parametrize("norm", [None, "batch", "group"])
def test_a_mean_pooled_cnn_takes_any_size_and_ignores_circular_content(norm) -> None:
    net = SmallCnn((1, 6, 12), 4, norm=norm, strides=(1, 2), dilations=(1, 2)).eval()
    for side in (8, 11):
        assert net(torch.zeros(2, 1, side, side)).shape == (2, 4)
    assert net.map(torch.zeros(2, 1, 8, 8)).shape[:2] == (2, 12)


def test_padding_tokens_change_nothing() -> None:
    torch.manual_seed(0)
    model = TransformerClassifier(nn.Embedding(9, 8), TransformerEncoder(8, depth=2, heads=2, length=6), 3).eval()
    ids = torch.tensor([[1, 2, 3, 0, 0]])
    mask = torch.tensor([[True, True, True, False, False]])
    assert torch.allclose(model(ids, mask), model(ids[:, :3]), atol=1e-5)
    other = torch.tensor([[1, 2, 3, 7, 8]])
    assert torch.allclose(model(ids, mask), model(other, mask), atol=1e-5)


def test_patches_keep_every_pixel() -> None:
    patches = Patches(2, channels=1, width=4)
    nn.init.eye_(patches.embed.weight)
    nn.init.zeros_(patches.embed.bias)
    picture = torch.arange(16.0).view(1, 1, 4, 4)
    assert patches(picture)[0, 0].tolist() == [0.0, 1.0, 4.0, 5.0]
    assert sorted(patches(picture).flatten().tolist()) == list(range(16))


def test_foreign_weights_leave_the_module_alone_and_get_gradients() -> None:
    layer = nn.Linear(2, 2)
    before = layer.weight.clone()
    weight = torch.ones(2, 2, requires_grad=True)
    call_with(layer, {"weight": weight}, torch.ones(1, 2)).sum().backward()
    assert torch.equal(layer.weight, before)
    assert weight.grad is not None
    assert layer.weight.grad is None


def test_heads() -> None:
    net = mlp(4, 3, 2)
    swapped = swap_head(net, 7, zero=False)
    assert (swapped(torch.zeros(1, 4)).shape, net(torch.zeros(1, 4)).shape) == ((1, 7), (1, 2))
    assert swap_head(net, 5, name="body.0").body[0].out_features == 5
    heads = MultiHead(net.body, 3, {"a": 2})
    heads(torch.zeros(1, 4))["a"].sum().backward()
    assert net.body[0].weight.grad is not None


def test_two_towers_find_what_they_score_highest() -> None:
    torch.manual_seed(0)
    towers = TwoTower(nn.Linear(4, 3), nn.Linear(5, 3))
    queries, documents = torch.randn(6, 4), torch.randn(9, 5)
    scores = towers.scores(queries, documents)
    ids, best = towers.index(documents, batch_size=4)(queries, 3)
    assert torch.equal(ids[:, 0], scores.argmax(1))
    assert torch.allclose(best, scores.gather(1, ids))
    assert torch.allclose(towers(queries, documents[:6]), scores[:, :6].diagonal(), atol=1e-6)
    lists = towers(queries, documents.expand(6, -1, -1))
    assert torch.allclose(lists, scores, atol=1e-6)
    unit = TwoTower(nn.Linear(4, 3), nn.Linear(5, 3), unit=True)
    assert unit.scores(queries, documents).abs().max() <= 1 + 1e-6


@pytest.mark.parametrize(
    "make", [lambda v: TinyLM(v, width=8, depth=1, heads=2, context=12), lambda v: GruLM(v, width=8)]
)
def test_language_models_do_not_look_ahead_and_learn(make) -> None:
    torch.manual_seed(0)
    lm = make(11)
    ids = torch.randint(4, 11, (2, 9))
    changed = ids.clone()
    changed[:, 5:] = 4
    assert torch.allclose(lm(ids)[:, :5], lm(changed)[:, :5], atol=1e-5)
    optimizer = torch.optim.AdamW(lm.parameters(), lr=0.02)
    for _ in range(60):
        optimizer.zero_grad()
        loss = next_token_loss(lm(ids), ids)
        loss.backward()
        optimizer.step()
    assert loss.item() < 1.0


def test_only_the_completion_counts() -> None:
    logits, ids = torch.randn(1, 4, 6), torch.tensor([[1, 2, 3, 4]])
    mask = torch.tensor([[False, False, True, True]])
    expected = nn.functional.cross_entropy(logits[0, 1:3], ids[0, 2:])
    assert next_token_loss(logits, ids, mask).item() == pytest.approx(expected.item())


def test_tokenizers_come_back() -> None:
    chars = char_tokenizer(["hello world\n"])
    assert chars.decode(chars.encode("low old").ids) == "low old"
    words = word_tokenizer(["the code of Ann is 1 2 3 4"] * 2, size=40)
    assert words.encode("the code 42!").tokens == ["the", "code", "4", "2", "<unk>"]
    batch = words.encode_batch(["the code", "Ann"])
    assert len(batch[1].ids) == 2
    assert batch[1].ids[1] == 0


@pytest.mark.parametrize(
    "call",
    [
        lambda: mlp(3),
        lambda: mlp(3, 2, norm="odd"),
        lambda: SmallCnn((1,), 2),
        lambda: SmallCnn((1, 2), 2, pool="flatten"),
        lambda: SmallCnn((1, 2), 2, kernels=(3, 3)),
        lambda: TransformerEncoder(8, depth=1, heads=3, length=4),
        lambda: TransformerEncoder(8, depth=1, heads=2, length=4)(torch.zeros(1, 5, 8)),
        lambda: Patches(3, channels=1, width=2)(torch.zeros(1, 1, 8, 8)),
        lambda: call_with(nn.Linear(2, 2), {"weight": torch.ones(1, 2)}, torch.ones(1, 2)),
        lambda: call_with(nn.Linear(2, 2), {"other": torch.ones(1, 2)}, torch.ones(1, 2)),
        lambda: swap_head(nn.ReLU(), 2),
        lambda: swap_head(nn.Linear(2, 2), 2),
        lambda: MultiHead(nn.ReLU(), 2, {}),
        lambda: TwoTower(nn.Linear(4, 3), nn.Linear(5, 2))(torch.zeros(1, 4), torch.zeros(1, 5)),
        lambda: TinyLM(9, width=9, depth=1, heads=2, context=3),
        lambda: TinyLM(9, width=8, depth=1, heads=2, context=3)(torch.zeros(1, 4).long()),
    ],
)
def test_what_does_not_fit_is_refused(call) -> None:
    with pytest.raises(InputError):
        call()
