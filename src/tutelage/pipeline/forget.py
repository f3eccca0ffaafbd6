"""Deleting texts from a run, everywhere: tables, ledger, vectors, and the pages that quoted them."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.compute as pc

from tutelage.errors import InputError
from tutelage.pipeline.folder import Run, write_atomically
from tutelage.pipeline.pool import SPOKEN, text_digest

_TABLES = ("pool", "added", "gold", "pool_gold", "rejects", *SPOKEN)


def forget(run: Run, ids: Sequence[str]) -> int:
    """Delete the texts with these ids and everything that was said about them: -> how many texts were there.

    The student keeps what it learned until it is trained again; `train` notices that its labels have changed.

    Raises: InputError: an id that the run does not have (nothing is deleted then).
    """
    from tutelage.data.encoder import SentenceEncoder
    from tutelage.teachers.base import text_fingerprint

    wanted = pa.array(list(ids), pa.string())
    texts: dict[str, str] = {}
    for name in ("pool", "gold"):
        if run.has(name):
            found = run.table(name).filter(pc.is_in(run.table(name)["id"], value_set=wanted))
            texts |= dict(zip(found["id"].to_pylist(), found["text"].to_pylist(), strict=True))
    missing = [key for key in ids if key not in texts]
    if missing:
        raise InputError(f"{run.path} has no text with id {missing[0]!r}; nothing is deleted")
    forgotten = run.json("forgotten")  # first of all: if this is cut short, the next `prepare` does not bring them back
    run.put_json("forgotten", {
        "ids": sorted({*forgotten.get("ids", []), *texts}),
        "texts": sorted({*forgotten.get("texts", []), *map(text_digest, texts.values())}),
    })  # fmt: skip
    with run.ledger() as ledger:
        ledger.forget([text_fingerprint(text) for text in texts.values()])
    for old in run.path.glob("labels.sqlite.damaged*"):  # what a repair has left; it cannot be searched
        old.unlink()
    for name in _TABLES:
        if run.has(name):
            table = run.table(name)
            run.put_table(name, table.filter(pc.invert(pc.is_in(table["id"], value_set=wanted))))
    if run.encoder_cache.exists():
        SentenceEncoder("use-multilingual", cache=run.encoder_cache).forget(list(texts.values()))
    for sample in (run.path / "drift").glob("*.jsonl"):
        lines = sample.read_text(encoding="utf-8").splitlines(keepends=True)
        write_atomically(sample, "".join(x for x in lines if json.loads(x)["text"] not in texts.values()).encode())
    metrics = run.json("metrics")
    if metrics:
        metrics["disagreements"] = [row for row in metrics.get("disagreements", []) if row["id"] not in texts]
        run.put_json("metrics", metrics)
    if (run.path / "report.html").exists():
        from tutelage.pipeline.report import publish

        publish(run)
    return len(texts)
