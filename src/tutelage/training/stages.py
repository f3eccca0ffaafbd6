"""Stages: lessons one after another, on one student.

Weights are carried from stage to stage because the lessons hold the same student (and the same projectors); the
optimiser is new in each. Any stage can be left out, which is how an ablation is written.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

from tutelage.errors import InputError
from tutelage.training.batches import Data
from tutelage.training.callbacks import watching
from tutelage.training.fit import FitOptions, fit
from tutelage.training.history import History
from tutelage.training.lesson import Lesson


@dataclass(frozen=True)
class Stage:
    """One lesson on one data set, with `fit`'s options.

    Args: name: unique among the stages; options: `{"epochs": 3, "lr": 1e-3, …}`.
    """

    name: str
    lesson: Lesson
    data: Data
    options: FitOptions = field(default_factory=lambda: FitOptions(epochs=1))


class Stages:
    """Runs stages in order into one history, with a column `stage`.

    Raises: InputError: no stage, names that repeat, or a stage to leave out that does not exist.

    >>> import torch; from tutelage.training import Supervised
    >>> student = torch.nn.Linear(2, 2); data = (torch.randn(8, 2), torch.zeros(8).long())
    >>> stages = Stages([Stage(name, Supervised(student), data) for name in ("general", "task")])
    >>> stages.run()["stage"], stages.run(skip={"general"})["stage"]
    (['general', 'task'], ['task'])
    """

    def __init__(self, stages: Sequence[Stage]) -> None:
        self.stages = list(stages)
        names = [stage.name for stage in self.stages]
        if not names or len(set(names)) != len(names):
            raise InputError(f"stages need names that differ; got {names}")

    def run(
        self, *, skip: Collection[str] = (), measure: Callable[[Stage], Mapping[str, float]] | None = None
    ) -> History:
        """Run what is not in `skip`; `measure(stage)` adds figures to the last row of each stage."""
        unknown = set(skip) - {stage.name for stage in self.stages}
        if unknown:
            raise InputError(f"no stage called {sorted(unknown)}; there are {[stage.name for stage in self.stages]}")
        history = History()
        for stage in self.stages:
            if stage.name in skip:
                continue
            rows = [{"stage": stage.name, **row} for row in fit(stage.lesson, stage.data, **stage.options)]
            if measure is not None:
                with watching(stage.lesson):
                    rows[-1] |= {name: float(value) for name, value in measure(stage).items()}
            history.rows += rows
        return history
