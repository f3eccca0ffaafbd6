"""Digits, signals, views and wrong labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tutelage.data.digits import digits
from tutelage.data.mnist1d import mnist1d_signals
from tutelage.data.noise import corrupt_labels
from tutelage.data.views import GeometricView, classmix, cutmix, cutout, jitter, rectangles
from tutelage.errors import InputError


def test_digits_are_disjoint_prefixes_of_one_permutation() -> None:
    teacher, test = digits(3, 1000, 797)
    transfer, *_ = digits(3, 100)
    assert torch.equal(transfer.x, teacher.x[:100])
    everything = torch.cat([teacher.x, test.x])
    assert torch.cat([teacher.y, test.y]).bincount().tolist() == digits(0, 1797)[0].y.bincount().tolist()
    assert everything.min() == 0
    assert everything.max() == 1
    assert not torch.equal(digits(4, 100)[0].x, transfer.x)
    whole = digits(0, 1797, standardise=True)[0].x
    assert whole.mean().abs() < 1e-5
    assert whole.std().item() == pytest.approx(1, abs=1e-5)


@pytest.mark.parametrize("size", [8, 12, 16])
def test_digit_pictures_keep_their_ink(size: int) -> None:
    (small,), (large,) = digits(0, 5, flat=False), digits(0, 5, flat=False, size=size)
    assert large.x.shape == (5, 1, size, size)
    factor = 4 if size == 16 else 1
    assert torch.allclose(large.x.flatten(1).sum(1), factor * small.x.flatten(1).sum(1))
    for call in (lambda: digits(0), lambda: digits(0, 1798), lambda: digits(0, 5, size=9)):
        with pytest.raises(InputError):
            call()


def test_signals_are_made_once_and_read_without_the_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mnist1d")
    state = np.random.get_state()[1].tolist()  # noqa: NPY002
    x, y = mnist1d_signals(200, cache=tmp_path)
    assert np.random.get_state()[1].tolist() == state  # noqa: NPY002
    assert (x.shape, x.dtype, y.dtype) == ((200, 40), torch.float32, torch.int64)
    assert y.bincount().tolist() == [20] * 10
    assert x.std().item() == pytest.approx(1, abs=0.01)
    monkeypatch.setitem(__import__("sys").modules, "mnist1d.data", None)
    again, _ = mnist1d_signals(200, cache=tmp_path)
    assert torch.equal(x, again)
    with pytest.raises(ImportError, match="MNIST-1D"):
        mnist1d_signals(210, cache=tmp_path)
    with pytest.raises(InputError):
        mnist1d_signals(15)


@given(st.integers(1, 60), st.floats(0, 1), st.integers(2, 5), st.integers(0, 99))
def test_exactly_the_share_of_labels_is_wrong(n: int, rate: float, classes: int, seed: int) -> None:
    y = np.random.default_rng(seed).integers(classes, size=n)
    noisy, changed = corrupt_labels(y, rate, classes=classes, seed=seed)
    assert changed.sum() == round(rate * n)
    assert ((noisy != y) == changed).all()
    assert ((noisy >= 0) & (noisy < classes)).all()


def test_one_sided_noise_keeps_the_other_side() -> None:
    y = np.array([0] * 10 + [1] * 10)
    assert corrupt_labels(y, 0.5, kind="positive")[0].sum() == 5
    assert corrupt_labels(y, 0.5, kind="negative")[0].sum() == 15
    for options in ({"rate": 2.0}, {"rate": 0.1, "kind": "odd"}, {"rate": 0.1, "classes": 1}):
        with pytest.raises(InputError):
            corrupt_labels(y, **options)
    with pytest.raises(InputError):
        corrupt_labels([0, 1, 2], 0.1, kind="positive")


def dot(side: int, x: int, y: int) -> torch.Tensor:
    picture = torch.zeros(1, 1, side, side)
    picture[0, 0, y, x] = 1
    return picture


@given(st.integers(2, 8), st.integers(2, 8), st.integers(0, 200))
def test_pictures_points_and_boxes_move_together(x: int, y: int, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    view = GeometricView.draw(1, (11, 11), generator, rotate=20, shift=0.1, scale=0.1, flip=0.5)
    moved = view.apply_image(dot(11, x, y))[0, 0]
    (px, py), mass = view.apply_points(torch.tensor([[[x, y]]]).float())[0, 0].tolist(), moved.sum().item()
    if not (1 <= px <= 9 and 1 <= py <= 9) or mass < 0.5:
        return
    grid = torch.arange(11.0)
    centre = ((moved.sum(0) * grid).sum() / mass, (moved.sum(1) * grid).sum() / mass)
    assert abs(centre[0] - px) < 0.6
    assert abs(centre[1] - py) < 0.6
    box = view.apply_boxes(torch.tensor([[[x - 1.0, y - 1.0, x + 1.0, y + 1.0]]]))[0, 0]
    assert box[0] <= px <= box[2]
    assert box[1] <= py <= box[3]


def test_a_mirror_swaps_left_and_right() -> None:
    view = GeometricView.draw(2, (5, 5), torch.Generator().manual_seed(0), flip=1.0, pairs=[(0, 1)])
    points = torch.tensor([[[0.0, 2.0], [3.0, 2.0]]] * 2)
    assert torch.allclose(view.apply_points(points), torch.tensor([[[1.0, 2.0], [4.0, 2.0]]] * 2))
    maps = torch.rand(2, 2, 5, 5)
    assert torch.allclose(view.apply_map(maps), maps.flip(1).flip(3), atol=1e-6)
    assert torch.allclose(view.inverse().apply_map(view.apply_map(maps)), maps, atol=1e-5)
    with pytest.raises(InputError):
        view.apply_image(torch.zeros(2, 1, 4, 4))


def test_photometric_views() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(6, 3, 8, 8, generator=generator)
    assert ((jitter(x, generator, noise=0.1) - 0.5).abs() <= 0.5).all()
    cut, kept = cutout(x, generator, share=0.25)
    assert (~kept).flatten(1).sum(1).tolist() == [16] * 6
    assert torch.equal(cut, x * kept)
    mask = rectangles(6, (8, 8), generator)
    assert torch.equal(cutmix(x, torch.zeros_like(x), mask), x * ~mask)
    labels = torch.randint(0, 3, (6, 8, 8), generator=generator)
    assert torch.equal(cutmix(labels, labels + 5, mask) >= 5, mask[:, 0])
    chosen = classmix(labels, generator, 3)
    for picture, marked in zip(labels, chosen[:, 0], strict=True):
        whole = {c for c in range(3) if marked[picture == c].all()}
        assert len(whole) == 2
        assert not any(marked[picture == c].any() for c in {0, 1, 2} - whole)
