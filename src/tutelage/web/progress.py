"""How far a run is, read off its folder: nothing is kept in memory that a restart would lose."""

from __future__ import annotations

import contextlib
import json
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa
import pyarrow.parquet as pq

from tutelage.errors import InputError
from tutelage.pipeline import figures
from tutelage.pipeline.folder import Run
from tutelage.web.jobs import LOG, Job
from tutelage.web.settings import foreign

Status = Literal["running", "stopping", "finished", "refused", "stopped", "new", "damaged"]

STAGES = (("pool", "Read"), ("annotate", "Label"), ("train", "Train"), ("evaluate", "Evaluate"), ("report", "Report"))
"""The stages that a run notes in `stages.json`, with the word for each."""
_TAIL = 4_096


@dataclass(frozen=True)
class State:
    """A run as the pages show it.

    Attributes: done, total: texts with an answer, texts to ask about (0: not known yet); cost: so far, in `currency`;
        said: the latest note of the process; fault: why it ended, in its own words; stages: those that are done;
        owner: the process that works on it, where this workbench has not started it; headline, score: what came out of it,
        in a sentence and as one figure.
    """

    name: str
    status: Status
    changed: datetime
    done: int = 0
    total: int = 0
    failed: int = 0
    cost: float = 0.0
    currency: str | None = None
    tokens: int = 0
    said: str = ""
    fault: str = ""
    stages: tuple[str, ...] = ()
    teacher: str = ""
    labels: int = 0
    scheme: str = ""
    owner: int | None = None
    headline: str = ""
    score: str = ""

    @property
    def live(self) -> bool:
        """Whether somebody works on it."""
        return self.status in ("running", "stopping")


def state_of(folder: Path, job: Job | None = None) -> State:
    """The state of the run in a folder; a run that cannot be read is "damaged", with the reason as its fault."""
    changed = _changed(folder)
    try:
        run = Run(folder)
        with foreign("workbench.json"):
            facts = _facts(run)
        with foreign("stages.json or metrics.json"):
            done = tuple(key for key, _ in STAGES if key in dict(run.json("stages")))
            metrics = dict(run.json("metrics"))
            outcome = (metrics.get("acceptance") or {}).get("outcome")
            headline, score = (figures.headline(metrics), _score(metrics)) if metrics else ("", "")
    except InputError as error:
        return State(folder.name, "damaged", changed, fault=str(error))
    said, fault = _log(folder)
    owner = None if job else owner_of(folder)
    status: Status
    if job is not None or owner is not None:
        status, fault = "stopping" if job and job.stopping else "running", ""
    elif metrics and "report" in done and (not fault or outcome == "refused"):
        status, fault = "refused" if outcome == "refused" else "finished", ""
    else:
        status = "stopped" if fault or "pool" in done else "new"
    return State(
        folder.name, status, changed, said=said, fault=fault, stages=done, teacher=run.config.teacher.spec,
        labels=len(run.config.labels), scheme=run.config.labels.name, owner=owner, headline=headline, score=score,
        **facts,
    )  # fmt: skip


def runs_in(root: Path) -> list[Path]:
    """The run folders right below `root`, latest first; links that lead out of it are none."""
    if not root.is_dir():
        return []
    home = root.resolve()
    found = [
        path
        for path in root.iterdir()
        if not path.name.startswith(".") and (path / "run.yaml").is_file() and path.resolve().is_relative_to(home)
    ]
    return sorted(found, key=_changed, reverse=True)


def owner_of(folder: Path) -> int | None:
    """The process that holds a run's lock, without touching the lock; None where nobody does, or the system does not say."""
    try:
        number = int((folder / ".lock").read_text("ascii") or 0)
        inode = (folder / ".lock").stat().st_ino
        held = [line.split() for line in Path("/proc/locks").read_text("ascii").splitlines()]
    except (OSError, ValueError):
        return None
    mine = [entry for entry in held if entry[1] == "FLOCK" and entry[4] == str(number)]
    return (
        number if any(entry[5].rpartition(":")[2] == str(inode) for entry in mine) and number != os.getpid() else None
    )


def _changed(folder: Path) -> datetime:
    """When something was last made in a folder; long ago for one that has just been deleted."""
    try:
        return datetime.fromtimestamp(folder.stat().st_mtime, UTC)
    except OSError:
        return datetime.fromtimestamp(0, UTC)


def _score(metrics: dict[str, Any]) -> str:
    """Macro-F1, or agreement with the teacher where people have labelled nothing."""
    score = figures.number((metrics.get("student") or {}).get("macro_f1"))
    if score is not None:
        return f"macro-F1 {score:.3f}"
    alpha = figures.number(((metrics.get("agreement") or {}).get("student_teacher") or {}).get("alpha"))
    return "" if alpha is None else f"alpha with its teacher {alpha:.2f}"


def _facts(run: Run) -> dict[str, Any]:
    """Texts, answers and cost: from the tables and the ledger."""
    total = 0
    for name in ("pool", "gold"):
        with contextlib.suppress(FileNotFoundError, pa.ArrowInvalid):
            total += pq.read_metadata(run.path / f"{name}.parquet").num_rows
    limit = run.json("workbench").get("limit")
    if limit and run.has("pool"):
        total -= max(0, pq.read_metadata(run.path / "pool.parquet").num_rows - limit)
    if not (run.path / "labels.sqlite").exists():
        return {"total": total}
    try:
        with run.ledger(readonly=True) as ledger:
            book: dict[str, Any] = ledger.summary()
    except InputError:  # being made at this moment
        return {"total": total}
    done = min(book["answered"] + book["failed"], total)
    return {
        "total": total, "done": done, "failed": book["failed"], "cost": book["cost"], "currency": book["currency"],
        "tokens": book["tokens_in"] + book["tokens_out"],
    }  # fmt: skip


def _log(folder: Path) -> tuple[str, str]:
    """The last note of the latest child, and the line with which it failed."""
    try:
        with (folder / LOG).open("rb") as stream:
            stream.seek(0, os.SEEK_END)
            stream.seek(max(0, stream.tell() - _TAIL))
            lines = [line.strip() for line in stream.read().decode("utf-8", "replace").splitlines() if line.strip()]
    except OSError:
        return "", ""
    if not lines:
        return "", ""
    last = lines[-1]
    return last, last.removeprefix("tutelage: ") if last.startswith("tutelage: ") or "Error" in last else ""


def note_settings(run: Run, **service: object) -> None:
    """Keep how the endpoint is spoken to beside the run, so that it goes on in the same way."""
    run.put_json("workbench", {name: value for name, value in service.items() if value})


def arguments_of(run: Run) -> list[str]:
    """`distill RUN` with what `note_settings` kept.

    Raises: InputError: a setting there is none of ours (the folder came from elsewhere).
    """
    kept = run.json("workbench")
    budget, limit = (kept.get("budget"), kept.get("limit")) if isinstance(kept, dict) else (0, 0)
    if not isinstance(budget, str | None) or type(limit) not in (int, type(None)) or str(budget).startswith("-"):
        raise InputError(
            f"{run.path / 'workbench.json'} holds other things than budget and limit: {json.dumps(kept)[:80]}"
        )
    more = [f"--budget={budget}"] if budget else []
    return ["distill", str(run.path), *more, *([f"--limit={limit}"] if limit else [])]
