"""The encoder student: a transformer encoder, fine-tuned on hard or soft labels.

    minimise  sum_i s_i l(f(text_i), y_i) / sum_i s_i        l: cross-entropy with a distribution as its target

by AdamW with a linear warm-up over 6 % of the steps and a linear decay to zero, dropout as the checkpoint has it. Targets of
a temperature T are learned by f / T, and l counts T²; what the student said about a text one epoch ago may refine its target
(see `targets`). The epoch with the least dev loss is kept. The number of epochs falls with the amount of data, so that the
number of steps stays within about 750-2,800, as in Kuzman & Ljubešić, "LLM Teacher-Student Framework for Text
Classification With No Manually Annotated Data", 2024 (arXiv:2411.19638), whose table `epochs_for_size` is.

Any Hugging Face encoder can be named; the default is the packaged MiniLM, which a CPU can fine-tune. Code in model folders
is never run.
"""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from tutelage.errors import InputError
from tutelage.students import artifact
from tutelage.students.base import Examples, State, Student
from tutelage.students.inputs import Label, as_list
from tutelage.students.linear import cross_entropy
from tutelage.students.pretrained import libraries, pretrained, quiet, source_of
from tutelage.students.targets import refined, tempered
from tutelage.students.weights import ClassWeight, holdout

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedModel

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
        temperature: of the targets (those of a dev split are at 1, and so are predictions).
        self_distill: share of the student's own past in the targets of the last epoch, in [0, 0.95].
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
        temperature: float = 1.0,
        self_distill: float = 0.0,
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
        self.temperature = temperature
        self.self_distill = self_distill
        self.dev_share = dev_share
        self.progress = progress
        self.classes = classes
        self.multi = multi
        self.class_weight = class_weight
        self.seed = seed

    def _fit(self, train: Examples, dev: Examples | None) -> None:
        self._check_options()
        accelerate, _ = libraries()
        import torch

        if dev is None and self.dev_share:
            held = holdout(train.targets, self.dev_share, self.seed)
            if 0 < held.sum() < len(held):
                train, dev = train.rows(~held), train.rows(held)
                dev = dev._replace(targets=tempered(dev.targets, 1 / self.temperature, multi=self.multi))
        source = source_of(self.model)
        with torch.random.fork_rng():
            torch.manual_seed(self.seed)
            tokenizer, model = pretrained(source, len(self.classes_))
            self.tokenizer_, self.model_ = tokenizer, model
            accelerator = accelerate.Accelerator()
            self._train(model, accelerator, train, dev)
        self.model_ = accelerator.unwrap_model(model).eval()

    def _train(self, model: PreTrainedModel, accelerator: Any, train: Examples, dev: Examples | None) -> None:
        import torch

        ids = self._tokens(train.texts)
        n, epochs = len(ids), self.epochs or epochs_for_size(len(ids))
        if self.self_distill and epochs < 2:
            raise InputError("self_distill learns from what was said an epoch ago: it needs at least 2 epochs")
        per_epoch = -(-n // self.batch_size)
        total = epochs * per_epoch
        optimizer = torch.optim.AdamW(_groups(model, self.weight_decay), lr=self.lr)
        warmup = max(1, round(0.06 * total))
        slope = torch.optim.lr_scheduler.LambdaLR(
            optimizer, lambda step: min((step + 1) / warmup, max(0.0, (total - step) / max(1, total - warmup)))
        )
        net, optimizer = accelerator.prepare(model, optimizer)
        targets = torch.from_numpy(train.targets).to(accelerator.device)
        past = targets.clone() if self.self_distill else targets
        weights = torch.from_numpy(train.weights / train.weights.mean()).float().to(accelerator.device)
        emphasis = None if train.emphasis is None else torch.from_numpy(train.emphasis).to(accelerator.device)
        rng = np.random.default_rng(self.seed)
        best: tuple[float, dict[str, torch.Tensor]] | None = None
        self.history_: list[float] = []
        for epoch in range(epochs):
            net.train()
            for step, rows in enumerate(_batches([len(x) for x in ids], self.batch_size, rng)):
                logits = net(**self._padded([ids[r] for r in rows], accelerator.device)).logits / self.temperature
                told = refined(targets[rows], past[rows], self.self_distill, epoch, epochs)
                counts = None if emphasis is None else emphasis[rows]
                loss = (_loss(logits, told, counts, self.multi) * weights[rows]).mean()
                accelerator.backward(self.temperature**2 * loss)
                accelerator.clip_grad_norm_(net.parameters(), 1.0)
                optimizer.step()
                slope.step()
                optimizer.zero_grad()
                if self.self_distill:
                    past[rows] = _probabilities(logits.detach().float(), self.multi)
                if self.progress:
                    self.progress(epoch * per_epoch + step + 1, total)
            if dev is not None and len(dev.texts):
                probs = self._proba(dev.texts)
                self.history_.append(cross_entropy(probs, dev.targets, dev.weights, dev.emphasis, multi=self.multi))
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
                probs[rows] = _probabilities(logits, self.multi).cpu().numpy()
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
        for name, low in (("lr", 0.0), ("batch_size", 0), ("max_length", 2), ("temperature", 0.0)):
            if not getattr(self, name) > low:
                raise InputError(f"{name} must be more than {low}; got {getattr(self, name)!r}")
        if self.epochs is not None and self.epochs < 1:
            raise InputError(f"epochs must be at least 1; got {self.epochs}")
        if not 0 <= self.self_distill <= 0.95:
            raise InputError(f"self_distill must be in [0, 0.95]; got {self.self_distill}")
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
        with quiet():
            self.model_.save_pretrained(inner)
            self.tokenizer_.save_pretrained(inner)
        return State({}, {})

    def _restore(self, state: State, folder: Path) -> None:
        libraries()
        inner = folder / _FOLDER
        if not (inner / "model.safetensors").is_file():
            raise InputError(f"{folder} is damaged: it has no {_FOLDER}/model.safetensors")
        self.tokenizer_, model = pretrained(inner, len(self.classes_))
        self.model_ = model.eval()


def _groups(model: PreTrainedModel, decay: float) -> list[dict[str, Any]]:
    matrices = [p for p in model.parameters() if p.ndim > 1]
    others = [p for p in model.parameters() if p.ndim <= 1]
    return [{"params": matrices, "weight_decay": decay}, {"params": others, "weight_decay": 0.0}]


def _probabilities(logits: torch.Tensor, multi: bool) -> torch.Tensor:
    return logits.sigmoid() if multi else logits.softmax(-1)


def _loss(logits: torch.Tensor, targets: torch.Tensor, emphasis: torch.Tensor | None, multi: bool) -> torch.Tensor:
    """(B, K), (B, K), (B, K) or None -> (B,)."""
    import torch.nn.functional as F

    if multi:
        return F.binary_cross_entropy_with_logits(logits, targets, emphasis, reduction="none").sum(1)
    return F.cross_entropy(logits, targets, reduction="none")


def _batches(lengths: Sequence[int], size: int, rng: np.random.Generator) -> list[np.ndarray]:
    """Random batches of about equal length: sorted within random pools of 50 batches, then shuffled."""
    order = rng.permutation(len(lengths))
    length = np.asarray(lengths)
    pools = [order[i : i + 50 * size] for i in range(0, len(order), 50 * size)]
    ordered = np.concatenate([pool[np.argsort(length[pool], kind="stable")] for pool in pools])
    batches = [ordered[i : i + size] for i in range(0, len(ordered), size)]
    return [batches[i] for i in rng.permutation(len(batches))]
