"""The same numbers as released implementations, computed once on the inputs below and written down here.

| constant | computed with |
|---|---|
| `KD`, `KL`, `AT`, `RKD_*` | torchdistill 1.1.5: `KDLoss`, `ATLoss(mode="code")`, `RKDLoss` |
| `SP` | the formula of RepDistiller's `Similarity`: rows of unit L2 length, as the paper has it |
| `DKD` | mdistiller, `distillers/DKD.py` at e8c5bb3, function `dkd_loss` (α 1, β 8, T 4) |
| `NTXENT` | pytorch-metric-learning 2.9.0: `NTXentLoss(temperature=0.2)` on both views with their pair numbers as labels |
| `MARGIN` | sentence-transformers 6.2.0: `MarginMSELoss`, dot products of queries with two documents |
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from tutelage import objectives as o

KD, KL, DKD = 2.6793171120750023, 1.568956993235278, 25.395988947862456
AT, SP = 0.003381945805118256, 0.405115070112808
RKD_DISTANCE, RKD_ANGLE = 0.07712345998084741, 0.07680645736749753
NTXENT, MARGIN = 3.5317041365083757, 93.85363014282794


def wave(count: int, step: float = 1.0, shift: float = 0.0) -> Tensor:
    return torch.sin(torch.arange(count).double() * step + shift)


def cowave(count: int, step: float) -> Tensor:
    return torch.cos(torch.arange(count).double() * step)


S = 2 * wave(20).view(4, 5)
T = 3 * cowave(20, 1.7).view(4, 5)
MAP_S, MAP_T = wave(96, 0.7).view(2, 3, 4, 4), cowave(160, 0.3).view(2, 5, 4, 4)
Y = torch.tensor([0, 3, 2, 2])


def test_logits() -> None:
    mixed = 0.1 * F.cross_entropy(S, Y) + 0.9 * o.distillation_kl(S, T, 4.0)
    assert mixed.item() == pytest.approx(KD, rel=1e-9)
    assert o.distillation_kl(S, T).item() == pytest.approx(KL, rel=1e-9)
    assert o.decoupled_kd(S, T, Y, alpha=1.0, beta=8.0, temperature=4.0).item() == pytest.approx(DKD, rel=1e-6)


def test_features_and_relations() -> None:
    assert o.attention_transfer(MAP_S, MAP_T).item() == pytest.approx(AT, rel=1e-9)
    assert o.similarity_preserving(MAP_S, MAP_T).item() == pytest.approx(SP, rel=1e-9)
    assert o.distance_relation(S, T).item() == pytest.approx(RKD_DISTANCE, rel=1e-9)
    assert o.angle_relation(S, T).item() == pytest.approx(RKD_ANGLE, rel=1e-9)


def test_contrast() -> None:
    """NT-Xent contrasts every embedding with all others of both views: InfoNCE with those masks."""
    both = torch.cat([S, T])
    number = torch.arange(4).repeat(2)
    itself = torch.eye(8, dtype=torch.bool)
    together = (number.unsqueeze(0) == number.unsqueeze(1)) & ~itself
    loss = o.info_nce(both, both, 0.2, positives=together, negatives=~together & ~itself)
    assert loss.item() == pytest.approx(NTXENT, rel=1e-6)


def test_margins() -> None:
    negative = wave(20, 0.9, 1.0).view(4, 5)
    margins = torch.tensor([1.0, -2.0, 0.5, 3.0]).double()
    loss = o.margin_mse((S * T).sum(1), (S * negative).sum(1), margins, torch.zeros(4).double())
    assert loss.item() == pytest.approx(MARGIN, rel=1e-6)
