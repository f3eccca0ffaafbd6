"""Texts as rows of tokens of one length, for language models."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import torch
from torch import Tensor

from tutelage.errors import InputError

IGNORED = -100
"""The label of padding, as in `transformers`."""


def token_rows(
    texts: Iterable[str], encode: Callable[[str], Sequence[int]], length: int, *, pad: int = 0
) -> dict[str, Tensor]:
    """Texts cut into rows of at most `length` tokens: `x` [N, length] ids, padded on the right, and `y` with −100 there.

    A causal model needs no attention mask for padding on the right. Rows of one token, which predict nothing, are left
    out; with the same length, rows of several sources fit into one batch.

    Args: encode: text → ids, for instance `transformers`' `tokenizer.encode`, or `lambda text: tokenizer.encode(text).ids`.

    Raises: InputError: length < 2, or no text of two tokens.

    >>> rows = token_rows(["abc", "ab"], lambda text: [ord(c) - 96 for c in text], length=4)
    >>> rows["x"].tolist(), rows["y"].tolist()
    ([[1, 2, 3, 0], [1, 2, 0, 0]], [[1, 2, 3, -100], [1, 2, -100, -100]])
    """
    if length < 2:
        raise InputError(f"a row needs at least 2 tokens; got length {length}")
    pieces = []
    for text in texts:
        ids = list(encode(text))
        pieces += [ids[start : start + length] for start in range(0, len(ids), length)]
    pieces = [piece for piece in pieces if len(piece) > 1]
    if not pieces:
        raise InputError("no text has two tokens or more")
    x, y = (torch.tensor([piece + [filler] * (length - len(piece)) for piece in pieces]) for filler in (pad, IGNORED))
    return {"x": x, "y": y}
