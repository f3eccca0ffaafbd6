"""DisWOT: its similarities against the matrices they stand for, what must not change them, the search, and refusals."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from tutelage.errors import InputError
from tutelage.methods.search.diswot import (
    DisWOT,
    Views,
    initialise,
    look,
    relation_similarity,
    semantic_gradient,
    semantic_similarity,
    similarity_loss,
)
from tutelage.students.cnn import SmallCnn
from tutelage.students.mlp import mlp
from tutelage.students.resnet import ResNet, StageDepthSpace
from tutelage.students.space import Space
from tutelage.studies.search.diswot import permutation_p

SPACE = StageDepthSpace(depths=(1, 2), widths=(4, 6), classes=3)
TEACHER = ResNet((3, 3), widths=(4, 6), classes=3)
IMAGES = torch.randn(16, 3, 8, 8, generator=torch.Generator().manual_seed(0))
LABELS = torch.arange(16) % 3


def by_matrices(student: torch.Tensor, teacher: torch.Tensor) -> float:
    """S_sem as the paper writes it, with a C × C matrix a class."""
    total = 0.0
    for s, t in zip(student, teacher, strict=True):
        gap = F.normalize(torch.outer(t, t), dim=1) - F.normalize(torch.outer(s, s), dim=1)
        total += gap.square().sum().item()
    return -total / student.numel()


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 5), st.integers(1, 7), st.integers(0, 10**6), st.booleans())
def test_the_closed_form_is_the_matrices(classes: int, channels: int, seed: int, dead: bool):
    generator = torch.Generator().manual_seed(seed)
    s, t = (torch.randn(classes, channels, generator=generator, dtype=torch.float64) for _ in range(2))
    if dead:
        s[:, 0] = 0
        t[-1] = 0
    assert semantic_similarity(s, t).item() == pytest.approx(by_matrices(s, t), abs=1e-9)


def test_the_gradient_is_the_one_of_autograd():
    head = nn.Linear(4, 3)
    g = torch.randn(6, 4, generator=torch.Generator().manual_seed(1))
    labels = torch.tensor([0, 1, 2, 0, 1, 2])
    F.cross_entropy(head(g), labels).backward()
    assert head.weight.grad is not None
    assert torch.allclose(semantic_gradient(head(g), g, labels), head.weight.grad, atol=1e-6)


def test_the_relation_by_hand():
    """Rows (1, 0), (0, 1): G = I. Rows (1, 0), (1, 0): G = all 1 / √2 after normalising."""
    apart, alike = torch.eye(2), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    expected = -(2 * (1 - 0.5**0.5) ** 2 + 2 * 0.5) / 4
    assert relation_similarity(apart, alike).item() == pytest.approx(expected)
    assert relation_similarity(apart, 3 * apart).item() == 0


def test_similarities_are_highest_for_the_teacher_itself_and_are_a_loss():
    net = initialise(ResNet((1, 1), widths=(4, 6), classes=3), 0)
    views = look(net, IMAGES)
    loss = similarity_loss(views, views, LABELS)
    assert loss.item() < similarity_loss(look(initialise(TEACHER, 1), IMAGES), views, LABELS).item()
    assert loss.item() == pytest.approx(0, abs=1e-5)
    other = look(initialise(ResNet((1, 1), widths=(4, 6), classes=3), 3), IMAGES)
    similarity_loss(look(net, IMAGES), other, LABELS).backward()
    assert all(p.grad is not None for p in net.parameters())


def test_a_small_space_is_scored_whole_and_the_best_comes_first():
    found = DisWOT(TEACHER, SPACE, inits=2, combine="semantic").search(IMAGES, LABELS)
    assert {c.architecture for c in found.table} == set(SPACE.enumerate())
    semantic = [c.semantic for c in found.table]
    assert semantic == sorted(semantic, reverse=True)
    assert found.best == found.table[0].architecture


def test_the_limit_holds_in_both_ways_of_searching():
    space = StageDepthSpace(depths=(1, 2, 3, 4), widths=(2, 2), classes=3)
    teacher, limit = space.build((4, 4)), 400
    whole = DisWOT(teacher, space, inits=1).search(IMAGES, LABELS, max_parameters=limit)
    evolved = DisWOT(teacher, space, inits=1).search(
        IMAGES, LABELS, max_parameters=limit, evaluations=6, population=3, tournament=2
    )
    assert all(c.parameters <= limit for c in (*whole.table, *evolved.table))
    assert 0 < len(evolved.table) <= 6
    assert {c.architecture for c in evolved.table} <= {c.architecture for c in whole.table}
    with pytest.raises(InputError, match="at most 10 parameters"):
        DisWOT(teacher, space, inits=1).search(IMAGES, LABELS, max_parameters=10)


def test_a_seed_decides_and_nothing_else_changes():
    teacher = ResNet((3, 3), widths=(4, 6), classes=3)
    before = teacher.head.weight.clone()
    state = torch.get_rng_state()
    first = DisWOT(teacher, SPACE, inits=2, seed=5).scores([(1, 2), (2, 2)], IMAGES, LABELS)
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(before, teacher.head.weight)
    again = DisWOT(teacher, SPACE, inits=2, seed=5).scores([(2, 2), (1, 2)], IMAGES, LABELS)
    assert first == again[::-1]  # a score does not depend on what else is scored
    assert first != DisWOT(teacher, SPACE, inits=2, seed=6).scores([(1, 2), (2, 2)], IMAGES, LABELS)


def test_networks_of_other_kinds_work():
    space = Space({"width": (3, 5)}, lambda a: SmallCnn((3, a[0], 6), 3, norm="batch"))
    found = DisWOT(SmallCnn((3, 8, 6), 3, norm="batch"), space, inits=1, combine="sum").search(IMAGES, LABELS)
    assert len(found.table) == 2


@pytest.mark.parametrize("network", [mlp(192, 8, 3), SmallCnn((3, 6), 3, pool="flatten", size=8), nn.Flatten()])
def test_networks_without_a_map_need_a_look_of_their_own(network: nn.Module):
    message = f"{type(network).__name__} has no map.* say with look="
    with pytest.raises(InputError, match=message):
        look(network, IMAGES)
    with pytest.raises(InputError, match=message):
        DisWOT(network, SPACE, inits=1).scores([(1, 1)], IMAGES, LABELS)


def test_an_mlp_can_be_looked_at():
    def own(network: nn.Module, images: torch.Tensor) -> Views:
        g = network.features(images)  # type: ignore[operator]
        return Views(g, g, network.head(g))  # type: ignore[operator]

    space = Space({"width": (4, 8)}, lambda a: mlp(192, a[0], 6, 3))
    assert len(DisWOT(mlp(192, 16, 6, 3), space, inits=1, look=own).scores([(4,), (8,)], IMAGES, LABELS)) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"images": IMAGES[:4], "labels": LABELS[:4]}, "at least 16"),
        ({"labels": LABELS[:3]}, "one label an image"),
        ({"labels": LABELS + 1}, r"labels must be in \[0, 3\); found 1 to 3"),
    ],
)
def test_refuses_batches_that_say_nothing(change: dict, message: str):
    with pytest.raises(InputError, match=message):
        DisWOT(TEACHER, SPACE, inits=1).scores([(1, 1)], **({"images": IMAGES, "labels": LABELS} | change))


def test_refuses_candidates_of_another_width_and_settings_that_make_no_sense():
    other = StageDepthSpace(depths=(1,), widths=(4, 8), classes=3)
    with pytest.raises(InputError, match=r"the student has \(3, 8\), the teacher \(3, 6\)"):
        DisWOT(TEACHER, other, inits=1).scores([(1, 1)], IMAGES, LABELS)
    for options in ({"inits": 0}, {"combine": "best"}):
        with pytest.raises(InputError, match="inits >= 1"):
            DisWOT(TEACHER, SPACE, **options)  # type: ignore[arg-type]


def test_the_permutation_test_of_the_study():
    rng = np.random.default_rng(0)
    ordered = np.arange(12.0)
    assert permutation_p(ordered, ordered, rng) == pytest.approx(1 / 2001)
    assert permutation_p(ordered, ordered[::-1].copy(), rng) == 1
