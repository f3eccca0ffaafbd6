"""The ledger's file: who may write it, how it is journalled, and how it is opened only to look."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

from tutelage.errors import InputError


def use_journal(db: sqlite3.Connection) -> str:
    """Turn write-ahead logging on; where the file system cannot share memory, fall back to the rollback journal."""
    try:
        mode = db.execute("PRAGMA journal_mode = WAL").fetchone()[0]
        if mode == "wal":
            db.execute("SELECT COUNT(*) FROM sqlite_master").fetchone()  # opens the shared-memory file
        return mode
    except sqlite3.OperationalError as error:
        if "readonly" in str(error) or "full" in str(error):
            raise
        return db.execute("PRAGMA journal_mode = DELETE").fetchone()[0]


def open_to_read(path: Path) -> sqlite3.Connection:
    """A connection that only looks, also into a folder that may not be written.

    Raises: InputError: there is no such file; sqlite3.Error: it is no ledger.
    """
    if not path.is_file():
        raise InputError(f"there is no ledger at {path}")
    for option in (
        "mode=ro",
        "immutable=1",
    ):  # the second for a folder where SQLite may not write its shared-memory file
        address = f"{path.resolve().as_uri()}?{option}"
        db = sqlite3.connect(address, uri=True, timeout=30, isolation_level=None, check_same_thread=False)
        try:
            db.execute("SELECT COUNT(*) FROM answers").fetchone()
            return db
        except sqlite3.OperationalError as error:
            db.close()
            if option == "immutable=1" or "no such table" in str(error):
                raise
        except sqlite3.Error:
            db.close()
            raise
    raise AssertionError("unreachable")


def lock(path: Path, wait: float) -> int:
    """Hold `path`.lock for this process: -> its handle. The system lets go of it when the process ends, however it ends.

    Raises: InputError: another process holds it, after `wait` seconds; it is named.
    """
    import fcntl

    handle = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT, 0o600)
    until = time.monotonic() + wait
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            break
        except OSError:
            if time.monotonic() < until:
                time.sleep(min(0.2, max(0.0, until - time.monotonic())))
                continue
            holder = os.read(handle, 20).decode("ascii", "replace").strip() or "unknown"
            os.close(handle)
            raise InputError(
                f"another process (number {holder}) is writing {path}: wait for it to end, or use another output folder"
            ) from None
    os.ftruncate(handle, 0)
    os.pwrite(handle, str(os.getpid()).encode(), 0)
    return handle
