"""Readers of answer logs: a table with one row an answer, or the three lines a learner of the knowledge-tracing literature.

| form | what is read |
|---|---|
| a table (`.csv`, `.tsv`, `.jsonl`, `.parquet`, … see `corpus`) | one row an answer; columns are named, or found by their names |
| three lines a learner | number of answers; concepts, separated by commas; 0 or 1 for each of them (trailing commas are fine) |

The first line of a three-line file is a bare number, which no header is: that is how it is known.
"""

from __future__ import annotations

import gzip
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from tutelage.data.columns import columns_of
from tutelage.data.knowledge_tracing import AnswerLog
from tutelage.data.readers import read_rows
from tutelage.data.tables import is_columnar
from tutelage.errors import InputError

LEARNER = ("learner", "learnerid", "student", "studentid", "anonstudentid", "pupil", "pupilid", "user", "userid")
CONCEPT = ("skill", "skillname", "concept", "conceptname", "kc", "kcdefault", "topic", "skillid", "conceptid", "tag")
CORRECT = ("correct", "iscorrect", "ok", "right", "correctness", "correctfirstattempt", "success", "outcome", "score")
TIME = ("time", "timestamp", "answeredat", "createdat", "datetime", "date", "starttime", "orderid")
"""Names under which the four columns are looked for, in this order; case and punctuation aside."""

_RIGHT = {"1", "1.0", "true", "t", "yes", "y", "right", "correct"}
_WRONG = {"0", "0.0", "false", "f", "no", "n", "wrong", "incorrect"}


def read_answer_log(
    source: str | Path,
    *,
    learner: str | None = None,
    concept: str | None = None,
    correct: str | None = None,
    time: str | None = None,
) -> AnswerLog:
    """Read a log of answers.

    Args:
        source: a file in one of the forms above.
        learner, concept, correct, time: columns of a table; those not given are found by name. Without a time column the
            order of the rows is the order of the answers, with one each learner's rows are sorted by it.

    Rows without learner, concept or outcome are left out and counted in `remarks`.

    >>> import tempfile; from pathlib import Path
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = Path(folder) / "answers.csv"
    ...     _ = file.write_text("pupil,skill,ok\\nann,add,1\\nbob,add,no\\n")
    ...     log = read_answer_log(file)
    >>> log.learners, log.correct.tolist()
    (('ann', 'bob'), [True, False])

    Raises: InputError: no such file, no such column, an outcome that is neither right nor wrong, a time that is none, or
        no answer at all; the message names the line.
    """
    names = {"learner": learner, "concept": concept, "correct": correct, "time": time}
    if not is_columnar(source) and (lines := _three_lines(Path(source))) is not None:
        if given := [name for name, column in names.items() if column]:
            raise InputError(f"{source} has three lines a learner and no columns: leave out --{' and --'.join(given)}")
        return _from_three_lines(lines, source)
    return _from_table(source, names)


@dataclass
class _Columns:
    """The answers as they are read, row by row."""

    learner: list[str] = field(default_factory=list)
    concept: list[str] = field(default_factory=list)
    correct: list[bool] = field(default_factory=list)
    time: list[float] = field(default_factory=list)


def _from_table(source: str | Path, names: dict[str, str | None]) -> AnswerLog:
    found = _find_columns(columns_of(source).names, names, source)
    read, skipped = _Columns(), Counter[str]()
    for number, row in read_rows(source):
        if isinstance(row, str):
            skipped[f"unreadable ({row})"] += 1
            continue
        given = {role: row.get(column) for role, column in found.items()}
        values = {role: "" if value is None else str(value).strip() for role, value in given.items()}
        if missing := [role for role in ("learner", "concept", "correct") if not values[role]]:
            skipped[f"without {missing[0]}"] += 1
            continue
        where = f"{source}: row {number}"
        read.correct.append(_outcome(values["correct"], where, found["correct"]))
        read.learner.append(values["learner"])
        read.concept.append(values["concept"])
        if "time" in found:
            read.time.append(_moment(values["time"], where, found["time"]))
    if not read.learner:
        raise InputError(f"{source}: no answer could be read" + (f" ({_counted(skipped)})" if skipped else ""))
    remarks = [", ".join(f"{role} is column {column!r}" for role, column in found.items())]
    remarks += [f"left out: {_counted(skipped)}"] if skipped else []
    return _assembled(read, remarks)


