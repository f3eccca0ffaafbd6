"""scikit-learn's digits as tensors: 1797 real handwritten digits that every installation has.

Source: `sklearn.datasets.load_digits` (test part of the UCI "Optical Recognition of Handwritten Digits", CC BY 4.0):
    8 × 8 pictures, 10 classes.
"""

from __future__ import annotations

from functools import cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from tutelage.errors import InputError

TOTAL = 1797


class Part(NamedTuple):
    """Pictures and labels of one part of a split."""

    x: Tensor
    y: Tensor


def digits(seed: int, *sizes: int, standardise: bool = False, flat: bool = True, size: int = 8) -> tuple[Part, ...]:
    """Disjoint parts of the digits, in the order of one permutation that belongs to the seed.

    The first part is the permutation's beginning, so a part of 100 is the beginning of a part of 200 at the same place.

    Args:
        sizes: examples in each part; at most 1797 together.
        standardise: mean 0 and variance 1 over all pixels of all pictures; else pixels are in [0, 1].
        flat: x [n, 64]; else pictures [n, 1, side, side].
        size: side: 8, 12 (a frame of 2 pixels of background) or 16 (each pixel four times).

    Raises: InputError: sizes that do not fit, or another side.

    >>> train, test = digits(0, 1000, 797)
    >>> train.x.shape, test.y.shape
    (torch.Size([1000, 64]), torch.Size([797]))
    >>> torch.equal(digits(0, 100)[0].x, train.x[:100])
    True
    """
    if not sizes or min(sizes) < 1 or sum(sizes) > TOTAL:
        raise InputError(f"parts must be positive and at most {TOTAL} together; got {sizes}")
    pictures, labels = _load()
    match size:
        case 8:
            pass
        case 12:
            pictures = F.pad(pictures, (2, 2, 2, 2))
        case 16:
            pictures = pictures.repeat_interleave(2, -1).repeat_interleave(2, -2)
        case _:
            raise InputError(f"size is 8, 12 or 16; got {size}")
    if standardise:
        pictures = (pictures - pictures.mean()) / pictures.std()
    order = torch.randperm(TOTAL, generator=torch.Generator().manual_seed(seed))[: sum(sizes)]
    x = pictures.flatten(1) if flat else pictures
    return tuple(Part(x[index], labels[index]) for index in order.split(list(sizes)))


@cache
def _load() -> tuple[Tensor, Tensor]:
    from sklearn.datasets import load_digits

    pixels, labels = load_digits(return_X_y=True)
    pictures = torch.tensor(pixels, dtype=torch.float32).view(-1, 1, 8, 8) / 16
    return pictures, torch.tensor(labels, dtype=torch.long)
