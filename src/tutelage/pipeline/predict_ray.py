"""Prediction with Ray Data: files in parts, each read, labelled and written by one of several workers, here or on a cluster.

Rows do not travel. The data set that Ray maps over holds the descriptions of the parts (a range of lines, some row groups);
a worker reads its part, does with it what the local engine does, writes the outcome to a file of the part's own, and sends
back the counts. Parts are numbered, so the order of the rows is kept: in the names of the files of a folder, or by joining
them in turn. On a cluster all machines must see the files under the same paths, and must have tutelage installed.

A worker that dies loses the part that it was at, which another one does again. A job that was stopped on its way to a folder
leaves its finished parts in a hidden folder beside it; the same call goes on from there, if student, sources and options
are the same.
"""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

from tutelage.data.corpus import Reject, bad_row
from tutelage.data.parts import Part, parts_of, split
from tutelage.errors import InputError, TutelageError
from tutelage.pipeline.cluster import cluster, ray_module
from tutelage.pipeline.folder import signature, write_atomically
from tutelage.pipeline.predict import Report, check_threshold, labelled, open_student, student_folder
from tutelage.pipeline.sinks import Writer, writing

LEAST_PART, MOST_PART = 1 << 20, 128 << 20
"""Bytes of input that a part has about; between them there are eight parts a worker."""


class _Broken(InputError):
    """Ray has ended, and with it the job; what is done is done."""


@dataclass(frozen=True)
class Task:
    """What is the same for all parts: the student, the folder and the ending of the outcomes, the options."""

    student: str
    folder: str
    ending: str
    threshold: float
    batch_rows: int
    prefix: str = ""

    def file(self, number: int) -> Path:
        """Where the outcome of a part goes; sorted names are the order of the parts."""
        return Path(self.folder) / f"part-{number:06d}{self.ending}"

    def note(self, number: int) -> Path:
        """Where it is written down that a part is done, and what came of it."""
        return Path(self.folder) / f".part-{number:06d}.json"


class Labeller:
    """What a worker is: a student, loaded once and running on one thread, that labels one part after the other.

    A row of the data set is {"number": of the part, "part": its description as JSON}; it comes back with "outcome".
    """

    def __init__(self, task: Task) -> None:
        from threadpoolctl import threadpool_limits

        os.environ["OMP_NUM_THREADS"] = "1"  # for libraries that are not loaded yet
        self._limits = threadpool_limits(limits=1)  # for those that are
        self.task = task
        self.student = open_student(task.student)
        if "threads" in self.student.get_params(deep=False):
            self.student.set_params(threads=1)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        part, report, error, number = Part(**json.loads(row["part"])), Report(), None, int(row["number"])
        try:
            self._label(part, self.task.file(number), report)
            taken = part.rows() if part.stop is not None else 0
        except TutelageError as problem:  # as data, or Ray would wrap it in its own words and try again
            taken, error = 0, str(problem)
        outcome = json.dumps({"report": asdict(report), "taken": taken, "error": error})
        if error is None:
            write_atomically(self.task.note(number), outcome.encode())
        return {**row, "outcome": outcome}

    def _label(self, part: Part, file: Path, report: Report) -> None:
        options = {"threshold": self.task.threshold, "prefix": self.task.prefix, "batch_rows": self.task.batch_rows}
        tables = labelled(self.student, part, on_reject=report.reject, **options)
        first = next(tables, None)
        if first is None:
            return
        with Writer.open(file) as writer:
            for table in chain([first], tables):
                writer.write(table)
                report.add(table[f"{self.task.prefix}label"])


