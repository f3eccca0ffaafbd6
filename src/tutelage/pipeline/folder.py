"""The run folder: one job, its configuration, its ledger, its tables and its student, openable with ordinary tools.

    run.yaml          the resolved configuration          labels.sqlite      the ledger of requests and answers
    pool.parquet      the texts that are learned from      gold.parquet       held-out texts with human labels
    rejects.parquet   rows that could not be used         annotations.parquet  what the teacher said about the pool
    stages.json       what each stage was made from       student/           the artifact
    metrics.json      all figures                         report.html        the page for people
    added.parquet     texts that came by `refresh`        drift/             samples of texts that have drifted

The folder is private (mode 0700). Files are replaced atomically: a reader sees the old or the new one, never half. One
process works on a run at a time.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Collection, Iterator
from fnmatch import fnmatch
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from tutelage.errors import InputError
from tutelage.pipeline.config import RunConfig

if TYPE_CHECKING:
    from tutelage.teachers.ledger import Ledger


_UNWRITABLE = {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM}


REFRESHING = ".refresh"
"""Where in a run `refresh` prepares a newer student; what is there when no `refresh` is going was left by a kill."""


class Run:
    """A run folder.

    Args:
        path: the folder; `Run.create` makes it, `Run(path)` opens it.

    Raises: InputError: no run there, or a configuration that cannot be read.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_dir():
            raise InputError(
                f"no such run: {self.path} (make one with `tutelage distill TEXTS --labels … --out {path}`)"
            )
        self.config = RunConfig.from_yaml(self.path / "run.yaml")

    @classmethod
    def create(cls, path: str | Path, config: RunConfig) -> Run:
        """Make the folder, or take the one that is there with the new configuration (its answers stay).

        Raises: InputError: the place is a file, not writable, or a folder with other things in it.
        """
        folder = Path(path)
        try:
            if folder.is_dir() and _is_foreign(folder):
                raise InputError(f"{folder} is not empty and not a run; give another --out")
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            folder.chmod(0o700)
            with _held(folder):
                write_atomically(folder / "run.yaml", config.to_yaml().encode())
        except OSError as error:
            raise InputError(f"cannot write the run {folder}: {error.strerror or error}") from None
        return cls(folder)

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Hold the run for this process. Raises: InputError: another process works on it, or the folder is read-only."""
        try:
            with _held(self.path):
                for stale in self.path.glob(".*.tmp"):  # of a process that was killed; a text may be in it
                    stale.unlink()
                yield
        except OSError as error:
            if error.errno not in _UNWRITABLE:
                raise
            raise InputError(
                f"cannot write the run {self.path}: {error.strerror}; what was there is kept, the same command goes on"
            ) from None

    def configure(self, config: RunConfig) -> None:
        """Replace the configuration; what was made from the old one is noticed by the stages."""
        self._write("run.yaml", config.to_yaml().encode())
        self.config = config

    def ledger(self, *, readonly: bool = False) -> Ledger:
        """Open the run's ledger."""
        from tutelage.teachers.ledger import Ledger

        return Ledger(self.path / "labels.sqlite", readonly=readonly)

    @property
    def encoder_cache(self) -> Path:
        """Vectors of texts, so that teacher and student embed a text once."""
        return self.path / "cache" / "vectors.sqlite"

    def has(self, name: str) -> bool:
        """Whether the table `name` is there."""
        return (self.path / f"{name}.parquet").exists()

    def table(self, name: str) -> pa.Table:
        """Read a table. Raises: InputError: it is missing (the stage that makes it has not run) or damaged."""
        path = self.path / f"{name}.parquet"
        try:
            return pq.read_table(path)
        except FileNotFoundError:
            raise InputError(f"{path} is missing: run `tutelage annotate` or `tutelage distill` first") from None
        except (pa.ArrowInvalid, OSError) as error:
            raise InputError(f"cannot read {path}: {str(error).splitlines()[0]}") from None

    def put_table(self, name: str, table: pa.Table) -> None:
        """Replace a table."""
        sink = pa.BufferOutputStream()
        pq.write_table(table, sink, compression="zstd")
        self._write(f"{name}.parquet", sink.getvalue().to_pybytes())

    def drop_table(self, name: str) -> None:
        """Delete a table if it is there."""
        (self.path / f"{name}.parquet").unlink(missing_ok=True)

    def json(self, name: str) -> dict:
        """Read a JSON file of the run; {} where it is missing."""
        try:
            return json.loads((self.path / f"{name}.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        except (OSError, ValueError) as error:
            raise InputError(f"cannot read {self.path / name}.json: {error}") from None

    def put_json(self, name: str, data: object) -> None:
        """Replace a JSON file of the run."""
        self._write(f"{name}.json", (json.dumps(data, ensure_ascii=False, indent=1) + "\n").encode())

    def stage(self, name: str) -> dict:
        """What a stage noted when it finished; {} before that."""
        return self.json("stages").get(name, {})

    def begin(self, name: str) -> None:
        """Note that a stage's results are being replaced: until it is finished, none of them count as made."""
        done = self.json("stages")
        if done.pop(name, None) is not None:
            self.put_json("stages", done)

    def finish(self, name: str, **note: object) -> None:
        """Note that a stage is done and what it was made from."""
        self.put_json("stages", {**self.json("stages"), name: note})

    def _write(self, name: str, data: bytes) -> None:
        try:
            write_atomically(self.path / name, data)
        except OSError as error:
            raise InputError(
                f"cannot write {self.path / name}: {error.strerror or error}; what was there is kept"
            ) from None


@contextlib.contextmanager
def _held(folder: Path) -> Iterator[None]:
    """Lock a run folder for this process. Raises: InputError: another process has it, or it cannot be written."""
    try:
        handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise InputError(f"cannot write the run {folder}: {error.strerror}") from None
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.pread(handle, 32, 0).decode(errors="replace").strip() or "unknown"
            raise InputError(f"the run {folder} is in use by process {owner}; wait for it or stop it") from None
        with contextlib.suppress(OSError):  # a full disk: the lock holds without the number in it
            os.ftruncate(handle, 0)
            os.pwrite(handle, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(handle)


def _is_foreign(folder: Path) -> bool:
    """Whether there is something in a folder that is no run, leftovers of a run's first moment aside."""
    if (folder / "run.yaml").exists():
        return False
    return any(entry.name != ".lock" and not fnmatch(entry.name, ".run.yaml.*.tmp") for entry in folder.iterdir())


def private_folder(path: Path, ours: Collection[str], what: str) -> Path:
    """A folder for the owner alone (mode 0700), made now or made by us before.

    Args: ours: patterns of the files that may be in it, hidden ones aside. what: what such a folder holds, for the error.

    Raises: InputError: other things are in it, or it cannot be made.
    """
    try:
        if path.is_dir() and any(
            not entry.name.startswith(".") and not any(fnmatch(entry.name, known) for known in ours)
            for entry in path.iterdir()
        ):
            raise InputError(f"{path} is not empty and holds no {what}; give another --out")
        path.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.chmod(0o700)
    except OSError as error:
        raise InputError(f"cannot write {path}: {error.strerror or error}") from None
    return path


@contextlib.contextmanager
def new_folder(target: Path) -> Iterator[Path]:
    """A folder that is whole or not there: yields another name beside it, to be made and filled, and puts it in place.

    Raises: InputError: something is there already (an empty folder may be), or it cannot be written.
    """
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"{target} exists and is not empty; give another folder")
    place = target.resolve()  # "." has no name
    fresh = place.with_name(f".{place.name}.part")
    shutil.rmtree(fresh, ignore_errors=True)
    try:
        yield fresh
        shutil.rmtree(place, ignore_errors=True)
        fresh.replace(place)
    except OSError as error:
        raise InputError(f"cannot write {target}: {error.strerror or error}") from None
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def write_atomically(path: Path, data: bytes) -> None:
    """Replace a file as one step that survives a crash: temporary file, fsync, rename."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def signature(*parts: object) -> str:
    """A short checksum of JSON-able parts and tables: what a stage was made from."""
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, pa.Table):
            table: pa.Table = part
            for column in table.combine_chunks().columns:
                sink = pa.BufferOutputStream()
                with pa.ipc.new_stream(sink, pa.schema([("c", column.type)])) as writer:
                    writer.write_table(pa.table({"c": column}).combine_chunks())
                digest.update(sink.getvalue())
        else:
            digest.update(json.dumps(part, sort_keys=True, default=str).encode())
    return digest.hexdigest()[:24]
