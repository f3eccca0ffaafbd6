"""Watching for drift: a steady sample of what is asked, compared with what the student was made for.

The monitor looks at no more than fifty texts a second, so that it costs the same at any load. When it gives an alarm, the
window's texts are written as JSON Lines for the teacher: `tutelage refresh` labels them. With `keep_texts=False` no text is
ever written.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from tutelage.evaluation.drift import Drift, DriftMonitor, Reference
from tutelage.serving.model import Model

PER_SECOND = 50
MOST_FILES = 50
"""Samples that wait for the teacher at most; beyond that, none are written until some have been used."""


class DriftWatch:
    """The monitor of one worker.

    Args:
        folder: where samples go; None: nowhere. keep_texts: whether texts may be written at all.
        seen: called after every full window with its `Drift` and whether an alarm is on.
        clock: seconds.
    """

    def __init__(
        self,
        reference: Reference | None,
        folder: Path | None,
        *,
        keep_texts: bool = True,
        seen: Callable[[Drift, bool], None] = lambda drift, alarm: None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.monitor = DriftMonitor(reference) if reference else None
        self._folder = folder if keep_texts else None
        self._seen, self._clock = seen, clock
        self._second, self._taken = -1, 0
        self._lock = threading.Lock()
        self.written = 0

    def look(self, texts: Sequence[str], probs: np.ndarray, model: Model) -> None:
        """Take some of a batch's texts (N,) with their probabilities (N, K)."""
        if self.monitor is None:
            return
        with self._lock:
            second = int(self._clock())
            if second != self._second:
                self._second, self._taken = second, 0
            n = min(len(texts), PER_SECOND - self._taken)
            if n <= 0:
                return
            self._taken += n
            before = self.monitor.windows
            rows = np.linspace(0, len(texts) - 1, n).astype(int)
            sample = self.monitor.add([texts[int(i)] for i in rows], probs[rows], model.given(probs[rows]))
            if self.monitor.windows > before and self.monitor.last is not None:
                self._seen(self.monitor.last, bool(self.monitor.alarm))
            if sample and self._folder is not None:
                self._write(self._folder, self.monitor.alarm, sample)

    def state(self) -> dict[str, object]:
        """For `GET /health`: the latest window and the alarm, in words that a person understands."""
        if self.monitor is None:
            return {
                "watching": False,
                "why": "the student has no drift reference: it is from an older version, or was trained with --shield",
            }
        last = self.monitor.last
        return {
            "watching": True, "windows": self.monitor.windows, "window": self.monitor.reference.window,
            "alarm": self.monitor.alarm, "samples_written": self.written,
            "statistics": {} if last is None else {
                name: {"value": round(value, 5), "band": round(last.bands[name], 5)} for name, value in last.values.items()
            },
        }  # fmt: skip

    def _write(self, folder: Path, alarm: list[str], texts: list[str]) -> None:
        name = f"{time.time_ns()}-{'-'.join(alarm)}.jsonl"
        part = folder / f".{name}.part"
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            if len(list(folder.glob("*.jsonl"))) >= MOST_FILES:
                return
            part.touch(mode=0o600)
            part.write_text("".join(json.dumps({"text": text}, ensure_ascii=False) + "\n" for text in texts), "utf-8")
            part.rename(folder / name)
            self.written += 1
        except OSError:  # a full disk must not stop the service; /health shows that nothing was written
            with contextlib.suppress(OSError):  # half a sample would be texts that nobody finds
                part.unlink()
