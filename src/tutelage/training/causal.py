"""Plain distillation of causal language models: position i predicts token i + 1.

    L = mean_i CE(s_i, x_{i+1}) + γ T² mean_i KL(softmax z_i/T ‖ softmax s_i/T)

Means are over the tokens that count. Hinton, Vinyals and Dean, "Distilling the Knowledge in a Neural Network", 2015
(arXiv:1503.02531).

Shapes: x [B, n] ids (or a mapping of model inputs with `input_ids`), y [B, n] labels with −100 where nothing counts, logits
s, z [B, n, V].
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor, nn

from tutelage.errors import InputError
from tutelage.objectives.divergence import token_kl
from tutelage.objectives.reduce import weighted_mean
from tutelage.objectives.tokens import next_token_nll, top_k_kl
from tutelage.training.baselines import Signal, signal_of
from tutelage.training.lesson import Batch, Lesson, Progress, logits_of
from tutelage.training.weights import mark_frozen


def labels_of(batch: Batch) -> Tensor:
    """The next-token labels [B, n] of a batch: `y`, or where there is none every token of `x`."""
    if "y" in batch:
        return batch["y"]
    x: Any = batch["x"]
    return x["input_ids"] if isinstance(x, Mapping) else x


class CausalDistillation(Lesson):
    """Distil a causal language model, from a model, from cached logits, or from the likeliest tokens of an endpoint.

    Args:
        student: `x` → logits [B, n, V]; a mapping of model inputs is passed as keywords, as Hugging Face models want it.
        teacher: a model of the same vocabulary, or a function of the batch (cached logits [B, n, V]). None: batches hold the
            teacher's likeliest tokens, `top_ids` [B, n, k] and their log-probabilities `top_logp`; with γ = 0 nothing is asked.

    Raises: InputError: settings out of range, a teacher of another vocabulary, no teacher though γ > 0.

    >>> import torch
    >>> from tutelage.students.lm import GruLM
    >>> lesson = CausalDistillation(GruLM(5, width=4), GruLM(5, width=8))
    >>> sorted(lesson.losses({"x": torch.arange(4)[None]}, Progress(0, 1)))
    ['ce', 'kd']
    """

    def __init__(
        self, student: nn.Module, teacher: Signal | None, *, gamma: float = 0.2, temperature: float = 1.0
    ) -> None:
        super().__init__()
        if gamma < 0 or temperature <= 0:
            raise InputError(f"need gamma >= 0 and temperature > 0; got {gamma} and {temperature}")
        self.student, self.gamma, self.temperature = student, gamma, temperature
        if isinstance(teacher, nn.Module):
            mark_frozen(teacher)
        self.teacher = teacher

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        s = logits_of(self.student, batch["x"])
        costs, counted = next_token_nll(s, labels_of(batch))
        parts = {"ce": weighted_mean(costs, mask=counted)}
        if self.gamma:
            parts["kd"] = self.gamma * self._divergence(s[:, :-1], batch, counted)
        return parts

    def _divergence(self, s: Tensor, batch: Batch, counted: Tensor) -> Tensor:
        if self.teacher is None:
            if "top_ids" not in batch:
                raise InputError("gamma > 0 needs a teacher, or batches with `top_ids` and `top_logp`; or set gamma=0")
            return top_k_kl(s, batch["top_ids"][:, :-1], batch["top_logp"][:, :-1], counted)
        z = signal_of(self.teacher, batch)[:, :-1]
        if z.shape != s.shape:
            raise InputError(
                f"the student's logits have shape {tuple(s.shape)}, the teacher's {tuple(z.shape)}: both need one vocabulary; "
                "else let the teacher write text and train on it with gamma=0"
            )
        return token_kl(s, z, counted, temperature=self.temperature)
