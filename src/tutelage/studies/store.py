"""Finished trials on disk, one JSON file each, named by the hash of everything that decides the figures.

A run that crashes or is interrupted keeps what it has finished; the next run takes it from here. Deleting the folder is
always safe.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from tutelage.studies.study import Budget

FORMAT = 1


@dataclass(frozen=True)
class Measurement:
    """What one trial gave: its figures, what it spent, and how long it took."""

    values: Mapping[str, Any]
    budget: Budget
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """As plain JSON values."""
        return {"values": self.values, "budget": asdict(self.budget), "seconds": self.seconds}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Measurement:
        """The inverse of `to_json`."""
        return cls(data["values"], Budget(**data["budget"]), float(data["seconds"]))


def cache_folder() -> Path:
    """`$XDG_CACHE_HOME/tutelage/studies`, by default under ~/.cache."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tutelage" / "studies"


def key_of(what: Mapping[str, Any]) -> str:
    """sha256 of a JSON object, whatever the order of its keys."""
    return hashlib.sha256(json.dumps({"format": FORMAT, **what}, sort_keys=True).encode()).hexdigest()


class Store:
    """Measurements by key. Without a folder nothing is kept.

    >>> Store(None).get("0" * 64) is None
    True
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder

    def get(self, key: str) -> Measurement | None:
        """The measurement under this key; None where there is none, or its file is damaged."""
        if self.folder is None:
            return None
        try:
            return Measurement.from_json(json.loads((self.folder / f"{key}.json").read_text("utf-8")))
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def put(self, key: str, measurement: Measurement) -> None:
        """Keep a measurement; readers see the whole file or none."""
        if self.folder is None:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile("w", dir=self.folder, suffix=".tmp", delete=False, encoding="utf-8") as file:
            json.dump(measurement.to_json(), file)
        Path(file.name).replace(self.folder / f"{key}.json")
