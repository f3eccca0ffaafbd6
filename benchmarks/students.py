"""Students of text side by side, on the same texts and the same teacher: how fast, how good, how large.

    python benchmarks/students.py AG_NEWS_TEST.csv [--threads 1 2] [--arms ngram fasttext-25 …] [--texts 100000]
    python benchmarks/students.py AG_NEWS_TEST.csv --millions 10 --arms
    python benchmarks/students.py AG_NEWS_TEST.csv --corpus ag-news [--teacher names] [--splits 5]
    python benchmarks/students.py --corpus demo [--splits 10]

**The first form** prints speed, training time, quality and size of all tiers and of what else one could use. The file is AG
News' test part (class 1–4, title, description). A zero-shot teacher (MiniLM against the label definitions) labels 5,000 texts;
every arm learns these labels and is scored by macro-F1 on the human labels of 2,600 others. Each arm runs in a process of its
own, limited to the given number of threads. Texts per second include tokenisation and are the best of several passes over the
held-out texts, resampled to enough rows. `passes` is how often an arm went over the texts in training: the n-gram student's
over all values of C that it tried, fastText's epochs; `fasttext-same` has as many epochs as the n-gram student made passes.
`--texts N` learns N texts instead: the 5,000 resampled, each copy without a tenth of its words and with a few of another text.
Peers that are not installed are named and left out (`pip install tutelage[bench]` has them). `--millions N` streams N million
resampled texts through the n-gram student and prints the peak memory. Run it on a machine that does nothing else.

**With --corpus** it prints the quality alone, of linear students over several splits, each tuned on the teacher's labels (see
`linear.py`); `--teacher names` gives the teacher no definitions, which makes it weak.

The n-gram student was shaped (weights of words, pairs and characters, values of C and how one is chosen, stopping rule) on the
teacher's labels of held-out parts of the demo corpus, and on human labels of the 5,000 texts of AG News that are learned from
here. The human labels of the other 2,600 texts decided nothing. Those of the demo corpus neither, with one exception: that its
pipeline compares shrinkages by the standard error of their difference was settled after one split's figures had been seen.
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
from pathlib import Path

from peers import ARMS, HELD_OUT, NAMES, TRAIN, Setting, Task


def rows_of(path: Path) -> tuple[list[str], list[str]]:
    """Texts and gold label names of the CSV."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.reader(file))
    return [f"{title}. {body}" for _, title, body in rows], [NAMES[int(label) - 1] for label, _, _ in rows]


def make_task(path: Path, cache: Path, size: int) -> Task:
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
    task = Task(
        [texts[i] for i in train],
        [scheme.names[k] for k in probs.argmax(1)],
        probs.tolist(),
        [texts[i] for i in test],
        [gold[i] for i in test],
    )
    return task if size == TRAIN else resampled(task, size)


def resampled(task: Task, size: int) -> Task:
    """So many training texts: copies without a tenth of their words, and with about three words of another text."""
    import numpy as np

    rng = np.random.default_rng(3)
    words = [text.split() for text in task.train]
    chosen = rng.integers(0, len(words), size)
    texts = []
    for own, other in zip(chosen, rng.integers(0, len(words), size), strict=True):
        kept = [word for word, keep in zip(words[own], rng.random(len(words[own])) > 0.1, strict=True) if keep]
        texts.append(" ".join([*kept, *rng.choice(words[other], 3)]))
    return task._replace(train=texts, labels=[task.labels[i] for i in chosen], probs=[task.probs[i] for i in chosen])


def peak_mb() -> float:
    """This process's largest resident memory so far (`ru_maxrss` would count the parent's too)."""
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    return int(re.search(r"VmHWM:\s+(\d+)", status)[1]) / 1024  # type: ignore[index]


def run_arm(name: str, task: Task, threads: int, passes: int) -> dict[str, float | None]:
    """Learn, score and time one arm in this process."""
    import numpy as np
    from sklearn.metrics import f1_score

    arm = ARMS[name]
    with tempfile.TemporaryDirectory() as folder:
        setting = Setting(threads, Path(folder), passes)
        if name == "ngram":  # compiled code comes from numba's cache in every process but the machine's first
            arm.learn(Task(task.train[:100], task.labels[:100], task.probs[:100], [], []), setting)
        started = time.perf_counter()
        trained = arm.learn(task, setting)
        seconds = trained.seconds or time.perf_counter() - started
        size = sum(file.stat().st_size for file in Path(folder).rglob("*") if file.is_file())
    rng = np.random.default_rng(1)
    rows = trained.prepare([task.test[i] for i in rng.integers(0, len(task.test), arm.many)])
    result = {"train_s": seconds, "disk_mb": size / 1e6, "passes": trained.passes}
    if name != "floor":
        said = list(trained.predict(trained.prepare(task.test)))  # type: ignore[call-overload]
        result["macro_f1"] = f1_score(task.gold, said, average="macro")
    best = float("inf")
    for _ in range(7 if arm.many > 1000 else 1):
        started = time.perf_counter()
        trained.predict(rows)
        best = min(best, time.perf_counter() - started)
    return {**result, "texts_per_s": arm.many / best, "peak_mb": peak_mb()}


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
            result = run_arm(arguments.child, task, arguments.threads[0], arguments.passes)
        except Exception as error:
            result = {"error": f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else ''}"[:100]}
    print("\n" + json.dumps(result))


