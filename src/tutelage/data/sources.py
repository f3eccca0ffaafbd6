"""Named corpora: the one that ships with the package, and readers for public files that the user brings."""

from __future__ import annotations

import csv
import gzip
import io
import zlib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import pyarrow as pa
import pyarrow.json as pj

from tutelage.errors import InputError

AG_NEWS_CLASSES = ("World", "Sports", "Business", "Sci/Tech")


def demo_corpus() -> pa.Table:
    """The 1,190 news items that ship with the package: columns id, text, lang, gold.

    17 IPTC topics, 30 items a topic in English, 10 in each of German, Spanish, French and Polish; written for Tutelage.

    >>> demo_corpus().num_rows
    1190
    """
    source = resources.files("tutelage.data").joinpath("demo/corpus.jsonl").read_bytes()
    table = pj.read_json(io.BytesIO(source)).select(["id", "text", "lang", "topic"])
    return table.rename_columns(["id", "text", "lang", "gold"])


def ag_news(path: str | Path) -> pa.Table:
    """AG News (Zhang, Zhao & LeCun 2015) as published: class 1–4, title, description, without header -> id, text, gold.

    The text is "title. description". Raises: InputError: no such file, or rows of another form.
    """
    ids, texts, gold = [], [], []
    for number, row in enumerate(_csv(Path(path)), 1):
        if len(row) != 3 or row[0] not in {"1", "2", "3", "4"}:
            raise InputError(f"{path}: line {number} is not `class,title,description` with a class from 1 to 4")
        ids.append(f"ag-{number}")
        texts.append(f"{row[1].strip()}. {row[2].strip()}".replace("\\", " "))
        gold.append(AG_NEWS_CLASSES[int(row[0]) - 1])
    return pa.table({"id": ids, "text": texts, "gold": gold})


def sight_comments(path: str | Path) -> pa.Table:
    """SIGHT's lecture comments with GPT-3.5 labels (Wang et al. 2023) -> id, text, pedagogy, setup, confusion (0, 1 or null).

    Takes the authors' file, which is separated by spaces, and slim comma-separated copies of it, plain or `.gz`.

    Raises: InputError: no such file, damaged, or without one of the columns.
    """
    rows = list(_csv(Path(path), delimiter=_delimiter(Path(path)))) or [[]]
    header = [name.strip().lower() for name in rows[0]]
    wanted = {"text": "comment", "pedagogy": "pedagogy", "setup": "setup", "confusion": "confusion"}
    columns: dict[str, list[object]] = {"id": [], **{name: [] for name in wanted}}
    places = {ours: _find(header, theirs, path) for ours, theirs in wanted.items()}
    for number, row in enumerate(rows[1:], 1):
        columns["id"].append(f"sight-{number}")
        for ours, place in places.items():
            value = row[place] if place < len(row) else ""
            columns[ours].append(value if ours == "text" else _flag(value))
    return pa.table(columns)


def sight_coded(path: str | Path) -> pa.Table:
    """SIGHT's comments coded by two people: the columns of `sample_dataset.csv` as they are, all strings.

    Raises: InputError: no such file, damaged or empty.
    """
    rows = list(_csv(Path(path)))
    if not rows:
        raise InputError(f"{path} is empty")
    header = rows[0]
    return pa.table({name: [row[i] if i < len(row) else "" for row in rows[1:]] for i, name in enumerate(header)})


def _csv(path: Path, delimiter: str = ",") -> Iterator[list[str]]:
    csv.field_size_limit(max(csv.field_size_limit(), 10_000_000))
    opened = gzip.open if path.suffix == ".gz" else open
    try:
        with opened(path, "rt", encoding="utf-8", newline="") as stream:
            yield from csv.reader(stream, delimiter=delimiter)
    except FileNotFoundError:
        raise InputError(f"no such file: {path}") from None
    except (OSError, EOFError, zlib.error, csv.Error, UnicodeDecodeError) as error:
        raise InputError(f"cannot read {path}: {' '.join(str(error).split())}") from None


def _delimiter(path: Path) -> str:
    first = next(_csv(path), [""])
    return "," if len(first) > 1 else " "


def _find(header: list[str], name: str, path: str | Path) -> int:
    exact = [position for position, column in enumerate(header) if column == name]
    partial = [position for position, column in enumerate(header) if name in column and not column.endswith("_id")]
    for position in (*exact, *partial):
        return position
    raise InputError(f"{path} has no column for {name!r}; it has: {', '.join(header)}")


def _flag(value: str) -> int | None:
    try:
        return int(float(value))
    except (ValueError, OverflowError):
        return None
