"""Seeds: one number decides everything, and three generators keep what should differ apart from what should not.

Two arms of a study with the same seed must start from the same weights and see the same batches, or their difference
is noise; what a method draws for itself must not shift either. So a seed has three children: *init* (weights),
*order* (batches) and *method* (noise, masks, views, dropout). Children are hashes, not offsets: seed 1's order has
nothing to do with seed 2's init.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

import numpy as np
import torch

from tutelage.errors import InputError


class Generators(NamedTuple):
    """The three sources of randomness of a run."""

    init: torch.Generator
    order: torch.Generator
    method: torch.Generator


def child_seed(seed: int, *path: str | int) -> int:
    """A seed in [0, 2^63) that belongs to `seed` and the names in `path`.

    Raises: InputError: `seed` is negative or not an integer.

    >>> child_seed(0, "order", 3) == child_seed(0, "order", 3), child_seed(0, "order", 3) == child_seed(0, "init", 3)
    (True, False)
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise InputError(f"a seed is an integer >= 0; got {seed!r}")
    digest = hashlib.sha256("/".join(str(part) for part in (int(seed), *path)).encode()).digest()
    return int.from_bytes(digest[:8], "little") >> 1


def generators(seed: int, device: torch.device | str = "cpu") -> Generators:
    """The generators of a run: `init`, `order` and `method`, independent of one another.

    >>> a, b = generators(7), generators(7)
    >>> bool((torch.rand(3, generator=a.method) == torch.rand(3, generator=b.method)).all())
    True
    """
    return Generators(*(torch.Generator(device).manual_seed(child_seed(seed, name)) for name in Generators._fields))


def seed_all(seed: int) -> None:
    """Seed Python's, NumPy's and PyTorch's global generators (all devices)."""
    random.seed(seed)
    np.random.seed(seed % 2**32)  # noqa: NPY002 - libraries below still draw from the global state
    torch.manual_seed(seed)


@contextmanager
def seeded(seed: int, *path: str | int) -> Iterator[None]:
    """Inside, the global generators are seeded with `child_seed(seed, *path)`; outside, nothing has happened.

    >>> with seeded(0, "init"):
    ...     first = torch.nn.Linear(2, 2)
    >>> with seeded(0, "init"):
    ...     second = torch.nn.Linear(2, 2)
    >>> torch.equal(first.weight, second.weight)
    True
    """
    before = random_state()
    seed_all(child_seed(seed, *path))
    try:
        yield
    finally:
        set_random_state(before)


def random_state() -> dict[str, torch.Tensor]:
    """The state of the global generators as plain tensors."""
    version, words, gauss = random.getstate()
    _, key, position, has_gauss, cached = np.random.get_state()  # noqa: NPY002
    state = {
        "torch": torch.get_rng_state(),
        "python": torch.tensor([version, *words], dtype=torch.int64),
        "python_gauss": torch.tensor([] if gauss is None else [gauss], dtype=torch.float64),
        "numpy": torch.tensor([*np.asarray(key).tolist(), position, has_gauss], dtype=torch.int64),
        "numpy_gauss": torch.tensor([cached], dtype=torch.float64),
    }
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        state |= {f"cuda:{i}": value for i, value in enumerate(torch.cuda.get_rng_state_all())}
    return state


def set_random_state(state: dict[str, torch.Tensor]) -> None:
    """Put the global generators back to what `random_state` returned."""
    torch.set_rng_state(state["torch"])
    version, *words = state["python"].tolist()
    random.setstate((version, tuple(words), state["python_gauss"].item() if state["python_gauss"].numel() else None))
    *key, position, has_gauss = state["numpy"].tolist()
    np.random.set_state(  # noqa: NPY002
        ("MT19937", np.array(key, dtype=np.uint32), position, has_gauss, state["numpy_gauss"].item())
    )
    cuda = [state[name] for name in sorted(state) if name.startswith("cuda:")]
    if cuda:
        torch.cuda.set_rng_state_all(cuda)
