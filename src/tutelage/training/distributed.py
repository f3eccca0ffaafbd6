"""Several processes: what a lesson that keeps rows about examples must see from all of them."""

from __future__ import annotations

from accelerate.state import PartialState
from accelerate.utils import gather
from torch import Tensor


def gather_rows(rows: Tensor) -> Tensor:
    """The rows of all processes, [B, …] → [processes · B, …]; with one process, the rows themselves.

    A store of predictions writes `gather_rows(index)` and `gather_rows(probabilities)`, so that every process holds
    the same store.
    """
    if PartialState._shared_state and PartialState().num_processes > 1:
        rows = gather(rows.contiguous())  # type: ignore[assignment]
    return rows
