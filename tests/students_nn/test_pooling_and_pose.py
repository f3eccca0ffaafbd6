"""Attention over sets, and networks that answer with maps."""

from __future__ import annotations

import pytest
import torch

from tutelage.errors import InputError
from tutelage.students.pooling import AttentionMil, AttentionPool
from tutelage.students.pose import HeatmapNet, read_maps


@pytest.mark.parametrize("gated", [False, True])
def test_weights_sum_to_one_over_real_members_and_order_does_not_matter(gated: bool):
    pool = AttentionPool(4, hidden=5, queries=2, gated=gated)
    x, mask = torch.randn(3, 6, 4), torch.tensor([[True] * 6, [True] * 2 + [False] * 4, [False] * 5 + [True]])
    pooled, weights = pool(x, mask)
    assert pooled.shape == (3, 2, 4)
    assert torch.allclose(weights.sum(-1), torch.ones(3, 2))
    assert not weights.masked_select(~mask.unsqueeze(1)).any()
    assert torch.allclose(pooled[2, 0], x[2, 5])
    order = torch.randperm(6)
    assert torch.allclose(pool(x[:, order], mask[:, order])[0], pooled, atol=1e-6)


def test_attention_by_hand():
    pool = AttentionPool(1, hidden=1)
    for layer, value in ((pool.score[0], 1.0), (pool.queries, 2.0)):
        torch.nn.init.constant_(layer.weight, value)  # type: ignore[arg-type]
    torch.nn.init.zeros_(pool.score[0].bias)  # type: ignore[arg-type]
    x = torch.tensor([[[0.5], [-1.0]]])
    expected = (2 * x.squeeze(-1).tanh()).softmax(-1)
    assert torch.allclose(pool(x)[1][:, 0], expected)


def test_a_bag_of_one_is_its_instance():
    model = AttentionMil(3, 2, width=4).eval()
    output = model(torch.ones(1, 1, 3))
    assert torch.allclose(output.feature, model.embed(torch.ones(1, 3)))
    assert output.attention.tolist() == [[1.0]]


def test_stages_begin_silent_and_get_gradients():
    net = HeatmapNet(4, channels=3, stem=4, width=8, dilations=(1, 2))
    stages = net(torch.rand(2, 3, 16, 20))
    assert [stage.shape for stage in stages] == [(2, 4, 8, 10)] * 2
    assert not any(stage.any() for stage in stages)
    (stages[-1] - 1).square().sum().backward()
    assert net.heads[-1][-1].weight.grad.any()  # type: ignore[index, union-attr]


def test_a_peak_is_read_to_a_quarter_cell():
    maps = torch.zeros(1, 2, 4, 5)
    maps[0, 0, 2, 3], maps[0, 0, 2, 2], maps[0, 0, 3, 3] = 1.0, 0.4, 0.2
    maps[0, 1, 0, 0] = 0.5
    points, heights = read_maps(maps, stride=1.0)
    assert points[0, 0].tolist() == [2.75, 2.25]
    assert heights.tolist() == [[1.0, 0.5]]


@pytest.mark.parametrize("options", [{"width": 6}, {"dilations": ()}, {"stem": 0}])
def test_refuses_nets_that_cannot_be(options: dict[str, object]):
    with pytest.raises(InputError):
        HeatmapNet(3, **options)  # type: ignore[arg-type]
    with pytest.raises(InputError):
        AttentionPool(4, hidden=0)