def spawn(name: str, threads: int, task: Path, *, passes: int = 0, millions: int = 0) -> dict:
    """Run an arm in a process that may use `threads` threads."""
    limited = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "RAYON_NUM_THREADS")
    options = {"--child": name, "--threads": threads, "--task": task, "--passes": passes, "--millions": millions}
    command = [sys.executable, __file__, *(str(part) for option in options.items() for part in option)]
    environment = {**os.environ, **dict.fromkeys(limited, str(threads))}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    results = [line for line in done.stdout.splitlines() if line.startswith("{")]
    return json.loads(results[-1]) if done.returncode == 0 and results else {"error": done.stderr.strip()[-100:]}


def side_by_side(arguments: argparse.Namespace, task: Path) -> None:
    """Run all arms and print one table."""
    print(f"load before: {os.getloadavg()[0]:.1f}; {arguments.texts:,} training texts")
    heads = ("threads", "texts/s", "train s", "passes", "macro-F1", "disk MB", "peak MB")
    print(
        f"{'arm':<14}" + "".join(f"{head:>{width}}" for head, width in zip(heads, (8, 12, 9, 8, 10, 9, 9), strict=True))
    )
    passes: dict[int, int] = {}
    for name in arguments.arms:
        for threads in arguments.threads:
            if name == "fasttext-same" and threads not in passes:
                print(f"{name:<14}{threads:>8}  left out: the arm ngram, whose passes it has, did not run")
                continue
            got = spawn(name, threads, task, passes=passes.get(threads, 0))
            if "error" in got:
                print(f"{name:<14}{threads:>8}  left out: {got['error']}")
                break
            if name == "ngram":
                passes[threads] = got["passes"]
            f1 = f"{got['macro_f1']:.4f}" if "macro_f1" in got else "-"
            rates = f"{got['texts_per_s']:>12,.0f}{got['train_s']:>9.2f}{got['passes'] or '-':>8}"
            print(f"{name:<14}{threads:>8}{rates}{f1:>10}{got['disk_mb']:>9.1f}{got['peak_mb']:>9.0f}", flush=True)


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("file", type=Path, nargs="?", help="AG News' test part; the demo corpus needs no file")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--arms", nargs="*", metavar="ARM", help=f"of {', '.join(ARMS)}, or those of linear.py")
    parser.add_argument("--texts", type=int, default=TRAIN, help="training texts")
    parser.add_argument("--millions", type=int, default=0)
    parser.add_argument("--corpus", choices=["ag-news", "demo"], help="compare the quality of linear students")
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--teacher", choices=["definitions", "names"], default="definitions")
    parser.add_argument("--cache", type=Path, default=Path(tempfile.gettempdir()) / "tutelage-benchmark-vectors.sqlite")
    for hidden in ("--child", "--task"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    parser.add_argument("--passes", type=int, default=0, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.child:
        child(arguments)
        return
    if arguments.file is None and arguments.corpus != "demo":
        parser.error("name the file of AG News' test part, or give --corpus demo")
    if arguments.corpus:
        import corpora
        import linear

        corpus = corpora.demo() if arguments.corpus == "demo" else corpora.ag_news_test(arguments.file)
        arms, splits = arguments.arms or list(linear.ARMS), range(100, 100 + arguments.splits)
        linear.compare(corpus, arms, splits, names_only=arguments.teacher == "names", cache=arguments.cache)
        return
    if unknown := [name for name in arguments.arms or () if name not in ARMS]:
        parser.error(f"no arm {unknown[0]!r}; there are {', '.join(ARMS)}")
    arguments.arms = list(ARMS) if arguments.arms is None else arguments.arms
    with tempfile.TemporaryDirectory() as folder:
        task = Path(folder) / "task.json"
        content = make_task(arguments.file, arguments.cache, arguments.texts)._asdict()
        task.write_text(json.dumps(content), encoding="utf-8")
        if arguments.arms:
            side_by_side(arguments, task)
        for threads in arguments.threads if arguments.millions else ():
            got = spawn("millions", threads, task, millions=arguments.millions)
            print(f"{arguments.millions} million texts, {threads} thread(s): {got}")


if __name__ == "__main__":
    main()
