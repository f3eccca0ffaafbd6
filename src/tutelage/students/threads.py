"""Our own pool of threads: kernels release the GIL, so plain threads over blocks of rows use all cores.

numba's parallel back ends die after a fork, or when two threads call them; a pool that is made when first needed, and
forgotten by forked children, does not. What a block computes depends on the block alone: the number of threads never
changes a result.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")

_pools: dict[int, ThreadPoolExecutor] = {}
_lock = threading.Lock()


def available() -> int:
    """CPUs that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(work: Callable[[T], R], blocks: Sequence[T], threads: int | None = None) -> list[R]:
    """`work` of every block, in order; on the calling thread when one block or one thread is all there is.

    >>> run(lambda x: x * x, [1, 2, 3], threads=2)
    [1, 4, 9]
    """
    count = min(threads or available(), len(blocks))
    if count <= 1:
        return [work(block) for block in blocks]
    with _lock:
        pool = _pools.get(count)
        if pool is None:
            pool = _pools[count] = ThreadPoolExecutor(count, thread_name_prefix="tutelage")
    return list(pool.map(work, blocks))


def one_blas_thread() -> AbstractContextManager[object]:
    """A context in which BLAS runs on the calling thread only.

    On vectors of a megabyte its threads cost more than they give, and how many there are changes the last bits of a sum.
    """
    from threadpoolctl import threadpool_limits

    return threadpool_limits(limits=1, user_api="blas")


def _forget() -> None:
    global _lock
    _pools.clear()
    _lock = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
