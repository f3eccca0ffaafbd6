"""Deleting texts from a run, everywhere: tables, ledger, vectors, and the pages that quoted them."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Collection, Sequence

import pyarrow as pa
import pyarrow.compute as pc

from tutelage.errors import InputError
from tutelage.pipeline.folder import REFRESHING, Run, write_atomically
from tutelage.pipeline.pool import SPOKEN, text_digest
from tutelage.pipeline.reviewing import REVIEWED
from tutelage.pipeline.sinks import safe_cell

_TABLES = ("pool", "added", "gold", "pool_gold", "rejects", *SPOKEN)


def forget(run: Run, ids: Sequence[str]) -> int:
    """Delete the texts with these ids and everything that was said about them: -> how many texts were there.

    A text that the run has under further ids (in the gold, or come by `refresh`) is deleted under those too. The student
    keeps what it learned until it is trained again; `train` notices that its labels have changed.

    Raises: InputError: an id that the run does not have (nothing is deleted then).
    """
    from tutelage.data.encoder import SentenceEncoder
    from tutelage.teachers.base import text_fingerprint

    known: list[tuple[str, str, str]] = []
    for name in ("pool", "gold", "added"):
        if run.has(name):
            table = run.table(name)
            rows = zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True)
            known += [(key, text, text_digest(text)) for key, text in rows]
    named = set(ids)
    digests = {digest for key, _, digest in known if key in named}
    keys = {key for key, _, digest in known if digest in digests}
    texts = {text for _, text, digest in known if digest in digests}
    missing = [key for key in ids if key not in keys]
    if missing:
        raise InputError(f"{run.path} has no text with id {missing[0]!r}; nothing is deleted")
    wanted = pa.array(sorted(keys), pa.string())
    forgotten = run.json("forgotten")  # first of all: if this is cut short, the next `prepare` does not bring them back
    run.put_json("forgotten", {
        "ids": sorted({*forgotten.get("ids", []), *keys}),
        "texts": sorted({*forgotten.get("texts", []), *digests}),
    })  # fmt: skip
    with run.ledger() as ledger:
        ledger.forget([text_fingerprint(text) for text in texts])
    for old in run.path.glob("labels.sqlite.damaged*"):  # what a repair has left; it cannot be searched
        old.unlink()
    for name in _TABLES:
        if run.has(name):
            table = run.table(name)
            run.put_table(name, table.filter(pc.invert(pc.is_in(table["id"], value_set=wanted))))
    if run.encoder_cache.exists():
        SentenceEncoder("use-multilingual", cache=run.encoder_cache).forget(list(texts))
    for sample in (run.path / "drift").glob("*.jsonl"):
        lines = sample.read_text(encoding="utf-8").splitlines(keepends=True)
        write_atomically(sample, "".join(x for x in lines if json.loads(x)["text"] not in texts).encode())
    _unreviewed(run, texts)
    shutil.rmtree(run.path / REFRESHING, ignore_errors=True)
    metrics = run.json("metrics")
    if metrics:
        metrics["disagreements"] = [row for row in metrics.get("disagreements", []) if row["id"] not in keys]
        run.put_json("metrics", metrics)
    if (run.path / "report.html").exists():
        from tutelage.pipeline.report import publish

        publish(run)
    return len(digests)


def _unreviewed(run: Run, texts: Collection[str]) -> None:
    """Take texts out of the file that a review has left for `tutelage evaluate --gold`."""
    file = run.path / REVIEWED
    if not file.exists():
        return
    cells = {safe_cell(text) for text in texts}
    with file.open(encoding="utf-8", newline="") as stream:
        rows = [row for row in csv.reader(stream) if not cells & set(row)]
    page = io.StringIO(newline="")
    csv.writer(page).writerows(rows)
    write_atomically(file, page.getvalue().encode())
