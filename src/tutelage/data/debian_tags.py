"""What volunteers said about Debian packages, facet by facet: many small labelling tasks over the same texts.

The tags of a package are a vocabulary of facets (`role::program`, `interface::commandline`, `works-with::mail`). Each facet is
a classification task of its own on the packages that have exactly one of its values.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from tutelage.data.debian import debian_packages
from tutelage.errors import InputError


def debian_facets(
    path: str | Path, facets: Sequence[str], *, without: Collection[str] = (), limit: int | None = None
) -> pa.Table:
    """The table of `debian_packages` with a column for each facet: the package's only value of it, or null.

    Args: without: tags that do not count, such as details of another value; limit: a random part of so many packages.

    Raises: InputError: no such file, one without tags, or a facet that no package has.
    """
    table = debian_packages(path, limit)
    if "tags" not in pq.ParquetFile(path).schema_arrow.names:
        raise InputError(f"{path} lacks the column tags")
    rows = pq.read_table(path, columns=["name", "tags"]).to_pylist()
    tags = {row["name"]: set(row["tags"] or ()) - set(without) for row in rows}
    names = table["id"].to_pylist()
    for facet in facets:
        values = [only_value(tags[name], facet) for name in names]
        if all(value is None for value in values):
            raise InputError(f"no package of {path} has exactly one value of the facet '{facet}'")
        table = table.append_column(facet, pa.array(values, pa.string()))
    return table


def only_value(tags: Collection[str], facet: str) -> str | None:
    """The value of a facet, where there is exactly one.

    >>> only_value({"role::program", "use::editing", "use::viewing"}, "role"), only_value({"use::a", "use::b"}, "use")
    ('program', None)
    """
    values = [tag.removeprefix(f"{facet}::") for tag in tags if tag.startswith(f"{facet}::")]
    return values[0] if len(values) == 1 else None
