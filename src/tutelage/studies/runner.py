"""Runs a study from its module to its verdict.

    plan    tuning trials on the tuning seed (where arms have grids), then every arm on every seed
    fetch   what the store already holds
    compute the rest, by a crew of child processes; each finished trial is stored at once
    judge   budgets of baseline and method must be equal; then the bars, then the verdict

The smoke form (`mode="fast"`) runs one seed of every arm in this process and claims nothing.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import tutelage
from tutelage.errors import InputError
from tutelage.studies.catalogue import Entry
from tutelage.studies.crew import Alone, ArmFailed, Crew, describe
from tutelage.studies.fingerprint import code_fingerprint, file_digest, versions
from tutelage.studies.report import PartReport, StudyReport
from tutelage.studies.results import Results
from tutelage.studies.store import Measurement, Store, key_of
from tutelage.studies.study import TUNING_SEED, Budget, Mode, NotRunnable, Part, Study, data_file
from tutelage.studies.verdict import cap
from tutelage.studies.worker import Block, Unit, load_study, missing

Watcher = Callable[[int, int, str], None]
"""Told after each block: trials done, trials in all, what was just done."""


class UnequalBudgets(ArmFailed):
    """Baseline and method did not spend the same, and the part does not say why."""


@dataclass(frozen=True)
class Options:
    """How a study is run: on which seeds, in which form, with which data, with how many processes.

    Attributes:
        seeds, first_seed: None takes each part's own.
        data: folder of other people's data.
        store: where finished trials are kept; None keeps nothing.
        jobs: child processes side by side.
        watch: told of progress.
    """

    seeds: int | None = None
    first_seed: int | None = None
    mode: Mode = "standard"
    data: Path | None = None
    store: Path | None = None
    jobs: int = 2
    watch: Watcher = lambda done, total, what: None

    def __post_init__(self) -> None:
        if self.seeds is not None and self.seeds < 1:
            raise InputError(f"--seeds must be at least 1; got {self.seeds}")
        if self.first_seed is not None and self.first_seed < 0:
            raise InputError(f"--first-seed must not be negative; got {self.first_seed}")
        if self.jobs < 1:
            raise InputError(f"--jobs must be at least 1; got {self.jobs}")
        if self.data is not None and not self.data.is_dir():
            raise InputError(f"the data folder {self.data} does not exist")

    @property
    def keeps(self) -> Path | None:
        """Where this run keeps what it makes; a smoke run keeps nothing."""
        return None if self.mode == "fast" else self.store

    def seeds_of(self, part: Part[Any, Any]) -> tuple[int, ...]:
        """The seeds a part runs on; the smoke form takes the first one."""
        first = part.first_seed if self.first_seed is None else self.first_seed
        count = 1 if self.mode == "fast" else self.seeds or part.seeds
        return tuple(range(first, first + count))


def run_study(entry: Entry, options: Options) -> StudyReport:
    """Run the study of a catalogue entry and judge it.

    A study that cannot be imported for want of a package is NOT RUN like one whose data are missing.

    Raises: ArmFailed: an arm raised, its process died, or budgets differ. Finished trials are kept.
    """
    try:
        study = load_study(entry.module)
    except ModuleNotFoundError as error:
        if (reason := missing(error)) is None:
            raise
        return StudyReport(entry.card(), options.mode, [], reason=reason)
    libraries, code = {}, {}
    if options.mode != "fast":  # which keeps nothing and claims nothing
        libraries = versions(entry.module)
        code = {"module": entry.module, "code": code_fingerprint(entry.module), "versions": libraries}
    runs = [_PartRun(study, number, options, code) for number in range(len(study.parts))]
    asked = [run for run in runs if options.mode == "full" or not run.part.only_full]
    with ExitStack() as stack:
        if options.keeps is None:
            scratch = Path(stack.enter_context(TemporaryDirectory(prefix="tutelage-studies-")))
        else:
            scratch = options.keeps / "scratch"
            scratch.mkdir(parents=True, exist_ok=True)
        if options.mode == "fast":
            crew = Alone(study, options.mode, scratch, options.data)
        else:
            crew = stack.enter_context(Crew(entry.module, options.mode, scratch, options.data, options.jobs))
        reports = [run.report(crew) for run in asked]
    return StudyReport(
        entry.card(study), options.mode, reports, versions={"tutelage": tutelage.__version__, **libraries}
    )


class _PartRun:
    """One part on its way from plan to report."""

    def __init__(self, study: Study, number: int, options: Options, code: Mapping[str, Any]) -> None:
        self.study, self.number, self.options = study, number, options
        self.part: Part[Any, Any] = study.parts[number]
        self.seeds = options.seeds_of(self.part)
        self.store = Store(None if options.keeps is None else options.keeps / study.slug)
        self._base = dict(code)
        self._choices = {arm.name: 0 for arm in self.part.arms}
        self._all_from_store = True

    def report(self, crew: Crew | Alone) -> PartReport:
        """Measure, check and judge; a part that lacks something reports the reason instead."""
        part = self.part
        try:
            self._base |= self._what_decides()
            tuning = {} if self.options.mode == "fast" else self._tune(crew)
            done = self._measure(crew, self._units())
        except NotRunnable as error:
            return PartReport(part, self.seeds, reason=str(error))
        by_arm = {arm.name: [done[Unit(arm.name, s, self._choices[arm.name])] for s in self.seeds] for arm in part.arms}
        check_budgets(part, self.seeds, {name: [m.budget for m in ms] for name, ms in by_arm.items()})
        results = Results(part.metrics, self.seeds, {name: [m.values for m in ms] for name, ms in by_arm.items()})
        return PartReport(
            part,
            self.seeds,
            results=results,
            budgets={name: [m.budget for m in ms] for name, ms in by_arm.items()},
            seconds={name: sum(m.seconds for m in ms) for name, ms in by_arm.items()},
            tuning_seconds=sum(m.seconds for m in tuning.values()),
            choices={arm.name: dict(arm.grid[self._choices[arm.name]]) for arm in part.arms},
            findings=[cap(bar.test(results), len(self.seeds), part.seeds) for bar in part.bars],
            sentence="" if part.sentence is None else part.sentence(results),
            cached=self._all_from_store,
        )

    def _units(self) -> list[list[Unit]]:
        """Every arm on every seed, as the blocks that are computed together: single trials, or a stack a half of the seeds."""
        rows = [[Unit(arm.name, seed, self._choices[arm.name]) for arm in self.part.arms] for seed in self.seeds]
        if self.part.stacked is None:
            return [[unit] for row in rows for unit in row]
        halves = (rows[: (len(rows) + 1) // 2], rows[(len(rows) + 1) // 2 :])
        return [[unit for row in half for unit in row] for half in halves if half]

    def _tune(self, crew: Crew | Alone) -> Mapping[Unit, Measurement]:
        """Try every arm's grid on the tuning seed and keep each arm's best setting; the first of equals wins."""
        grids = {arm.name: len(arm.grid) for arm in self.part.arms if len(arm.grid) > 1}
        if not grids:
            return {}
        units = [Unit(name, TUNING_SEED, choice) for name, size in grids.items() for choice in range(size)]
        done = self._measure(crew, [units] if self.part.stacked is not None else [[unit] for unit in units])
        metric = next(m for m in self.part.metrics if m.name == self.part.tuned_by)
        sign = 1 if metric.higher_is_better else -1
        for name, size in grids.items():
            tried = [done[Unit(name, TUNING_SEED, choice)].values for choice in range(size)]
            if any(metric.name not in values for values in tried):
                raise ArmFailed(f"arm {name!r} has a grid but did not return {metric.name!r}, which chooses from it")
            scores = [sign * Results([metric], [TUNING_SEED], {name: [v]})[name, metric.name][0] for v in tried]
            self._choices[name] = scores.index(max(scores))
        return done

    def _measure(self, crew: Crew | Alone, groups: Sequence[Sequence[Unit]]) -> dict[Unit, Measurement]:
        """All units, from the store or computed. A stack is taken from the store whole or computed whole."""
        done: dict[Unit, Measurement] = {}
        blocks = []
        for group in groups:
            kept = {unit: m for unit in group if (m := self.store.get(self._key(unit))) is not None}
            if len(kept) == len(group):
                done |= kept
            else:
                blocks.append(Block(self.number, tuple(group)))
        total = sum(map(len, groups))
        self.options.watch(len(done), total, self.part.name)
        self._all_from_store &= not blocks
        for block, measurements in crew.run(blocks, self._keep):
            done |= zip(block.units, measurements, strict=True)
            self.options.watch(len(done), total, " · ".join(filter(None, (self.part.name, describe(block)))))
        return done

    def _keep(self, block: Block, measurements: Sequence[Measurement]) -> None:
        for unit, measurement in zip(block.units, measurements, strict=True):
            self.store.put(self._key(unit), measurement)

    def _what_decides(self) -> dict[str, Any]:
        """What a figure of this part depends on beside code, versions, arm, seed and choice."""
        settings = self.part.settings_for(self.options.mode)
        return {
            "part": self.part.name,
            "settings": asdict(settings) if is_dataclass(settings) and not isinstance(settings, type) else settings,
            "files": {name: file_digest(data_file(self.options.data, name)) for name in self.part.files},
        }

    def _key(self, unit: Unit) -> str:
        return key_of({**self._base, **asdict(unit)})


def check_budgets(part: Part[Any, Any], seeds: Sequence[int], budgets: Mapping[str, Sequence[Budget]]) -> None:
    """Baseline and method arms must spend the same on every seed, save where the part says why they do not.

    Raises: UnequalBudgets: they differ; the message names seed, quantity and arms.
    """
    compared = [arm.name for arm in part.arms if arm.role in ("baseline", "method")]
    for quantity in (f.name for f in fields(Budget) if f.name not in part.unequal):
        for position, seed in enumerate(seeds):
            spent = {name: getattr(budgets[name][position], quantity) for name in compared}
            if len(set(spent.values())) > 1:
                raise UnequalBudgets(
                    f"{quantity} differ on seed {seed}: {', '.join(f'{n} {v}' for n, v in spent.items())}; "
                    f"spend the same, or say why in the part's `unequal`"
                )
