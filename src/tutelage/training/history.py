"""History: what a run wrote down, one row an epoch, as an Arrow table."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import pyarrow as pa

Row = dict[str, float | int | str | None]


@dataclass
class History:
    """Rows of a run and why it ended.

    Columns: `epoch`, `step` (updates done), `lr`, `loss`, one for each loss part, whatever callbacks added, `seconds`.

    >>> history = History([{"epoch": 0, "loss": 2.0}, {"epoch": 1, "loss": 1.0}])
    >>> history["loss"], history.table.num_rows
    ([2.0, 1.0], 2)
    """

    rows: list[Row] = field(default_factory=list)
    stopped: str | None = None

    def __getitem__(self, name: str) -> list[float | int | str | None]:
        if not any(name in row for row in self.rows):
            raise KeyError(f"no column '{name}'; there are {self.names}")
        return [row.get(name) for row in self.rows]

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    @property
    def names(self) -> list[str]:
        """Columns, in the order in which they first appeared."""
        return list(dict.fromkeys(name for row in self.rows for name in row))

    @property
    def table(self) -> pa.Table:
        """The rows as Arrow; a part that was absent in an epoch is null there."""
        return pa.table({name: pa.array([row.get(name) for row in self.rows]) for name in self.names})
