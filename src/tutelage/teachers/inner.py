"""The inner states of a transformer, from one forward pass: what latent distillation reads on both sides.

Two kinds of models are read: Hugging Face encoders, called with a mapping of tokens, and models of one's own that have a
method `inner(x)` (such as `TransformerClassifier`). Attention scores are wanted *before* the softmax, which no attention
kernel of Hugging Face returns; they are computed anew from the queries and keys that a tap reads, so that any kernel and
any precision may run, and what a model adds to its scores (relative positions, a mask) stays out.

Shapes: tokens n, width d, heads h: states [B, n, d], embeddings first; scores [B, h, n, n]; mask [B, n].
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol, cast

from torch import Tensor, nn

from tutelage.errors import InputError
from tutelage.teachers.taps import FeatureTap

_QUERIES = {"query": "key", "q_lin": "k_lin", "q_proj": "k_proj"}


class HasInner(Protocol):
    """A model that reads itself: x → (logits, states, scores); a mapping of inputs arrives as keywords."""

    def inner(self, *x: Tensor, **inputs: Tensor) -> tuple[Tensor | None, Sequence[Tensor], Sequence[Tensor]]: ...


class Inner(NamedTuple):
    """One forward pass: N + 1 states, N score maps, logits (None: the model has no head), mask (None: no padding)."""

    states: list[Tensor]
    scores: list[Tensor]
    logits: Tensor | None = None
    mask: Tensor | None = None


def inner_states(model: nn.Module, x: Tensor | Mapping[str, Tensor]) -> Inner:
    """Run a model and return states, attention scores before the softmax, and logits.

    Args: model: a Hugging Face encoder (x: its tokens, `attention_mask` among them), or a model with `inner(x)` →
        (logits, states, scores).

    Raises: InputError: a model that offers neither, or whose queries and keys have unknown names or unequal heads.
    """
    if callable(getattr(model, "inner", None)):
        own = cast(HasInner, model)
        logits, states, scores = own.inner(**x) if isinstance(x, Mapping) else own.inner(x)
        return Inner(list(states), list(scores), logits, x.get("mask") if isinstance(x, Mapping) else None)
    config = getattr(model, "config", None)
    if not isinstance(x, Mapping) or config is None:
        raise InputError(
            f"cannot read the inner states of {type(model).__name__}: it is no Hugging Face model called with a mapping "
            "of tokens; give it a method inner(x) -> (logits, states, scores)"
        )
    names = [name for name, _ in model.named_modules() if name.rpartition(".")[2] in _QUERIES]
    if len(names) != config.num_hidden_layers:
        raise InputError(
            f"{type(model).__name__} has {config.num_hidden_layers} layers, but {len(names)} modules called "
            f"{', '.join(_QUERIES)}: its attention cannot be read"
        )
    places = {f"q{layer}": name for layer, name in enumerate(names)}
    places |= {f"k{layer}": _key(name) for layer, name in enumerate(names)}
    with FeatureTap(model, places) as tap:
        output = model(**x, output_hidden_states=True)
        heads = config.num_attention_heads
        scores = [attention_scores(tap[f"q{layer}"], tap[f"k{layer}"], heads) for layer in range(len(names))]
    return Inner(list(output.hidden_states), scores, getattr(output, "logits", None), x.get("attention_mask"))


def attention_scores(query: Tensor, key: Tensor, heads: int) -> Tensor:
    """Q Kᵀ / √(d / h) for each head: [B, n, d], [B, n, d] → [B, h, n, n].

    >>> import torch
    >>> attention_scores(torch.ones(1, 2, 8), torch.ones(1, 2, 8), heads=2)[0, 0].tolist()  # 4 / √4
    [[2.0, 2.0], [2.0, 2.0]]
    """
    if query.shape != key.shape or query.shape[-1] % heads:
        raise InputError(f"{heads} heads do not fit queries {tuple(query.shape)} and keys {tuple(key.shape)}")
    q, k = (part.unflatten(-1, (heads, -1)).transpose(1, 2) for part in (query, key))
    return q @ k.transpose(-1, -2) / math.sqrt(q.shape[-1])


def _key(query: str) -> str:
    parent, _, last = query.rpartition(".")
    return f"{parent}.{_QUERIES[last]}" if parent else _QUERIES[last]
