"""Episodes: small tasks cut from a pool, each from ONE domain (or class), a support set and a query set.

A method that is to adapt to a domain from a few examples rehearses that: it adapts on the support set and is judged on the
query set. The two never share an example.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from tutelage.errors import InputError


class Episodes(NamedTuple):
    """E episodes: the group of each [E], and rows of the pool, support [E, S] and query [E, Q]."""

    group: Tensor
    support: Tensor
    query: Tensor


class EpisodeSampler:
    """Draws episodes from a pool whose rows belong to groups.

    Groups take turns in a new order every round, so that each is met equally often; rows are drawn without replacement
    inside an episode.

    Args: groups: [N] (long), the group of every row, 0 … G − 1; support, query: rows an episode.

    Raises: InputError: a group with fewer than support + query rows (or with none), or sizes that are not positive.

    >>> sampler = EpisodeSampler(torch.tensor([0, 0, 0, 1, 1, 1]), support=2, query=1)
    >>> group, support, query = sampler.draw(2, torch.Generator().manual_seed(0))
    >>> sorted(group.tolist()), support.shape, query.shape
    ([0, 1], torch.Size([2, 2]), torch.Size([2, 1]))
    """

    def __init__(self, groups: Tensor, *, support: int, query: int) -> None:
        if min(support, query) < 1 or groups.ndim != 1 or not len(groups):
            raise InputError(
                f"need support >= 1, query >= 1 and a group a row; got {support}, {query}, {tuple(groups.shape)}"
            )
        self.support, self.query = support, query
        self.rows = [(groups == group).nonzero().flatten() for group in range(int(groups.max()) + 1)]
        for group, rows in enumerate(self.rows):
            if len(rows) < support + query:
                raise InputError(
                    f"group {group} has {len(rows)} examples; an episode takes {support} + {query}: ask for fewer"
                )
        self._waiting: list[int] = []

    def draw(self, episodes: int, generator: torch.Generator) -> Episodes:
        """The next `episodes` episodes; the generator decides everything."""
        groups, support, query = [], [], []
        for _ in range(episodes):
            if not self._waiting:
                self._waiting = torch.randperm(len(self.rows), generator=generator).tolist()
            groups.append(self._waiting.pop())
            rows = self.rows[groups[-1]]
            taken = rows[torch.randperm(len(rows), generator=generator)[: self.support + self.query]]
            support.append(taken[: self.support])
            query.append(taken[self.support :])
        return Episodes(torch.tensor(groups), torch.stack(support), torch.stack(query))


class EpisodeBatches:
    """Batches of episodes for `fit`: x [E, S, …] without labels, query [E, Q, …], y [E, Q], group [E].

    Args: x, y: the pool; sampler: its episodes; episodes: E, a batch; length: batches an epoch.

    >>> pool = torch.arange(6.0).view(6, 1), torch.tensor([0, 1, 0, 1, 0, 1])
    >>> sampler = EpisodeSampler(torch.tensor([0, 0, 0, 1, 1, 1]), support=2, query=1)
    >>> batch = next(iter(EpisodeBatches(*pool, sampler, episodes=2, length=4, seed=0)))
    >>> {name: tuple(column.shape) for name, column in batch.items()}
    {'x': (2, 2, 1), 'query': (2, 1, 1), 'y': (2, 1), 'group': (2,)}
    """

    def __init__(
        self, x: Tensor, y: Tensor, sampler: EpisodeSampler, *, episodes: int, length: int, seed: int = 0
    ) -> None:
        if min(episodes, length) < 1:
            raise InputError(f"need at least one episode a batch and one batch an epoch; got {episodes} and {length}")
        self.x, self.y, self.sampler, self.episodes, self.length = x, y, sampler, episodes, length
        self.generator = torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[Mapping[str, Tensor]]:
        for _ in range(self.length):
            group, support, query = self.sampler.draw(self.episodes, self.generator)
            yield {"x": self.x[support], "query": self.x[query], "y": self.y[query], "group": group}
