"""Labelled data that comes from several places (hospitals, cameras, shops), and the question whether a model carries over.

Source domains are for training, validation domains for choosing, target domains for the score alone: their labels cannot be
read, only scored against. A method that gets a `DomainSet` cannot cheat by mistake.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal

import numpy as np

from tutelage.errors import InputError

Role = Literal["source", "val", "target"]
Columns = tuple[Any, Any]
"""Inputs and labels of a domain: tensors, arrays or lists of one length; labels may be None in a target domain."""


class Domain:
    """One place's data.

    Attributes: name; role: "source", "val" or "target"; x: its inputs, anything with a length.

    Raises: InputError: no input, or as many labels as there are inputs is not the case.

    >>> Domain("camera 3", "source", [[0.1], [0.2]], [0, 1])
    Domain('camera 3', source, 2 examples)
    """

    def __init__(self, name: str, role: Role, x: Any, y: Any = None) -> None:
        if not len(x) or (y is not None and len(y) != len(x)):
            labels = "no" if y is None else len(y)
            raise InputError(f"domain '{name}' has {len(x)} inputs and {labels} labels; need as many, and at least one")
        if y is None and role != "target":
            raise InputError(f"domain '{name}' is for {role} and has no labels")
        self.name, self.role, self.x, self._y = name, role, x, y

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        return f"Domain({self.name!r}, {self.role}, {len(self)} examples)"

    @property
    def y(self) -> Any:
        """The labels. Raises: InputError: this is a target domain, whose labels only `DomainSet.score` reads."""
        if self.role == "target":
            raise InputError(f"the labels of target domain '{self.name}' are for the score only: DomainSet.score")
        return self._y

    @property
    def classes(self) -> np.ndarray:
        """The labels as class numbers (n,) int64. Raises: InputError: texts, fractions or gaps, or labels for the score only.

        >>> Domain("camera 3", "source", [[0.1], [0.2]], [True, False]).classes.tolist()
        [1, 0]
        """
        held = np.asarray(self.y)
        if held.dtype.kind not in "iub":
            raise InputError(
                f"labels are class numbers 0 … K − 1; encode them first: domain '{self.name}' has {held.dtype}"
            )
        return held.astype(np.int64)


class DomainSet:
    """Named domains in three roles.

    Args: source, val, target: name → (x, y); labels of a target domain may be None, then it cannot be scored.

    Raises: InputError: no source domain, or a name in two roles.

    >>> places = DomainSet({"a": ([1, 2], [0, 1]), "b": ([3], [1])}, target={"c": ([5, 6], [1, 0])})
    >>> [domain.name for domain in places.source], places.score(lambda domain: [1] * len(domain))
    (['a', 'b'], {'c': 0.5})
    """

    def __init__(
        self,
        source: Mapping[str, Columns],
        val: Mapping[str, Columns] | None = None,
        target: Mapping[str, Columns] | None = None,
    ) -> None:
        roles: dict[Role, Mapping[str, Columns]] = {"source": source, "val": val or {}, "target": target or {}}
        if not source:
            raise InputError("a domain set needs at least one source domain")
        names = [name for held in roles.values() for name in held]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise InputError(f"'{twice[0]}' has two roles; a domain is for training, for choosing or for the score")
        self._domains = [Domain(name, role, *columns) for role, held in roles.items() for name, columns in held.items()]

    @classmethod
    def from_table(
        cls,
        table: Any,
        *,
        domain: str,
        x: Sequence[str],
        y: str,
        val: Sequence[str] = (),
        target: Sequence[str] = (),
    ) -> DomainSet:
        """Rows of a table (Arrow, pandas, a dictionary of columns), grouped by the column `domain`, as float32 [n, len(x)].

        Args: domain, x, y: names of the columns; val, target: values of `domain` that are not for training.

        Raises: InputError: a column or a domain that the table does not have, inputs that are not numbers.

        >>> table = {"site": ["a", "a", "b"], "age": [1, 2, 3], "dose": [0, 1, 0], "ill": [0, 1, 1]}
        >>> DomainSet.from_table(table, domain="site", x=["age", "dose"], y="ill", target=["b"]).target
        [Domain('b', target, 1 examples)]
        """
        try:
            place, labels = np.asarray(table[domain]).astype(str), np.asarray(table[y])
            inputs = np.stack([np.asarray(table[name]) for name in x], 1).astype(np.float32)
        except (KeyError, ValueError) as error:
            raise InputError(f"cannot read domains from the table: {error}") from None
        there = sorted(set(place.tolist()))
        if unknown := sorted({*val, *target} - set(there)):
            raise InputError(f"no domain '{unknown[0]}' in column '{domain}'; there are {', '.join(there[:9])}")
        rows = {name: place == name for name in there}
        columns = {name: (inputs[mask], labels[mask]) for name, mask in rows.items()}
        return cls(
            {name: held for name, held in columns.items() if name not in {*val, *target}},
            {name: columns[name] for name in val},
            {name: columns[name] for name in target},
        )

    def __iter__(self) -> Iterator[Domain]:
        return iter(self._domains)

    @property
    def source(self) -> list[Domain]:
        """The domains to train on."""
        return [domain for domain in self if domain.role == "source"]

    @property
    def val(self) -> list[Domain]:
        """The domains to choose by."""
        return [domain for domain in self if domain.role == "val"]

    @property
    def target(self) -> list[Domain]:
        """The domains to be judged on; without readable labels."""
        return [domain for domain in self if domain.role == "target"]

    def score(
        self,
        answer: Callable[[Domain], Any],
        metric: Callable[[np.ndarray, np.ndarray], float] | None = None,
        role: Role = "target",
    ) -> dict[str, float]:
        """The metric of each domain of a role, by name.

        Args: answer: domain → one answer an example; metric: (labels, answers) → figure, accuracy by default.

        Raises: InputError: a domain without labels, an answer of another length.
        """
        found: dict[str, float] = {}
        for domain in self:
            if domain.role != role:
                continue
            if domain._y is None:
                raise InputError(f"domain '{domain.name}' has no labels to score against")
            gold, said = np.asarray(domain._y), np.asarray(answer(domain))
            if len(said) != len(gold):
                raise InputError(f"{len(said)} answers for the {len(gold)} examples of domain '{domain.name}'")
            found[domain.name] = float((gold == said).mean()) if metric is None else metric(gold, said)
        return found
