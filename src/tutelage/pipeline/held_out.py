"""The held-out gold: texts with human labels, from a column of the texts or from a file that people have filled in.

A reviewed file names texts of the run by id (the text may stand beside it), or brings texts of its own. Codes for texts that
people throw away (`discard` of the scheme) are counted and left out; a label that the scheme does not have is an error.
"""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from tutelage.data.columns import Columns, columns_of
from tutelage.data.corpus import OnReject, read_texts
from tutelage.data.labels import LabelScheme
from tutelage.data.split import group_split
from tutelage.data.text import normalise, truncate_words
from tutelage.errors import InputError
from tutelage.pipeline.config import RunConfig

GOLD_COLUMNS = ("gold", "label", "labels", "topic", "class", "category")
"""Where human labels are looked for in a gold file, in this order."""

_ENDINGS = {".csv", ".tsv", ".jsonl", ".ndjson", ".json", ".parquet", ".arrow", ".feather", ".gz"}


@dataclass(frozen=True)
class HeldOut:
    """What people said.

    Attributes:
        table: id, text, gold (a list of labels), [lang], [gold_2 … of further annotators].
        discarded: texts that people threw away, by code. truncated: texts that were cut.
    """

    table: pa.Table
    discarded: dict[str, int]
    truncated: int = 0


def labels_of(cell: str, scheme: LabelScheme, where: str) -> list[str]:
    """The labels that a cell of a reviewed file names: a name, a code, or with multi-label schemes "a|b" or a JSON list.

    >>> scheme = LabelScheme.load("ag-news")
    >>> labels_of("sports", scheme, "gold"), labels_of("2", scheme, "gold")
    (['Sports'], ['Sports'])

    Raises: InputError: a label that the scheme does not have; several labels where a text has one.
    """
    known = {**{x.code.casefold(): x.name for x in scheme.labels if x.code}, **{x.casefold(): x for x in scheme.names}}
    cell = cell.strip()
    whole = known.get(cell.casefold())
    if whole:
        return [whole]
    if cell.startswith("["):
        try:
            parts = [str(part) for part in json.loads(cell)]
        except ValueError:
            parts = [cell]
    else:
        parts = cell.split("|") if scheme.multi else [cell]
    parts = [part.strip() for part in parts if part.strip()]
    unknown = [part for part in parts if part.casefold() not in known]
    if unknown:
        raise InputError(f"{where}: {unknown[0]!r} is not a label of scheme {scheme.name!r}: {', '.join(scheme.names)}")
    named = list(dict.fromkeys(known[part.casefold()] for part in parts))
    if len(named) != 1 and not scheme.multi:
        raise InputError(f"{where}: {cell!r} holds {len(named)} labels; in scheme {scheme.name!r} a text has one")
    return named


def gold_column(config: RunConfig) -> str | None:
    """The column of the texts that holds gold; None when gold is a file or absent.

    Raises: InputError: a file that is not there.
    """
    if config.gold is None:
        return None
    source = config.gold.source
    if Path(source).is_file() or source.startswith("hf://"):
        return None
    if "/" in source or Path(source).suffix.lower() in _ENDINGS:
        raise InputError(f"no such gold file: {source}")
    return source


def from_column(table: pa.Table, config: RunConfig, column: str) -> HeldOut:
    """Hold out a balanced share of the rows that have a human label in `table["gold"]`.

    Raises: InputError: labels outside the scheme, or none at all.
    """
    assert config.gold is not None
    scheme, cells = config.labels, [cell.strip() for cell in table["gold"].to_pylist()]
    _check_labels(cells, scheme, f"{config.texts.source}, column {column!r}")
    thrown = _discard_codes(scheme)
    discarded = Counter(cell for cell in cells if cell.casefold() in thrown)
    filled = np.flatnonzero([bool(cell) and cell not in discarded for cell in cells])
    if not len(filled):
        raise InputError(f"{config.texts.source}: column {column!r} holds no label; there is no gold in it")
    share = config.gold.share or (0.2 if all(cells) else 1.0)
    share = min(share, config.gold.most / len(filled))
    held = filled
    if share < 1.0:
        rows = table.take(pa.array(filled))
        keys = [rows[name].to_pylist() for name in ("gold", "lang") if name in rows.column_names]
        strata = list(zip(*keys, strict=True))
        held = filled[group_split(range(len(filled)), [1 - share, share], seed=config.seed, stratify=strata)[1]]
    if not len(held):
        raise InputError(
            f"{config.texts.source}: a share of {share:g} of {len(filled)} labelled texts is none; give --gold-share"
        )
    gold = table.take(pa.array(held))
    return HeldOut(_with_lists(gold, scheme, config.texts.source), dict(discarded))


def from_file(table: pa.Table, config: RunConfig, on_reject: OnReject | None = None) -> HeldOut:
    """Read a reviewed file; `table` (id, text, [lang]) are the texts of the run, which the file may name.

    Raises: InputError: no column of labels, no row with a label, an unknown label, an id that is not among the texts.
    """
    assert config.gold is not None
    source, scheme = config.gold.source, config.labels
    columns = columns_of(source)
    named, own = config.texts.text, columns.find("id")
    keep, text = _columns(source, columns), named if named in columns.names else columns.text()
    if text is None and own is not None:
        raw = read_texts(source, text=own, keep=keep, on_reject=on_reject)
        raw = _named(raw, table, config)
        truncated = 0
    else:
        raw = read_texts(source, text=text, keep=keep, on_reject=on_reject)
        raw, truncated = truncate(raw, config.texts.max_words)
        raw = _recognised(raw, table, own_ids=own is not None)
    thrown = _discard_codes(scheme)
    cells = [cell.strip() for cell in raw["gold"].to_pylist()]
    discarded = Counter(cell for cell in cells if cell.casefold() in thrown)
    rows = [row for row, cell in enumerate(cells) if cell and cell not in discarded]
    if not rows:
        raise InputError(f"{source}: no row has a label")
    raw = raw.take(pa.array(rows))
    for name in (n for n in raw.column_names if n.startswith("gold")):
        _check_labels(raw[name].to_pylist(), scheme, source)
    return HeldOut(_with_lists(raw, scheme, source), dict(discarded), truncated)


