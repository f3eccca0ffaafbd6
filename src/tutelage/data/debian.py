"""Debian's package index as real text with human structure: half a million words that volunteers wrote, sorted and linked.

The file is a Parquet table made from the main package index and the English descriptions of a release: name, source,
section, synopsis (one line) and description, tags, dependencies. Packages of one source are siblings with nearly the same
text, so the split goes by source and never parts them.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from tutelage.data.split import hash_split
from tutelage.errors import InputError

FILE = "debian_packages.parquet"
_TEXTS = ("synopsis", "description")
_COLUMNS = ("name", "source", "section", *_TEXTS)


def debian_packages(path: str | Path, limit: int | None = None, seed: int = 0) -> pa.Table:
    """Packages with both texts: `id` (name), `source`, `section`, `synopsis`, `description`, `split` (by source).

    The paragraph marks of the index are taken out of descriptions. A package's own name is taken out of its texts, because
    it would give away which description belongs to which synopsis.

    Args: limit: a random part of so many packages, the same for a seed.

    Raises: InputError: no such file, or one without these columns.
    """
    try:
        file = pq.ParquetFile(path)
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"cannot read packages from {path}: {str(error).splitlines()[0]}") from None
    if missing := set(_COLUMNS) - set(file.schema_arrow.names):
        raise InputError(f"{path} lacks the columns {', '.join(sorted(missing))}")
    table = file.read(columns=list(_COLUMNS))
    whole = pc.and_(pc.not_equal(table["synopsis"], ""), pc.not_equal(table["description"], ""))
    table = table.filter(whole)
    if limit is not None:
        table = table.take(np.random.default_rng(seed).permutation(len(table))[:limit])
    rows = table.to_pylist()
    columns = {name: [row[name] for row in rows] for name in ("source", "section")}
    for name in _TEXTS:
        columns[name] = [without(row[name].replace(" . ", " "), row["name"]) for row in rows]
    return pa.table({"id": [row["name"] for row in rows], **columns, "split": hash_split(columns["source"])})


def without(text: str, name: str) -> str:
    """The text without a name, in any case, as a whole word; white space squeezed.

    >>> without("Autokey is a tool;  autokey-qt is its Qt face", "autokey")
    'is a tool; -qt is its Qt face'
    """
    return " ".join(re.sub(rf"(?<!\w){re.escape(name)}(?!\w)", " ", text, flags=re.IGNORECASE).split())
