"""What it costs: seconds, texts per second, money per million texts, and the size of a network."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass
class Seconds:
    """Wall-clock and CPU seconds (of the whole process, all threads) of a `seconds()` block."""

    wall: float = 0.0
    cpu: float = 0.0


@contextmanager
def seconds() -> Iterator[Seconds]:
    """Time a block; the figures are there when it ends, also by an error.

    >>> with seconds() as spent:
    ...     _ = sum(range(1000))
    >>> spent.wall > 0
    True
    """
    spent = Seconds()
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        yield spent
    finally:
        spent.wall, spent.cpu = time.perf_counter() - wall, time.process_time() - cpu


def texts_per_second(
    predict: Callable[[Sequence[str]], object], texts: Sequence[str], *, repeats: int = 3, least: float = 0.2
) -> float:
    """Throughput of `predict` on `texts`: the best of `repeats` runs after one that warms up.

    A run that takes less than `least` seconds is repeated inside one measurement until it does, so that a fast student on
    few texts is not measured by the clock's resolution.

    Raises: ValueError: no texts.
    """
    if len(texts) == 0:
        raise ValueError("throughput needs at least one text")
    with seconds() as warm:
        predict(texts)
    rounds = max(1, round(least / max(warm.wall, 1e-6)))
    best = float("inf")
    for _ in range(repeats):
        with seconds() as spent:
            for _ in range(rounds):
                predict(texts)
        best = min(best, spent.wall / rounds)
    return len(texts) / best


def cost_per_million(amount: float, texts: int) -> float | None:
    """Cost per million texts when `texts` cost `amount`; None when there are none.

    >>> cost_per_million(0.5, 1000)
    500.0
    """
    return amount * 1e6 / texts if texts else None


def core_hours_per_million(per_second: float, *, cores: int = 1) -> float:
    """Core hours to label a million texts at `per_second` texts per second on `cores` cores.

    >>> round(core_hours_per_million(100), 2)
    2.78
    """
    return 1e6 / per_second * cores / 3600


def parameters(module: nn.Module, *, trainable: bool = False, exclude: Collection[str] = ()) -> int:
    """Number of parameters, each shared one once.

    Args:
        trainable: only those that training changes.
        exclude: names of submodules that do not count, such as the projectors that only distillation needs.
    """
    return sum(p.numel() for p in _parameters(module, exclude) if p.requires_grad or not trainable)


def nonzero(module: nn.Module, *, exclude: Collection[str] = ()) -> int:
    """Number of parameters that are not zero: what is left after pruning."""
    return sum(int(p.count_nonzero()) for p in _parameters(module, exclude))


def macs(module: nn.Module, *example: Tensor) -> int:
    """Multiply–accumulates of one forward pass on `example` (all its rows), as counted by PyTorch's dispatcher.

    Matrix products, convolutions and attention count; element-wise work does not. Training mode is kept as it was.
    """
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    training = module.training
    counter = FlopCounterMode(display=False)
    try:
        with torch.no_grad(), counter:
            module.eval()(*example)
    finally:
        module.train(training)
    return counter.get_total_flops() // 2


def _parameters(module: nn.Module, exclude: Collection[str]) -> Iterator[nn.Parameter]:
    for name, parameter in module.named_parameters():
        if not any(name == prefix or name.startswith(prefix + ".") for prefix in exclude):
            yield parameter
