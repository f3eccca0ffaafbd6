"""From a user's file to the pool (what is learned from) and the gold (what only the evaluation sees).

Order matters: rows are read and faults counted, texts are cut to `max_words`, duplicates are dropped, the gold is held out,
and pool texts that repeat a gold text are dropped too, so that no text is on both sides.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from tutelage.data.corpus import Reject, read_texts
from tutelage.data.dedup import near_duplicates
from tutelage.data.labels import LabelScheme
from tutelage.data.split import group_split
from tutelage.data.text import truncate_words
from tutelage.errors import InputError
from tutelage.pipeline.config import RunConfig
from tutelage.pipeline.folder import Run, signature

GOLD_COLUMNS = ("gold", "label", "labels", "topic", "class", "category")
"""Where human labels are looked for in a gold file, in this order."""


def prepare(run: Run, *, log: Callable[[str], None] = lambda _: None) -> None:
    """Write `pool.parquet`, `gold.parquet`, `pool_gold.parquet` and `rejects.parquet`; done already, it returns at once.

    Raises: InputError: whatever is wrong with the files, or gold labels outside the scheme.
    """
    config = run.config
    made_from = _made_from(config)
    if run.has("pool") and run.stage("pool").get("made_from") == made_from:
        return
    rejects: list[Reject] = []
    texts = config.texts
    gold_column = _gold_column(config)
    keep = {"lang": texts.lang} if texts.lang else {}
    if gold_column:
        keep["gold"] = gold_column
    table = read_texts(
        texts.source, text=texts.text, id=texts.id, keep=keep, strict=texts.strict, on_reject=rejects.append
    )
    read = table.num_rows + len(rejects)
    forgotten = pa.array(run.json("forgotten").get("ids", []), pa.string())
    table = table.filter(pc.invert(pc.is_in(table["id"], value_set=forgotten)))
    table, truncated = _truncate(table, texts.max_words)
    table, exact, near = _deduplicate(table, texts.near_duplicates)
    log(f"{read:,} rows read, {len(rejects):,} rejected, {exact + near:,} duplicates dropped")

    gold, discarded = _held_out(table, config, gold_column)
    pool = table
    if gold is not None:
        taken = pc.is_in(table["id"], value_set=gold["id"].combine_chunks())
        pool = table.filter(pc.invert(taken))
        repeats = near_duplicates(
            pool["text"].to_pylist(), threshold=texts.near_duplicates, held_out=gold["text"].to_pylist()
        )
        pool = pool.filter(pa.array(~repeats.drop))
        exact, near = exact + repeats.exact, near + repeats.near
        log(f"{gold.num_rows:,} texts with human labels held out")
    if pool.num_rows < 2:
        raise InputError(f"{texts.source}: {pool.num_rows} texts are left to learn from; at least two are needed")

    order = np.random.default_rng(config.seed).permutation(pool.num_rows)
    pool = pool.take(pa.array(order))  # --limit takes a prefix: a larger limit extends a smaller one
    names = [name for name in ("id", "text", "lang") if name in pool.column_names]
    run.put_table("pool", pool.select(names))
    run.put_table("rejects", pa.table({
        "row": pa.array([r.row for r in rejects], pa.int64()),
        "id": pa.array([r.id for r in rejects], pa.string()),
        "reason": pa.array([r.reason for r in rejects], pa.string()),
    }))  # fmt: skip
    if gold is not None:
        run.put_table("gold", gold)
    else:
        run.drop_table("gold")
    if gold is not None and gold_column:
        known = pool.filter(pc.not_equal(pool["gold"], ""))
        run.put_table(
            "pool_gold", pa.table({"id": known["id"], "gold": _lists(known["gold"], config.labels, gold_column)})
        )
    else:
        run.drop_table("pool_gold")
    run.finish(
        "pool", made_from=made_from, read=read, texts=pool.num_rows, truncated=truncated,
        rejected=dict(Counter(r.reason for r in rejects)), duplicates={"exact": exact, "near": near},
        discarded=discarded, languages=dict(Counter(pool["lang"].to_pylist())) if "lang" in names else {},
    )  # fmt: skip


def labels_of(cell: str, scheme: LabelScheme, where: str) -> list[str]:
    """The labels that a cell of a reviewed file names: a name, a code, or with multi-label schemes "a|b" or a JSON list.

    >>> scheme = LabelScheme.load("ag-news")
    >>> labels_of("sports", scheme, "gold"), labels_of("2", scheme, "gold")
    (['Sports'], ['Sports'])

    Raises: InputError: a label that the scheme does not have.
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
    return list(dict.fromkeys(known[part.casefold()] for part in parts))