def truncate(table: pa.Table, words: int) -> tuple[pa.Table, int]:
    """The table with its texts cut to so many words, and how many were cut."""
    cut = [truncate_words(text, words) for text in table["text"].to_pylist()]
    return _replaced(table, "text", [text for text, _ in cut]), sum(was for _, was in cut)


def label_lists(cells: pa.ChunkedArray, scheme: LabelScheme, where: str) -> pa.Array:
    """Cells as lists of labels; an empty cell and a code of a thrown text are null: nobody said which label it has."""
    thrown = _discard_codes(scheme)
    lists = [
        labels_of(cell, scheme, where) if cell.strip() and cell.strip().casefold() not in thrown else None
        for cell in cells.to_pylist()
    ]
    return pa.array(lists, pa.list_(pa.string()))


def _with_lists(table: pa.Table, scheme: LabelScheme, where: str) -> pa.Table:
    for name in (n for n in table.column_names if n.startswith("gold")):
        table = table.set_column(table.column_names.index(name), name, label_lists(table[name], scheme, where))
    return table


def _columns(source: str, columns: Columns) -> dict[str, str]:
    """Which columns of a gold file are labels (a second annotator's is named like the first's, with _2) and the language."""
    first = columns.find(*GOLD_COLUMNS)
    if first is None:
        listing = ", ".join(columns.names) or "none"
        raise InputError(
            f"{source}: no column of labels; it should be named {' or '.join(GOLD_COLUMNS[:3])}; columns: {listing}"
        )
    keep = {"gold": first}
    keep |= {f"gold_{n}": column for n in range(2, 10) if (column := columns.find(f"{first}_{n}"))}
    language = columns.find("lang", "language")
    return keep | ({"lang": language} if language else {})


def _named(raw: pa.Table, table: pa.Table, config: RunConfig) -> pa.Table:
    """Rows that only hold ids (in `raw["text"]`), with the texts that these name; the first row of an id counts."""
    assert config.gold is not None
    place = {key: row for row, key in enumerate(table["id"].to_pylist())}
    ids = raw["text"].to_pylist()
    unknown = [key for key in ids if key not in place]
    if unknown:
        raise InputError(f"{config.gold.source}: id {unknown[0]!r} is not among the texts of {config.texts.source}")
    raw = raw.take(pa.array(sorted({key: row for row, key in reversed(list(enumerate(ids)))}.values()), pa.int64()))
    chosen = table.take(pa.array([place[key] for key in raw["text"].to_pylist()], pa.int64()))
    for name in ("text", "id"):
        raw = _replaced(raw, name, chosen[name].to_pylist())
    if "lang" in chosen.column_names and "lang" not in raw.column_names:
        raw = raw.append_column("lang", chosen["lang"])
    return raw


def _recognised(raw: pa.Table, table: pa.Table, *, own_ids: bool) -> pa.Table:
    """Rows with texts, where those that are texts of the run get that text and its language.

    A spreadsheet changes white space, and a review sample quotes what looks like a formula. An id that stands for another
    text in the run (both files may count from 1) is made distinct.
    """
    place = {key: row for row, key in enumerate(table["id"].to_pylist())}
    known = table["text"].to_pylist()
    spoken = table["lang"].to_pylist() if "lang" in table.column_names else None
    ids, texts = raw["id"].to_pylist(), raw["text"].to_pylist()
    langs = raw["lang"].to_pylist() if "lang" in raw.column_names else [""] * len(ids)
    for row, (key, text) in enumerate(zip(ids, texts, strict=True)):
        bare = text.removeprefix("'")
        found = place.get(key, place.get(key.removeprefix("'")))
        if found is None:
            continue
        if normalise(known[found]) in (normalise(text), normalise(bare)):
            ids[row], texts[row] = table["id"][found].as_py(), known[found]
            langs[row] = langs[row] or (spoken[found] if spoken else "")
        elif own_ids:
            ids[row] = f"gold:{key}"
    raw = _replaced(_replaced(raw, "id", ids), "text", texts)
    if "lang" in raw.column_names:
        return _replaced(raw, "lang", langs)
    return raw.append_column("lang", pa.array(langs, pa.string())) if spoken else raw


def _replaced(table: pa.Table, name: str, values: list[str]) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, pa.array(values, pa.string()))


def _discard_codes(scheme: LabelScheme) -> set[str]:
    return {name.casefold() for label in scheme.discard for name in (label.name, label.code) if name}


def _check_labels(cells: list[str], scheme: LabelScheme, where: str) -> None:
    thrown = _discard_codes(scheme)
    unknown: Counter[str] = Counter()
    for cell in cells:
        if cell.strip() and cell.strip().casefold() not in thrown:
            try:
                labels_of(cell, scheme, where)
            except InputError:
                unknown[cell.strip()] += 1
    if unknown:
        listing = ", ".join(f"{label!r} ({count}×)" for label, count in unknown.most_common(5))
        raise InputError(
            f"{where}: gold labels outside the scheme {scheme.name!r}: {listing}; it has {', '.join(scheme.names)}"
        )
