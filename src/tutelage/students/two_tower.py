"""Two towers: queries and documents in one space, compared by a dot product; documents are encoded once and searched fast."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tutelage.errors import InputError

Search = Callable[[Tensor, int], tuple[Tensor, Tensor]]


class TwoTower(nn.Module):
    """Two encoders with one output width.

    Args: query, document: encoders to [B, d] (the same module may serve both sides); unit: vectors of length 1
        (cosine). A student of score margins must not be unit: cosines are bounded by 1, margins are not.

    >>> towers = TwoTower(nn.Linear(4, 2), nn.Linear(6, 2))
    >>> towers.scores(torch.zeros(3, 4), torch.zeros(5, 6)).shape
    torch.Size([3, 5])
    """

    def __init__(self, query: nn.Module, document: nn.Module, *, unit: bool = False) -> None:
        super().__init__()
        self.query, self.document, self.unit = query, document, unit

    def encode_queries(self, queries: Tensor) -> Tensor:
        """[B, …] → [B, d]."""
        return self._finish(self.query(queries))

    def encode_documents(self, documents: Tensor) -> Tensor:
        """[M, …] → [M, d]."""
        return self._finish(self.document(documents))

    def forward(self, queries: Tensor, documents: Tensor) -> Tensor:
        """Score of each query with its own document(s): [B, …] and [B, …] → [B], or [B, n, …] documents → [B, n]."""
        left = self.encode_queries(queries)
        right = self.encode_documents(documents)
        if right.ndim == left.ndim + 1:
            left = left.unsqueeze(1)
        if left.shape[0] != right.shape[0] or left.shape[-1] != right.shape[-1]:
            raise InputError(f"queries {tuple(left.shape)} and documents {tuple(right.shape)} do not pair")
        return (left * right).sum(-1)

    def scores(self, queries: Tensor, documents: Tensor) -> Tensor:
        """Every query with every document: [B, …], [M, …] → [B, M]."""
        return self.encode_queries(queries) @ self.encode_documents(documents).T

    @torch.no_grad()
    def index(self, documents: Tensor, batch_size: int = 1024) -> Search:
        """Encode documents once; returns `search(queries, k) → (ids [B, k], scores [B, k])`, best first, ties by id."""
        table = torch.cat([self.encode_documents(part) for part in documents.split(batch_size)])

        @torch.no_grad()
        def search(queries: Tensor, k: int) -> tuple[Tensor, Tensor]:
            scores = self.encode_queries(queries) @ table.T
            ids = scores.argsort(dim=1, descending=True, stable=True)[:, :k]
            return ids, scores.gather(1, ids)

        return search

    def _finish(self, vectors: Tensor) -> Tensor:
        return F.normalize(vectors, dim=-1) if self.unit else vectors