def _made_from(config: RunConfig) -> str:
    paths = [config.texts.source] + ([config.gold.source] if config.gold else [])
    stats = [(p, s.st_size, s.st_mtime_ns) for p in paths if Path(p).is_file() for s in [Path(p).stat()]]
    gold = config.gold.model_dump() if config.gold else None
    return signature(config.texts.model_dump(), gold, config.labels.names, config.seed, stats)


def _gold_column(config: RunConfig) -> str | None:
    """The column of the texts that holds gold; None when gold is a file or absent."""
    if config.gold is None or Path(config.gold.source).exists():
        return None
    if "/" in config.gold.source or Path(config.gold.source).suffix.lower() in {
        ".csv",
        ".tsv",
        ".jsonl",
        ".json",
        ".parquet",
    }:
        raise InputError(f"no such gold file: {config.gold.source}")
    return config.gold.source


def _truncate(table: pa.Table, words: int) -> tuple[pa.Table, int]:
    cut = [truncate_words(text, words) for text in table["text"].to_pylist()]
    texts = pa.array([text for text, _ in cut], pa.string())
    return table.set_column(table.column_names.index("text"), "text", texts), sum(was for _, was in cut)


def _deduplicate(table: pa.Table, threshold: float) -> tuple[pa.Table, int, int]:
    found = near_duplicates(table["text"].to_pylist(), threshold=threshold)
    return table.filter(pa.array(~found.drop)), found.exact, found.near


def _held_out(table: pa.Table, config: RunConfig, column: str | None) -> tuple[pa.Table | None, dict[str, int]]:
    """The held-out gold (id, text, gold, [lang], [annotator_2 …]) and how many rows people threw away, by code."""
    if config.gold is None:
        return None, {}
    discarded: Counter[str] = Counter()
    if column is None:
        return _gold_file(table, config, discarded), dict(discarded)
    _check_labels(table["gold"].to_pylist(), config.labels, f"{config.texts.source}, column {column!r}")
    filled = np.flatnonzero([bool(cell.strip()) for cell in table["gold"].to_pylist()])
    if not len(filled):
        raise InputError(f"{config.texts.source}: column {column!r} is empty; there is no gold in it")
    share = config.gold.share or (0.2 if len(filled) == table.num_rows else 1.0)
    share = min(share, config.gold.most / len(filled))
    rows = table.take(pa.array(filled))
    strata = list(zip(*(rows[name].to_pylist() for name in ("gold", "lang") if name in rows.column_names), strict=True))
    held = (
        filled
        if share == 1.0
        else filled[group_split(range(len(filled)), [1 - share, share], seed=config.seed, stratify=strata)[1]]
    )
    gold = table.take(pa.array(held))
    return gold.set_column(gold.column_names.index("gold"), "gold", _lists(gold["gold"], config.labels, column)), {}


