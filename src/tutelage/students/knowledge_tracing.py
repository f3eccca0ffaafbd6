"""Knowledge tracing: from a learner's answers so far to the chance that the next one is right.

A tracer is a student in the manner of scikit-learn: `fit` on a log, `predict` what each answer would be given the ones
before it, and `mastery`, what every concept would be were it asked next. A network that does so is wrapped by
`NetworkTracer`, which cuts, pads, trains with `fit` and keeps the epoch that is best on validation learners.

`Dkt` is deep knowledge tracing: an LSTM that reads interactions and holds all that it knows in one mixed state,

    h_t = LSTM(E[x_1], …, E[x_t]),      p(r_{t+1} = 1) = σ((W h_t + b)_{q_{t+1}})

with q in 0 … K − 1 the concept, r the outcome, and the interaction x = 1 + q + K r; 0 stands for no answer.

Source: Piech et al., "Deep Knowledge Tracing", 2015 (arXiv:1506.05908).
Shapes: interactions [B, L] (long) → logits [B, L], of each answer given the earlier ones; `ask` → [B, K].
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Self

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from tutelage.data.knowledge_tracing import AnswerLog
from tutelage.errors import InputError
from tutelage.evaluation.auc import auc
from tutelage.training import Batch, Callback, KeepBest, Lesson, Progress, Validate, fit, seeded
from tutelage.training.callbacks import watching


class KnowledgeTracer(Protocol):
    """What predicts answers. Figures of answers are (N,) in the order of the log; `AnswerLog` can lay them out (S, L)."""

    def fit(self, train: AnswerLog, val: AnswerLog | None = None) -> Self:
        """Learn from a log; `val`, other learners, decides when to stop."""
        ...

    def predict(self, log: AnswerLog) -> np.ndarray:
        """p(right) of every answer, given the learner's earlier ones only: (N,)."""
        ...

    def mastery(self, log: AnswerLog) -> np.ndarray:
        """p(right) of every concept, were it asked next: (S, K), a figure of the model and not a grade."""
        ...


@dataclass(frozen=True)
class TracerOptions:
    """How a network learns from a log.

    Attributes: length: learners' answers are cut into pieces of so many; epochs, lr, batch_size, weight_decay, clip, seed:
        as for `fit` (Adam).
    """

    length: int = 50
    epochs: int = 15
    lr: float = 3e-3
    batch_size: int = 64
    weight_decay: float = 1e-5
    clip: float = 5.0
    seed: int = 0


DEFAULT = TracerOptions()


def interactions(log: AnswerLog) -> Tensor:
    """x = 1 + q + K r of every answer, 0 beyond the end of a sequence: a log → [S, L] (long).

    >>> interactions(AnswerLog.of({"ann": [("add", 0), ("take", 1)], "bob": [("add", 1)]})).tolist()
    [[1, 4], [3, 0]]
    """
    concept, correct, mask = log.padded()
    return torch.from_numpy(np.where(mask, 1 + concept + len(log.concepts) * correct, 0))


def split_interactions(x: Tensor, concepts: int) -> tuple[Tensor, Tensor, Tensor]:
    """Concept, outcome and mask of interactions, [B, L] each; concept and outcome are 0 where there is no answer.

    >>> [part.tolist() for part in split_interactions(torch.tensor([[1, 4, 0]]), 2)]
    [[[0, 1, 0]], [[0, 1, 0]], [[True, True, False]]]
    """
    answer = (x - 1).clamp(min=0)
    return answer % concepts, answer // concepts, x > 0


def before(x: Tensor) -> Tensor:
    """What was known before each answer: [B, L] → [B, L + 1], a start (0) in front."""
    return F.pad(x, (1, 0))


class TracingLesson(Lesson):
    """Binary cross-entropy of real answers; `network`: interactions [B, L] → logits [B, L]."""

    def __init__(self, network: nn.Module, concepts: int) -> None:
        super().__init__()
        self.network, self.concepts = network, concepts

    def losses(self, batch: Batch, progress: Progress) -> dict[str, Tensor]:
        """One part, the mean over answers."""
        _, correct, mask = split_interactions(batch["x"], self.concepts)
        logits = self.network(batch["x"])
        return {"bce": F.binary_cross_entropy_with_logits(logits[mask], correct[mask].to(logits.dtype))}


class TracingNetwork(nn.Module):
    """A network that traces: interactions [B, L] → logits [B, L], each from the answers before it only."""

    def ask(self, x: Tensor) -> Tensor:
        """Logits of every concept after the last answer: [B, L] → [B, K]."""
        raise NotImplementedError(f"{type(self).__name__} cannot be asked about every concept: write ask()")