def predict_on_ray(
    student: str | Path,
    sources: Sequence[str | Path],
    sink: str | Path,
    *,
    text: str | None = None,
    threshold: float = 0.0,
    prefix: str = "",
    batch_rows: int = 8192,
    strict: bool = False,
    format: str | None = None,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> Report:
    """Label files with several workers: the rows, order and report of `tutelage.pipeline.predict.predict`.

    Args:
        student: a run folder or a student's folder, which every worker opens.
        sources: files, or folders of Parquet files; not standard input.
        sink: as of `predict`; a name without an ending, or with "/" at its end, is a folder of Parquet parts (with
            `format="jsonl"` of JSON Lines).
        workers: how many, of one CPU each; None takes every CPU of the cluster.
        text, threshold, prefix, batch_rows, strict, format, progress: as of `predict`.

    It runs on the cluster that this process is connected to or that RAY_ADDRESS names, else on a Ray of its own, which
    listens on this machine only and ends with the call.

    Raises: MissingExtra: Ray is not installed; InputError: as `predict`, or the cluster cannot be reached or breaks down.
    """
    check_threshold(threshold)
    ray_module()
    folder = student_folder(student).resolve()
    open_student(folder)  # whatever is wrong with it is said here, in one line
    files = parts_of(sources, text=text)
    report, offset = Report(), 0
    made_from = _made_from(folder, files, [text, threshold, prefix, batch_rows, strict, format])
    with _outcome(sink, format, made_from) as (place, ending, writer), cluster(workers) as (ray, count):
        named = [
            (part, str(file.source)) for file in files for part in split(_absolute(file), _size(place, files, count))
        ]
        task = Task(str(folder), str(place), ending, threshold, batch_rows, prefix)
        done: dict[int, dict[str, Any]] = {}
        todo: dict[int, Part] = {}
        for number, (part, _) in enumerate(named):
            try:
                done[number] = json.loads(task.note(number).read_text(encoding="utf-8"))
            except (OSError, ValueError):
                todo[number] = part
        fresh = _mapped(ray, todo, task, min(count, len(todo))) if todo else ()
        for number, outcome in _in_order(chain(done.items(), fresh)):
            part, name = named[number]
            offset = offset if part.start else 0
            _raise_fault(outcome, name, offset, strict)
            _merge(report, outcome["report"], name if len(files) > 1 else None, offset)
            offset += outcome["taken"]
            file = task.file(number)
            if writer is not None and file.exists():
                writer.append(file)
                file.unlink()
            if progress:
                progress(report.rows)
        report.check()
    return report


def _size(place: Path, files: Sequence[Part], workers: int) -> int:
    """Bytes of a part: as in the job that is gone on with, which may have had another number of workers."""
    noted = place / ".size"
    if noted.exists():
        return int(noted.read_text())
    size = max(LEAST_PART, min(MOST_PART, sum(map(_bytes, files)) // (8 * workers)))
    write_atomically(noted, str(size).encode())
    return size


def _made_from(student: Path, files: Sequence[Part], options: Sequence[object]) -> str:
    """What a job is: student, files (by size and time of change) and options; the hidden folder is named after it."""
    manifest = (student / "manifest.json").read_text(encoding="utf-8")
    stats = [Path(str(f.source)).stat() for f in files if Path(str(f.source)).is_file()]
    return signature(
        manifest, [asdict(file) for file in files], [(s.st_size, s.st_mtime_ns) for s in stats], list(options)
    )


def _raise_fault(outcome: dict[str, Any], source: str, offset: int, strict: bool) -> None:
    rejects = outcome["report"]["rejects"]
    if strict and rejects:
        first = Reject(**rejects[0])
        raise bad_row(source, Reject(first.row + offset, first.id, first.reason))
    if outcome["error"]:
        raise InputError(outcome["error"])


def _merge(report: Report, part: dict[str, Any], source: str | None, offset: int) -> None:
    rejects = [Reject(**reject) for reject in part["rejects"]]
    report.merge(Report(**{**part, "rejects": rejects}), source=source, offset=offset)


def _mapped(ray: Any, parts: Mapping[int, Part], task: Task, workers: int) -> Iterator[tuple[int, dict[str, Any]]]:
    """The outcomes of the parts by number, as they come."""
    rows = [{"number": number, "part": json.dumps(asdict(part))} for number, part in parts.items()]
    labelled_parts = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
        Labeller, fn_constructor_args=(task,), compute=ray.data.ActorPoolStrategy(size=workers), num_cpus=1
    )
    try:
        for row in labelled_parts.iter_rows():
            yield row["number"], json.loads(row["outcome"])
    except ray.exceptions.RayError as error:
        raise _Broken(f"Ray could not go on: {' '.join(str(error).split())[:300]}") from None


def _in_order(outcomes: Iterable[tuple[int, dict[str, Any]]]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Outcomes by number from 0 on; those that come early wait.

    >>> list(_in_order([(1, {}), (0, {}), (2, {})]))
    [(0, {}), (1, {}), (2, {})]
    """
    waiting: dict[int, dict[str, Any]] = {}
    following = 0
    for number, outcome in outcomes:
        waiting[number] = outcome
        while following in waiting:
            yield following, waiting.pop(following)
            following += 1


@contextmanager
def _outcome(sink: str | Path, format: str | None, made_from: str) -> Iterator[tuple[Path, str, Writer | None]]:
    """A folder for the parts, their ending, and the writer that joins them; None where the folder itself is the outcome.

    A folder that becomes the outcome is named after the job, and stays when the job is stopped.
    """
    target = Path(sink)
    folder = str(sink).endswith("/") or not target.suffix
    joined = str(sink) == "-" or (not target.is_dir() if target.exists() else not folder)
    if not joined:
        if format not in (None, "parquet", "jsonl"):
            raise InputError(f"cannot write {target}: a folder of parts can be of --format parquet or jsonl")
        if target.exists() and any(target.iterdir()):
            raise InputError(f"{target} exists and is not empty; give another folder")
    there = str(sink) != "-" and (not target.exists() or target.is_file() or target.is_dir())  # and no device
    beside = target.parent if there else Path(tempfile.gettempdir())
    place = (beside / f".{target.name}.{os.getpid() if joined else made_from}.parts").resolve()
    with writing(sink):
        place.mkdir(mode=0o700 if joined else 0o777, exist_ok=not joined)
    keep = False
    try:
        if joined:
            with Writer.open(sink, format) as writer:
                yield place, ".jsonl" if writer.kind == ".jsonl" else ".parquet", writer
        else:
            yield place, f".{format or 'parquet'}", None
            with writing(sink):
                for note in place.glob(".*"):
                    note.unlink()
                if target.exists():
                    target.rmdir()
                place.rename(target)
    except BaseException as stop:
        keep = not joined and (isinstance(stop, _Broken) or not isinstance(stop, TutelageError))  # stopped, not refused
        raise
    finally:
        if not keep:
            shutil.rmtree(place, ignore_errors=True)


def _absolute(part: Part) -> Part:
    """The part under a path that holds in the folders of the workers too."""
    there = not str(part.source).startswith("hf://")
    return replace(part, source=str(Path(str(part.source)).resolve())) if there else part


def _bytes(part: Part) -> int:
    path = Path(str(part.source))
    return path.stat().st_size if path.is_file() else 0