def _gold_file(table: pa.Table, config: RunConfig, discarded: Counter[str]) -> pa.Table:
    """Gold from a file of its own: with texts, or with ids of the pool's texts; discard codes are counted and dropped."""
    assert config.gold is not None
    source = config.gold.source
    raw = (
        read_texts(source, text="id", keep=_columns(source))
        if _only_ids(source)
        else read_texts(source, keep=_columns(source))
    )
    if _only_ids(source):
        by_id = dict(zip(table["id"].to_pylist(), range(table.num_rows), strict=True))
        rows = [by_id.get(key) for key in raw["text"].to_pylist()]
        missing = [key for key, row in zip(raw["text"].to_pylist(), rows, strict=True) if row is None]
        if missing:
            raise InputError(f"{source}: id {missing[0]!r} is not among the texts of {config.texts.source}")
        chosen = table.take(pa.array(rows, pa.int64()))
        raw = raw.set_column(raw.column_names.index("id"), "id", chosen["id"])
        raw = raw.set_column(raw.column_names.index("text"), "text", chosen["text"])
        if "lang" in chosen.column_names and "lang" not in raw.column_names:
            raw = raw.append_column("lang", chosen["lang"])
    raw, _ = _truncate(raw, config.texts.max_words)
    codes = {x.name.casefold() for x in config.labels.discard}
    keep = []
    for row, cell in enumerate(raw["gold"].to_pylist()):
        if cell.strip().casefold() in codes:
            discarded[cell.strip()] += 1
        elif cell.strip():
            keep.append(row)
    if not keep:
        raise InputError(f"{source}: no row has a label")
    raw = raw.take(pa.array(keep))
    _check_labels(raw["gold"].to_pylist(), config.labels, source)
    for name in [n for n in raw.column_names if n.startswith("gold")]:
        cells = pa.chunked_array(
            [[c if c.strip().casefold() not in codes else "" for c in raw[name].to_pylist()]], pa.string()
        )
        raw = raw.set_column(raw.column_names.index(name), name, _lists(cells, config.labels, source))
    return raw


def _columns(source: str) -> dict[str, str]:
    """Which columns of a gold file are labels (a second annotator's is named like the first's, with _2) and the language."""
    from tutelage.data.readers import read_rows

    fields = next((f for _, f in read_rows(source) if isinstance(f, dict)), {})
    lower = {str(name).lower(): str(name) for name in fields}
    first = next((name for name in GOLD_COLUMNS if name in lower), None)
    if first is None:
        raise InputError(f"{source}: no column of labels; it should be named {' or '.join(GOLD_COLUMNS[:3])}")
    keep = {"gold": lower[first]}
    keep |= {f"gold_{n}": lower[f"{first}_{n}"] for n in range(2, 10) if f"{first}_{n}" in lower}
    if "lang" in lower or "language" in lower:
        keep["lang"] = lower.get("lang") or lower["language"]
    return keep


def _only_ids(source: str) -> bool:
    from tutelage.data.corpus import TEXT_COLUMNS
    from tutelage.data.readers import read_rows

    fields = next((f for _, f in read_rows(source) if isinstance(f, dict)), {})
    lower = {str(name).lower() for name in fields}
    return "id" in lower and not lower & set(TEXT_COLUMNS)


def _check_labels(cells: list[str], scheme: LabelScheme, where: str) -> None:
    codes = {x.name.casefold() for x in scheme.discard}
    unknown: Counter[str] = Counter()
    for cell in cells:
        if cell.strip() and cell.strip().casefold() not in codes:
            try:
                labels_of(cell, scheme, where)
            except InputError:
                unknown[cell.strip()] += 1
    if unknown:
        listing = ", ".join(f"{label!r} ({count}×)" for label, count in unknown.most_common(5))
        raise InputError(
            f"{where}: gold labels outside the scheme {scheme.name!r}: {listing}; it has {', '.join(scheme.names)}"
        )


def _lists(cells: pa.ChunkedArray, scheme: LabelScheme, where: str) -> pa.Array:
    return pa.array(
        [labels_of(c, scheme, where) if c.strip() else [] for c in cells.to_pylist()], pa.list_(pa.string())
    )
