"""Meta-DMoE with what people have: labels of a data frame, networks of different widths, frozen layers."""

from __future__ import annotations

import copy
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from tests.methods.test_meta_dmoe import places
from tutelage.data.domains import DomainSet
from tutelage.errors import InputError
from tutelage.methods.adaptation.meta_dmoe import MetaDMoE, meta_dmoe
from tutelage.students.mlp import mlp


def short(
    student: nn.Module,
    expert: Callable[[], nn.Module],
    change: Callable[[np.ndarray], np.ndarray] = lambda held: held,
) -> MetaDMoE:
    """All of it, in a few steps, with other labels of the source domains."""
    held = DomainSet({place.name: (place.x, change(place.y.numpy())) for place in places().source})
    return meta_dmoe(held, student, expert, experts=2, support=8, query=8, pretrain=2, rehearse=2)


def test_widths_that_differ_are_said_before_anything_is_trained():
    student, made = mlp(3, 8, 2, norm="batch"), list[nn.Module]()
    before = copy.deepcopy(student.state_dict())

    def expert() -> nn.Module:
        made.append(mlp(3, 16, 2))
        return made[-1]

    with pytest.raises(InputError, match=r"features of one width .* got \[8, 16\]"):
        short(student, expert)
    assert all(torch.equal(value, before[name]) for name, value in student.state_dict().items())
    assert len(made) == 2


def test_frozen_layers_stay_and_the_others_adapt():
    student = mlp(3, 8, 4, 2)
    student.body[0].requires_grad_(False)
    before = copy.deepcopy(student.state_dict())
    lesson = short(student, lambda: mlp(3, 4, 2))
    adapted = lesson.adapt(places().source[0].x[:8])
    moved = {name for name, value in adapted.state_dict().items() if not torch.equal(value, before[name])}
    assert moved == {"body.2.weight", "body.2.bias", "head.weight", "head.bias"}
    student.body.requires_grad_(False)
    with pytest.raises(InputError, match="nothing to adapt"):
        MetaDMoE(student, lesson.pool, lesson.aggregator)


@pytest.mark.parametrize("kind", ["bool", "int32", "uint8"])
def test_labels_of_a_data_frame_are_class_numbers(kind: str):
    student, found = mlp(3, 4, 2), list[dict[str, Tensor]]()
    for held in ("int64", kind):
        torch.manual_seed(0)
        lesson = short(copy.deepcopy(student), lambda: mlp(3, 4, 2), lambda y, held=held: y.astype(held))
        found.append(lesson.student.state_dict())
    plain, other = found
    assert all(torch.equal(value, other[name]) for name, value in plain.items())


def test_refuses_labels_that_are_texts():
    with pytest.raises(InputError, match="encode them first: domain '0' has <U"):
        short(mlp(3, 4, 2), lambda: mlp(3, 4, 2), lambda y: y.astype(str))
