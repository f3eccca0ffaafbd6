"""Events with a time, each among a few nodes: messages, meetings, baskets, papers and their authors.

Event e happened at `times[e]` among the nodes `members[starts[e] : starts[e + 1]]`. Events are sorted by time, and a split by
time never tears apart events of one moment: whatever is learned from one part knows nothing of the parts after it.
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from tutelage.errors import InputError

if TYPE_CHECKING:
    import pyarrow as pa
    from scipy.sparse import csr_array


@dataclass(frozen=True, eq=False)
class TimedEvents:
    """M events among n nodes, in order of time.

    Attributes: times (M,); starts (M + 1,), members (total,): node numbers of each event; names: of the n nodes. Parts of a
        split keep all names, so a node has one number in all of them.
    """

    times: np.ndarray
    starts: np.ndarray
    members: np.ndarray
    names: tuple[Hashable, ...]

    @classmethod
    def from_groups(cls, groups: Iterable[Iterable[Hashable]], times: npt.ArrayLike) -> TimedEvents:
        """Events among groups of any size; a node that a group lists twice counts once.

        Raises: InputError: a group without members, times that are not one finite number an event.

        >>> events = TimedEvents.from_groups([["ann", "bob"], ["bob", "cid", "ann"]], [2, 1])
        >>> events.names, events.times.tolist(), events.members.tolist()
        (('bob', 'cid', 'ann'), [1, 2], [0, 1, 2, 2, 0])
        """
        rows = [tuple(dict.fromkeys(group)) for group in groups]
        moments = _checked_times(times, len(rows))
        order = np.argsort(moments, kind="stable")
        rows = [rows[e] for e in order]
        if empty := [e for e, row in enumerate(rows) if not row]:
            raise InputError(f"event {order[empty[0]]} has no members")
        names = {name: number for number, name in enumerate(dict.fromkeys(name for row in rows for name in row))}
        members = np.array([names[name] for row in rows for name in row], np.int64)
        starts = np.concatenate([[0], np.cumsum([len(row) for row in rows], dtype=np.int64)])
        return cls(moments[order], starts, members, tuple(names))

    @classmethod
    def from_pairs(cls, sources: Sequence[Hashable], targets: Sequence[Hashable], times: npt.ArrayLike) -> TimedEvents:
        """Events from one node to another, in this order; a node may write to itself.

        Raises: InputError: columns of different lengths, times that are not finite.
        """
        if len(sources) != len(targets):
            raise InputError(f"need a target for every source; got {len(sources)} and {len(targets)}")
        moments = _checked_times(times, len(sources))
        order = np.argsort(moments, kind="stable")
        ends = [name for e in order for name in (sources[e], targets[e])]
        names = {name: number for number, name in enumerate(dict.fromkeys(ends))}
        members = np.array([names[name] for name in ends], np.int64)
        return cls(moments[order], np.arange(len(order) + 1) * 2, members, tuple(names))

    @classmethod
    def from_table(cls, table: pa.Table, *, group: str, member: str, time: str) -> TimedEvents:
        """A table with a row for each member of each event: the columns that name event, member and time.

        Takes an Arrow table or anything that makes one of itself, such as a pandas or polars frame. An event's time is
        that of its first row. Raises: InputError: no such column, a cell that is empty.
        """
        import pyarrow as pa

        rows = table if isinstance(table, pa.Table) else pa.table(table)
        if missing := [name for name in (group, member, time) if name not in rows.column_names]:
            raise InputError(f"no column {missing[0]!r}; there are {', '.join(rows.column_names)}")
        if nulls := [name for name in (group, member, time) if rows[name].null_count]:
            raise InputError(f"column {nulls[0]!r} has empty cells")
        times: dict[Hashable, float] = {}
        groups: dict[Hashable, list[Hashable]] = {}
        columns = rows[group].to_pylist(), rows[member].to_pylist(), rows[time].to_numpy()
        for event, who, when in zip(*columns, strict=True):
            groups.setdefault(event, []).append(who)
            times.setdefault(event, when)
        return cls.from_groups(groups.values(), np.array(list(times.values())))

    def __len__(self) -> int:
        return len(self.times)

    def __getitem__(self, event: int) -> np.ndarray:
        """The node numbers of one event."""
        return self.members[self.starts[event] : self.starts[event + 1]]

    @property
    def sizes(self) -> np.ndarray:
        """(M,) members of each event."""
        return np.diff(self.starts)

    @cached_property
    def seen(self) -> np.ndarray:
        """(n,) bool: the nodes that are in any event."""
        return np.bincount(self.members, minlength=len(self.names)) > 0

    def incidence(self) -> csr_array:
        """(M, n) of 0 and 1 (float32): who was in which event."""
        from scipy.sparse import csr_array

        matrix = csr_array((np.ones(len(self.members), np.float32), self.members, self.starts), self._shape)
        matrix.sum_duplicates()
        matrix.data[:] = 1
        return matrix

    def split(self, *quantiles: float) -> tuple[TimedEvents, ...]:
        """Consecutive parts, cut at quantiles of the events' times: split(0.8) is the first 80 % and the rest.

        An event at the very moment of a cut belongs to the earlier part; times that are integers are cut at integers.

        Raises: InputError: quantiles that do not ascend within (0, 1), a part without events.
        """
        if not quantiles or any(a >= b for a, b in pairwise((0.0, *quantiles, 1.0))):
            raise InputError(f"quantiles must ascend between 0 and 1; got {quantiles}")
        times = self.times if np.issubdtype(self.times.dtype, np.number) else self.times.astype(np.int64)
        cuts = np.quantile(times, quantiles)
        if np.issubdtype(times.dtype, np.integer):
            cuts = np.round(cuts)
        places = [0, *np.searchsorted(times, cuts, side="right").tolist(), len(self)]
        bounds = list(pairwise(places))
        if any(a == b for a, b in bounds):
            raise InputError(f"a part of {places} has no events: too few distinct times for the quantiles {quantiles}")
        return tuple(self.part(a, b) for a, b in bounds)

    def part(self, first: int, end: int) -> TimedEvents:
        """Events `first` … `end` − 1 in order of time, with the names of all."""
        starts = self.starts[first : end + 1]
        members = self.members[starts[0] : starts[-1]]
        return TimedEvents(self.times[first:end], starts - starts[0], members, self.names)

    @property
    def _shape(self) -> tuple[int, int]:
        return len(self), len(self.names)


def read_simplices(folder: str | Path) -> TimedEvents:
    """A data set in the form of ScHoLP-Data (Benson et al. 2018): NAME-nverts, NAME-simplices, NAME-times, plain or `.gz`.

    One integer a line: the size of each group, the members of all groups, the time of each group. NAME is the folder's.

    Raises: InputError: a file is missing or damaged, holds other things than integers, or they do not fit one another.
    """
    folder = Path(folder)
    sizes, members, times = (
        _integers(folder / f"{folder.name}-{what}.txt") for what in ("nverts", "simplices", "times")
    )
    if len(sizes) != len(times):
        raise InputError(f"{folder}: {len(sizes)} sizes of groups and {len(times)} times")
    if (sizes < 1).any() or sizes.sum() != len(members):
        raise InputError(f"{folder}: groups of {sizes.sum()} members in all, but {len(members)} members")
    return TimedEvents.from_groups(np.split(members, np.cumsum(sizes)[:-1]), times)


def _integers(path: Path) -> np.ndarray:
    """The integers of a file, of itself or of its `.gz`."""
    packed = path.with_name(f"{path.name}.gz")
    try:
        content = gzip.decompress(packed.read_bytes()) if packed.exists() else path.read_bytes()
        return np.array(content.split(), np.int64)
    except FileNotFoundError:
        raise InputError(f"no such file: {path} (or {packed.name})") from None
    except (OSError, EOFError, zlib.error, ValueError) as error:
        raise InputError(f"cannot read {path} as integers, one a line: {error}") from None


def _checked_times(times: npt.ArrayLike, events: int) -> np.ndarray:
    moments = np.asarray(times)
    if moments.shape != (events,) or not events:
        raise InputError(f"need one time an event, and an event at least; got {events} events, times {moments.shape}")
    if np.issubdtype(moments.dtype, np.datetime64):
        return moments
    if not np.issubdtype(moments.dtype, np.number) or not np.isfinite(moments).all():
        raise InputError(f"times are finite numbers or datetime64; got {moments.dtype}")
    return moments