class DktNetwork(TracingNetwork):
    """Embedding, LSTM, one logit a concept.

    >>> network = DktNetwork(concepts=5, width=8)
    >>> network(torch.zeros(2, 3).long()).shape, network.ask(torch.ones(2, 3).long()).shape
    (torch.Size([2, 3]), torch.Size([2, 5]))
    """

    def __init__(self, concepts: int, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.concepts = concepts
        self.embed = nn.Embedding(2 * concepts + 1, width, padding_idx=0)
        self.lstm = nn.LSTM(width, width, batch_first=True)
        self.drop, self.out = nn.Dropout(dropout), nn.Linear(width, concepts)

    def forward(self, x: Tensor) -> Tensor:
        """Interactions [B, L] → logits [B, L]."""
        asked = split_interactions(x, self.concepts)[0].unsqueeze(-1)
        states = self.lstm(self.embed(before(x)[:, :-1]))[0]
        return self.out(self.drop(states)).gather(-1, asked).squeeze(-1)

    def ask(self, x: Tensor) -> Tensor:
        states = self.lstm(self.embed(before(x)))[0]
        return self.out(states[torch.arange(len(x)), (x > 0).sum(1)])


class NetworkTracer:
    """A network as a tracer.

    Args:
        network: number of concepts → the network.
        options: how it learns.
        callbacks: of `fit`: progress bars and the like.

    Attributes: network_, concepts_, history_: after `fit`.
    """

    def __init__(
        self,
        network: Callable[[int], TracingNetwork],
        options: TracerOptions = DEFAULT,
        callbacks: tuple[Callback, ...] = (),
    ) -> None:
        self.make, self.options, self.callbacks = network, options, callbacks

    def fit(self, train: AnswerLog, val: AnswerLog | None = None) -> Self:
        """Train; with `val`, keep the weights of the epoch whose AUC on it is best.

        Raises: InputError: a validation log with concepts that the training log does not know, or with one outcome only.
        """
        o, self.concepts_ = self.options, train.concepts
        with seeded(o.seed, "init"):
            self.network_ = self.make(len(train.concepts))
        callbacks = list(self.callbacks)
        if val is not None:
            if val.correct.all() or not val.correct.any():
                raise InputError("all answers of the validation log have the same outcome: it cannot choose an epoch")
            measure = lambda _: {"val AUC": auc(val.correct, self.predict(val))}
            callbacks = [Validate(measure), KeepBest("val AUC", mode="max"), *callbacks]
        self.history_ = fit(
            TracingLesson(self.network_, len(train.concepts)),
            (interactions(train.pieces(o.length)),),
            epochs=o.epochs,
            batch_size=o.batch_size,
            lr=o.lr,
            optimizer="adam",
            weight_decay=o.weight_decay,
            clip=o.clip,
            seed=o.seed,
            callbacks=callbacks,
        )
        return self

    def predict(self, log: AnswerLog) -> np.ndarray:
        """p(right) of every answer, given the earlier ones of its piece: (N,)."""
        pieces = log.renamed(self.concepts_).pieces(self.options.length)
        said = np.empty((len(pieces), int(pieces.lengths.max())))
        for rows, x in _batches(pieces):
            with watching(self.network_):
                said[rows, : x.shape[1]] = self.network_(x.to(self._device)).sigmoid().double().cpu().numpy()
        return said[pieces.sequence, pieces.step]

    def mastery(self, log: AnswerLog) -> np.ndarray:
        """p(right) of every concept after the learner's last answers, as many as are read at once: (S, K)."""
        log = log.renamed(self.concepts_)
        said = np.empty((len(log), len(log.concepts)))
        for rows, x in _batches(log.latest(self.options.length)):
            with watching(self.network_):
                said[rows] = self.network_.ask(x.to(self._device)).sigmoid().double().cpu().numpy()
        return said

    @property
    def _device(self) -> torch.device:
        return next(self.network_.parameters()).device


def _batches(log: AnswerLog, size: int = 256) -> list[tuple[np.ndarray, Tensor]]:
    """(rows, interactions) with sequences of about equal length together, so that little is padding."""
    order = np.argsort(log.lengths, kind="stable")
    return [(rows, interactions(log.take(rows))) for rows in np.split(order, range(size, len(order), size))]


class Dkt(NetworkTracer):
    """Deep knowledge tracing: an LSTM of this width, with dropout on its states.

    >>> log = AnswerLog.of({f"learner {n}": [("add", n % 2)] * 6 for n in range(20)})
    >>> tracer = Dkt(8, options=TracerOptions(epochs=20, lr=0.02)).fit(log)
    >>> tracer.predict(log).shape, bool(auc(log.correct, tracer.predict(log)) > 0.8)
    ((120,), True)
    """

    def __init__(
        self,
        width: int = 64,
        *,
        dropout: float = 0.0,
        options: TracerOptions = DEFAULT,
        callbacks: tuple[Callback, ...] = (),
    ) -> None:
        super().__init__(lambda concepts: DktNetwork(concepts, width, dropout), options, callbacks)
