"""Runs that this workbench started: child processes, each in a process group of its own.

A child is an ordinary `tutelage` command on the run's folder, so that the page and the terminal can take turns. To stop one
is what Ctrl-C is at a terminal: the child keeps what it has and says so; a second time it is killed, which the ledger
survives too.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

from tutelage.errors import InputError

LOG = ".workbench.log"
"""What the latest child said, in its folder; hidden, for a folder of traces takes no file that is not its own."""
GRACE = 10.0
"""Seconds that children have to end when the workbench does."""
MOST = 4
"""Children at a time."""


class Job:
    """A child at work on a folder."""

    def __init__(self, arguments: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
        # a folder from elsewhere may hold a link in the log's place, which would be emptied
        log = os.open(folder / LOG, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
        try:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tutelage.web.child", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                stderr=log, env=dict(environment), start_new_session=True,
            )  # fmt: skip
        finally:
            os.close(log)
        self.stopping = False

    @property
    def alive(self) -> bool:
        """Whether it still works."""
        return self.process.poll() is None

    def stop(self) -> None:
        """Interrupt it; the second time, kill it."""
        how = signal.SIGKILL if self.stopping else signal.SIGINT
        self.stopping = True
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, how)


class Jobs:
    """All children, by folder."""

    def __init__(self) -> None:
        self._jobs: dict[Path, Job] = {}
        self._mutex = threading.RLock()

    def start(self, folder: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start `tutelage ARGUMENTS` for a folder.

        Raises: InputError: one works on it already, too many work, or the folder cannot be written.
        """
        with self._mutex:
            if self.of(folder) is not None:
                raise InputError(f"the run {folder.name} is going already")
            self.have_room()
            try:
                self._jobs[folder] = Job(arguments, folder, environment)
            except OSError as error:
                raise InputError(
                    f"cannot start anything on {folder.name}: {error.strerror}: {error.filename}"
                ) from None

    def have_room(self) -> None:
        """Forget the children that have ended. Raises: InputError: as many work as may."""
        with self._mutex:
            self._jobs = {path: job for path, job in self._jobs.items() if job.alive}
            if len(self._jobs) >= MOST:
                raise InputError(f"{MOST} runs are going; wait for one of them, or stop it")

    def of(self, folder: Path) -> Job | None:
        """The child that works on a folder, if any does."""
        job = self._jobs.get(folder)
        return job if job is not None and job.alive else None

    def stop(self, folder: Path) -> None:
        """Interrupt the child of a folder, or kill it the second time. Raises: InputError: there is none."""
        if (job := self.of(folder)) is None:
            raise InputError(f"this workbench has started nothing that works on {folder.name}")
        job.stop()

    def stop_all(self) -> None:
        """Interrupt all children and wait for them; kill those that take too long."""
        for job in (alive := [job for job in self._jobs.values() if job.alive]):
            if not job.stopping:
                job.stop()
        for job in alive:
            try:
                job.process.wait(GRACE)
            except subprocess.TimeoutExpired:
                job.stop()
                job.process.wait()
