"""Swing distillation: distil the skill, not the secrets.

Li et al., "Swing Distillation: A Privacy-Preserving Knowledge Distillation Framework", 2022 (arXiv:2212.08349). The paper
gives the idea; the forms of temperature, noise and loss below are our reading of it.

A language model that was tuned on private text hands memorised strings to its student through soft targets. So the
temperature of a target depends on its token: where it is likely to be private (degree r near 1) the target says almost
nothing, elsewhere it keeps its dark knowledge. For the target token x_{i+1}, teacher logits z_i, student logits s_i:

    τ_i = τ_0 + (τ_max − τ_0) r                              token_temperature
    q_i = softmax((z_i + n_i) / τ_i),   n_i ~ Laplace(0, noise · r)          noisy_logits
    L   = soft · τ_0² mean_i KL(q_i ‖ softmax(s_i / τ_0))  +  labels · mean_i (1 − r) CE(s_i, x_{i+1}) over r < ½

The student keeps τ_0 everywhere, so that it is itself flat on private tokens; the factor is τ_0², for τ_i² would amplify
exactly what was softened. No label is ever given on a private token, or the leak returns by the other door.

Degrees come from rules and rosters (`tutelage.data.privacy`, through `private_tokens`), from the surprise of a public
model (`surprisal_gap`), or from wherever you like. What they miss still leaks: measure it with
`tutelage.evaluation.privacy.canary_exposure`. There is **no formal privacy guarantee**; differentially private training
gives one.

Shapes: ids [B, n] (long), degree r [B, n] of each token of `ids`, mask [B, n], logits [B, n, V] (position i predicts
token i + 1).
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tutelage.data.privacy import find_pii, token_degrees
from tutelage.errors import InputError
from tutelage.objectives.divergence import token_kl
from tutelage.objectives.reduce import weighted_mean
from tutelage.teachers.frozen import frozen
from tutelage.training import Batch, Lesson, Progress, Signal, logits_of, signal_of

PRIVATE = 0.5
"""From this degree on a token gets no hard label."""


class Encoding(Protocol):
    """What a tokenizer says of a text: ids, and the characters [start, end) of each, as `tokenizers.Encoding` has them."""

    @property
    def ids(self) -> Sequence[int]: ...

    @property
    def offsets(self) -> Iterable[tuple[int, int]]: ...


def token_temperature(degree: Tensor, tau0: float = 1.0, tau_max: float = 20.0) -> Tensor:
    """τ = τ_0 + (τ_max − τ_0) r, of any shape.

    >>> token_temperature(torch.tensor([0.0, 0.5, 1.0]), tau0=2.0, tau_max=20.0)
    tensor([ 2., 11., 20.])
    """
    return tau0 + (tau_max - tau0) * degree


def noisy_logits(logits: Tensor, degree: Tensor, noise: float, generator: torch.Generator) -> Tensor:
    """Laplace noise of scale noise · r on every logit of a private position: [B, n, V], [B, n] → [B, n, V].

    >>> z, r = torch.zeros(1, 2, 3), torch.tensor([[0.0, 1.0]])
    >>> (noisy_logits(z, r, 1.0, torch.Generator().manual_seed(0)) != 0).any(-1)
    tensor([[False,  True]])
    """
    private = degree > 0
    if not noise or not bool(private.any()):
        return logits
    shape = (int(private.sum()), logits.shape[-1])
    # The difference of two exponentials is a Laplace variable, and is finite for every draw.
    up, down = (torch.empty(shape, device=logits.device).exponential_(generator=generator) for _ in range(2))
    result = logits.clone()
    result[private] += ((up - down) * noise * degree[private].unsqueeze(-1)).to(logits.dtype)
    return result


def surprisal_gap(private: Tensor, public: Tensor, ids: Tensor, *, k: float = 2.0, m: float = 3.0) -> Tensor:
    """r = σ(k (log p_private(x) − log p_public(x) − m)): tokens that the teacher knows suspiciously well.

    Shapes: logits [B, n, V] of the private and of a public model, ids [B, n] → [B, n]; the first token, which nobody
        predicts, gets 0. m is in nats.

    >>> knows = torch.tensor([[[0.0, 20.0], [0.0, 0.0]]]); ids = torch.tensor([[0, 1]])
    >>> surprisal_gap(knows, torch.zeros(1, 2, 2), ids, m=0.0).round(decimals=2)
    tensor([[0.0000, 0.8000]])
    """
    target = ids[:, 1:].unsqueeze(-1)
    known, usual = (logits[:, :-1].log_softmax(-1).gather(-1, target).squeeze(-1) for logits in (private, public))
    return F.pad((k * (known - usual - m)).sigmoid(), (1, 0))


def private_tokens(
    texts: Sequence[str],
    encode: Callable[[str], Encoding],
    roster: Collection[str] | None = None,
    *,
    kinds: Collection[str] | None = None,
) -> dict[str, Tensor]:
    """Texts as a data set for `fit`: {"x": ids, "degree": r, "mask": what is no padding}, each [N, n], padded with 0.

    Degrees are found on characters and carried over to tokens by their offsets. `encode` is a tokenizer's, for instance
    `Tokenizer.encode`, or `lambda text: fast_tokenizer(text).encodings[0]` of transformers; `roster`: names; `kinds`: as
    in `find_pii`.

    >>> from tutelage.students.lm import word_tokenizer
    >>> data = private_tokens(["code 42 17", "ada left"], word_tokenizer(["ada left code 0 1 2 4 7"]).encode, ["ada"])
    >>> data["degree"].tolist()[1], data["mask"].sum(1).tolist()
    ([1.0, 0.0, 0.0, 0.0, 0.0], [5, 2])
    """
    if not texts:
        raise InputError("no texts to encode")
    said = [encode(text) for text in texts]
    found = [token_degrees(e.offsets, find_pii(text, roster, kinds=kinds)) for e, text in zip(said, texts, strict=True)]
    ids = [torch.tensor(e.ids, dtype=torch.long) for e in said]
    pad = nn.utils.rnn.pad_sequence
    return {
        "x": pad(ids, batch_first=True),
        "degree": pad([torch.tensor(degrees, dtype=torch.float32) for degrees in found], batch_first=True),
        "mask": pad([torch.ones(len(row), dtype=torch.bool) for row in ids], batch_first=True),
    }


class SwingDistillation(Lesson):
    """Distil a language model at a temperature that rises where a token is likely to be private.

    Args:
        student, teacher: ids [B, n] → logits [B, n, V]; the teacher may be a function of the batch (cached logits).
        tau0, tau_max: temperatures at r = 0 and r = 1, tau_max >= tau0 > 0.
        noise: Laplace scale at r = 1.
        soft, labels: weights of the teacher's targets and of next-token labels; soft = 0 is plain training.
        public: a model that never saw the private text: `surprisal_gap` against it raises the degrees of a batch.

    A batch holds `x`, `degree`, and where texts were padded `mask`; see `private_tokens`.

    Raises: InputError: settings out of range; a batch without `degree`, or with degrees outside [0, 1]; a teacher with
        another vocabulary.

    >>> from tutelage.students.lm import GruLM, word_tokenizer
    >>> from tutelage.training import fit
    >>> texts = ["the code of ada is 4 8 1 5", "the train to york is late"]
    >>> tokenizer = word_tokenizer(texts)
    >>> data = private_tokens(texts, tokenizer.encode, roster=["Ada"])
    >>> size = tokenizer.get_vocab_size()
    >>> lesson = SwingDistillation(GruLM(size, width=8), GruLM(size, width=32), tau0=2.0)
    >>> sorted(fit(lesson, data, epochs=2, batch_size=2).rows[-1])[2:4]
    ['kd', 'loss']
    """

    def __init__(
        self,
        student: nn.Module,
        teacher: Signal,
        *,
        tau0: float = 1.0,
        tau_max: float = 20.0,
        noise: float = 1.0,
        soft: float = 1.0,
        labels: float = 0.5,
        public: nn.Module | None = None,
    ) -> None:
        super().__init__()
        if not 0 < tau0 <= tau_max or min(noise, soft, labels) < 0 or soft + labels == 0:
            raise InputError(
                "need 0 < tau0 <= tau_max, noise, soft, labels >= 0, and not both weights 0; "
                f"got {tau0}, {tau_max}, {noise}, {soft}, {labels}"
            )
        self.student = student
        self.teacher = frozen(teacher) if isinstance(teacher, nn.Module) else teacher
        self.public = None if public is None else frozen(public)
        self.tau0, self.tau_max, self.noise, self.soft, self.labels = tau0, tau_max, noise, soft, labels

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        ids = batch["x"]
        s = logits_of(self.student, ids)[:, :-1]
        z = signal_of(self.teacher, batch) if self.soft or self.public is not None else None
        r = self._degree(batch, z)[:, 1:]
        mask = batch.get("mask", torch.ones_like(ids))[:, 1:].bool()
        parts: dict[str, Tensor] = {}
        if z is not None and self.soft:
            target = noisy_logits(z[:, :-1], r, self.noise, progress.generator)
            tau = token_temperature(r, self.tau0, self.tau_max)
            parts["kd"] = self.soft * token_kl(s, target, mask, temperature=self.tau0, token_temperature=tau)
        if self.labels:
            each = F.cross_entropy(s.transpose(1, 2), ids[:, 1:], reduction="none")
            weight = torch.where(r < PRIVATE, 1 - r, 0.0)
            parts["ce"] = self.labels * weighted_mean(each, weight, mask)
        return parts

    def _degree(self, batch: Batch, z: Tensor | None) -> Tensor:
        if "degree" not in batch:
            raise InputError(
                "this batch has no `degree`: say how private each token is, for instance by private_tokens()"
            )
        degree, ids = batch["degree"], batch["x"]
        if degree.shape != ids.shape or bool((degree < 0).any()) or bool((degree > 1).any()):
            raise InputError(f"degrees must be in [0, 1], one a token {tuple(ids.shape)}; got {tuple(degree.shape)}")
        if self.public is None or z is None:
            return degree
        return torch.maximum(degree, surprisal_gap(z, signal_of(self.public, batch), ids).to(degree.dtype))
