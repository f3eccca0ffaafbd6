"""What a service counts, in Prometheus' text format; with several workers the sum over them."""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest, multiprocess

from tutelage.evaluation.drift import Drift
from tutelage.serving.model import Model

_SECONDS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
_SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256, 1024)
_SHARES = (0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.99, 1.0)


class Metrics:
    """The counters of one worker.

    >>> metrics = Metrics()
    >>> metrics.request("/predict", 200, 0.001)
    >>> b'tutelage_requests_total{path="/predict",status="200"} 1.0' in metrics.text()
    True
    """

    def __init__(self) -> None:
        self._registry = CollectorRegistry()
        own = self._registry
        self._requests = Counter("tutelage_requests", "Requests answered.", ["path", "status"], registry=own)
        self._seconds = Histogram(
            "tutelage_request_seconds", "Time to answer.", ["path"], buckets=_SECONDS, registry=own
        )
        self._texts = Counter("tutelage_texts", "Texts labelled.", registry=own)
        self._labels = Counter("tutelage_labels", "Labels given.", ["label"], registry=own)
        self._confidence = Histogram("tutelage_confidence", "Confidence of the labels.", buckets=_SHARES, registry=own)
        self._batches = Histogram(
            "tutelage_batch_texts", "Texts in a batch of the student.", buckets=_SIZES, registry=own
        )
        self._reloads = Counter("tutelage_reloads", "Times that a newer student took over.", registry=own)
        self._drift = Gauge(
            "tutelage_drift",
            "Statistics of the latest full window.",
            ["statistic"],
            registry=own,
            multiprocess_mode="mostrecent",
        )
        self._band = Gauge(
            "tutelage_drift_band",
            "What they stay below while nothing drifts.",
            ["statistic"],
            registry=own,
            multiprocess_mode="mostrecent",
        )
        self._alarm = Gauge(
            "tutelage_drift_alarm", "1 while a drift alarm is on.", registry=own, multiprocess_mode="mostrecent"
        )

    def request(self, path: str, status: int, seconds: float) -> None:
        """Count a request."""
        self._requests.labels(path, str(status)).inc()
        self._seconds.labels(path).observe(seconds)

    def batch(self, texts: Sequence[str], probs: np.ndarray, model: Model) -> None:
        """Count a batch's texts, labels and confidences."""
        self._texts.inc(len(texts))
        self._batches.observe(len(texts))
        for name, n in zip(model.labels, model.given(probs).sum(0).tolist(), strict=True):
            if n:
                self._labels.labels(name).inc(n)
        for value in model.student.confidence(probs).tolist():
            self._confidence.observe(value)

    def reloaded(self) -> None:
        """Count a reload."""
        self._reloads.inc()

    def drift(self, drift: Drift, alarm: bool) -> None:
        """Show a window's statistics."""
        for name, value in drift.values.items():
            self._drift.labels(name).set(value)
            self._band.labels(name).set(drift.bands[name])
        self._alarm.set(int(alarm))

    def text(self) -> bytes:
        """All of it, for `GET /metrics`."""
        if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
            return generate_latest(self._registry)
        merged = CollectorRegistry()
        multiprocess.MultiProcessCollector(merged)
        return generate_latest(merged)
