"""Margin-MSE: teach a fast ranker the *gaps* between its teacher's scores.

Hofstätter, Althammer, Schröder, Sertkan and Hanbury, "Improving Efficient Neural Ranking Models with Cross-Architecture
Knowledge Distillation", 2020 (arXiv:2010.02666).

A cross-encoder T reads query and passage together: it ranks best and is slow. Its student s encodes them apart, and its
scores live on another scale, so that copying them one by one fails. The gap between two passages of *one* query is what
ranks them, and whatever is constant within a query cancels in it. A relevant passage p and another one n teach

    L = mean ( (s(q, p) − s(q, n)) − (T(q, p) − T(q, n)) )²

without a label, a temperature or clipping. Where the other passage is in truth relevant too, the teacher's gap is small or
negative: the holes of sparse labels are mended. T is asked once (`tutelage.teachers.scores`) or live.

Of a list of n passages, all pairs teach at once: mean over i, j of ((s_i − s_j) − (T_i − T_j))² = 2 · variance of s − T.

Shapes: scores of triples [B, 2], positive first; of lists [B, n].
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tutelage.data.indexed import Example, IndexedDataset
from tutelage.errors import InputError
from tutelage.objectives.ranking import list_margin_mse, margin_mse
from tutelage.teachers.scores import IDS, known, score_matrix
from tutelage.training.lesson import Batch, Lesson, Progress


def scores_of(ranker: nn.Module, x: Mapping[str, Tensor]) -> Tensor:
    """What a ranker gives the passages of each query: [B, 2] for triples, [B, n] for lists.

    >>> from tutelage.students.two_tower import TwoTower
    >>> x = {"query": torch.ones(1, 2), "positive": torch.tensor([[2.0, 3.0]]), "negative": torch.zeros(1, 2)}
    >>> scores_of(TwoTower(nn.Identity(), nn.Identity()), x)
    tensor([[5., 0.]])
    """
    if "passages" in x:
        return ranker(x["query"], x["passages"])
    return torch.stack([ranker(x["query"], x[side]) for side in ("positive", "negative")], 1)


def huber_margin(student: Tensor, teacher: Tensor, delta: float) -> Tensor:
    """Margin-MSE that grows linearly beyond an error of `delta`, for teachers with a few extreme gaps: [B, 2], [B, 2] → scalar.

    >>> huber_margin(torch.tensor([[3.0, 0.0]]), torch.zeros(1, 2), delta=1.0)  # 2 · (3 − 1/2) instead of 3²
    tensor(5.)
    """
    gap = [scores[:, 0] - scores[:, 1] for scores in (student, teacher.detach().to(student.dtype))]
    return 2 * F.huber_loss(gap[0], gap[1], delta=delta)


class ScoredTriples(IndexedDataset):
    """Triples with their scores as a data set: `x` = {query, positive, negative}, `scores` [2].

    Args: table: from `read_scores` or `score_triples`; queries, passages: id → text, or tensor (all of one shape).

    Raises: InputError: ids that are not there: how many, and the first five.

    >>> row = {"positive_score": [9.0], "negative_score": [6.0], "query": ["q"], "positive": ["a"], "negative": ["b"]}
    >>> data = ScoredTriples(pa.table(row), {"q": "bread"}, {"a": "baking", "b": "taxes"})
    >>> data.batch(torch.tensor([0]))["x"]
    {'query': ['bread'], 'positive': ['baking'], 'negative': ['taxes']}
    """

    def __init__(
        self, table: pa.Table, queries: Mapping[str, str | Tensor], passages: Mapping[str, str | Tensor]
    ) -> None:
        sources = (queries, passages, passages)
        rows = [_places(name, table[name], source) for name, source in zip(IDS, sources, strict=True)]
        super().__init__({"x": torch.stack(rows, 1), "scores": torch.from_numpy(score_matrix(table)).float()})
        held = (_values(queries), _values(passages))
        self._values = (held[0], held[1], held[1])

    def batch(self, index: Tensor) -> Example:
        held = super().batch(index)
        named = zip(IDS, self._values, held["x"].T, strict=True)
        return {**held, "x": {name: _take(values, rows) for name, values, rows in named}}  # type: ignore[dict-item]

    def __getitem__(self, index: int) -> Example:
        if not -len(self) <= index < len(self):
            raise IndexError(f"triple {index} of {len(self)}")
        held = self.batch(torch.tensor([index % len(self)]))
        x: Mapping[str, list[str] | Tensor] = held.pop("x")  # type: ignore[assignment]
        return {name: value[0] for name, value in held.items()} | {"x": {name: v[0] for name, v in x.items()}}  # type: ignore[dict-item]


class MarginMSE(Lesson):
    """Train a ranker on the gaps of its teacher's scores.

    Batches: `x` with query, positive and negative, and `scores` [B, 2] where no teacher is asked. Or lists: `x` with query
    and `passages` (n for each query), `scores` [B, n] and, where lists are padded, `mask` [B, n].

    Args:
        student: (queries, passages) → scores [B], or [B, n] for lists: a `TwoTower`, or any ranker of one's own.
        teacher: the same signature, asked live and without a graph; None takes `scores`.
        huber: errors beyond this count linearly (triples only); None squares them all.

    Raises: InputError: a student of cosines, huber that is not positive; in training, a batch without `scores`, or scores
        of another shape than the student's.
    """

    def __init__(self, student: nn.Module, teacher: nn.Module | None = None, *, huber: float | None = None) -> None:
        super().__init__()
        if getattr(student, "unit", False):
            raise InputError("cosines are bounded by 1, a teacher's gaps are not: give the student unit=False")
        if huber is not None and huber <= 0:
            raise InputError(f"huber must be positive; got {huber}")
        self.student, self.teacher, self.huber = student, teacher, huber

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        x: Mapping[str, Tensor] = batch["x"]  # type: ignore[assignment]
        student, teacher = scores_of(self.student, x), self._said(batch, x)
        if student.shape != teacher.shape:
            raise InputError(f"the student scores {tuple(student.shape)}, the teacher {tuple(teacher.shape)}")
        if "passages" in x:
            return {"margin": list_margin_mse(student, teacher, batch.get("mask"))}
        if self.huber is not None:
            return {"margin": huber_margin(student, teacher, self.huber)}
        return {"margin": margin_mse(student[:, 0], student[:, 1], teacher[:, 0], teacher[:, 1])}

    def _said(self, batch: Batch, x: Mapping[str, Tensor]) -> Tensor:
        if self.teacher is not None:
            with torch.no_grad():
                return scores_of(self.teacher, x)
        if "scores" not in batch:
            raise InputError("this batch has no `scores`: score the triples first, or give the lesson a teacher")
        return batch["scores"]


def _places(what: str, column: pa.ChunkedArray, there: Mapping[str, object]) -> Tensor:
    """Rows of the ids in the order of `there`: [N] (long)."""
    encoded = column.combine_chunks().dictionary_encode()
    ids: list[str] = encoded.dictionary.to_pylist()  # type: ignore[attr-defined]
    known(f"{what} texts", ids, there)
    place = {name: row for row, name in enumerate(there)}
    rows = np.array([place[name] for name in ids], np.int64)
    return torch.from_numpy(rows[encoded.indices.to_numpy()])  # type: ignore[attr-defined]


def _values(by_id: Mapping[str, str | Tensor]) -> list[str] | Tensor:
    tensors = [value for value in by_id.values() if isinstance(value, Tensor)]
    return torch.stack(tensors) if tensors else [str(value) for value in by_id.values()]


def _take(values: list[str] | Tensor, rows: Tensor) -> list[str] | Tensor:
    return values[rows] if isinstance(values, Tensor) else [values[row] for row in rows.tolist()]