def _assembled(read: _Columns, remarks: list[str]) -> AnswerLog:
    learners, concepts = tuple(dict.fromkeys(read.learner)), _ordered(read.concept)
    place = {name: number for number, name in enumerate(learners)}
    number = {name: n for n, name in enumerate(concepts)}
    who = np.array([place[name] for name in read.learner], np.int64)
    what = np.array([number[name] for name in read.concept], np.int64)
    time = np.array(read.time) if read.time else None
    order = np.argsort(who, kind="stable") if time is None else np.lexsort((time, who))
    if time is not None:
        who, what, time = who[order], what[order], time[order]
        twins = (np.diff(who) == 0) & (np.diff(time) == 0) & (np.diff(what) != 0)
        share = twins.sum() / len(who)
        if share > 0.01:
            remarks.append(
                f"{share:.0%} of the answers have learner and time of the one before, but another concept: if that is one "
                "answer with several skills, keep one row of each, for copies make predictions look better than they are"
            )
    else:
        who, what = who[order], what[order]
    bounds = np.searchsorted(who, np.arange(len(learners) + 1))
    return AnswerLog(learners, concepts, bounds, what, np.array(read.correct)[order], time, tuple(remarks))


def _find_columns(header: Sequence[str], names: dict[str, str | None], source: object) -> dict[str, str]:
    plain = {re.sub(r"[^a-z0-9]", "", column.lower()): column for column in reversed(header)}
    found: dict[str, str] = {}
    for role, known in zip(names, (LEARNER, CONCEPT, CORRECT, TIME), strict=True):
        column = names[role] or next((plain[name] for name in known if name in plain), None)
        if column is None and role == "time":
            continue
        if column is None or column not in header:
            asked = f"no column {column!r}" if column else f"no column that is known to hold the {role}"
            listing = " ".join(", ".join(header).split())
            raise InputError(f"{source}: {asked}; say --{role} with one of {listing}")
        found[role] = column
    if len(set(found.values())) < len(found):
        raise InputError(f"{source}: one column cannot be two things: {found}")
    return found


def _outcome(value: str, where: str, column: str) -> bool:
    if value.lower() in _RIGHT:
        return True
    if value.lower() in _WRONG:
        return False
    raise InputError(f"{where}: {column} must be 0 or 1 (or true and false, yes and no); found {value!r}")


def _moment(value: str, where: str, column: str) -> float:
    try:
        return float(value)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(value)
    except ValueError:
        raise InputError(
            f"{where}: {column} must be a number or a date like 2024-05-31 10:00; found {value!r}"
        ) from None
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp()


def _three_lines(path: Path) -> list[tuple[int, str]] | None:
    """The lines that are not blank, numbered from 1, of a file whose first one is a bare number; else None."""
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8-sig")
            if path.suffix == ".gz"
            else path.open(encoding="utf-8-sig") as file
        ):
            first = next((line for line in file if line.strip()), "")
            if not re.fullmatch(r"\s*\d+\s*,*\s*", first):
                return None
            file.seek(0)
            lines = file.read().splitlines()
    except (OSError, UnicodeDecodeError, EOFError):
        return None  # the reader of tables says what is wrong with the file
    return [(number, line) for number, line in enumerate(lines, 1) if line.strip(" ,")]


def _from_three_lines(lines: Sequence[tuple[int, str]], source: object) -> AnswerLog:
    if len(lines) % 3:
        raise InputError(f"{source}: {len(lines)} lines are not three a learner (answers, concepts, 0 or 1 for each)")
    concepts: list[list[int]] = []
    correct: list[list[int]] = []
    for (n, count), (m, asked), (o, outcome) in zip(lines[::3], lines[1::3], lines[2::3], strict=True):
        declared, about, said = _numbers(count, n, source), _numbers(asked, m, source), _numbers(outcome, o, source)
        if len(declared) != 1 or not declared[0] == len(about) == len(said):
            raise InputError(
                f"{source}: line {n} declares {count.strip(' ,')} answers; line {m} has {len(about)} concepts, "
                f"line {o} {len(said)} outcomes"
            )
        if min(about) < 1 or not {0, 1}.issuperset(said):
            raise InputError(f"{source}: line {m} must hold concepts from 1 on, line {o} only 0 and 1")
        concepts.append(about)
        correct.append(said)
    numbers = sorted({number for about in concepts for number in about})
    return AnswerLog(
        tuple(f"learner {n}" for n in range(1, len(concepts) + 1)),
        tuple(map(str, numbers)),
        np.cumsum([0, *map(len, concepts)]),
        np.searchsorted(numbers, np.concatenate(concepts)),
        np.concatenate(correct).astype(bool),
        remarks=("three lines a learner; learners and concepts are numbered as in the file",),
    )


def _numbers(line: str, number: int, source: object) -> list[int]:
    try:
        return [int(value) for value in line.strip(" ,\t\r").split(",")]
    except ValueError:
        raise InputError(f"{source}: line {number} must hold whole numbers, separated by commas") from None


def _ordered(names: Sequence[str]) -> tuple[str, ...]:
    """Names once each: by number where all are numbers, else by alphabet."""
    known = set(names)
    return tuple(sorted(known, key=int) if all(name.isdecimal() for name in known) else sorted(known))


def _counted(skipped: Counter[str]) -> str:
    return ", ".join(f"{count:,} {'row' if count == 1 else 'rows'} {reason}" for reason, count in skipped.most_common())
