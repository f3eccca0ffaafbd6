"""Rows of a delimited file in which a bad line spoils its own row only.

Python's parser does the parsing, strictly: a stray quotation mark is an error, not a reason to swallow the next thousand rows as
one field. Around it, this module remembers the lines of the record at hand. When the parser gives up, the record's first line is
reported and reading goes on with its second. A quoted field that outgrows `RECORD_CHARS` is read to its end, but not kept.
"""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterator
from itertools import chain

from tutelage.data.text import as_text
from tutelage.errors import InputError

Line = tuple[int, str, str | None]
"""(number, line with its end, why it is unusable or None)."""

RECORD_CHARS = 4_000_000


class _Feed:
    """Lines for the parser; `taken` are those of the record that is being parsed."""

    def __init__(self, lines: Iterator[Line]) -> None:
        self.lines = lines
        self.again: deque[Line] = deque()
        self.start()

    def start(self) -> None:
        """A record begins."""
        self.taken: list[Line] = []
        self.size = 0

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        number, line, reason = self.again.popleft() if self.again else next(self.lines)
        self.size += len(line)
        if not self.overgrown:
            self.taken.append((number, line, reason))
            return line
        # inside a quoted field that is given up: only the line that may close it matters to the parser
        return line if '"' in line.replace('""', "") else ""

    @property
    def overgrown(self) -> bool:
        return self.size > RECORD_CHARS and len(self.taken) > 0

    def rewind(self) -> None:
        """Read the lines of the record again, all but its first."""
        self.again.extendleft(reversed(self.taken[1:]))


def csv_rows(lines: Iterator[Line], delimiters: str, where: object) -> Iterator[tuple[int, dict[str, object] | str]]:
    """Rows as (number of the first line, fields or reason); the header names the columns.

    Args:
        lines: lines with their ends.
        delimiters: the possible ones; the header's most frequent is taken, the first where it has none.
        where: names the file in errors.

    Short rows are filled with empty strings; blank lines are no rows; columns without a name are called "column 3".

    >>> lines = enumerate(['id;text\\n', '1;"a\\n', 'b"\\n', '2;"c"d\\n', '3;e\\n'], 1)
    >>> for row in csv_rows(((number, line, None) for number, line in lines), ",;", "news.csv"):
    ...     print(row)
    (2, {'id': '1', 'text': 'a\\nb'})
    (4, 'bad_csv')
    (5, {'id': '3', 'text': 'e'})

    Raises: InputError: no header, two columns of one name, or a quote that is opened and never closed in a large file.
    """
    csv.field_size_limit(max(csv.field_size_limit(), 1 << 30))  # the feed bounds a field; 128 KB would be too little
    first = next(lines, None)
    if first is None:
        return
    delimiter = max(delimiters, key=first[1].count)
    feed = _Feed(chain([first], lines))
    reader = csv.reader(feed, delimiter=delimiter, strict=True)
    header = _header(reader, feed, where)
    while True:
        feed.start()
        try:
            values = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            number = feed.taken[0][0]
            if feed.overgrown:
                raise InputError(
                    f"{where}: line {number} opens a quoted field that is never closed properly"
                ) from error
            yield number, "bad_csv"
            feed.rewind()
            continue
        number = feed.taken[0][0]
        reason = next((reason for _, _, reason in feed.taken if reason), "too_long" if feed.overgrown else None)
        if reason:
            yield number, reason
        elif len(values) > len(header):
            yield number, "bad_csv"
        elif values:
            yield number, dict(zip(header, values + [""] * (len(header) - len(values)), strict=True))


def _header(reader: Iterator[list[str]], feed: _Feed, where: object) -> list[str]:
    try:
        names = next((values for values in reader if values), [])
    except csv.Error:
        names = []
    if not names or any(reason for _, _, reason in feed.taken):
        raise InputError(f"{where}: the first line must name the columns")
    header = [str(as_text(name)).strip() or f"column {number}" for number, name in enumerate(names, 1)]
    repeated = sorted({name for name in header if header.count(name) > 1})
    if repeated:
        raise InputError(f"{where}: two columns have the same name: {' '.join(', '.join(repeated).split())}")
    return header
