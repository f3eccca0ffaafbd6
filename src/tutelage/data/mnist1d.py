"""MNIST-1D: digits as noisy one-dimensional signals, procedural, and harder than they look.

Greydanus and Kobak, "Scaling Down Deep Learning with MNIST-1D", 2020 (arXiv:2011.14439). The signals are made by the
`mnist1d` package (Apache-2.0); making 5000 takes seconds, so they are kept as one `.npz` file.
"""

from __future__ import annotations

import os
import random
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from tutelage.errors import InputError, MissingExtra


def mnist1d_signals(
    num_samples: int = 5000, *, seed: int = 42, cache: str | Path | None = None
) -> tuple[Tensor, Tensor]:
    """Signals [n, 40] (float32, standardised) and classes [n] (long), in the package's own shuffled order.

    The package's split is the first 80 % for training.

    Args: num_samples: a multiple of 10; cache: a folder (default: `$XDG_CACHE_HOME/tutelage`, else
        `~/.cache/tutelage`).

    Raises: MissingExtra: `mnist1d` is not installed and the signals are not in the cache; InputError: num_samples.
    """
    if num_samples < 10 or num_samples % 10:
        raise InputError(f"num_samples is a positive multiple of 10; got {num_samples}")
    folder = Path(cache) if cache else Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tutelage"
    path = folder / f"mnist1d-{num_samples}-{seed}.npz"
    if not path.exists():
        x, y = _make(num_samples, seed)
        folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_suffix(f".{os.getpid()}.npz")
        np.savez_compressed(partial, x=x, y=y)
        partial.replace(path)
    with np.load(path, allow_pickle=False) as held:
        return torch.from_numpy(held["x"]), torch.from_numpy(held["y"])


def _make(num_samples: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    try:
        from mnist1d.data import get_dataset_args, make_dataset
    except ImportError as error:
        raise MissingExtra("the MNIST-1D generator", "studies") from error
    args = get_dataset_args()
    vars(args).update(num_samples=num_samples, seed=seed)
    before = random.getstate(), np.random.get_state()  # noqa: NPY002 - the generator seeds and draws from them
    try:
        made = make_dataset(args)
    finally:
        random.setstate(before[0])
        np.random.set_state(before[1])  # noqa: NPY002
    x, y = (np.concatenate([made[name], made[f"{name}_test"]]) for name in ("x", "y"))
    return x.astype(np.float32), y.astype(np.int64)
