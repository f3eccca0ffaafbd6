"""Micro-batching: requests that wait while the student works become its next batch.

Nobody waits for a timer. An idle student takes a request at once; under load the batches grow by themselves, and the queue
is bounded: what would wait too long is refused at the door, where the client can still go elsewhere.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np

from tutelage.serving.model import Model


class Overloaded(Exception):
    """Too many texts wait already."""


class Answer(NamedTuple):
    """Probabilities (N, K) of a request's texts, and the model that gave them."""

    probs: np.ndarray
    model: Model


class _Request(NamedTuple):
    texts: list[str]
    answer: asyncio.Future[Answer]


class Batcher:
    """One worker thread, and a queue in front of it.

    Args:
        model: gives the model of the moment; asked once a batch.
        most: texts in a batch at most (a single larger request is one batch of its own).
        queue: texts that may wait at most.
        done: called in the worker thread after each batch with (texts, probabilities, model).
    """

    def __init__(
        self,
        model: Callable[[], Model],
        *,
        most: int = 256,
        queue: int = 4096,
        done: Callable[[Sequence[str], np.ndarray, Model], None] = lambda texts, probs, model: None,
    ) -> None:
        self._model, self._most, self._room, self._done = model, most, queue, done
        self._waiting: deque[_Request] = deque()
        self._worker = ThreadPoolExecutor(1, "student")
        self._task: asyncio.Task[None] | None = None
        self.waiting = 0
        """Texts in the queue."""

    async def predict(self, texts: list[str]) -> Answer:
        """Probabilities of N texts. Raises: Overloaded: the queue is full."""
        if self.waiting and self.waiting + len(texts) > self._room:
            raise Overloaded
        answer: asyncio.Future[Answer] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Request(texts, answer))
        self.waiting += len(texts)
        if self._task is None:
            self._task = asyncio.create_task(self._run())
        return await answer

    async def close(self) -> None:
        """Answer everything that was taken, then stop."""
        if self._task is not None:
            await self._task
        self._worker.shutdown()

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                batch = [self._waiting.popleft()]
                size = len(batch[0].texts)
                while self._waiting and size + len(self._waiting[0].texts) <= self._most:
                    batch.append(self._waiting.popleft())
                    size += len(batch[-1].texts)
                self.waiting -= size
                try:
                    answer = await loop.run_in_executor(self._worker, self._work, [t for r in batch for t in r.texts])
                except Exception as error:  # whatever it was, each of these requests must hear of it
                    for request in batch:
                        if not request.answer.done():
                            request.answer.set_exception(error)
                    continue
                start = 0
                for request in batch:
                    end = start + len(request.texts)
                    if not request.answer.done():  # the client may be gone
                        request.answer.set_result(Answer(answer.probs[start:end], answer.model))
                    start = end
        finally:
            self._task = None

    def _work(self, texts: list[str]) -> Answer:
        model = self._model()
        probs = model.probabilities(texts)
        self._done(texts, probs, model)
        return Answer(probs, model)
