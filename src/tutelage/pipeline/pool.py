"""From a user's file to the pool (what is learned from) and the gold (what only the evaluation sees).

Order matters: rows are read and faults counted, texts are cut to `max_words`, duplicates are dropped, the gold is held out,
and pool texts that repeat a gold text are dropped too, so that no text is on both sides.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from tutelage.data.corpus import Reject, read_texts
from tutelage.data.dedup import near_duplicates
from tutelage.data.tables import parquet_files
from tutelage.data.text import normalise
from tutelage.errors import InputError
from tutelage.pipeline.config import RunConfig
from tutelage.pipeline.folder import Run, signature
from tutelage.pipeline.held_out import HeldOut, from_column, from_file, gold_column, label_lists, truncate

SPOKEN = ("annotations", "gold_annotations", "rerun_annotations")
"""Tables of what the teacher said; they are made again from the ledger when the texts change."""


def prepare(run: Run, *, log: Callable[[str], None] = lambda _: None) -> None:
    """Write `pool.parquet`, `gold.parquet`, `pool_gold.parquet` and `rejects.parquet`; done already, it returns at once.

    Raises: InputError: whatever is wrong with the files, or gold labels outside the scheme.
    """
    config, column = run.config, gold_column(run.config)
    settings, files = _made_from(config)
    note = run.stage("pool")
    if run.has("pool") and note.get("settings") == settings:
        if note.get("files") == files:
            return
        if not all(Path(place).exists() for place in note.get("sources", [])):
            log("the files that the texts came from are gone; the run goes on with the texts that it has")
            return
    rejects: list[Reject] = []
    texts = config.texts
    keep = {"lang": texts.lang} if texts.lang else {}
    if column:
        keep["gold"] = column
    table = read_texts(
        texts.source, text=texts.text, id=texts.id, keep=keep, strict=texts.strict, on_reject=rejects.append
    )
    read = table.num_rows + len(rejects)
    table, truncated = truncate(table, texts.max_words)
    table = remembered(table, run)
    gold: HeldOut | None = None
    if config.gold and not column:
        bad: list[Reject] = []
        gold = from_file(table, config, bad.append)
        gold = HeldOut(remembered(gold.table, run), gold.discarded, truncated=gold.truncated)
        if bad:
            log(f"{config.gold.source}: {_counted(bad)}")
    found = near_duplicates(table["text"].to_pylist(), threshold=texts.near_duplicates)
    table = table.filter(pa.array(~found.drop))
    exact, near = found.exact, found.near
    log(f"{read:,} rows read, {_counted(rejects)}, {exact + near:,} duplicates dropped")
    if column:
        gold = from_column(table, config, column)

    pool = table
    if run.has("added"):  # texts that came later, see `tutelage refresh`
        pool = pa.concat_tables([pool, remembered(run.table("added"), run)], promote_options="default")
        pool = pool.filter(pa.array(~near_duplicates(pool["text"].to_pylist(), threshold=texts.near_duplicates).drop))
    if gold is not None:
        pool = pool.filter(pc.invert(pc.is_in(pool["id"], value_set=gold.table["id"].combine_chunks())))
        held = gold.table["text"].to_pylist()
        repeats = near_duplicates(pool["text"].to_pylist(), threshold=texts.near_duplicates, held_out=held)
        pool = pool.filter(pa.array(~repeats.drop))
        exact, near = exact + repeats.exact, near + repeats.near
        log(f"{gold.table.num_rows:,} texts with human labels held out")
    if pool.num_rows < 2:
        raise InputError(f"{texts.source}: {pool.num_rows} texts are left to learn from; at least two are needed")
    pool = pool.take(pa.array(_order(pool["id"].to_pylist(), config.seed)))
    _write(run, pool, gold, rejects, column)
    there = [place for place in _sources(config) if Path(place).exists()]
    run.finish(
        "pool", settings=settings, files=files, sources=there, read=read, texts=pool.num_rows,
        truncated=truncated,
        rejected=dict(Counter(r.reason for r in rejects)), duplicates={"exact": exact, "near": near},
        discarded=gold.discarded if gold else {},
        languages=dict(Counter(pool["lang"].to_pylist())) if "lang" in pool.column_names else {},
    )  # fmt: skip


def text_digest(text: str) -> str:
    """What a run remembers of a forgotten text, so that it does not come back under another id."""
    return hashlib.sha256(normalise(text).encode("utf-8", "surrogatepass")).hexdigest()


def _write(run: Run, pool: pa.Table, gold: HeldOut | None, rejects: list[Reject], column: str | None) -> None:
    run.begin("pool")
    for name in SPOKEN:
        run.drop_table(name)
    run.put_table("pool", pool.select([name for name in ("id", "text", "lang") if name in pool.column_names]))
    run.put_table("rejects", pa.table({
        "row": pa.array([r.row for r in rejects], pa.int64()),
        "id": pa.array([r.id for r in rejects], pa.string()),
        "reason": pa.array([r.reason for r in rejects], pa.string()),
    }))  # fmt: skip
    if gold is not None:
        run.put_table("gold", gold.table)
    else:
        run.drop_table("gold")
    if column:
        lists = label_lists(pool["gold"], run.config.labels, column)
        known = pa.table({"id": pool["id"], "gold": lists}).filter(pc.is_valid(lists))
        run.put_table("pool_gold", known)
    else:
        run.drop_table("pool_gold")


def remembered(table: pa.Table, run: Run) -> pa.Table:
    """The rows that nobody has asked the run to forget."""
    forgotten = run.json("forgotten")
    if not forgotten:
        return table
    ids, texts = set(forgotten["ids"]), set(forgotten["texts"])
    rows = zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True)
    return table.filter(pa.array([key not in ids and text_digest(text) not in texts for key, text in rows], pa.bool_()))


def _order(ids: list[str], seed: int) -> list[int]:
    """A random order in which a text keeps its place whatever else is there.

    `--limit` takes a prefix of it: a larger limit extends a smaller one, and gold that comes later moves nobody in.
    """
    return sorted(range(len(ids)), key=lambda row: hashlib.sha256(f"{seed}:{ids[row]}".encode()).digest())


def _counted(rejects: list[Reject]) -> str:
    """ "3 rejected (2 empty, 1 nul_bytes)"."""
    reasons = ", ".join(f"{n:,} {reason}" for reason, n in Counter(r.reason for r in rejects).most_common())
    return f"{len(rejects):,} rejected" + (f" ({reasons})" if reasons else "")


def _sources(config: RunConfig) -> list[str]:
    return [config.texts.source] + ([config.gold.source] if config.gold else [])


def _made_from(config: RunConfig) -> tuple[str, str]:
    """What decides the pool, as checksums: of the settings, and of name, size and time of every file."""
    gold, labels = config.gold.model_dump() if config.gold else None, config.labels
    scheme = [labels.kind, [(x.name, x.code) for x in labels.labels], [(x.name, x.code) for x in labels.discard]]
    files = []
    for path in map(Path, _sources(config)):
        for file in (parquet_files(path) or sorted(path.rglob("*.txt"))) if path.is_dir() else [path]:
            if file.is_file():
                files.append([str(file), file.stat().st_size, file.stat().st_mtime_ns])
    return signature(config.texts.model_dump(), gold, scheme if gold else None, config.seed), signature(files)
