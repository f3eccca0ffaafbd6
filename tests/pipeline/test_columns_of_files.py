"""Files that people bring beside the texts: their columns are judged by a thousand rows, as those of the texts are."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.pipeline.corpora import SCHEME, Keywords, jsonl, rows
from tutelage.errors import InputError
from tutelage.pipeline.annotate import annotate
from tutelage.pipeline.distill import configure
from tutelage.pipeline.exchange import import_labels
from tutelage.pipeline.folder import Run
from tutelage.pipeline.pool import prepare

ROWS = rows(30)


def run_of(folder: Path, **options: object) -> Run:
    texts = jsonl(folder / "texts.jsonl", [{"id": row["id"], "text": row["text"]} for row in ROWS])
    return Run.create(folder / "run", configure(texts, SCHEME, student="ngram", **options))  # type: ignore[arg-type]


def test_labels_that_the_first_row_lacks_are_imported(tmp_path: Path) -> None:
    first, *rest = ROWS
    found = [{"id": first["id"], "title": 7}, *({"id": r["id"], "Text": r["text"], "Label": r["topic"]} for r in rest)]
    run = run_of(tmp_path)
    counts = import_labels(run, jsonl(tmp_path / "labels.jsonl", found))
    assert counts == {"imported": 29, "skipped": 1, "unknown": 0}
    with pytest.raises(InputError, match="rows need a text or an id"):
        import_labels(run, jsonl(tmp_path / "bare.jsonl", [{"label": "sport"}]))


def test_gold_is_found_where_only_later_rows_have_it(tmp_path: Path) -> None:
    gold = [{"id": ROWS[20]["id"]}, *({"ID": row["id"], "id": row["id"], "Gold": row["topic"]} for row in ROWS[:9])]
    run = run_of(tmp_path, gold=jsonl(tmp_path / "gold.jsonl", gold))
    prepare(run)
    assert sorted(run.table("gold")["id"].to_pylist()) == sorted(row["id"] for row in ROWS[:9])


def test_a_folder_of_parquet_files_is_a_corpus_whose_changes_are_seen(tmp_path: Path) -> None:
    folder = tmp_path / "texts"
    folder.mkdir()
    for number, part in enumerate((ROWS[:20], ROWS[20:25])):
        pq.write_table(pa.Table.from_pylist(part), folder / f"{number}.parquet")
    run = Run.create(tmp_path / "run", configure(folder, SCHEME, student="ngram"))
    annotate(run, Keywords())
    assert run.table("pool").num_rows == 25
    pq.write_table(pa.Table.from_pylist(ROWS[20:]), folder / "1.parquet")
    annotate(run, Keywords())
    assert run.table("pool").num_rows == 30
