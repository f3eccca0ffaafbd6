"""Examples that know their own number.

A store of what a teacher (or the student's own past) said about an example needs the same number for the same example
in every epoch. `IndexedDataset` wraps any map-style data set, or plain tensors, and adds `index`. It also reads the
shapes in which data comes: pairs, triples, mappings, rows of a Hugging Face data set.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import Dataset, IterableDataset, default_collate

from tutelage.errors import InputError

Example = dict[str, Tensor]
LABELS = ("y", "labels", "label")


def as_example(item: object) -> Example:
    """One shape for an example or a batch: `x`, and `y` and `index` where known.

    Takes a tensor (x), a pair (x, y), a triple (x, y, index), a mapping with `x`, or a mapping of model inputs with
    or without `labels` (then `x` is the mapping of the inputs).

    Raises: InputError: anything else.

    >>> sorted(as_example((torch.zeros(2), torch.tensor(1))))
    ['x', 'y']
    >>> batch = as_example({"input_ids": torch.zeros(2, 3), "labels": torch.zeros(2)})
    >>> sorted(batch), sorted(batch["x"])
    (['x', 'y'], ['input_ids'])
    """
    if isinstance(item, Mapping):
        if "x" in item:
            return item if isinstance(item, dict) else dict(item)
        named = next((name for name in LABELS if name in item), None)
        example: dict[str, Any] = {"x": {name: value for name, value in item.items() if name not in {*LABELS, "index"}}}
        example |= {"y": item[named]} if named else {}
        return example | ({"index": item["index"]} if "index" in item else {})
    if isinstance(item, Tensor):
        return {"x": item}
    if isinstance(item, tuple | list) and 1 <= len(item) <= 3:
        return dict(zip(("x", "y", "index"), item, strict=False))
    raise InputError(f"cannot read a batch from {type(item).__name__}: give x, (x, y), (x, y, index) or a mapping")


class IndexedDataset(Dataset):
    """Any map-style data set, a tuple of tensors (x, y) or a mapping of tensors → `dict(x, y?, …, index)`.

    Raises: InputError: an iterable data set (its examples have no numbers), or tensors of different lengths.

    >>> data = IndexedDataset((torch.eye(3), torch.tensor([0, 1, 2])))
    >>> data.batch(torch.tensor([2, 0]))["y"], data[1]["index"]
    (tensor([2, 0]), tensor(1))
    """

    def __init__(self, data: Dataset | Mapping[str, Tensor] | Sequence[Tensor]) -> None:
        if isinstance(data, IterableDataset) or not hasattr(data, "__getitem__") or not hasattr(data, "__len__"):
            raise InputError(
                f"{type(data).__name__} cannot number its examples: the same index must mean the same example in every epoch; "
                "give a map-style data set (with __getitem__ and __len__) or tensors"
            )
        self.columns: dict[str, Tensor] | None = None
        self.rows = data
        if isinstance(data, Mapping) or (isinstance(data, tuple | list) and all(isinstance(c, Tensor) for c in data)):
            columns = as_example(data) | {}
            if "x" not in columns or not all(isinstance(column, Tensor) for column in columns.values()):
                raise InputError("a mapping of tensors needs the key 'x', and every value must be a tensor")
            lengths = {name: len(column) for name, column in columns.items()}
            if len(set(lengths.values())) != 1:
                raise InputError(f"columns differ in length: {lengths}")
            self.columns = columns
            self.size = len(columns["x"])
        else:
            self.size = len(data)  # type: ignore[arg-type]
        if not self.size:
            raise InputError("the data set is empty")

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> Example:
        if not -self.size <= index < self.size:
            raise IndexError(f"example {index} of {self.size}")
        if self.columns is not None:
            return {"index": torch.tensor(index % self.size)} | {name: c[index] for name, c in self.columns.items()}
        return {**as_example(self.rows[index]), "index": torch.tensor(index % self.size)}  # type: ignore[index]

    def batch(self, index: Tensor) -> Example:
        """The examples `index` (long, (B,)) as one batch."""
        if self.columns is not None:
            return {"index": index} | {name: column[index] for name, column in self.columns.items()}
        return default_collate([self[i] for i in index.tolist()])
