"""The ledger: every request to a teacher and every answer, in one SQLite file that survives kill -9.

One row is one answer, addressed by (teacher fingerprint, prompt fingerprint, text fingerprint, sample) and signed by its
own digest. Each write is one transaction with `synchronous = FULL`, so a crash at any moment loses at most the requests
in flight; an answer that is usable is never overwritten. Write-ahead logging is used where the file system can share
memory, the rollback journal elsewhere. One process writes at a time: a lock file says who.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from tutelage.data.annotations import annotations
from tutelage.errors import InputError
from tutelage.teachers.base import text_fingerprint
from tutelage.teachers.ledger_file import lock, open_to_read, use_journal
from tutelage.teachers.records import COLUMNS, SCHEMA_VERSION, TABLES, Answer, digest, from_export, to_export

__all__ = ["Answer", "Ledger", "text_fingerprint"]

_REPAIR = "`tutelage ledger RUN --repair` keeps every sound row; what is lost is asked for again"
_CHUNK = 500  # keys in one SELECT; SQLite's floor for bound values is 999


def now() -> str:
    """The time in UTC, as ISO 8601 with milliseconds."""
    return datetime.now(UTC).isoformat(timespec="milliseconds")


class Ledger:
    """Answers and requests of teachers in `path` (or ":memory:").

    >>> with Ledger(":memory:") as ledger:
    ...     ledger.put([Answer("teacher", "prompt", text_fingerprint("a match"), label=("sport",))])
    ...     ledger.get("teacher", "prompt", [text_fingerprint("a match")])[text_fingerprint("a match")].label
    ('sport',)

    Args:
        path: the file; made, with mode 0600, unless `readonly`.
        readonly: only look; works while another process writes.
        wait: seconds to wait for another process that writes, before refusing.

    Raises: InputError: the file cannot be made, read or written, is no ledger, or is being written by another process.
    """

    def __init__(self, path: str | Path, *, readonly: bool = False, wait: float = 0.0) -> None:
        self.path = str(path)
        self.readonly = readonly
        self._mutex = threading.RLock()
        self._lock: int | None = None
        memory = self.path == ":memory:"
        try:
            if readonly and not memory:
                self._db = open_to_read(Path(self.path))
            else:
                if not memory:
                    self._lock = lock(Path(self.path), wait)
                    os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
                self._db = sqlite3.connect(self.path, timeout=30, isolation_level=None, check_same_thread=False)
                self._prepare()
        except sqlite3.Error as error:
            self._unlock()
            raise InputError(f"cannot open the ledger {self.path}: {error}") from None
        except OSError as error:
            self._unlock()
            raise InputError(f"cannot open the ledger {self.path}: {error.strerror or error}") from None
        except InputError:
            self._unlock()
            raise

    def _prepare(self) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version > SCHEMA_VERSION:
            raise InputError(f"the ledger {self.path} was written by a newer version of tutelage (format {version})")
        self.journal = use_journal(self._db)
        self._db.execute("PRAGMA synchronous = FULL")
        self._db.execute("PRAGMA secure_delete = ON")  # what `forget` deletes is overwritten
        self._db.executescript(f"BEGIN IMMEDIATE; {TABLES} PRAGMA user_version = {SCHEMA_VERSION}; COMMIT;")
        with (
            self._write() as db
        ):  # requests that a killed process left open may have been served: they keep their estimate
            db.execute(
                "UPDATE requests SET finished = ?, outcome = 'lost' WHERE finished IS NULL AND batch IS NULL", (now(),)
            )

    def __enter__(self) -> Ledger:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and let other processes write. Closing twice is harmless."""
        with self._mutex:
            self._db.close()
            self._unlock()

    def _unlock(self) -> None:
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    @contextlib.contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        """One transaction: all of it is in the file afterwards, or nothing of it."""
        with self._mutex:
            try:
                self._db.execute("BEGIN IMMEDIATE")
                yield self._db
                self._db.execute("COMMIT")
            except BaseException as error:
                with contextlib.suppress(sqlite3.Error):
                    self._db.execute("ROLLBACK")
                if isinstance(error, sqlite3.Error):
                    raise InputError(
                        f"cannot write the ledger {self.path}: {error}; all answers before this one are kept"
                    ) from None
                raise

    def _read(self, sql: str, values: Sequence[object] = ()) -> list[tuple]:
        with self._mutex:
            try:
                return self._db.execute(sql, values).fetchall()
            except sqlite3.Error as error:
                mend = f". {_REPAIR}" if isinstance(error, sqlite3.DatabaseError) and "malformed" in str(error) else ""
                raise InputError(f"cannot read the ledger {self.path}: {error}{mend}") from None

    # answers

    def get(self, teacher: str, prompt: str, texts: Iterable[str], sample: int = 0) -> dict[str, Answer]:
        """The answers that are there, by text fingerprint. Raises: InputError: one of them is not what was written."""
        wanted = list(dict.fromkeys(texts))
        found: dict[str, Answer] = {}
        for start in range(0, len(wanted), _CHUNK):
            part = wanted[start : start + _CHUNK]
            marks = ",".join("?" * len(part))
            sql = (
                f"SELECT {','.join(COLUMNS)}, digest FROM answers"
                f" WHERE teacher = ? AND prompt = ? AND sample = ? AND text IN ({marks})"
            )
            for row in self._read(sql, [teacher, prompt, sample, *part]):
                found[row[2]] = self._checked(row)
        return found

    def _checked(self, row: tuple) -> Answer:
        """The answer of a row that ends with its digest. Raises: InputError: the two do not match."""
        if digest(row[:-1]) != row[-1]:
            raise InputError(
                f"the ledger {self.path} is damaged: the answer to text {row[2][:16]} is not what was written. "
                f"{_REPAIR}"
            )
        return Answer.from_row(row)

    def put(self, rows: Iterable[Answer], *, derived: bool = False) -> None:
        """Store answers in one transaction. A usable answer is never overwritten, a failed one is.

        `derived`: the rows are computed from other rows (a vote, an ensemble's mean), and always replace older ones.
        """
        with self._write() as db:
            _insert(db, rows, "" if derived else "WHERE answers.status != 'ok'")

    def rows(self, ids: Sequence[str], texts: Sequence[str], teacher: str, prompt: str, sample: int = 0) -> pa.Table:
        """Annotations of the given texts (fingerprints) under the given ids, in that order; unanswered ones are absent."""
        found = self.get(teacher, prompt, texts, sample)
        pairs = [(key, found[text]) for key, text in zip(ids, texts, strict=True) if text in found]
        answers = [answer for _, answer in pairs]
        return annotations(
            [key for key, _ in pairs],
            [answer.label for answer in answers],
            sample=sample,
            teacher=teacher,
            prompt=prompt,
            **{
                name: [getattr(answer, name) for answer in answers]
                for name in ("probs", "status", "evidence", "tokens_in", "tokens_out", "cost")
            },
        )

    # requests

    def open_request(
        self, teacher: str, prompt: str, text: str, sample: int = 0, *, request_hash: str = "", tokens_in: int = 0,
        tokens_out: int = 0, cost: float | None = None, currency: str | None = None,
    ) -> int:  # fmt: skip
        """Write down a request before it is sent, with its estimated tokens and cost: -> its number."""
        with self._write() as db:
            return _open(
                db, (teacher, prompt, text, sample, now(), tokens_in, tokens_out, cost, currency, request_hash, None)
            )

    def close_request(
        self, number: int, outcome: str, *, tokens_in: int = 0, tokens_out: int = 0, cost: float | None = None,
        latency: float | None = None, answers: Iterable[Answer] = (),
    ) -> None:  # fmt: skip
        """Write down how a request ended, and in the same transaction the answers that it gave."""
        with self._write() as db:
            db.execute(
                "UPDATE requests SET finished = ?, outcome = ?, tokens_in = ?, tokens_out = ?, cost = ?, latency = ?"
                " WHERE id = ?",
                (now(), outcome, tokens_in, tokens_out, cost, latency, number),
            )
            _insert(db, answers)

    def abandon_request(self, number: int, outcome: str) -> None:
        """Close a request whose end is not known (cut off, cancelled): it keeps its estimate, for it may cost money."""
        with self._write() as db:
            db.execute("UPDATE requests SET finished = ?, outcome = ? WHERE id = ?", (now(), outcome, number))

    def spent(self, unit: str) -> float:
        """What all requests cost so far, open ones by their estimate: in "tok", or in a currency such as "usd"."""
        if unit == "tok":
            return float(self._read("SELECT COALESCE(SUM(tokens_in + tokens_out), 0) FROM requests")[0][0])
        return float(self._read("SELECT COALESCE(SUM(cost), 0.0) FROM requests WHERE currency = ?", [unit])[0][0])

    # batches

    def open_batch(
        self, key: str, teacher: str, prompt: str, entries: Sequence[tuple[str, int, int, int, float | None]],
        currency: str | None = None,
    ) -> None:  # fmt: skip
        """Write down a batch before it is uploaded: entries are (text, sample, tokens_in, tokens_out, cost)."""
        with self._write() as db:
            db.execute("INSERT INTO batches VALUES (?, NULL, 'new', ?, ?, ?)", (key, teacher, prompt, now()))
            for text, sample, tokens_in, tokens_out, cost in entries:
                _open(db, (teacher, prompt, text, sample, now(), tokens_in, tokens_out, cost, currency, "", key))

    def set_batch(self, key: str, *, remote: str | None = None, state: str) -> None:
        """Note the provider's id of a batch, or its state; "done" gives up the requests that are still open in it."""
        with self._write() as db:
            db.execute("UPDATE batches SET remote = COALESCE(?, remote), state = ? WHERE key = ?", (remote, state, key))
            if state == "done":
                db.execute(
                    "UPDATE requests SET finished = ?, outcome = 'unanswered', tokens_in = 0, tokens_out = 0, cost = NULL"
                    " WHERE batch = ? AND finished IS NULL",
                    (now(), key),
                )

    def batches(self, teacher: str, prompt: str) -> list[tuple[str, str | None]]:
        """The batches that are not done: (key, the provider's id or None), oldest first."""
        sql = (
            "SELECT key, remote FROM batches WHERE teacher = ? AND prompt = ? AND state != 'done' ORDER BY created, key"
        )
        return self._read(sql, [teacher, prompt])

    def batch_requests(self, key: str) -> dict[tuple[str, int], int]:
        """The open requests of a batch: (text, sample) -> request number."""
        sql = "SELECT text, sample, id FROM requests WHERE batch = ? AND finished IS NULL"
        return {(text, sample): number for text, sample, number in self._read(sql, [key])}

    # sources and texts

    def describe(self, fingerprint: str, kind: str, description: Mapping[str, object]) -> None:
        """Note what a fingerprint stands for (kind "teacher" or "prompt"); never put a key in it."""
        with self._write() as db:
            db.execute(
                "INSERT OR IGNORE INTO sources VALUES (?, ?, ?)",
                (fingerprint, kind, json.dumps(description, ensure_ascii=False, sort_keys=True)),
            )

    def sources(self) -> dict[str, dict[str, object]]:
        """What the fingerprints stand for."""
        rows = self._read("SELECT fingerprint, kind, description FROM sources")
        return {key: {"kind": kind, **json.loads(description)} for key, kind, description in rows}

    def register(self, ids: Sequence[str], texts: Sequence[str], truncated: Sequence[bool] | None = None) -> None:
        """Note which ids the text fingerprints belong to, and which texts were cut before the teacher saw them."""
        cut = truncated if truncated is not None else [False] * len(ids)
        with self._write() as db:
            db.executemany("INSERT OR IGNORE INTO texts VALUES (?, ?, ?)", zip(ids, texts, map(int, cut), strict=True))

    def texts_of(self, ids: Iterable[str]) -> list[str]:
        """The text fingerprints that the given ids stand for."""
        found = [self._read("SELECT text FROM texts WHERE id = ?", [key]) for key in ids]
        return list(dict.fromkeys(text for rows in found for (text,) in rows))

    # the whole

    def summary(self, teacher: str | None = None) -> dict[str, object]:
        """Counts and cost: texts, answered, failed, pending, truncated, requests, cost, currency, tokens, teachers.

        Texts are counted by id: answered ones have a usable answer of any sample, failed ones have only failed answers.
        With `teacher` (a fingerprint) answers, requests and cost are that teacher's alone.
        """
        where, values = ("WHERE teacher = ?", [teacher]) if teacher else ("", [])
        texts = self._read(
            "WITH best AS (SELECT text, MAX(status = 'ok') AS good FROM answers " + where + " GROUP BY text),"
            " known AS (SELECT id, text, truncated FROM texts"
            "   UNION ALL SELECT text, text, 0 FROM best WHERE text NOT IN (SELECT text FROM texts)),"
            " seen AS (SELECT id, MAX(good) AS good, MAX(truncated) AS cut FROM known LEFT JOIN best USING (text) GROUP BY id)"
            " SELECT COUNT(*), COALESCE(SUM(good = 1), 0), COALESCE(SUM(good = 0), 0), COALESCE(SUM(cut), 0) FROM seen",
            values,
        )
        total, answered, failed, truncated = texts[0]
        requests, tokens_in, tokens_out = self._read(
            "SELECT COUNT(*), COALESCE(SUM(tokens_in), 0), COALESCE(SUM(tokens_out), 0) FROM requests " + where,
            values,
        )[0]
        costs = dict(
            self._read(
                "SELECT currency, SUM(cost) FROM requests " + where + " GROUP BY currency HAVING SUM(cost) > 0", values
            )
        )
        status = self._read("SELECT status, COUNT(*) FROM answers " + where + " GROUP BY status", values)
        single = len(costs) == 1
        return {
            "texts": total,
            "answered": answered,
            "failed": failed,
            "pending": total - answered - failed,
            "truncated": truncated,
            "requests": requests,
            "cost": next(iter(costs.values())) if single else 0.0,
            "currency": next(iter(costs)) if single else None,
            "costs": costs,
            "tokens_in": tokens_in,
            "tokens_out": tokens_out,
            "status": dict(status),
            "teachers": dict(
                self._read("SELECT teacher, COUNT(*) FROM answers " + where + " GROUP BY teacher", values)
            ),
        }

    def verify(self) -> list[Answer]:
        """The answers whose digest does not match their content; empty when all is well."""
        with self._mutex:
            rows = self._read(f"SELECT {','.join(COLUMNS)}, digest FROM answers")
        return [Answer.from_row(row) for row in rows if digest(row[:-1]) != row[-1]]

    def to_table(self, *, teacher: str | None = None, prompt: str | None = None) -> pa.Table:
        """All answers as a table for export: id, label, status first; one row an id (its text's fingerprint where unknown)."""
        conditions = {"teacher": teacher, "prompt": prompt}
        given = {name: value for name, value in conditions.items() if value is not None}
        where = "WHERE " + " AND ".join(f"answers.{name} = ?" for name in given) if given else ""
        columns = ",".join(f"answers.{name}" for name in COLUMNS)
        rows = self._read(
            f"SELECT {columns}, answers.digest, COALESCE(texts.id, answers.text) FROM answers "
            f"LEFT JOIN texts ON texts.text = answers.text "
            f"{where} ORDER BY teacher, prompt, sample, {len(COLUMNS) + 2}",
            list(given.values()),
        )
        return to_export([row[-1] for row in rows], [self._checked(row[:-1]) for row in rows])

    def import_table(self, table: pa.Table) -> int:
        """Take in what `to_table` of another ledger gave: -> number of answers read. Usable answers here win.

        Raises: InputError: columns are missing.
        """
        ids, answers = from_export(table)
        known = [(key, answer.text) for key, answer in zip(ids, answers, strict=True) if key != answer.text]
        self.register([key for key, _ in known], [text for _, text in known])
        self.put(answers)
        return len({answer.key for answer in answers})

    def forget(self, texts: Iterable[str]) -> int:
        """Delete all that is known of the given texts (fingerprints), and overwrite where it stood: -> answers deleted.

        Their requests stay, without the text, because they were paid for.
        """
        deleted = 0
        with self._write() as db:
            for text in texts:
                deleted += db.execute("DELETE FROM answers WHERE text = ?", (text,)).rowcount
                db.execute("DELETE FROM texts WHERE text = ?", (text,))
                db.execute("UPDATE requests SET text = '', request_hash = '' WHERE text = ?", (text,))
        with self._mutex, contextlib.suppress(sqlite3.Error):
            self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return deleted


def _insert(db: sqlite3.Connection, rows: Iterable[Answer], unless: str = "WHERE answers.status != 'ok'") -> None:
    stamped = [answer if answer.created else Answer(**{**vars(answer), "created": now()}) for answer in rows]
    marks = ",".join("?" * (len(COLUMNS) + 1))
    updates = ",".join(f"{name} = excluded.{name}" for name in (*COLUMNS[4:], "digest"))
    db.executemany(
        f"INSERT INTO answers ({','.join(COLUMNS)}, digest) VALUES ({marks}) "
        f"ON CONFLICT (teacher, prompt, text, sample) DO UPDATE SET {updates} {unless}",
        [answer.to_row() for answer in stamped],
    )


def _open(db: sqlite3.Connection, values: tuple[object, ...]) -> int:
    names = "teacher, prompt, text, sample, started, tokens_in, tokens_out, cost, currency, request_hash, batch"
    cursor = db.execute(f"INSERT INTO requests ({names}) VALUES ({','.join('?' * len(values))})", values)
    return int(cursor.lastrowid or 0)
