"""From examples of different lengths to one padded batch."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from tutelage.errors import InputError


def pad_collate(bags: Sequence[Tensor], *, empty: bool = False) -> tuple[Tensor, Tensor]:
    """B sets (n_i, D) → one tensor [B, n, D] with zeros at the ends, and the mask [B, n] (bool) of what is real.

    Args: empty: whether a set may have no member, which only a model with a place for "none" can take.

    Raises: InputError: no set, sets of different width, one that is not a matrix, or an empty one.

    >>> x, mask = pad_collate([torch.ones(1, 2), torch.ones(3, 2)])
    >>> x.shape, mask.tolist()
    (torch.Size([2, 3, 2]), [[True, False, False], [True, True, True]])
    """
    if not bags:
        raise InputError("there is no bag to pad")
    width = bags[0].shape[-1] if bags[0].ndim == 2 else None
    for number, bag in enumerate(bags):
        if bag.ndim != 2 or bag.shape[1] != width:
            raise InputError(f"bag {number} has shape {tuple(bag.shape)}; need (instances, {width or 'features'})")
        if not len(bag) and not empty:
            raise InputError(f"bag {number} has no instance; leave it out")
    lengths = torch.tensor([len(bag) for bag in bags])
    x = pad_sequence(list(bags), batch_first=True)
    return x, (torch.arange(x.shape[1]) < lengths.unsqueeze(1)).to(x.device)
