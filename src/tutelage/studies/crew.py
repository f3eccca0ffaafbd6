"""A crew of child processes, one thread each, that compute blocks of trials side by side.

A child prefers the seed that it has data for. A child that dies takes down the run but not what the run has finished.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from queue import SimpleQueue
from typing import Any

from tutelage.studies.store import Measurement
from tutelage.studies.study import Mode, NotRunnable, Study
from tutelage.studies.worker import Block, Runner, missing

_ONE_THREAD = dict.fromkeys(
    ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS", "RAYON_NUM_THREADS"), "1"
)


Finished = tuple[Block, list[Measurement]]
Keep = Callable[[Block, list[Measurement]], None]
"""What is done with a finished block at once, in whatever thread, so that an interrupt does not lose it."""


class ArmFailed(RuntimeError):
    """An arm raised, or its process died: a fault to mend, not a verdict. Finished trials are kept."""


class Alone:
    """No children: blocks are computed in this process, one after the other."""

    def __init__(self, study: Study, mode: Mode, scratch: Path, folder: Path | None) -> None:
        self._runner = Runner(study, mode, scratch, folder)

    def run(self, blocks: Sequence[Block], keep: Keep) -> Iterator[Finished]:
        """As `Crew.run`."""
        for block in blocks:
            try:
                measured = self._runner.run(block)
            except Exception as error:
                if (reason := missing(error)) is not None:
                    raise NotRunnable(reason) from error
                raise ArmFailed(f"{describe(block)} failed: {error}") from error
            keep(block, measured)
            yield block, measured


class Crew:
    """At most `jobs` children that import `module` and answer blocks; a context manager that ends them.

    Children start when there is work. Nothing that a study holds travels between processes.
    """

    def __init__(self, module: str, mode: Mode, scratch: Path, folder: Path | None, jobs: int) -> None:
        self._command = [sys.executable, "-m", "tutelage.studies.worker", module, mode, str(scratch.absolute())]
        self._command += [str(folder.absolute())] if folder is not None else []
        self._jobs = jobs
        self._children: list[subprocess.Popen[str]] = []
        self._last_words = tempfile.TemporaryDirectory(prefix="tutelage-studies-")
        self._lock = threading.Lock()
        self._held: dict[int, tuple[int, int]] = {}

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self._dismiss()
        self._last_words.cleanup()

    def run(self, blocks: Sequence[Block], keep: Keep) -> Iterator[Finished]:
        """Blocks with their measurements, as they finish; `keep` gets each one before its child is given the next.

        Raises: NotRunnable: data or a package is missing. ArmFailed: an arm raised or its process died.
        """
        waiting = list(blocks)
        replies: SimpleQueue[Finished | Exception] = SimpleQueue()
        while len(self._children) < min(self._jobs, len(waiting)):
            self._start()
        for number in range(min(len(self._children), len(waiting))):
            threading.Thread(target=self._serve, args=(number, waiting, keep, replies), daemon=True).start()
        unanswered = len(blocks)
        try:
            while unanswered:
                reply = replies.get()
                if isinstance(reply, Exception):
                    raise reply
                yield reply
                unanswered -= 1
        finally:
            if unanswered:
                self._dismiss()

    def _dismiss(self) -> None:
        """End all children, whatever they are at."""
        for child in self._children:
            child.kill()
        for child in self._children:
            child.communicate()
        self._children, self._held = [], {}

    def _start(self) -> None:
        environment = {**os.environ, **_ONE_THREAD, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        with self._errors_of(len(self._children)).open("wb") as errors:
            child = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                env=environment,
                text=True,
                encoding="utf-8",
                start_new_session=True,
            )
        self._children.append(child)

    def _errors_of(self, number: int) -> Path:
        return Path(self._last_words.name) / f"{number}.txt"

    def _serve(self, number: int, waiting: list[Block], keep: Keep, replies: SimpleQueue[Finished | Exception]) -> None:
        """Feed one child until nothing waits or something fails."""
        while (block := self._take(number, waiting)) is not None:
            try:
                measured = self._ask(number, block)
                keep(block, measured)
            except Exception as error:
                replies.put(error)
                return
            replies.put((block, measured))

    def _ask(self, number: int, block: Block) -> list[Measurement]:
        """One request to one child, and what it answers."""
        child = self._children[number]
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(json.dumps({"part": block.part, "units": [asdict(u) for u in block.units]}) + "\n")
            child.stdin.flush()
            line = child.stdout.readline()
        except (OSError, ValueError):
            line = ""
        reply: dict[str, Any] = json.loads(line) if line else {"error": self._obituary(number)}
        if "missing" in reply:
            raise NotRunnable(reply["missing"])
        if "error" in reply:
            raise ArmFailed(f"{describe(block)} failed\n{reply['error']}")
        return [Measurement.from_json(result) for result in reply["results"]]

    def _take(self, number: int, waiting: list[Block]) -> Block | None:
        """The next block for a child: of the data it holds, else of data that nobody holds, else any."""
        with self._lock:
            if not waiting:
                return None
            others = {data for child, data in self._held.items() if child != number}
            mine = [block for block in waiting if _data_of(block) == self._held.get(number)]
            free = [block for block in waiting if _data_of(block) not in others]
            block = (mine or free or waiting)[0]
            waiting.remove(block)
            self._held[number] = _data_of(block)
            return block

    def _obituary(self, number: int) -> str:
        """How a child ended, and its last words."""
        code = self._children[number].wait()
        words = self._errors_of(number).read_text("utf-8", "replace")[-4000:].strip()
        return f"its process ended with code {code}" + (f":\n{words}" if words else "")


def _data_of(block: Block) -> tuple[int, int]:
    return block.part, block.units[0].seed


def describe(block: Block) -> str:
    """A block in a few words: "arm kd, seed 100", "9 arms × 5 seeds"."""
    arms = list(dict.fromkeys(unit.arm for unit in block.units))
    seeds = list(dict.fromkeys(unit.seed for unit in block.units))
    if len(arms) == len(seeds) == 1:
        return f"arm {arms[0]}, seed {seeds[0]}"
    return f"{len(arms)} arms × {len(seeds)} seeds"
