"""The labelled texts of a run as a data set: a folder that `datasets.load_dataset` reads, and so does any tool for Parquet.

| file | rows | `label` |
|---|---|---|
| `train.parquet` | texts with a usable answer of the teacher | the teacher's |
| `test.parquet` | held-out texts that people labelled, where there are any | people's |
| `README.md` | the card: who labelled, how far that agrees with people, what the labels mean | |

Both have the columns id, text, [lang], label, teacher (the teacher's label) and probs (its probabilities, where it gave them).
Labels are numbers with names (`ClassLabel`) in the order of the scheme, or lists of them where a text may have several; −1 or an
empty list is no answer. The names travel in the Parquet files' own metadata, as `datasets` writes them; it is not needed here.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
import pyarrow.parquet as pq
import yaml

from tutelage.data.annotations import annotations, hard_labels, ok
from tutelage.data.labels import LabelScheme
from tutelage.errors import InputError
from tutelage.pipeline import figures
from tutelage.pipeline.folder import Run, new_folder
from tutelage.pipeline.gold import gold_codes

pc: Any = pyarrow.compute  # its functions are made at import time, where no type checker sees them


def export_dataset(run: Run, to: Path) -> dict[str, int]:
    """Write the data set of a run to a new folder: -> rows of each split.

    Raises: InputError: nothing is labelled yet, the folder is not empty, or it cannot be written.
    """
    if not run.has("annotations"):
        raise InputError(f"{run.path} has no labels yet: run `tutelage annotate {run.path}` first")
    splits = {"train": _train(run)} | ({"test": _test(run)} if run.has("gold") else {})
    with new_folder(to) as fresh:
        fresh.mkdir(parents=True)
        for name, table in splits.items():
            pq.write_table(table, fresh / f"{name}.parquet", compression="zstd")
        (fresh / "README.md").write_text(_card(run, splits), encoding="utf-8")
    return {name: table.num_rows for name, table in splits.items()}


def _train(run: Run) -> pa.Table:
    answers = ok(run.table("annotations"))
    pool = run.table("pool")
    places = pc.index_in(answers["id"], value_set=pool["id"].combine_chunks())
    codes = hard_labels(answers, run.config.labels)
    return _table(run, pool.take(places), codes, answers)


def _test(run: Run) -> pa.Table:
    gold = run.table("gold")
    answers = ok(run.table("gold_annotations")) if run.has("gold_annotations") else annotations([], [])
    return _table(run, gold, gold_codes(gold, "gold", run), answers)


def _table(run: Run, texts: pa.Table, codes: np.ndarray, answers: pa.Table) -> pa.Table:
    """The columns of a split: texts, their labels as codes, and what the teacher answered about them, in any order."""
    places = pc.index_in(texts["id"], value_set=answers["id"].combine_chunks())
    given = hard_labels(answers, run.config.labels)
    nothing = np.full((1, *given.shape[1:]), 0 if given.ndim == 2 else -1, given.dtype)
    said = np.concatenate([given, nothing])[pc.fill_null(places, len(given)).to_numpy()]
    table = texts.select([name for name in ("id", "text", "lang") if name in texts.column_names])
    table = table.append_column("label", _coded(codes)).append_column("teacher", _coded(said))
    return _named(table.append_column("probs", answers["probs"].take(places)), run.config.labels)


def _coded(codes: np.ndarray) -> pa.Array:
    """Codes (N,), or indicators (N, K) as lists of codes."""
    if codes.ndim == 1:
        return pa.array(codes, pa.int64())
    return pa.array([np.flatnonzero(row).tolist() for row in codes], pa.list_(pa.int64()))


def _named(table: pa.Table, scheme: LabelScheme) -> pa.Table:
    """The table with the names of its labels in its metadata, where `datasets` looks for them."""
    label: dict[str, Any] = {"names": list(scheme.names), "_type": "ClassLabel"}
    codes = {"feature": label, "_type": "Sequence"} if scheme.multi else label
    known: dict[str, Any] = {
        "label": codes, "teacher": codes, "probs": {"feature": {"dtype": "float32", "_type": "Value"}, "_type": "Sequence"},
    }  # fmt: skip
    features = {name: known.get(name, {"dtype": "string", "_type": "Value"}) for name in table.column_names}
    return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})


def _card(run: Run, splits: dict[str, pa.Table]) -> str:
    """README.md: the head that `datasets` reads, and what somebody who finds the data should know."""
    scheme, metrics = run.config.labels, run.json("metrics")
    languages = [name for name in (metrics.get("pool") or {}).get("languages") or {} if len(name) in (2, 3)]
    head: dict[str, Any] = {
        "task_categories": ["text-classification"], "tags": ["label-free", "tutelage"],
        "configs": [{
            "config_name": "default",
            "data_files": [{"split": name, "path": f"{name}.parquet"} for name in splits],
        }],
    }  # fmt: skip
    if languages:
        head["language"] = sorted(languages)
    teacher = run.stage("annotate").get("teacher", run.config.teacher.spec)
    counts = _counts(splits["train"]["label"].to_pylist(), len(scheme))
    rows = [
        f"| {code} | {_cell(label.name)} | {_cell(label.definition)} | {figures.count(counts[code])} |"
        for code, label in enumerate(scheme.labels)
    ]
    taught, checked = (figures.count(splits[name].num_rows) if name in splits else "" for name in ("train", "test"))
    said = f"The {taught} labels of `train` are those of a teacher ({teacher}), not of people."
    if checked:
        said += f" `test` has {checked} texts that people labelled, with what the teacher said beside it."
    outcome = metrics.get("acceptance")
    trust = f"**{outcome['outcome'].capitalize()}.** {outcome['sentence']}" if outcome else "Not measured yet."
    return "\n\n".join([
        "---\n" + yaml.safe_dump(head, allow_unicode=True, sort_keys=False) + "---",
        f"# {run.name}",
        said,
        "```python\nfrom datasets import load_dataset\n\ntexts = load_dataset(\"FOLDER\")\n```",
        "## How far the labels can be trusted\n\n" + trust,
        f"## Labels ({scheme.name})\n\n| | label | definition | in `train` |\n|---|---|---|---|\n" + "\n".join(rows),
    ]) + "\n"  # fmt: skip


def _cell(text: str) -> str:
    """A cell of a Markdown table that shows the text as it is.

    >>> _cell("a | b\\n<i>c</i>")
    'a \\\\| b &lt;i>c&lt;/i>'
    """
    return " ".join(text.split()).replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|")


def _counts(labels: Sequence[int | list[int]], k: int) -> list[int]:
    """How often each of k codes is given."""
    codes = [code for given in labels for code in (given if isinstance(given, list) else [given])]
    return np.bincount(np.asarray(codes, np.int64), minlength=k).tolist()
