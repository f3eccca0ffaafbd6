"""Run an adapter over a stream and keep what it said, each batch scored as it was answered: before the update on it.

Shapes: logits [N, K] of all batches in order, y [N]; domain and cycle of every example.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from tutelage.errors import InputError
from tutelage.evaluation.calibration import brier, ece, nll
from tutelage.evaluation.groups import by_group
from tutelage.training.at_test_time import OnlineAdapter


@dataclass(frozen=True)
class StreamRecord:
    """What was said about a stream.

    >>> record = StreamRecord(np.log([[0.8, 0.2], [0.8, 0.2]]), np.array([0, 1]), np.array(["a", "b"]), np.array([0, 1]))
    >>> record.error, record.by("cycle"), record.drift
    (0.5, {0: 0.0, 1: 1.0}, 1.0)
    """

    logits: np.ndarray
    y: np.ndarray
    domain: np.ndarray
    cycle: np.ndarray

    @property
    def probs(self) -> np.ndarray:
        """Softmax of the logits (N, K), float64."""
        exponent = np.exp(self.logits.astype(np.float64) - self.logits.max(1, keepdims=True))
        return exponent / exponent.sum(1, keepdims=True)

    @property
    def wrong(self) -> np.ndarray:
        """Whether the class that was said is not the right one (N,)."""
        return self.logits.argmax(1) != self.y

    @property
    def error(self) -> float:
        """Share of wrong answers."""
        return float(self.wrong.mean())

    def scores(self) -> dict[str, float]:
        """Error, Brier score, NLL and ECE over the whole stream."""
        probs = self.probs
        return {
            "error": self.error,
            "Brier": brier(probs, self.y),
            "NLL": nll(probs, self.y),
            "ECE": ece(probs, self.y),
        }

    def by(self, what: Literal["domain", "cycle"]) -> dict[Any, float]:
        """The error of every domain or cycle, in the order of the stream."""
        return {name: group.score for name, group in by_group(self.wrong, getattr(self, what)).items()}

    @property
    def drift(self) -> float:
        """Error of the last cycle minus that of the first: above 0, the model got worse by going on."""
        cycles = list(self.by("cycle").values())
        return cycles[-1] - cycles[0]


def run_stream(adapter: OnlineAdapter, stream: Iterable[Mapping[str, Any]]) -> StreamRecord:
    """Ask an adapter about every batch of a stream; it sees `x` and nothing else.

    Args: stream: batches with `x` [B, …], `y` [B] and, where there are several, `domain` (a name) and `cycle` (a number).

    Raises: InputError: an empty stream; an answer that is not one row an example.

    >>> import torch; from tutelage.training.at_test_time import Fixed
    >>> batch = {"x": torch.eye(2), "y": torch.tensor([0, 0]), "domain": "clean", "cycle": 0}
    >>> run_stream(Fixed(torch.nn.Identity()), [batch]).by("domain")
    {'clean': 0.5}
    """
    said: list[np.ndarray] = []
    asked: list[tuple[np.ndarray, str, int]] = []
    for number, batch in enumerate(stream):
        logits = adapter.step(batch["x"]).detach()
        if logits.ndim != 2 or len(logits) != len(batch["y"]):
            raise InputError(f"batch {number}: got {tuple(logits.shape)} for {len(batch['y'])} examples, not [B, K]")
        said.append(logits.float().cpu().numpy().copy())
        asked.append((batch["y"].cpu().numpy(), batch.get("domain", ""), batch.get("cycle", 0)))
    if not said:
        raise InputError("the stream is empty")
    sizes = [len(y) for y, _, _ in asked]
    return StreamRecord(
        np.concatenate(said),
        np.concatenate([y for y, _, _ in asked]),
        np.repeat([domain for _, domain, _ in asked], sizes),
        np.repeat([cycle for _, _, cycle in asked], sizes),
    )
