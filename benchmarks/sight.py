"""A real language model's labels: `python benchmarks/sight.py DATA_FOLDER`.

15,400 comments under lecture videos with GPT-3.5's labels (Wang et al., "SIGHT", 2023) are read as a ledger import, a student
is trained on them, and its agreement with two people on 289 comments is printed beside GPT-3.5's own. Everything runs
through the command line, as a user would do it; the coded comments leave the training labels because they are the gold.
"""

from __future__ import annotations

import argparse
import csv
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

from tutelage.data.sources import sight_coded, sight_comments
from tutelage.data.text import normalise
from tutelage.evaluation.agreement import kappa
from tutelage.pipeline.predict import open_student

LABELS = ("setup", "confusion", "pedagogy")
SCHEME = """\
name: sight
kind: multi
labels:
  - {name: setup, definition: "the physical teaching setup: board, chalk, audio, video, camera"}
  - {name: confusion, definition: "asks a specific mathematical question or points out a mathematical mistake"}
  - {name: pedagogy, definition: "names a teaching method: examples, proofs, visualisation, step by step, analogies"}
"""


def main() -> None:
    """Print kappa with the two people, GPT-3.5 beside the student."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="the folder with sight_gpt_labels.csv.gz and sight_sample_dataset.csv")
    parser.add_argument("--student", default="ngram")
    asked = parser.parse_args()
    coded = sight_coded(asked.data / "sight_sample_dataset.csv")
    texts = coded["comment"].to_pylist()
    people = {who: {label: _flags(coded, f"annotator_{who}_{label}") for label in LABELS} for who in ("H1", "H2")}

    comments = sight_comments(asked.data / "sight_gpt_labels.csv.gz").to_pylist()
    published = {normalise(row["text"]): {k: np.nan if row[k] is None else row[k] for k in LABELS} for row in comments}

    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        (place / "sight.yaml").write_text(SCHEME)
        with (place / "gold.csv").open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(["text", "label", "label_2"])
            for row, text in enumerate(texts):
                cells = [_cell(people[who], row) for who in ("H1", "H2")]
                if text.strip() and all(cells):
                    writer.writerow([text, *cells])
        run = place / "run"
        labels = asked.data / "sight_gpt_labels.csv.gz"
        _tutelage(
            "ledger",
            run,
            "--import",
            labels,
            "--labels",
            place / "sight.yaml",
            "--text",
            "comment",
            "--id",
            "comment_id",
        )
        _tutelage("train", run, "--student", asked.student, "--quiet")
        _tutelage("evaluate", run, "--gold", place / "gold.csv", "--force", "--quiet")
        metrics = json.loads((run / "metrics.json").read_text())
        said = open_student(run).predict(texts)
    alpha = metrics["agreement"]["student_human"]["alpha"]
    print(
        f"\nlearned from {metrics['labels']['answered']:,} labels; alpha (MASI) of student and first person {alpha:.3f}\n"
    )
    print(f"{'kappa with people':20}{'GPT-3.5':>10}{'student':>10}{'people':>10}{'positive':>10}")
    for k, label in enumerate(LABELS):
        model = np.array([published.get(normalise(text), {}).get(label, np.nan) for text in texts], float)
        student = np.where([bool(t.strip()) for t in texts], said[:, k].astype(float), np.nan)
        one, two = people["H1"][label], people["H2"][label]
        row = [np.mean([_kappa(one, m), _kappa(two, m)]) for m in (model, student)]
        print(f"{label:20}{row[0]:10.3f}{row[1]:10.3f}{_kappa(one, two):10.3f}{int(np.nansum(one)):10}")


def _tutelage(*words: object) -> None:
    done = subprocess.run([sys.executable, "-m", "tutelage", *map(str, words)], check=False)
    if done.returncode:
        raise SystemExit(done.returncode)


def _flags(table: object, column: str) -> np.ndarray:
    """A column of 0 and 1 as floats, NaN where the cell is empty."""
    return np.array([float(v) if str(v).strip() else np.nan for v in table[column].to_pylist()])  # type: ignore[index]


def _cell(codes: dict[str, np.ndarray], row: int) -> str:
    """What a person gave to a comment as a JSON list; empty where a code is missing."""
    values = {label: codes[label][row] for label in LABELS}
    return (
        "" if any(np.isnan(v) for v in values.values()) else json.dumps([label for label, v in values.items() if v > 0])
    )


def _kappa(a: np.ndarray, b: np.ndarray) -> float:
    both = ~np.isnan(a) & ~np.isnan(b)
    return kappa(a[both].astype(int).tolist(), b[both].astype(int).tolist(), resamples=1).value


if __name__ == "__main__":
    main()
