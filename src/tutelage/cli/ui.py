"""What the commands print: progress with rate, cost and time left; notes; tables; JSON for machines.

Notes and progress go to standard error, results to standard output, so that `--json` and pipes stay clean.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import cached_property
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from tutelage.teachers.base import ProgressEvent


class Screen:
    """One command's output.

    Args:
        quiet: no notes and no progress. json: results as one JSON object instead of tables.
    """

    def __init__(self, *, quiet: bool = False, json: bool = False) -> None:
        self.quiet = quiet or json
        self.json = json

    @cached_property
    def _notes(self) -> Console:
        """The console of notes and bars: one for both, so that a note goes above the bar."""
        from rich.console import Console

        return Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)

    def note(self, message: str) -> None:
        """A line of what is going on."""
        if not self.quiet:
            self._notes.print(message, style="dim", markup=False)

    def result(self, data: Mapping[str, object], table: Callable[[], object] | str | None = None) -> None:
        """The outcome: `data` with --json, else the table."""
        if self.json:
            wide = (getattr(sys.stdout, "encoding", None) or "").lower().replace("-", "") == "utf8"
            print(json.dumps(data, ensure_ascii=not wide))
        elif isinstance(table, str):
            print(table)  # as it is: no wrapping, so that a scheme or a path can be piped on
        elif table is not None:
            from rich.console import Console
            from rich.measure import Measurement

            console, shown = Console(emoji=False), table()
            least = Measurement.get(console, console.options.update(max_width=1_000), shown).minimum  # type: ignore[arg-type]
            console.width = max(console.width, least)  # lines too long for a terminal are better than figures cut off
            console.print(shown)

    @contextmanager
    def progress(self, what: str) -> Iterator[Callable[[ProgressEvent], None] | None]:
        """A bar for annotation: texts done, rate, cost so far, failures, time left. On a pipe a line every ten seconds."""
        if self.quiet:
            yield None
            return
        if not sys.stderr.isatty():
            yield _Lines(self.note, what)
            return
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            SpinnerColumn,
            TextColumn,
            TimeRemainingColumn,
        )

        columns = (
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"), TextColumn("{task.fields[cost]}"), TimeRemainingColumn(),
        )  # fmt: skip
        with Progress(*columns, console=self._notes, transient=True) as bar:
            task = bar.add_task(what, total=None, rate="", cost="")
            start = time.monotonic()
            first: list[int] = []

            def show(event: ProgressEvent) -> None:
                if not first or event.done < first[0]:
                    first[:] = [event.done]
                rate = (event.done - first[0]) / max(time.monotonic() - start, 1e-9)
                bar.update(
                    task,
                    total=event.total,
                    completed=event.done,
                    rate=f"{rate:,.1f}/s" if rate else "",
                    cost=_cost(event),
                )

            yield show

    @contextmanager
    def counter(self, what: str, total: int | None = None) -> Iterator[Callable[[int], None] | None]:
        """A bar for rows written."""
        if self.quiet or not sys.stderr.isatty():
            yield None
            return
        from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

        columns = (
            SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:,.0f} rows"),
            TextColumn("{task.fields[rate]}"), TimeElapsedColumn(),
        )  # fmt: skip
        with Progress(*columns, console=self._notes, transient=True) as bar:
            task = bar.add_task(what, total=total, rate="")
            start = time.monotonic()
            yield lambda done: bar.update(
                task, completed=done, rate=f"{done / max(time.monotonic() - start, 1e-9):,.0f}/s"
            )


class _Lines:
    """Progress for logs: one line every ten seconds and one at the end."""

    def __init__(self, note: Callable[[str], None], what: str) -> None:
        self._note, self._what, self._last = note, what, time.monotonic()

    def __call__(self, event: ProgressEvent) -> None:
        now = time.monotonic()
        if now - self._last >= 10:
            self._last = now
            self._note(f"{self._what}: {event.done:,} of {event.total:,} {_cost(event)}".rstrip())


def _cost(event: ProgressEvent) -> str:
    parts = [f"{event.cost:,.4f} {event.currency}"] if event.currency else []
    if event.failed:
        parts.append(f"{event.failed:,} failed")
    return "  ".join(parts)
