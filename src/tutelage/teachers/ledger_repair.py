"""A damaged ledger made whole: every row that can be read and is what was written goes into a new file.

SQLite's own journal already undoes what a crash has left half done. What remains is a file that something else has changed: a bad
disk, a bad cable, an editor. A page that cannot be read ends a scan, so each table is read from its first row forwards and
from its last row backwards; answers must match their digest. Nothing is guessed: what is lost is asked for again. The
damaged file stays beside the new one.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from tutelage.errors import InputError
from tutelage.teachers.ledger_file import lock
from tutelage.teachers.records import COLUMNS, SCHEMA_VERSION, TABLES, digest

KEYS = {
    "answers": "teacher, prompt, text, sample", "requests": "id", "sources": "fingerprint", "texts": "id, text",
    "batches": "key",
}  # fmt: skip
"""Table -> the columns that order it."""


class Repaired(NamedTuple):
    """What a repair kept and found damaged, and where the damaged file lies now.

    Attributes: answers, requests: rows kept; damaged: answers that were read and did not match their digest; unreadable:
        tables of which a part could not be read.
    """

    answers: int
    requests: int
    damaged: int
    unreadable: tuple[str, ...]
    old: Path


def repair(path: Path) -> Repaired:
    """Write the sound rows of a ledger into a new file and put it in the old one's place.

    Raises: InputError: no such file, no ledger, another process writes it, or the folder cannot be written.
    """
    if not path.is_file():
        raise InputError(f"there is no ledger at {path}")
    handle = lock(path, 0.0)
    fresh, old = path.with_name(f".{path.name}.repaired"), _free(path)
    try:
        fresh.unlink(missing_ok=True)
        with contextlib.closing(sqlite3.connect(path)) as source, contextlib.closing(sqlite3.connect(fresh)) as target:
            fresh.chmod(0o600)
            target.executescript(f"PRAGMA secure_delete = ON; {TABLES} PRAGMA user_version = {SCHEMA_VERSION};")
            kept, damaged, unreadable = _copy(source, target)
            target.commit()
            if not any(kept.values()) and len(unreadable) == len(KEYS):
                raise InputError(f"{path} is no ledger, or nothing of it can be read")
        _swap(path, old, fresh)
    except sqlite3.Error as error:
        raise InputError(f"cannot repair the ledger {path}: {error}") from None
    except OSError as error:
        raise InputError(f"cannot repair the ledger {path}: {error.strerror or error}") from None
    finally:
        fresh.unlink(missing_ok=True)
        os.close(handle)
    return Repaired(kept["answers"], kept["requests"], damaged, unreadable, old)


def _copy(source: sqlite3.Connection, target: sqlite3.Connection) -> tuple[dict[str, int], int, tuple[str, ...]]:
    """Sound rows from one file to the other: rows a table, damaged answers, tables with a part that cannot be read."""
    kept: dict[str, int] = dict.fromkeys(KEYS, 0)
    damaged: set[tuple] = set()
    unreadable = []
    source.text_factory = lambda raw: raw.decode("utf-8", "replace")
    for table, key in KEYS.items():
        for order in ("ASC", "DESC"):
            try:
                for row in _rows(source, table, key, order):
                    if table == "answers" and digest(row[:-1]) != row[-1]:
                        damaged.add(row[:4])
                    else:
                        kept[table] += _put(target, table, row)
                break
            except sqlite3.DatabaseError:
                continue
        else:
            unreadable.append(table)
    return kept, len(damaged), tuple(unreadable)


def _put(db: sqlite3.Connection, table: str, row: tuple) -> int:
    """Insert a row that is not there yet: -> 1 if it was, 0 if it was there, or breaks a rule of the table."""
    try:
        marks = ",".join("?" * len(row))
        return db.execute(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", row).rowcount
    except sqlite3.IntegrityError:
        return 0


def _rows(db: sqlite3.Connection, table: str, key: str, order: str) -> Iterator[tuple]:
    """A table's rows in the order of its key, columns as they are made."""
    columns = f"{','.join(COLUMNS)}, digest" if table == "answers" else "*"
    ordered = ", ".join(f"{name} {order}" for name in key.split(", "))
    yield from db.execute(f"SELECT {columns} FROM {table} NOT INDEXED ORDER BY {ordered}")


def _free(path: Path) -> Path:
    """A name for the damaged file that is not taken."""
    names = (path.with_name(f"{path.name}.damaged{number or ''}") for number in range(1000))
    return next(name for name in names if not name.exists())


def _swap(path: Path, old: Path, fresh: Path) -> None:
    """The new file in the old one's place; the old one's journal goes with it."""
    with fresh.open("rb") as stream:
        os.fsync(stream.fileno())
    for ending in ("-wal", "-shm", "-journal"):
        side = path.with_name(path.name + ending)
        if side.exists():
            side.replace(old.with_name(old.name + ending))
    path.replace(old)
    fresh.replace(path)
